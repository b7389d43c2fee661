"""Coarser maps: tokens grouped into chunks or words, and windows cut out; the mathematics behind the dashboard's views.

A *partition* of an axis is a tuple of ranges that cover its targets in order. Grouping keeps what a map is: a row that
sums to 1 is averaged with the others of its group and its weights are added up over groups of columns, so it still
sums to 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from probe.errors import UsageError
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.alignment import chunks
from probe.text.axis import TokenAxis

Unit = Literal["token", "chunk", "word"]
UNITS: tuple[str, ...] = get_args(Unit)
NO_ID = -1  # the id of a group of several targets


@dataclass(frozen=True)
class Partition:
    """Groups of both axes: ranges of targets, in order, each target in exactly one."""

    student: tuple[range, ...]
    teacher: tuple[range, ...]


def partition(text: str, student: TokenAxis, teacher: TokenAxis, unit: str) -> Partition:
    """Group the targets of both sides by ``unit``.

    ``token``: each on its own. ``chunk``: the chunks of both tokenizations (:func:`probe.scoring.alignment.chunks`).
    ``word``: what white space separates; a target belongs to the word of its first character that is no white space,
    white space alone to the word that follows, and EOS is on its own. Raises UsageError for another unit.
    """
    if unit == "token":
        return Partition(_singles(len(student)), _singles(len(teacher)))
    if unit == "chunk":
        found = chunks(student.spans, teacher.spans)
        sides = ([getattr(chunk, side) for chunk in found] for side in ("student", "teacher"))
        return Partition(*(tuple(group for group in side if group) for side in sides))
    if unit == "word":
        return Partition(*(_words(text, axis) for axis in (student, teacher)))
    raise UsageError(f"maps are shown by {', '.join(UNITS)}; got {unit!r}.")


def _singles(size: int) -> tuple[range, ...]:
    return tuple(range(index, index + 1) for index in range(size))


def _words(text: str, axis: TokenAxis) -> tuple[range, ...]:
    # White space as Python's str.split sees it, in bytes: a target's word is the first that ends after its start.
    ends, at = [], 0
    for part in re.findall(r"\s+|\S+", text):
        at += len(part.encode("utf-8", "surrogatepass"))
        if not part.isspace():
            ends.append(at)
    numbers = np.searchsorted(ends, [start for start, _ in axis.spans], side="right").tolist()
    if axis.spans and axis.spans[-1][0] == axis.spans[-1][1]:  # EOS
        numbers[-1] = len(ends) + 1
    starts = [index for index, number in enumerate(numbers) if index == 0 or number != numbers[index - 1]]
    return tuple(range(start, stop) for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True))


def grouped(amap: AttentionMap, groups: Partition) -> AttentionMap:
    """The map of groups: for t2s the mean over the rows of a group of the sum over the columns of a group.

    For s2t the same with rows and columns exchanged. Where every group is one target, the map itself.
    """
    rows, columns = [group.start for group in groups.student], [group.start for group in groups.teacher]
    summed = np.add.reduceat(np.add.reduceat(amap.weights.astype(np.float64), rows, axis=0), columns, axis=1)
    averaged = groups.student if amap.direction == "t2s" else groups.teacher
    sizes = np.array([len(group) for group in averaged], dtype=np.float64)
    weights = summed / (sizes[:, None] if amap.direction == "t2s" else sizes)
    return replace(
        amap,
        student=grouped_axis(amap.student, groups.student),
        teacher=grouped_axis(amap.teacher, groups.teacher),
        weights=weights.astype(np.float32),
    )


def grouped_axis(axis: TokenAxis, groups: tuple[range, ...]) -> TokenAxis:
    """One label a group: tokens put together, pieces with spaces between, the span from first to last."""
    return TokenAxis(
        tuple("".join(axis.tokens[group.start : group.stop]) for group in groups),
        tuple(" ".join(axis.pieces[group.start : group.stop]) for group in groups),
        tuple(axis.ids[group.start] if len(group) == 1 else NO_ID for group in groups),
        tuple((axis.spans[group.start][0], axis.spans[group.stop - 1][1]) for group in groups),
    )


def grouped_gold(gold: Gold, groups: Partition, amap: AttentionMap) -> Gold:
    """Gold of the grouped map ``amap``: two groups are linked as their best linked targets are."""
    sides = [[place for place, group in enumerate(side) for _ in group] for side in (groups.student, groups.teacher)]

    def links(of: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        return frozenset((sides[0][i], sides[1][j]) for i, j in of)

    return replace(
        gold,
        student_tokens=amap.student.tokens,
        teacher_tokens=amap.teacher.tokens,
        student_tokenizer="",  # no tokenizer has these groups as tokens
        teacher_tokenizer="",
        sure=links(gold.sure),
        possible=links(gold.possible),
    )


def in_unit(amap: AttentionMap, gold: Gold | None, unit: str) -> tuple[AttentionMap, Gold | None]:
    """The map and its gold by token (as they are), chunk or word. Raises UsageError for another unit."""
    if unit == UNITS[0]:
        return amap, gold
    groups = partition(amap.text, amap.student, amap.teacher, unit)
    made = grouped(amap, groups)
    return made, None if gold is None else grouped_gold(gold, groups, made)


def cropped(amap: AttentionMap, rows: tuple[int, int], columns: tuple[int, int]) -> AttentionMap:
    """The part of a map in these half-open ranges; its lines no longer sum to 1, so it is for drawing alone."""
    part = amap.weights[slice(*rows), slice(*columns)]
    return replace(amap, student=_part(amap.student, rows), teacher=_part(amap.teacher, columns), weights=part)


def cropped_gold(gold: Gold, rows: tuple[int, int], columns: tuple[int, int]) -> Gold:
    """The links inside these half-open ranges, counted from their starts."""

    def links(of: frozenset[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        inside = (link for link in of if rows[0] <= link[0] < rows[1] and columns[0] <= link[1] < columns[1])
        return frozenset((i - rows[0], j - columns[0]) for i, j in inside)

    return replace(
        gold,
        student_tokens=gold.student_tokens[slice(*rows)],
        teacher_tokens=gold.teacher_tokens[slice(*columns)],
        sure=links(gold.sure),
        possible=links(gold.possible),
    )


def _part(axis: TokenAxis, part: tuple[int, int]) -> TokenAxis:
    where = slice(*part)
    return TokenAxis(axis.tokens[where], axis.pieces[where], axis.ids[where], axis.spans[where])
