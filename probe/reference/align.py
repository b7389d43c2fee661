"""``align.jsonl`` of the public DSKD-KQ code (its ``analyse.py``) to attention maps with right target labels.

A line holds ``student`` and ``teacher``, the *input* tokens of the response positions as raw pieces, and ``alignment``,
the t2s weights [student, teacher]. The public heatmaps shift the weights by one cell to fit those labels. Here the
labels are moved instead: the target of a position is the input of the next one, and the last target is the end token,
unless the text was cut at the maximum length. The weights are taken as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from probe.errors import DataError, NonFiniteError
from probe.maps.attention_map import SUM_TOLERANCE, AttentionMap
from probe.maps.store import MapStoreWriter
from probe.text.axis import TokenAxis
from probe.text.examples import Example
from probe.text.one_side import Side

CANNOT_TELL = (
    "ids, prompts and further answers of the examples",
    "the last target: the end token is assumed where both sides spell the same text",
    "the s2t direction: only t2s weights were saved",
    "what a map would be alone: keys were divided by the standard deviation of a padded batch, so the weights depend "
    "on batch mates and padding, which are not recorded",
    "the number type of training and the method (cross-model attention, chunks, key-query matching)",
    "prompt and response were tokenised apart: a token across their border is not here",
)


@dataclass(frozen=True)
class Dump:
    """One line: input pieces of both sides, and weights [student, teacher]."""

    place: str
    student: tuple[str, ...]
    teacher: tuple[str, ...]
    weights: np.ndarray


def add_maps(
    writer: MapStoreWriter,
    path: Path,
    sides: tuple[Side, Side],
    examples: Sequence[Example] | None,
    *,
    checkpoint: str,
    method: str,
) -> tuple[int, list[str]]:
    """Add the maps of ``path`` to a store; returns their number, and the places of those that are left out.

    Args:
        sides: the student's and the teacher's tokenizer.
        examples: those of the file, in its order, where they are known.

    Raises:
        DataError: a line that is not such a record or not of these tokens, more lines than examples, or no map at all.
    """
    count, left_out = 0, []
    for number, dump in enumerate(read_dumps(path)):
        if examples is not None and number >= len(examples):
            raise DataError(f"{dump.place}: there are only {len(examples)} examples. Give those of this file.")
        example = None if examples is None else examples[number]
        amap = align_map(dump, sides, example, checkpoint=checkpoint, method=method)
        if amap is None:
            left_out.append(dump.place)
        else:
            writer.add(amap)
            count += 1
    if not count:
        raise DataError(f"{path}: in none of its {len(left_out)} maps do the rows sum to 1. Nothing to import.")
    return count, left_out


def read_dumps(path: Path) -> Iterator[Dump]:
    """The lines of an align.jsonl.

    Raises:
        DataError: no such file, or a line that is not such an object. NonFiniteError: NaN or infinity in its weights.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"wanted an align.jsonl, but {path} cannot be read: {error.strerror or error}.") from error
    if not lines:
        raise DataError(f"{path}:1: the file holds no alignment.")
    for number, line in enumerate(lines, start=1):
        yield _dump(line, f"{path}:{number}")


def _dump(line: bytes, place: str) -> Dump:
    try:
        values = json.loads(line)
        sides = [tuple(values[side]) for side in ("student", "teacher")]
        weights = np.array(values["alignment"], dtype=np.float32)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise DataError(
            f'{place}: wanted {{"student": […], "teacher": […], "alignment": [[…]]}}, as analyse.py writes it; the '
            f"line is not so ({type(error).__name__}: {str(error)[:80]})."
        ) from error
    if weights.shape != (len(sides[0]), len(sides[1])) or not weights.size:
        raise DataError(
            f"{place}: {len(sides[0])} student and {len(sides[1])} teacher tokens need weights of that shape, found "
            f"{' x '.join(map(str, weights.shape))}."
        )
    if not all(isinstance(piece, str) for side in sides for piece in side):
        raise DataError(f"{place}: wanted strings as tokens.")
    if not np.isfinite(weights).all():
        raise NonFiniteError(f"{place}: the alignment holds NaN or infinity.")
    return Dump(place, sides[0], sides[1], weights)


def align_map(
    dump: Dump, sides: tuple[Side, Side], example: Example | None, *, checkpoint: str, method: str
) -> AttentionMap | None:
    """The map of one line; None where a row does not sum to 1 (a chunk method left its weight on padding).

    Args:
        sides: the student's and the teacher's tokenizer.
        example: the line's example, where it is known; else the text is spelled from the tokens.

    Raises:
        DataError: the tokens are not those of the text (names the first that is not), or the two sides spell different
            texts, so that the end of one cannot be known without the example.
    """
    if np.abs(dump.weights.sum(axis=1, dtype=np.float64) - 1).max() > SUM_TOLERANCE:
        return None
    inputs = (dump.student, dump.teacher)
    text = example.output if example is not None else _spelled(dump, inputs, sides)
    axes = [
        _axis(dump.place, name, pieces, side, text)
        for name, pieces, side in zip(("student", "teacher"), inputs, sides, strict=True)
    ]
    return AttentionMap(
        example_id=example.id if example else f"align-{dump.place.rpartition(':')[2]}",
        category=example.category if example else "",
        checkpoint=checkpoint,
        method=method,
        direction="t2s",
        normalisation="batch",
        text=text,
        student=axes[0][0],
        teacher=axes[1][0],
        weights=dump.weights,
        truncated=axes[0][1] or axes[1][1],
    )


def _axis(place: str, name: str, inputs: Sequence[str], side: Side, text: str) -> tuple[TokenAxis, bool]:
    """The targets of one side, and whether its text was cut; the inputs but the first are the targets but the last."""
    axis: TokenAxis = side.tokenized(side.encode([text])[0], "", text, cut=False).axis
    for index, (found, wanted) in enumerate(zip(inputs[1:], axis.pieces, strict=False)):
        if found != wanted:
            raise DataError(
                f"{place}: {name} token {index + 1} is {found!r}, but the text has {wanted!r} there. Give the examples "
                "that the file was made of (--align-data), in their order, and the tokenizer of that model."
            )
    if len(inputs) > len(axis):
        raise DataError(f"{place}: {len(inputs)} {name} tokens, but the text has only {len(axis)}, end token included.")
    kept = {part: getattr(axis, part)[: len(inputs)] for part in ("tokens", "pieces", "ids", "spans")}
    return replace(axis, **kept), len(inputs) < len(axis)


def _spelled(dump: Dump, inputs: tuple[Sequence[str], Sequence[str]], sides: tuple[Side, Side]) -> str:
    """The text that both sides spell, without the first input, which belongs to the prompt."""
    texts = [_text_of(pieces[1:], side, dump.place) for pieces, side in zip(inputs, sides, strict=True)]
    if texts[0] != texts[1] or not texts[0]:
        at = next((k for k, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
        raise DataError(
            f"{dump.place}: the student's tokens spell {texts[0][at : at + 20]!r} where the teacher's spell "
            f"{texts[1][at : at + 20]!r} (character {at}), so one side was cut, or they are of other tokenizers. Give "
            "the examples with --align-data."
        )
    return texts[0]


def _text_of(pieces: Sequence[str], side: Side, place: str) -> str:
    ids = [side.token_id(piece) for piece in pieces]
    if None in ids:
        raise DataError(f"{place}: {pieces[ids.index(None)]!r} is no token of the tokenizer. Give the right model.")
    return side.decode([number for number in ids if number is not None], skip_special_tokens=False)
