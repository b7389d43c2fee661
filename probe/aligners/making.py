"""Maps from aligners: of texts that two tokenizers cut, or of stored maps that are read again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from probe.aligners.cells import as_map, dropped
from probe.aligners.registry import Aligner
from probe.maps.attention_map import AttentionMap, Direction
from probe.text.axis import TokenAxis

NORMALISATION = "none"
DIRECTIONS: dict[str, tuple[Direction, ...]] = {"both": ("t2s", "s2t"), "t2s": ("t2s",), "s2t": ("s2t",)}


@dataclass(frozen=True)
class CutText:
    """One text as two tokenizers cut it."""

    example_id: str
    category: str
    text: str
    student: TokenAxis
    teacher: TokenAxis
    truncated: bool = False


@dataclass
class Dropped:
    """Positions that an aligner gave no partner, and all positions: summed over texts as their maps are made."""

    student: int = 0
    teacher: int = 0
    of_student: int = 0
    of_teacher: int = 0

    def add(self, cells: np.ndarray) -> None:
        """Count the rows and columns of one text's cells [student, teacher]."""
        rows, columns = dropped(cells)
        self.student, self.teacher = self.student + rows, self.teacher + columns
        self.of_student, self.of_teacher = self.of_student + cells.shape[0], self.of_teacher + cells.shape[1]


def maps_of_texts(
    aligner: Aligner,
    texts: Iterable[CutText],
    direction: Literal["both", "t2s", "s2t"] = "both",
    counts: Dropped | None = None,
) -> Iterator[AttentionMap]:
    """The maps of each text, named after the aligner; a dropped position is uniform (see :func:`as_map`).

    A text of which one side has no token has no map. ``counts`` adds up what was dropped.
    """
    assert aligner.align is not None, f"{aligner.name} reads stored maps"
    for one in texts:
        if not (len(one.student) and len(one.teacher)):
            continue
        cells = aligner.align(one.text, one.student, one.teacher)
        if counts is not None:
            counts.add(cells)
        for way in DIRECTIONS[direction]:
            yield AttentionMap(
                one.example_id, one.category, aligner.name, aligner.name, way, NORMALISATION, one.text, one.student,
                one.teacher, as_map(cells, way).astype(np.float32), one.truncated,
            )  # fmt: skip


def reread_map(aligner: Aligner, amap: AttentionMap) -> AttentionMap:
    """A stored map read again; its checkpoint is named ``CHECKPOINT+ALIGNER``, its direction stays."""
    assert aligner.reread is not None, f"{aligner.name} reads tokens, not maps"
    weights = as_map(aligner.reread(amap), amap.direction).astype(np.float32)
    return replace(amap, checkpoint=f"{amap.checkpoint}+{aligner.name}", weights=weights)
