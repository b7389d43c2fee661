"""The plan of a figure: which part of a map is shown, what the labels and the title say, and where everything goes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from probe.errors import UsageError
from probe.maps.attention_map import AttentionMap
from probe.plotting.fonts import em_width, glyphs
from probe.plotting.labels import elide, readable, wrap
from probe.scoring.metrics import MapScore
from probe.text.axis import TokenAxis

LABEL_COLUMNS = 16  # longer tokens are elided
TEXT_COLUMNS = 90  # so is a longer text, in the title
DPI = 110  # at the smallest cell a label is 11 pixels high
CELL = (12.0, 22.0)  # points
FONT = (5.0, 10.0)
GAP = 4.0  # points between a label and the cells
SUBTITLE = 7.5
LINE = 1.4 * SUBTITLE
NAME = 14.0  # the strip of an axis name
RIGHT, BOTTOM = 64.0, 32.0  # for the colour bar and the legend
PIN = 12.0  # more for what a legend says of the pin
NARROWEST = 560.0  # what the legend needs
TARGET = "target"  # what a row and a column are, unless they are groups of tokens
SUMS = {"t2s": "each student row sums to 1", "s2t": "each teacher column sums to 1"}


CellRanges = tuple[tuple[int, int], tuple[int, int]]  # half-open ranges of student rows and of teacher columns


@dataclass(frozen=True)
class View:
    """The student rows and teacher columns that are shown; ``note`` says so when that is not all.

    ``unit``: what a row and a column are, in words.
    """

    rows: slice
    columns: slice
    note: str = ""
    unit: str = TARGET

    @classmethod
    def of(cls, amap: AttentionMap, max_tokens: int, window: CellRanges | None = None, unit: str = TARGET) -> View:
        """The ``window``; else everything, or the start of the text up to where one side has ``max_tokens``.

        Raises:
            UsageError: the window is empty or leaves the map.
        """
        n, m = amap.weights.shape
        if window is None:
            window = _beginning(amap, max_tokens)
        (top, bottom), (left, right) = window
        if not (0 <= top < bottom <= n and 0 <= left < right <= m):
            raise UsageError(f"the window {window} is empty or leaves a map of {n} × {m} targets.")
        if (bottom - top, right - left) == (n, m):
            return cls(slice(0, n), slice(0, m), unit=unit)
        note = f"cut: student {unit}s {top}–{bottom - 1} of {n}, teacher {unit}s {left}–{right - 1} of {m}"
        return cls(slice(top, bottom), slice(left, right), note, unit)

    @property
    def cells(self) -> tuple[slice, slice]:
        return self.rows, self.columns

    def inside(self, cell: tuple[int, int]) -> tuple[int, int]:
        """A cell of the map, counted from the corner of what is shown. Raises UsageError where it is not shown."""
        parts = list(zip(cell, self.cells, strict=True))
        if not all(part.start <= at < part.stop for at, part in parts):
            shown = " and ".join(f"{part.start}–{part.stop - 1}" for part in self.cells)
            raise UsageError(f"the pin {cell[0]}.{cell[1]} is not among student and teacher targets {shown}.")
        row, column = (at - part.start for at, part in parts)
        return row, column


def _beginning(amap: AttentionMap, max_tokens: int) -> CellRanges:
    n, m = amap.weights.shape
    return part_of(amap, ((0, n), (0, m)), max_tokens)


def part_of(amap: AttentionMap, window: CellRanges, max_tokens: int) -> CellRanges:
    """The beginning of ``window`` with at most ``max_tokens`` a side, where both sides show the same text."""
    if max(end - start for start, end in window) <= max_tokens:
        return window
    sides = [[start for start, _ in axis.spans[:end]] for axis, (_, end) in zip(_axes(amap), window, strict=True)]
    cuts = [
        side[start + max_tokens] for side, (start, end) in zip(sides, window, strict=True) if start + max_tokens < end
    ]
    end = min(cuts, default=math.inf)
    (top, bottom), (left, right) = (
        (first, min(max(first + 1, sum(start < end for start in side)), first + max_tokens, last))
        for side, (first, last) in zip(sides, window, strict=True)
    )
    return (top, bottom), (left, right)


def part_around(window: CellRanges, cell: tuple[int, int], max_tokens: int) -> CellRanges:
    """The part of ``window`` with at most ``max_tokens`` a side that has ``cell`` [student, teacher] in its middle."""
    starts = [
        max(first, min(at - max_tokens // 2, last - max_tokens)) for at, (first, last) in zip(cell, window, strict=True)
    ]
    rows, columns = ((start, min(start + max_tokens, last)) for start, (_, last) in zip(starts, window, strict=True))
    return rows, columns


def _axes(amap: AttentionMap) -> tuple[TokenAxis, TokenAxis]:
    return amap.student, amap.teacher


def tiles(amap: AttentionMap, max_tokens: int) -> list[CellRanges]:
    """Windows of at most ``max_tokens`` a side that follow the text from its start to its end; every target is in one.

    Both sides of a window show the same text; a last window repeats a target where one side has ended before the other.
    """
    n, m = amap.weights.shape
    found: list[CellRanges] = []
    at = (0, 0)
    while at[0] < n or at[1] < m:
        found.append(part_of(amap, ((min(at[0], n - 1), n), (min(at[1], m - 1), m)), max_tokens))
        at = (found[-1][0][1], found[-1][1][1])
    return found


def axis_names(amap: AttentionMap, view: View) -> tuple[str, str]:
    """What rows and columns are, and how many the map has."""
    return f"student {view.unit}s ({len(amap.student)}) ↓", f"teacher {view.unit}s ({len(amap.teacher)}) →"


@dataclass(frozen=True)
class Sheet:
    """A figure's plan; lengths are in points.

    Attributes:
        rows, columns: labels as drawn.
        row_name, column_name: names of the axes.
        title: its lines; the first is the head.
        cell: side of a cell. font: size of a label.
        own: the figure is ours, so everything has the room it needs. bottom: room below the cells.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_name: str
    column_name: str
    title: tuple[str, ...]
    cell: float
    font: float
    own: bool
    bottom: float = BOTTOM

    @classmethod
    def of(cls, amap: AttentionMap, view: View, title: str, ax: Axes | None, *, pinned: bool = False) -> Sheet:
        known = glyphs()
        rows, columns = (
            tuple(elide(readable(token, known), LABEL_COLUMNS) for token in axis.tokens[part])
            for axis, part in ((amap.student, view.rows), (amap.teacher, view.columns))
        )
        cell = _cell_size(ax, len(rows), len(columns))
        room = int((max(cell * len(columns), NARROWEST - RIGHT - 90) + 90) / (0.602 * SUBTITLE))
        head, *others = (readable(line, known) for line in title.split("\n"))
        lines = [elide(head, int(room * 0.7)), *(part for line in others for part in wrap(line.split(" · "), room))]
        return cls(
            rows, columns, *axis_names(amap, view), tuple(lines), cell,
            min(max(0.62 * cell, FONT[0]), FONT[1]), ax is None,
            BOTTOM + PIN * pinned,
        )  # fmt: skip

    def label_width(self, label: str) -> float:
        return em_width(label) * self.font

    @property
    def left(self) -> float:
        """From the cells to the left edge of the axis name."""
        return max(map(self.label_width, self.rows)) + GAP + NAME

    @property
    def up(self) -> float:
        """From the cells to the upper edge of the axis names."""
        labels = max(map(self.label_width, self.columns)) + GAP + NAME
        return max(labels, self.name_length - self.cell * len(self.rows))

    @property
    def name_length(self) -> float:
        """What the rows' name, which is written upwards, needs."""
        return em_width(self.row_name) * 8

    @property
    def shift(self) -> float:
        """Where title and legend begin, to the right of the cells' left edge, in widths of the axes."""
        return -self.left / (self.cell * len(self.columns)) if self.own else 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the cells with all that is around them."""
        wide = self.left + 10 + self.cell * len(self.columns) + RIGHT
        return max(wide, NARROWEST), self._top + self.cell * len(self.rows) + self.bottom

    @property
    def _top(self) -> float:
        return self.up + LINE * (len(self.title) - 1) + (40 if any(self.title) else 12)

    def axes(self) -> Axes:
        """New axes in a new figure that has room for the rest."""
        return self.place(new_figure(*self.size), 0.0, 0.0)

    def place(self, figure: Figure, x: float, y: float) -> Axes:
        """New axes in a figure that is large enough: ``x`` and ``y`` are the upper left corner of all that is drawn."""
        width, height = figure.get_size_inches() * 72
        wide, high = self.cell * len(self.columns), self.cell * len(self.rows)
        bottom = height - y - self._top - high
        return figure.add_axes(((x + self.left + 10) / width, bottom / height, wide / width, high / height))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size, without pyplot."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _cell_size(ax: Axes | None, rows: int, columns: int) -> float:
    if ax is None:
        return min(max(430 / max(rows, columns), CELL[0]), CELL[1])
    figure = ax.get_figure(root=True)
    assert figure is not None
    box = ax.get_window_extent()
    return min(box.width / columns, box.height / rows) * 72 / figure.dpi


def map_title(amap: AttentionMap, score: MapScore | None = None, note: str = "") -> str:
    """The lines of a title: the example; how its map was made; what is cut (``note``); the scores; the text."""
    made = (amap.checkpoint, f"method {amap.method}", f"{amap.direction}: {SUMS[amap.direction]}")
    lines = [_one_line(amap.example_id), " · ".join((*made, f"normalisation {amap.normalisation}"))]
    notes = [note, "the text was truncated before extraction" if amap.truncated else ""]
    lines += [" · ".join(filter(None, notes))] if any(notes) else []
    lines += [_scores(score)] if score is not None else []
    return "\n".join([*lines, f"text: {elide(_one_line(amap.text), TEXT_COLUMNS)}"])


def _one_line(text: str) -> str:
    return text.replace("\n", "⏎")


def _scores(score: MapScore) -> str:
    parts = (
        f"top-1 {score.top1_sure:.2f} sure, {score.top1_possible:.2f} possible",
        f"gold mass {score.gold_mass_sure:.2f} sure, {score.gold_mass_possible:.2f} possible",
        f"chunk {score.chunk_accuracy:.2f}",
        f"reciprocal rank {score.reciprocal_rank:.2f}",
        f"{score.n_tied} of {score.n_positions} positions tied (top-1 at most {score.ceiling_possible:.2f})",
    )
    return " · ".join(parts).replace("nan", "–")
