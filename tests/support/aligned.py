"""Made-up axes, maps and gold for tests: a text, two partitions of it, weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap, Direction
from probe.scoring.alignment import span_gold
from probe.text.axis import TokenAxis

FINGERPRINTS = ("5" * 16, "7" * 16)


def axis(text: str, pieces: Sequence[str], *, ids: Sequence[int] | None = None, eos: bool = True) -> TokenAxis:
    """An axis whose pieces, joined, are the text; ids count distinct pieces by default (equal piece, equal id)."""
    assert "".join(pieces) == text
    ends = np.cumsum([len(piece.encode()) for piece in pieces], dtype=int).tolist()
    spans = tuple(zip([0, *ends[:-1]], ends, strict=True)) if pieces else ()
    tokens = tuple(piece.replace(" ", "␣") for piece in pieces)
    known: dict[str, int] = {}
    numbers = [known.setdefault(piece, len(known)) for piece in pieces] if ids is None else list(ids)
    if eos:
        size = ends[-1] if ends else 0
        return TokenAxis((*tokens, "‹eos›"), (*pieces, "</s>"), (*numbers, 10_000), (*spans, (size, size)))
    return TokenAxis(tokens, tuple(pieces), tuple(numbers), spans)


def make_map(
    student: TokenAxis,
    teacher: TokenAxis,
    weights: object = None,
    *,
    text: str,
    direction: Direction = "t2s",
    checkpoint: str = "dskd-cma",
    method: str = "dskd-cma",
    example_id: str = "one",
    category: str = "prose",
) -> AttentionMap:
    """A map; uniform weights by default."""
    shape = (len(student), len(teacher))
    if weights is None:
        weights = np.full(shape, 1 / shape[1 if direction == "t2s" else 0])
    array = np.asarray(weights, dtype=np.float32)
    return AttentionMap(
        example_id, category, checkpoint, method, direction, "frozen", text, student, teacher, array
    )  # fmt: skip


def make_gold(amap: AttentionMap) -> Gold:
    """Gold by the span rule."""
    return span_gold(amap.example_id, amap.text, amap.student, amap.teacher, FINGERPRINTS)
