"""What is drawn on the axes, layer by layer: cells, labels, gold outlines, marks, pin, title, colour bar."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.ticker import FixedFormatter, FixedLocator
from matplotlib.transforms import Bbox

from probe.plotting.fonts import font
from probe.plotting.layout import CELL, GAP, LINE, NAME, SUBTITLE, Sheet

# Weights run in one hue, gold in another, outcomes differ by shape: nothing hangs on telling two colours apart.
WEIGHTS = LinearSegmentedColormap.from_list(
    "weights", ["#f7fafd", "#d6e6f4", "#a6cde4", "#5fa6d1", "#2676b8", "#0b3f7d"]
)
GOLD, INK, MISS, GREY, GRID = "#d97706", "#0f172a", "#b91c1c", "#64748b", "#e2e8f0"
SIDES = ("student", "teacher")
DASHES = (0, (2.2, 1.4))
# Of words beside the cells: placed in points from a corner of the axes.
BESIDE: dict[str, Any] = {
    "xycoords": "axes fraction", "textcoords": "offset points", "color": GREY, "parse_math": False,
    "annotation_clip": False,
}  # fmt: skip
# Outcome of a heaviest cell -> marker, its part of a cell's side, what the legend says.
MARKS = {
    "sure": ("o", 0.40, "sure link"),
    "possible": ("D", 0.32, "possible link"),
    "miss": ("x", 0.36, "miss"),
    "no gold": ("s", 0.22, "no link to hit"),
}


def draw_cells(
    ax: Axes, weights: np.ndarray, sheet: Sheet, *, cmap: Colormap | str, vmin: float, vmax: float,
    labelled: Collection[str] = SIDES,
) -> QuadMesh:  # fmt: skip
    """The mesh [student, teacher] of weights, the first row on top, with the labels of the sides ``labelled``."""
    n, m = weights.shape
    mesh = ax.pcolormesh(weights, cmap=cmap, vmin=vmin, vmax=vmax, rasterized=weights.size > 2500, zorder=1)
    lines = [[(0, i), (m, i)] for i in range(1, n)] + [[(j, 0), (j, n)] for j in range(1, m)]
    ax.add_collection(LineCollection(lines, colors=GRID, linewidths=0.35, zorder=1.5), autolim=False)
    ax.set(xlim=(0, m), ylim=(n, 0), aspect="equal")
    for axis, labels in ((ax.xaxis, sheet.columns), (ax.yaxis, sheet.rows)):
        axis.set_major_locator(FixedLocator([k + 0.5 for k in range(len(labels))]))
        axis.set_major_formatter(FixedFormatter(list(labels)))
        axis.set_visible(False)
    for side in labelled:
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
    draw_axis_names(ax, sheet)
    body, above = sheet.title[1:], sheet.up + 7
    ax.annotate(
        "\n".join(body), (sheet.shift, 1), (0, above), font=font(SUBTITLE, "".join(body)), va="bottom", linespacing=1.4,
        gid="subtitle", **BESIDE,
    )  # fmt: skip
    head = ax.set_title(sheet.title[0], loc="left", y=1.0, pad=above + LINE * len(body) + 5, color=INK)
    head.set(parse_math=False, font=font(10.5, bold=True), x=sheet.shift)


def draw_axis_names(ax: Axes, sheet: Sheet, *, size: float = 8.0, named: Collection[str] = SIDES) -> None:
    """Names of the axes ``named``, outside the labels, ``size`` points high."""
    ax.set_xlabel(sheet.column_name, parse_math=False)
    ax.set_ylabel(sheet.row_name, parse_math=False)
    if "teacher" in named:
        name = sheet.column_name
        ax.annotate(name, (0, 1), (0, sheet.up - NAME + 4), font=font(size, name), va="bottom", **BESIDE)
    if "student" in named:
        # Rotated, a left arrow points down. A name longer than the rows grows upwards from their end.
        name, short = f"← {sheet.row_name[:-2]}", sheet.name_length > sheet.cell * len(sheet.rows)
        ax.annotate(
            name, (0, 0 if short else 1), (NAME - sheet.left - 4, 0), font=font(size, name), rotation=90, ha="right",
            va="bottom" if short else "top", **BESIDE,
        )  # fmt: skip


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


def draw_pin(ax: Axes, cell: tuple[int, int], sheet: Sheet) -> None:
    """A frame around ``cell`` (row and column of the cells drawn), and one around its row and its column."""
    row, column = cell
    boxes = [(0, row, len(sheet.columns), 1), (column, 0, 1, len(sheet.rows)), (column, row, 1, 1)]
    frames = [[(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)] for x, y, wide, high in boxes]
    ax.add_collection(
        PolyCollection(
            frames, facecolors="none", edgecolors=INK, linewidths=[0.6, 0.6, 1.6], zorder=2.5, clip_on=False,
            label="pin",
        ),
        autolim=False,
    )  # fmt: skip
