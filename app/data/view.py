"""What one screen shows of a map, as plain data: unit, window, cells with rank and gold status, and a pinned cell.

No Streamlit in here. The page, the downloads and the tests all read these frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.aggregation import NO_ID, in_unit
from probe.scoring.measures import TIE
from probe.scoring.metrics import gold_cells
from probe.text.axis import TokenAxis

SIZES = (20, 40, 80)  # targets a side drawn at once; with more than 80, cells are below 10 px and labels unreadable
STATUS = ("", "none", "possible", "sure")  # of a cell in gold; the first where there is no gold
OUTCOMES = ("", "no gold", "miss", "possible", "sure")  # of a heaviest cell; the first for all others


@dataclass(frozen=True)
class Window:
    """The part of a map on screen: half-open ranges of student rows and teacher columns."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    def holds_all(self, amap: AttentionMap) -> bool:
        return (self.rows, self.columns) == ((0, len(amap.student)), (0, len(amap.teacher)))


@dataclass(frozen=True)
class Shown:
    """A map as it is on screen, in tokens, chunks or words, with the gold of that unit and the cells in the window."""

    amap: AttentionMap
    gold: Gold | None
    unit: str
    window: Window
    cells: pd.DataFrame


def shown(amap: AttentionMap, gold: Gold | None, unit: str, start: int, size: int) -> Shown:
    """The map in ``unit``, at most ``size`` of them a side, from number ``start`` of the longer side."""
    amap, gold = in_unit(amap, gold, unit)
    window = window_at(amap.student, amap.teacher, start, size)
    return Shown(amap, gold, unit, window, map_cells(amap, gold, window))


def window_at(student: TokenAxis, teacher: TokenAxis, start: int, size: int = SIZES[-1]) -> Window:
    """The window of at most ``size`` targets per side that begins at target ``start`` of the longer side.

    The shorter side follows by bytes, so that both show the same text.
    """
    longer, shorter = (student, teacher) if len(student) >= len(teacher) else (teacher, student)
    start = max(0, min(start, len(longer) - size))
    lead = (start, min(start + size, len(longer)))
    first = 0 if start == 0 else _first_reaching(shorter, longer.spans[start][0])
    if lead[1] == len(longer):
        first = len(shorter)
    first = max(0, min(first, len(shorter) - size))
    follow = (first, min(first + size, len(shorter)))
    return Window(lead, follow) if longer is student else Window(follow, lead)


def _first_reaching(axis: TokenAxis, byte: int) -> int:
    """Index of the first target that ends after ``byte``; the last target if none does."""
    return next((index for index, (_, end) in enumerate(axis.spans) if end > byte), len(axis) - 1)


def map_cells(amap: AttentionMap, gold: Gold | None, window: Window) -> pd.DataFrame:
    """One row a cell of the window: indices, tokens, pieces with ids, bytes, weight, rank, gold status, outcome.

    Ranks and heaviest cells are those of the whole map, also when only a window of it is shown. ``rank`` counts within
    the student row (t2s) or the teacher column (s2t): 1 + the number of weights heavier by more than 1e-6.
    ``outcome`` is empty except on the heaviest cells of each row (t2s) or column (s2t), ties included.
    """
    (top, bottom), (left, right) = window.rows, window.columns
    rows, columns = (grid.ravel() for grid in np.mgrid[top:bottom, left:right].astype(np.int32))
    ranks = line_ranks(amap)[rows, columns].astype(np.int32)
    status, outcome = _status_and_outcome(amap, gold)
    student, teacher = amap.student, amap.teacher
    return pd.DataFrame(
        {
            "student_index": rows,
            "teacher_index": columns,
            "student_token": _words(student.tokens, rows),
            "teacher_token": _words(teacher.tokens, columns),
            "student_piece": _words(_pieces(student), rows),
            "teacher_piece": _words(_pieces(teacher), columns),
            "student_bytes": _words(_bytes(student), rows),
            "teacher_bytes": _words(_bytes(teacher), columns),
            "weight": amap.weights[rows, columns].astype(float),
            "rank": ranks,
            "gold": _words(STATUS, status[rows, columns]),
            "outcome": _words(OUTCOMES, np.where(ranks == 1, outcome[rows, columns], 0)),
        },
        copy=False,
    )


def _words(words: Sequence[str], places: np.ndarray) -> pd.Categorical:
    """A word for each cell, each kept once: a visitor's downloads hold the frame, 0.5 MB of it as strings."""
    codes, names = pd.factorize(np.array(words, dtype=object))
    return pd.Categorical.from_codes(codes[places], names, validate=False)


def line_ranks(amap: AttentionMap) -> np.ndarray:
    """Rank of each weight within the line that sums to one; equal weights (within 1e-6) share the smallest rank."""
    lines = amap.weights if amap.direction == "t2s" else amap.weights.T
    ordered = np.sort(lines, axis=1)
    pairs = zip(ordered, lines, strict=True)
    lighter = np.stack([np.searchsorted(row, line + TIE, side="right") for row, line in pairs])
    ranks = 1 + lines.shape[1] - lighter
    return ranks if amap.direction == "t2s" else ranks.T


def _status_and_outcome(amap: AttentionMap, gold: Gold | None) -> tuple[np.ndarray, np.ndarray]:
    """Places in ``STATUS`` and in ``OUTCOMES`` [student, teacher]: what gold says of each cell, and what it would mean
    if that is the heaviest of its line; 'no gold' where the line has no link to hit."""
    if gold is None:
        nothing = np.zeros(amap.weights.shape, dtype=np.int8)
        return nothing, nothing + 1
    sure, possible = gold_cells(amap, gold)
    linked = (sure | possible).any(axis=1 if amap.direction == "t2s" else 0, keepdims=True)
    levels = [sure, possible]
    return np.select(levels, [3, 2], 1), np.select([*levels, np.broadcast_to(linked, sure.shape)], [4, 3, 2], 1)


def heaviest_outside(amap: AttentionMap, window: Window) -> int:
    """How many lines of the window have none of their heaviest cells in it."""
    (top, bottom), (left, right) = window.rows, window.columns
    best = line_ranks(amap)[top:bottom, left:right] == 1
    return int((~best.any(axis=1 if amap.direction == "t2s" else 0)).sum())


def _pieces(axis: TokenAxis) -> list[str]:
    """The raw piece of each target with its id; of a group the pieces alone."""
    pairs = zip(axis.pieces, axis.ids, strict=True)
    return [piece if number == NO_ID else f"{piece} (id {number})" for piece, number in pairs]


def _bytes(axis: TokenAxis) -> list[str]:
    return [f"{start} to {end}" for start, end in axis.spans]


@dataclass(frozen=True)
class Pin:
    """A cell that was clicked: a student row and a teacher column of the map on screen."""

    row: int
    column: int

    @classmethod
    def of(cls, text: str, amap: AttentionMap) -> Pin | None:
        """Read ``row.column`` as a link has it; None for anything else, and for a cell that the map lacks."""
        row, dot, column = text.partition(".")
        if not (dot and row.isascii() and column.isascii() and row.isdigit() and column.isdigit()):
            return None
        if len(text) > 12 or int(row) >= len(amap.student) or int(column) >= len(amap.teacher):
            return None
        return cls(int(row), int(column))

    @classmethod
    def of_link(cls, text: str | None, amap: AttentionMap) -> tuple[Pin | None, list[str]]:
        """The cell that a link pins, if any, and a note where it names none of this map."""
        pin = cls.of(text, amap) if text else None
        return pin, [f"pin = {text[:200]}"] if text and pin is None else []

    def __str__(self) -> str:
        return f"{self.row}.{self.column}"


def outcome_counts(cells: pd.DataFrame) -> dict[str, int]:
    """How many heaviest cells on screen are sure, possible, a miss, or have no gold to hit."""
    counts = cells["outcome"].value_counts()
    return {name: int(counts.get(name, 0)) for name in ("sure", "possible", "miss", "no gold")}


def joined(tokens: Sequence[str]) -> str:
    """Tokens in one line with a bar between them, to see where a tokenizer cuts."""
    return "│".join(tokens)
