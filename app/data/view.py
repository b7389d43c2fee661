"""What one screen shows of a map, as plain data: unit, window, cells with rank and gold status, and a pinned cell.

No Streamlit in here. The page, the downloads and the tests all read these frames.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.aggregation import NO_ID, in_unit
from probe.scoring.measures import TIE
from probe.scoring.metrics import gold_cells
from probe.text.axis import TokenAxis

PIECE, LONGEST_CHARACTER = "‹", 8  # how a byte begins as it is shown; letters of the longest emoji that is put behind
BREAK, NO_BREAK = "\u200b", "\u2060"  # where a line may end, and where it may not
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
    return framed(amap, gold, unit, window_at(amap.student, amap.teacher, start, size))


def framed(amap: AttentionMap, gold: Gold | None, unit: str, window: Window) -> Shown:
    """A window of a map that is in ``unit`` already."""
    return Shown(amap, gold, unit, window, map_cells(amap, gold, window))


@dataclass(frozen=True)
class Place:
    """Where a window begins: at target ``start`` of the longer side, or at ``row`` and ``column`` where these are set.

    Of two sides of which one is set, the other follows by bytes, so that both show the same text.
    """

    start: int = 0
    row: int | None = None
    column: int | None = None


def window_of(student: TokenAxis, teacher: TokenAxis, place: Place, rows: int, columns: int) -> Window:
    """The window of at most ``rows`` and ``columns`` at a place; it never leaves the map."""
    row, column = place.row, place.column
    if row is None and column is None:
        first = place.start
        if len(student) >= len(teacher):
            return _led(student, teacher, first, rows, columns)
        return _turned(_led(teacher, student, first, columns, rows))
    if column is None:
        return _led(student, teacher, row or 0, rows, columns)
    if row is None:
        return _turned(_led(teacher, student, column, columns, rows))
    return Window(_range(row, rows, len(student)), _range(column, columns, len(teacher)))


def window_at(student: TokenAxis, teacher: TokenAxis, start: int, size: int = SIZES[-1]) -> Window:
    """The window of at most ``size`` targets per side that begins at target ``start`` of the longer side.

    The shorter side follows by bytes, so that both show the same text.
    """
    return window_of(student, teacher, Place(start), size, size)


def _led(lead: TokenAxis, follow: TokenAxis, start: int, size: int, other: int) -> Window:
    """A window whose rows are ``size`` of ``lead`` from ``start``, and whose columns show the same text."""
    leading = _range(start, size, len(lead))
    first = 0 if leading[0] == 0 else _first_reaching(follow, lead.spans[leading[0]][0])
    if leading[1] == len(lead) and size >= other:
        first = len(follow)
    return Window(leading, _range(first, other, len(follow)))


def _range(start: int, size: int, length: int) -> tuple[int, int]:
    first = max(0, min(start, length - size))
    return first, min(first + size, length)


def _turned(window: Window) -> Window:
    return Window(window.columns, window.rows)


def overview(amap: AttentionMap, most: int = 48) -> pd.DataFrame:
    """The whole of a map, at most ``most`` blocks a side: ``row`` and ``column``, where each begins, the ends behind
    it, and ``weight``, the heaviest of the block."""
    edges = [np.linspace(0, size, min(size, most) + 1).astype(int) for size in amap.weights.shape]
    heaviest = np.maximum.reduceat(np.maximum.reduceat(amap.weights, edges[0][:-1], axis=0), edges[1][:-1], axis=1)
    rows, columns = (grid.ravel() for grid in np.mgrid[: heaviest.shape[0], : heaviest.shape[1]])
    return pd.DataFrame(
        {
            "row": edges[0][rows], "row_end": edges[0][rows + 1],
            "column": edges[1][columns], "column_end": edges[1][columns + 1],
            "weight": heaviest.ravel().astype(float).round(4),
        }
    )  # fmt: skip


def thinned(shown: Shown, least: float, heaviest: int) -> Shown:
    """The map with the cells of at least the weight ``least`` and at most the rank ``heaviest`` (0: any) alone, and
    with all gold links."""
    if not least and not heaviest:
        return shown
    cells = shown.cells
    keep = cells["weight"] >= least
    if heaviest:
        keep &= cells["rank"] <= heaviest
    return replace(shown, cells=cells[keep | cells["gold"].isin(["sure", "possible"])])


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


def labels(text: str, axis: TokenAxis) -> list[str]:
    """The tokens as they are shown, a byte piece with the character of which it is a part: ‹F0› 🙂."""
    if not any(PIECE in token for token in axis.tokens):
        return list(axis.tokens)
    data = text.encode("utf-8", "surrogatepass")
    spans = (None, *axis.spans, None)
    made = []
    for place, (token, span) in enumerate(zip(axis.tokens, axis.spans, strict=True), 1):
        shared = span[0] < span[1] and span in (spans[place - 1], spans[place + 1])
        whole = data[slice(*span)].decode("utf-8", "replace").strip() if shared and PIECE in token else ""
        made.append(f"{token} {whole}" if 0 < len(whole) <= LONGEST_CHARACTER else token)
    return made


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
    """Tokens in one line with a bar between them, to see where a tokenizer cuts; lines break behind bars alone."""
    return f"│{BREAK}".join(NO_BREAK.join(token) if any(map(_is_wide, token)) else token for token in tokens)


def _is_wide(letter: str) -> bool:
    """Whether a line may break beside a letter without any space: Chinese, Japanese and Korean ones."""
    return unicodedata.east_asian_width(letter) in "WF" and unicodedata.category(letter) == "Lo"
