"""AttentionMap, the narrow waist: one example's cross-model attention weights with labelled axes; and its store on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Direction = Literal["t2s", "s2t"]


@dataclass(frozen=True)
class TokenAxis:
    """The response targets of one side, in order; EOS is the last.

    Attributes:
        tokens: display forms (readable, unambiguous).
        pieces: raw vocabulary pieces.
        ids: target ids.
        spans: half-open byte intervals [start, end) of the response text; EOS is [len, len).
    """

    tokens: tuple[str, ...]
    pieces: tuple[str, ...]
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class AttentionMap:
    """One example's weights [student, teacher] and everything needed to score and draw them.

    ``direction`` says what sums to one: ``t2s`` each student row, ``s2t`` each teacher column. Values are never shifted.
    """

    example_id: str
    category: str
    checkpoint: str
    method: str
    direction: Direction
    normalisation: str
    text: str
    student: TokenAxis
    teacher: TokenAxis
    weights: np.ndarray  # float32 [student, teacher]
    truncated: bool = False
