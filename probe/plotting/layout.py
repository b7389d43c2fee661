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
NARROWEST = 560.0  # what the legend needs
SUMS = {"t2s": "each student row sums to 1", "s2t": "each teacher column sums to 1"}


CellRanges = tuple[tuple[int, int], tuple[int, int]]  # half-open ranges of student rows and of teacher columns


@dataclass(frozen=True)
class View:
    """The student rows and teacher columns that are shown; ``note`` says so when that is not all."""

    rows: slice
    columns: slice
    note: str = ""

    @classmethod
    def of(cls, amap: AttentionMap, max_tokens: int, window: CellRanges | None = None) -> View:
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
            return cls(slice(n), slice(m))
        note = f"cut: student targets {top}–{bottom - 1} of {n}, teacher targets {left}–{right - 1} of {m}"
        return cls(slice(top, bottom), slice(left, right), note)

    @property
    def cells(self) -> tuple[slice, slice]:
        return self.rows, self.columns


def _beginning(amap: AttentionMap, max_tokens: int) -> CellRanges:
    n, m = amap.weights.shape
    if max(n, m) <= max_tokens:
        return (0, n), (0, m)
    axes = (amap.student, amap.teacher)
    end = min(axis.spans[max_tokens][0] for axis in axes if len(axis) > max_tokens)
    rows, columns = (max(1, min(max_tokens, sum(start < end for start, _ in axis.spans))) for axis in axes)
    return (0, rows), (0, columns)


def tiles(amap: AttentionMap, max_tokens: int) -> list[CellRanges]:
    """Windows of at most ``max_tokens`` a side that follow the text from its start to its end; every target is in one.

    Both sides of a window show the same text; a last window repeats a target where one side has ended before the other.
    """
    n, m = amap.weights.shape
    starts = [[start for start, _ in axis.spans] for axis in (amap.student, amap.teacher)]
    found: list[CellRanges] = []
    at = [0, 0]
    while at[0] < n or at[1] < m:
        at = [min(at[0], n - 1), min(at[1], m - 1)]
        cuts = [side[k + max_tokens] for side, k in zip(starts, at, strict=True) if k + max_tokens < len(side)]
        end = min(cuts, default=math.inf)
        ends = [
            min(max(k + 1, sum(start < end for start in side)), k + max_tokens, len(side))
            for side, k in zip(starts, at, strict=True)
        ]
        found.append(((at[0], ends[0]), (at[1], ends[1])))
        at = ends
    return found


@dataclass(frozen=True)
class Sheet:
    """A figure's plan; lengths are in points.

    Attributes:
        rows, columns: labels as drawn.
        row_name, column_name: names of the axes.
        title: its lines; the first is the head.
        cell: side of a cell. font: size of a label.
        own: the figure is ours, so everything has the room it needs.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_name: str
    column_name: str
    title: tuple[str, ...]
    cell: float
    font: float
    own: bool

    @classmethod
    def of(cls, amap: AttentionMap, view: View, title: str, ax: Axes | None) -> Sheet:
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
            rows, columns, f"student targets ({len(amap.student)}) ↓", f"teacher targets ({len(amap.teacher)}) →",
            tuple(lines), cell, min(max(0.62 * cell, FONT[0]), FONT[1]), ax is None,
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
        return max(wide, NARROWEST), self._top + self.cell * len(self.rows) + BOTTOM

    @property
    def _top(self) -> float:
        return self.up + LINE * (len(self.title) - 1) + 40

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
