"""Alignments: chunks and links from spans, links from a map, and gold by the span rule.

An alignment is a set of links (student index, teacher index), 0-based over targets; never a matrix. Spans are half-open
byte intervals of the response text that never go backwards; tokens that share a character share the span of their unit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from probe.errors import DataError, UsageError
from probe.gold.record import Gold, Link
from probe.maps.attention_map import Direction
from probe.scoring.monotone import monotone_posterior
from probe.text.axis import TokenAxis

Span = tuple[int, int]
Relation = Literal["1:1", "1:n", "n:1", "n:m", "n:0", "0:n"]
LinkMethod = Literal["argmax", "mutual", "both-directions", "itermax", "itermax-simalign", "threshold", "monotone"]


@dataclass(frozen=True)
class Chunk:
    """A smallest stretch of text on whose two ends both tokenizations have a boundary.

    ``student`` and ``teacher`` are index ranges. ``n:0`` and ``0:n`` are stretches that one side does not cover (a
    space that the other tokenizer drops): nothing there can be linked, and chunk accuracy leaves them out.
    """

    student: range
    teacher: range

    @property
    def relation(self) -> Relation:
        """``1:n`` is one student token over several teacher tokens."""
        left, right = len(self.student), len(self.teacher)
        if left == 0 or right == 0:
            return "0:n" if left == 0 else "n:0"
        if left == 1:
            return "1:1" if right == 1 else "1:n"
        return "n:1" if right == 1 else "n:m"


def span_links(student_spans: Sequence[Span], teacher_spans: Sequence[Span]) -> tuple[frozenset[Link], frozenset[Link]]:
    """The span rule: (sure, possible) links.

    Possible: the spans overlap (share a byte). Sure: they start at the same byte (equal spans do): both models
    predict from the same text so far; sure links are possible too. A last empty span at the end of its text is the
    EOS: EOS pairs by role, with the other EOS alone. An empty span elsewhere overlaps nothing, and is sure with what
    starts there.

    O(n + m + links) after binary searches. Raises DataError where spans go backwards.
    """
    student, teacher, both_eos, n, m = _without_eos(student_spans, teacher_spans)
    starts_together = _expand(
        np.searchsorted(teacher[:, 0], student[:, 0], "left"), np.searchsorted(teacher[:, 0], student[:, 0], "right")
    )
    overlap = _expand(
        np.searchsorted(teacher[:, 1], student[:, 0], "right"), np.searchsorted(teacher[:, 0], student[:, 1], "left")
    )
    filled_s, filled_t = student[:, 0] < student[:, 1], teacher[:, 0] < teacher[:, 1]
    overlap = overlap[filled_s[overlap[:, 0]] & filled_t[overlap[:, 1]]]
    eos = {(n, m)} if both_eos else set()
    sure = frozenset(map(tuple, starts_together.tolist())) | eos
    return sure, sure | frozenset(map(tuple, overlap.tolist()))


def chunks(student_spans: Sequence[Span], teacher_spans: Sequence[Span]) -> list[Chunk]:
    """Partition both sides into chunks, in order; every token is in exactly one. The EOS are a chunk of their own.

    A byte that a side does not cover (a dropped space) counts as a boundary of that side. O(n + m).
    """
    student, teacher, both_eos, n, m = _without_eos(student_spans, teacher_spans)
    left, right = student.tolist(), teacher.tolist()
    found: list[Chunk] = []
    i = j = 0
    while i < n or j < m:
        first_i, first_j = i, j
        start = end = min(side[k][0] for side, k, size in ((left, i, n), (right, j, m)) if k < size)
        grown = True
        while grown:
            grown = False
            while i < n and (left[i][0] < end or left[i][0] == start):
                end, i, grown = max(end, left[i][1]), i + 1, True
            while j < m and (right[j][0] < end or right[j][0] == start):
                end, j, grown = max(end, right[j][1]), j + 1, True
        found.append(Chunk(range(first_i, i), range(first_j, j)))
    if both_eos:
        return [*found, Chunk(range(n, n + 1), range(m, m + 1))]
    rest = Chunk(range(n, len(student_spans)), range(m, len(teacher_spans)))
    return [*found, rest] if rest.student or rest.teacher else found


def _without_eos(
    student_spans: Sequence[Span], teacher_spans: Sequence[Span]
) -> tuple[np.ndarray, np.ndarray, bool, int, int]:
    """Spans [tokens, 2] of both sides without the EOS, whether both have one, and the number of tokens left."""
    arrays = []
    for side, spans in (("student", student_spans), ("teacher", teacher_spans)):
        array = np.asarray(spans, dtype=np.int64).reshape(-1, 2)
        if (array[:, 1] < array[:, 0]).any() or (np.diff(array, axis=0) < 0).any():
            raise DataError(f"the {side} spans go backwards; wanted starts and ends that never decrease.")
        arrays.append(array)
    eos = [len(array) > 0 and array[-1, 0] == array[-1, 1] for array in arrays]
    left, right = (array[: len(array) - has] for array, has in zip(arrays, eos, strict=True))
    return left, right, all(eos), len(left), len(right)


def _expand(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Pairs [pairs, 2] of (i, j) with low[i] <= j < high[i]."""
    sizes = np.maximum(high - low, 0)
    rows = np.repeat(np.arange(len(low)), sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.stack([rows, np.repeat(low, sizes) + within], axis=1)


def span_gold(
    example_id: str,
    text: str,
    student: TokenAxis,
    teacher: TokenAxis,
    fingerprints: tuple[str, str],
    annotator: str = "span rule",
    *,
    note: str = "",
) -> Gold:
    """Gold prefilled by the span rule, for a person to correct; ``fingerprints`` are (student, teacher)."""
    sure, possible = span_links(student.spans, teacher.spans)
    return Gold(example_id, text, student.tokens, teacher.tokens, *fingerprints, sure, possible, annotator, note)


def links_from_map(
    weights: np.ndarray,
    method: LinkMethod = "argmax",
    *,
    direction: Direction = "t2s",
    other: np.ndarray | None = None,
    threshold: float = 0.1,
    iterations: int = 2,
) -> set[Link]:
    """Links from the weights [student, teacher] of one map; of tied cells the first (lowest index) is taken.

    - ``argmax``: the heaviest cell of each student row (t2s) or of each teacher column (s2t).
    - ``mutual``: the heaviest cell of its row and of its column.
    - ``both-directions``: above ``threshold`` here and in ``other``, the other direction's weights (awesome-align,
      arXiv 2101.08231, equation 2).
    - ``itermax``: mutual, repeated ``iterations`` times: cells whose row and column are both linked are closed, those
      with one of the two linked count 0.9 times (SimAlign, arXiv 2004.08728, algorithm 1).
    - ``itermax-simalign``: as the package simalign 0.4 does it. It stops as soon as every row or every column is
      linked, where the paper goes on to give a linked row the columns that are left; and it never iterates a map of
      one or two rows or columns. (It also links cells of weight 0 where nothing else is left; we do not.)
    - ``threshold``: above ``threshold``.
    - ``monotone``: argmax of :func:`probe.scoring.monotone.monotone_posterior`: what the order of both texts makes of
      the map.
    """
    if weights.size == 0:
        return set()
    if method in ("argmax", "monotone"):
        return _heaviest(weights if method == "argmax" else monotone_posterior(weights), direction)
    if method == "both-directions":
        if other is None or other.shape != weights.shape:
            raise UsageError("both-directions needs the maps of both directions; extract with --direction both.")
        return _cells((weights > threshold) & (other > threshold))
    if method == "threshold":
        return _cells(weights > threshold)
    if method == "mutual":
        return _cells(_mutual(weights))
    if method in ("itermax", "itermax-simalign"):
        return _cells(_itermax(weights, iterations, as_package=method == "itermax-simalign"))
    raise UsageError(f"unknown link method {method!r}; wanted one of {', '.join(get_args(LinkMethod))}.")


def cells_of(links: Collection[Link], shape: tuple[int, int]) -> np.ndarray:
    """Boolean cells [student, teacher] of links; the inverse of reading links off a mask."""
    cells = np.zeros(shape, dtype=bool)
    if links:
        cells[tuple(np.array(list(links)).T)] = True
    return cells


def _heaviest(weights: np.ndarray, direction: Direction) -> set[Link]:
    rows, columns = np.arange(weights.shape[0]), np.arange(weights.shape[1])
    best = (rows, weights.argmax(axis=1)) if direction == "t2s" else (weights.argmax(axis=0), columns)
    return set(zip(best[0].tolist(), best[1].tolist(), strict=True))


def _cells(mask: np.ndarray) -> set[Link]:
    rows, columns = np.nonzero(mask)
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


def _mutual(weights: np.ndarray) -> np.ndarray:
    """Cells [student, teacher] that are the first heaviest of their row and of their column, and above zero."""
    rows, columns = np.arange(weights.shape[0]), weights.argmax(axis=1)
    keep = (weights.argmax(axis=0)[columns] == rows) & (weights[rows, columns] > 0)
    mask = np.zeros(weights.shape, dtype=bool)
    mask[rows[keep], columns[keep]] = True
    return mask


def _itermax(weights: np.ndarray, iterations: int, discount: float = 0.9, *, as_package: bool = False) -> np.ndarray:
    linked = _mutual(weights)
    if as_package and min(weights.shape) <= 2:
        return linked
    for _ in range(iterations - 1):
        row, column = np.any(linked, axis=1, keepdims=True), np.any(linked, axis=0, keepdims=True)
        if as_package and (row.all() or column.all()):
            break
        factor = np.where(row & column, 0.0, np.where(row | column, discount, 1.0))
        fresh = _mutual(weights * factor) & ~linked
        if not fresh.any():
            break
        linked |= fresh
    return linked
