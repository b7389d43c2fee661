"""AttentionMap, the narrow waist: one example's cross-model attention weights with labelled axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from probe.errors import DataError, NonFiniteError
from probe.maps.notebook import html_of
from probe.text.axis import TokenAxis

Direction = Literal["t2s", "s2t"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)

# A float16 weight is off by at most 2^-11 of itself, so a sum of weights by 4.9e-4; four times that is never rounding.
SUM_TOLERANCE = 2e-3


@dataclass(frozen=True)
class AttentionMap:
    """One example's weights [student, teacher] and everything needed to score and draw them.

    ``direction`` says what sums to one: ``t2s`` each student row, ``s2t`` each teacher column. Values are never
    shifted.

    Raises:
        DataError: another direction, or weights whose shape is not (len(student), len(teacher)). What the weights
            themselves must be is checked by :func:`check_map`, which the store calls on every write and read.
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

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise DataError(f"map of {self.example_id!r}: wanted direction t2s or s2t, got {self.direction!r}.")
        wanted = (len(self.student), len(self.teacher))
        if self.weights.shape != wanted:
            raise DataError(
                f"map of {self.example_id!r}: wanted weights of {wanted[0]} student × {wanted[1]} teacher targets, "
                f"got {' × '.join(map(str, self.weights.shape)) or 'a scalar'}."
            )

    def __repr__(self) -> str:
        size = f"{len(self.student)} × {len(self.teacher)}"
        return f"{type(self).__name__}({self.example_id!r}, {self.checkpoint}, {self.direction}, {size})"

    def _repr_html_(self) -> str | None:
        return html_of(self)


def by_rows(amap: AttentionMap, cells: np.ndarray) -> np.ndarray:
    """Turn [student, teacher] into [rows, columns] of the map's direction."""
    return cells if amap.direction == "t2s" else cells.T


def row_axis(amap: AttentionMap) -> TokenAxis:
    """The axis of the positions that the map speaks about: the student's for t2s, the teacher's for s2t."""
    return amap.student if amap.direction == "t2s" else amap.teacher


def column_axis(amap: AttentionMap) -> TokenAxis:
    """The axis that each row chooses from: the teacher's for t2s, the student's for s2t."""
    return amap.teacher if amap.direction == "t2s" else amap.student


def check_map(amap: AttentionMap, *, tolerance: float = SUM_TOLERANCE) -> None:
    """Check what every map obeys: finite weights in [0, 1] that sum to 1, spans inside the text, real Unicode.

    Args:
        amap: the map; t2s rows and s2t columns must sum to 1 within ``tolerance``.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
        DataError: an empty axis, a weight outside [0, 1], a wrong sum, a span outside the text, a lone surrogate.
    """
    name = f"map of {amap.example_id!r} ({amap.checkpoint}, {amap.direction})"
    if not amap.weights.size:
        raise DataError(f"{name}: has {len(amap.student)} × {len(amap.teacher)} positions; needs one or more a side.")
    if not np.isfinite(amap.weights).all():
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(amap.weights))[0])
        raise NonFiniteError(f"{name}: weight {where} is {amap.weights[where]}; wanted finite weights.")
    low, high = float(amap.weights.min()), float(amap.weights.max())
    if low < 0 or high > 1 + tolerance:
        raise DataError(f"{name}: wanted weights in [0, 1], got {low:.6g} to {high:.6g}.")
    side, axis = ("row", 1) if amap.direction == "t2s" else ("column", 0)
    sums = amap.weights.sum(axis=axis, dtype=np.float64)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > tolerance:
        raise DataError(f"{name}: {side} {worst} sums to {sums[worst]:.6g}; wanted 1 within {tolerance:g}.")
    _check_text(name, amap)


def _check_text(name: str, amap: AttentionMap) -> None:
    labels = (amap.example_id, amap.category, amap.checkpoint, amap.method, amap.normalisation)
    try:
        n_bytes = len(amap.text.encode())
        for axis in (amap.student, amap.teacher):
            "".join((*labels, *axis.tokens, *axis.pieces)).encode()
    except UnicodeEncodeError as error:
        found = error.object[error.start]
        raise DataError(f"{name}: lone surrogate {found!r} in its text or tokens; repair the data.") from error
    for side, axis in (("student", amap.student), ("teacher", amap.teacher)):
        for index, (start, end) in enumerate(axis.spans):
            if not 0 <= start <= end <= n_bytes:
                raise DataError(f"{name}: {side} span {index} is [{start}, {end}); the text has {n_bytes} bytes.")
