"""What is drawn on the axes, layer by layer: cells, labels, gold outlines, marks, title, colour bar, legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.ticker import FixedFormatter, FixedLocator
from matplotlib.transforms import Affine2D, Bbox

from probe.plotting.fonts import em_width, font
from probe.plotting.layout import CELL, GAP, LINE, NAME, SUBTITLE, Sheet

# Weights run in one hue, gold in another, outcomes differ by shape: nothing hangs on telling two colours apart.
WEIGHTS = LinearSegmentedColormap.from_list(
    "weights", ["#f7fafd", "#d6e6f4", "#a6cde4", "#5fa6d1", "#2676b8", "#0b3f7d"]
)
GOLD, INK, MISS, GREY, GRID = "#d97706", "#0f172a", "#b91c1c", "#64748b", "#e2e8f0"
DASHES = (0, (2.2, 1.4))
# Outcome of a heaviest cell -> marker, its part of a cell's side, what the legend says.
MARKS = {
    "sure": ("o", 0.40, "sure link"),
    "possible": ("D", 0.32, "possible link"),
    "miss": ("x", 0.36, "miss"),
    "no gold": ("s", 0.22, "no link to hit"),
}


def draw_cells(
    ax: Axes, weights: np.ndarray, sheet: Sheet, *, cmap: Colormap | str, vmin: float, vmax: float
) -> QuadMesh:
    """The mesh [student, teacher] of weights, the first row on top, with its labels."""
    n, m = weights.shape
    mesh = ax.pcolormesh(weights, cmap=cmap, vmin=vmin, vmax=vmax, rasterized=weights.size > 2500, zorder=1)
    lines = [[(0, i), (m, i)] for i in range(1, n)] + [[(j, 0), (j, n)] for j in range(1, m)]
    ax.add_collection(LineCollection(lines, colors=GRID, linewidths=0.35, zorder=1.5), autolim=False)
    ax.set(xlim=(0, m), ylim=(n, 0), aspect="equal")
    for axis, labels in ((ax.xaxis, sheet.columns), (ax.yaxis, sheet.rows)):
        axis.set_major_locator(FixedLocator([k + 0.5 for k in range(len(labels))]))
        axis.set_major_formatter(FixedFormatter(list(labels)))
        axis.set_visible(False)
    for side in ("student", "teacher"):
        ax.add_artist(TokenLabels(sheet, side))
    for spine in ax.spines.values():
        spine.set(color=GREY, linewidth=0.6)
    return mesh


class TokenLabels(Artist):
    """All labels of one axis as one artist: a fifth of the time that ticks need (0.26 s for 150 labels, November 2026).

    The axis keeps its locator and formatter, so ``ax.get_yticklabels()`` says what is drawn here.
    """

    def __init__(self, sheet: Sheet, side: str) -> None:
        super().__init__()
        self._sheet, self._student = sheet, side == "student"
        self._labels = sheet.rows if self._student else sheet.columns
        self.set_zorder(3)

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        assert self.axes is not None and self.figure is not None
        box, points = self.axes.get_window_extent(renderer), self.figure.dpi / 72
        if self._student:
            return Bbox.from_extents(box.x0 - self._sheet.left * points, box.y0, box.x0, box.y1)
        return Bbox.from_extents(box.x0, box.y1, box.x1, box.y1 + self._sheet.up * points)

    def get_tightbbox(self, renderer: RendererBase | None = None) -> Bbox:
        return self.get_window_extent(renderer)

    def draw(self, renderer: RendererBase) -> None:
        assert self.axes is not None
        height = renderer.get_canvas_width_height()[1]
        points: Any = renderer.points_to_pixels(1.0)
        up = -1 if renderer.flipy() else 1
        gc, size = renderer.new_gc(), self._sheet.font
        gc.set_foreground(INK)
        gap, middle = GAP * points, 0.36 * size * points  # from the baseline to the middle of a letter
        middles = np.arange(len(self._labels)) + 0.5
        edge = np.zeros_like(middles)
        places: Any = np.stack([edge, middles] if self._student else [middles, edge], axis=1)
        places = self.axes.transData.transform(places)
        for label, (x, y) in zip(self._labels, places.tolist(), strict=True):
            y = height - y if renderer.flipy() else y
            if self._student:
                x -= gap + self._sheet.label_width(label) * points
                renderer.draw_text(gc, x, y - up * middle, label, font(size, label), 0)
            else:
                renderer.draw_text(gc, x + middle, y + up * gap, label, font(size, label), 90)
        gc.restore()


def draw_gold(ax: Axes, sure: np.ndarray, possible: np.ndarray, sheet: Sheet) -> None:
    """Outline gold cells: the collection labelled ``possible`` thin and dashed, the one labelled ``sure`` solid."""
    corners = np.array([(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)])
    thick = min(sheet.cell / CELL[0], 1.3)
    for name, cells, style, wide in (("possible", possible & ~sure, DASHES, 0.8), ("sure", sure, "-", 1.3)):
        outline = PolyCollection(
            np.argwhere(cells)[:, None, ::-1] + corners,
            facecolors="none", edgecolors=GOLD, linestyles=[style], linewidths=wide * thick, zorder=2, label=name,
        )  # fmt: skip
        ax.add_collection(outline, autolim=False)


def draw_marks(ax: Axes, outcomes: dict[str, np.ndarray], sheet: Sheet) -> None:
    """Mark cells by outcome (a key of ``MARKS``); each shape is a collection labelled ``mark: <outcome>``."""
    for name, cells in outcomes.items():
        rows, columns = np.nonzero(cells)
        marker, part, _ = MARKS[name]
        size: dict[str, Any] = {"s": (part * sheet.cell) ** 2, "marker": marker, "zorder": 4}
        size |= {"x": columns + 0.5, "y": rows + 0.5}
        if name == "miss":  # a cross has no edge; the white one under it shows on dark cells
            ax.scatter(**size, c="white", linewidths=2.6)
            ax.scatter(**size, c=MISS, linewidths=1.3, label=f"mark: {name}")
        else:
            ax.scatter(**size, c="white", edgecolors=INK, linewidths=0.8, label=f"mark: {name}")


def draw_names(ax: Axes, sheet: Sheet) -> None:
    """Names of the axes outside the labels, the title's head, and its other lines as the text with gid ``subtitle``."""
    ax.set_xlabel(sheet.column_name, parse_math=False)
    ax.set_ylabel(sheet.row_name, parse_math=False)
    style: dict[str, Any] = {
        "xycoords": "axes fraction", "textcoords": "offset points", "color": GREY, "parse_math": False,
        "annotation_clip": False,
    }  # fmt: skip
    name = sheet.column_name
    ax.annotate(name, (0, 1), (0, sheet.up - NAME + 4), font=font(8, name), va="bottom", **style)
    # Rotated, a left arrow points down. A name longer than the rows grows upwards from their end.
    name, short = f"← {sheet.row_name[:-2]}", sheet.name_length > sheet.cell * len(sheet.rows)
    ax.annotate(
        name, (0, 0 if short else 1), (NAME - sheet.left - 4, 0), font=font(8, name), rotation=90, ha="right",
        va="bottom" if short else "top", **style,
    )  # fmt: skip
    body, above = sheet.title[1:], sheet.up + 7
    ax.annotate(
        "\n".join(body), (sheet.shift, 1), (0, above), font=font(SUBTITLE, "".join(body)), va="bottom", linespacing=1.4,
        gid="subtitle", **style,
    )  # fmt: skip
    head = ax.set_title(sheet.title[0], loc="left", y=1.0, pad=above + LINE * len(body) + 5, color=INK)
    head.set(parse_math=False, font=font(10.5, bold=True), x=sheet.shift)


def draw_colorbar(ax: Axes, mesh: QuadMesh, sheet: Sheet, label: str) -> None:
    """The colour scale, right of the cells and no higher than needed."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    if sheet.own:
        box, (width, height) = ax.get_position(), figure.get_size_inches() * 72
        high = min(130.0, sheet.cell * len(sheet.rows))
        cax = figure.add_axes((box.x1 + 14 / width, box.y1 - high / height, 9 / width, high / height))
        bar = figure.colorbar(mesh, cax=cax)
    else:
        bar = figure.colorbar(mesh, ax=ax, shrink=0.5)
    low, high = mesh.get_clim()
    bar.set_ticks([low, (low + high) / 2, high])
    bar.set_label(label, font=font(8, label), color=GREY)
    bar.ax.tick_params(labelsize=7.5, length=2, colors=GREY)
    bar.outline.set(linewidth=0.4, color=GREY)  # type: ignore[operator]


def draw_legend(ax: Axes, sheet: Sheet, direction: str, *, marks: bool) -> None:
    """What the outlines and the marks mean: the artist with gid ``legend``."""
    entries = [Entry("gold: sure", SQUARE, GOLD, 1.3, 9.0), Entry("gold: possible", SQUARE, GOLD, 0.9, 9.0, DASHES[1])]
    if marks:
        entries.append(Entry(f"heaviest of its {'row' if direction == 't2s' else 'column'}:"))
        for name, (marker, part, label) in MARKS.items():
            style = MarkerStyle(marker)
            path = style.get_path().transformed(style.get_transform())
            entries.append(Entry(label, path, MISS if name == "miss" else INK, 1.0, 17 * part))
    ax.add_artist(LegendStrip(sheet, tuple(entries)))


SQUARE = Path([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])


@dataclass(frozen=True)
class Entry:
    """A line of the legend: a label after a path of unit size, drawn ``size`` points large."""

    label: str
    path: Path | None = None
    color: str = GREY
    width: float = 0.0
    size: float = 0.0
    dashes: tuple[float, ...] | None = None


class LegendStrip(Artist):
    """The legend in one line below the cells; matplotlib's own takes a seventh of all time to find its layout."""

    SIZE, BELOW, SIGN, SPACE = 7.0, 16.0, 12.0, 13.0  # points: text, distance to the cells, room of a sign, gap

    def __init__(self, sheet: Sheet, entries: tuple[Entry, ...]) -> None:
        super().__init__()
        self._sheet, self.entries = sheet, entries
        self.set(gid="legend", zorder=3)

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        assert self.axes is not None and self.figure is not None
        box, points = self.axes.get_window_extent(renderer), self.figure.dpi / 72
        length = sum(self._advance(entry) for entry in self.entries) * points
        x = box.x0 + self._sheet.shift * box.width
        return Bbox.from_extents(x, box.y0 - 1.5 * self.BELOW * points, x + length, box.y0)

    def get_tightbbox(self, renderer: RendererBase | None = None) -> Bbox:
        return self.get_window_extent(renderer)

    def _advance(self, entry: Entry) -> float:
        return (self.SIGN if entry.path is not None else 0) + em_width(entry.label) * self.SIZE + self.SPACE

    def draw(self, renderer: RendererBase) -> None:
        box, height = self.get_window_extent(renderer), renderer.get_canvas_width_height()[1]
        points: Any = renderer.points_to_pixels(1.0)
        x, y = box.x0 + 2 * points, box.y1 - self.BELOW * points
        for entry in self.entries:
            start = x + (self.SIGN * points if entry.path is not None else 0)
            if entry.path is not None:
                self._draw_sign(renderer, entry, x + 4 * points, y, points)
            gc = renderer.new_gc()
            gc.set_foreground(GREY)
            baseline = y - 0.36 * self.SIZE * points
            baseline = height - baseline if renderer.flipy() else baseline
            renderer.draw_text(gc, start, baseline, entry.label, font(self.SIZE, entry.label), 0)
            gc.restore()
            x += self._advance(entry) * points

    @staticmethod
    def _draw_sign(renderer: RendererBase, entry: Entry, x: float, y: float, points: float) -> None:
        assert entry.path is not None
        gc = renderer.new_gc()
        gc.set_foreground(entry.color)
        gc.set_linewidth(entry.width)
        if entry.dashes:
            gc.set_dashes(0, [length * entry.width for length in entry.dashes])
        renderer.draw_path(gc, entry.path, Affine2D().scale(entry.size * points).translate(x, y))
        gc.restore()
