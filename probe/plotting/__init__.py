"""Heatmaps of attention maps: values where they belong, gold outlined, hits and misses told apart by their shape.

The only room that imports matplotlib. It never touches pyplot, so it works in threads, servers and worker processes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from probe.errors import DataError, UsageError
from probe.files import atomic_file
from probe.gold.reading import Gold, Link
from probe.maps.attention_map import AttentionMap, by_rows
from probe.plotting import layers
from probe.plotting import legend as key
from probe.plotting.fonts import glyphs
from probe.plotting.labels import elide, readable
from probe.plotting.layout import DPI, TARGET, CellRanges, Sheet, View, map_title, new_figure
from probe.scoring.measures import TIE, heaviest_shares
from probe.scoring.metrics import MapScore, gold_cells, score_map

__all__ = ["attention_heatmap", "difference_heatmap", "figure_bytes", "heatmap_grid", "map_title", "save_figure"]

FORMATS = ("png", "svg", "pdf")
MAX_TOKENS = 160  # a side; more are cut, and the title says so
GRID_COLUMNS = 3


@dataclass(frozen=True)
class Spot:
    """Where in a larger figure a heatmap goes: its upper left corner, in points from the figure's."""

    figure: Figure
    x: float
    y: float


def attention_heatmap(
    amap: AttentionMap,
    *,
    gold: Gold | None = None,
    score: MapScore | None = None,
    ax: Axes | Spot | None = None,
    vmax: float = 1.0,
    cmap: Colormap | str = layers.WEIGHTS,
    title: str | None = None,
    highlight: bool = True,
    colorbar: bool = True,
    legend: bool = True,
    max_tokens: int = MAX_TOKENS,
    window: CellRanges | None = None,
    pin: Link | None = None,
    unit: str = TARGET,
) -> Axes:
    """Draw a map: rows are student targets from the top, columns are teacher targets from the left.

    Args:
        amap: the map to draw; its values are drawn as they are, cell [i, j] at row i and column j.
        gold: sure links get a solid outline, possible ones a thin dashed one; scores go into the title.
        score: what the title says; by default the map is scored against ``gold``.
        ax: where to draw; by default a new figure whose size grows with the tokens (``save_figure`` writes it). A
            :class:`Spot` is a corner of a larger figure.
        vmax: weight of the darkest colour. The scale starts at 0 and is the same for all maps.
        cmap: colours of the weights.
        title: replaces the title lines of :func:`map_title`; the first line is the head. "": no title.
        highlight: mark the heaviest cells of each row (t2s) or column (s2t), ties within 1e-6 included, as sure link
            (circle), possible link (diamond), miss (cross) or nothing to hit (square). Needs ``gold``.
        colorbar, legend: whether they are drawn.
        max_tokens: a side with more is cut where both sides show the same text; the title says so.
        window: show just these ranges of rows and columns; scores and marks stay those of the whole map.
        unit: what a row and a column are: target, or what targets are grouped into.
        pin: a cell [student, teacher] of the whole map to frame, with its row and its column.

    Returns:
        The axes. Its first collection is the mesh of weights; its tick labels are the tokens as they are drawn.

    Raises:
        DataError: the gold is for another text or other tokens.
        UsageError: ``vmax`` is not positive, the window is empty or leaves the map, or the pin is not in it.
    """
    _check_scale(vmax)
    sure, possible = gold_cells(amap, gold)
    view = View.of(amap, max_tokens, window, unit)
    if title is None:
        title = map_title(amap, score_map(amap, gold) if score is None and gold is not None else score, view.note)
    sheet = Sheet.of(amap, view, title, None if isinstance(ax, Spot) else ax, pinned=pin is not None)
    ax = sheet.axes() if ax is None else sheet.place(ax.figure, ax.x, ax.y) if isinstance(ax, Spot) else ax
    mesh = layers.draw_cells(ax, amap.weights[view.cells], sheet, cmap=cmap, vmin=0.0, vmax=vmax)
    if gold is not None:
        layers.draw_gold(ax, sure[view.cells], possible[view.cells], sheet)
        if highlight:
            layers.draw_marks(ax, {k: v[view.cells] for k, v in outcomes(amap, sure, possible).items()}, sheet)
    entries = key.gold_entries(amap.direction, marks=highlight) if gold is not None else []
    if pin is not None:
        entries.append(draw_pin(ax, amap, pin, view, sheet, amap.weights[pin]))
    if legend and entries:
        key.draw_legend(ax, sheet, entries)
    layers.draw_names(ax, sheet)
    if colorbar:
        layers.draw_colorbar(ax, mesh, sheet, "weight")
    return ax


def draw_pin(ax: Axes, amap: AttentionMap, pin: Link, view: View, sheet: Sheet, weight: float | None) -> key.Entry:
    """Frame the cell ``pin``; returns what the legend says of it."""
    row, column = view.inside(pin)
    layers.draw_pin(ax, (row, column), sheet)
    return key.pin_entry(sheet.rows[row], sheet.columns[column], weight)


def heatmap_grid(
    maps: Sequence[AttentionMap],
    *,
    gold: Gold | None = None,
    vmax: float = 1.0,
    max_tokens: int = MAX_TOKENS,
    columns: int = GRID_COLUMNS,
    titled: bool = True,
    **options: Any,
) -> Figure:
    """Draw maps of one example side by side, on one scale, in rows of at most ``columns``.

    Without titles, each map has its checkpoint's name alone. ``options`` are those of :func:`attention_heatmap`.
    :func:`probe.plotting.paper.paper_figure`
    draws a grid with one legend and one colour bar.

    Raises:
        UsageError: no map. DataError: the gold is for other tokens.
    """
    if not maps:
        raise UsageError("a grid needs at least one map.")
    options |= {"gold": gold, "max_tokens": max_tokens}
    titles = [None if titled else amap.checkpoint for amap in maps]
    alone = [
        attention_heatmap(amap, title=title, **options).get_figure(root=True)
        for amap, title in zip(maps, titles, strict=True)
    ]
    sizes = [tuple(72 * side for side in figure.get_size_inches()) for figure in alone if figure is not None]
    wide, high = (max(size[side] for size in sizes) for side in (0, 1))
    across = min(len(maps), columns)
    figure = new_figure(across * wide, -(-len(maps) // across) * high)
    for number, amap in enumerate(maps):
        spot = Spot(figure, number % across * wide, number // across * high)
        attention_heatmap(amap, vmax=vmax, ax=spot, title=titles[number], **options)
    return figure


def difference_heatmap(
    first: AttentionMap,
    second: AttentionMap,
    *,
    gold: Gold | None = None,
    ax: Axes | None = None,
    vmax: float = 1.0,
    cmap: Colormap | str = "PRGn",
    max_tokens: int = MAX_TOKENS,
    window: CellRanges | None = None,
    pin: Link | None = None,
    unit: str = TARGET,
    title: str | None = None,
) -> Axes:
    """Draw ``first`` − ``second`` on a scale from −``vmax`` to ``vmax``; the lightest colour is no difference.

    The dashboard's page Compare has this sign too: a run (``first``) minus the reference (``second``).

    Raises:
        DataError: the maps have other tokens or another direction, or the gold is for other tokens.
        UsageError: ``vmax`` is not positive, or the pin is outside the window.
    """
    _check_scale(vmax)
    check_comparable(first, second)
    sure, possible = gold_cells(first, gold)
    view = View.of(first, max_tokens, window, unit)
    names = [f"{a.checkpoint} ({a.method}, {a.normalisation})" for a in (first, second)]
    if title is None:
        title = "\n".join(filter(None, [first.example_id, f"{names[0]} − {names[1]} · {first.direction}", view.note]))
    sheet = Sheet.of(first, view, title, ax, pinned=pin is not None)
    ax = sheet.axes() if ax is None else ax
    change = first.weights - second.weights
    mesh = layers.draw_cells(ax, change[view.cells], sheet, cmap=cmap, vmin=-vmax, vmax=vmax)
    if gold is not None:
        layers.draw_gold(ax, sure[view.cells], possible[view.cells], sheet)
    entries = key.gold_entries(first.direction, marks=False) if gold is not None else []
    if pin is not None:
        entries.append(draw_pin(ax, first, pin, view, sheet, change[pin]))
    if entries:
        key.draw_legend(ax, sheet, entries)
    layers.draw_names(ax, sheet)
    layers.draw_colorbar(ax, mesh, sheet, "difference of weights" if title else difference_label(first, second))
    return ax


def difference_label(first: AttentionMap, second: AttentionMap, columns: int = 20) -> str:
    """What is subtracted from what, for a picture without a title; a name has at most so many columns."""
    names = (elide(readable(amap.checkpoint, glyphs()), columns) for amap in (first, second))
    return "weight: {} − {}".format(*names)


def check_comparable(first: AttentionMap, second: AttentionMap) -> None:
    """Raise DataError for maps that cannot be subtracted: of other tokens or another direction."""
    if (first.student.tokens, first.teacher.tokens) != (second.student.tokens, second.teacher.tokens):
        ids = f"{first.example_id!r} and {second.example_id!r}"
        raise DataError(f"maps of {ids} have different tokens; wanted two maps of one example and one pair.")
    if first.direction != second.direction:
        raise DataError(f"cannot subtract a {second.direction} map from a {first.direction} map; choose one direction.")


def outcomes(amap: AttentionMap, sure: np.ndarray, possible: np.ndarray) -> dict[str, np.ndarray]:
    """Cells [student, teacher] that are a heaviest one of their line, by what they hit: a key of ``layers.MARKS``."""
    best = by_rows(amap, heaviest_shares(by_rows(amap, amap.weights), TIE) > 0)
    gold = sure | possible
    linked = np.broadcast_to(gold.any(axis=1 if amap.direction == "t2s" else 0, keepdims=True), best.shape)
    kinds = {"sure": sure, "possible": possible & ~sure, "miss": linked & ~gold, "no gold": ~linked}
    return {name: best & kind for name, kind in kinds.items()}


def save_figure(ax: Axes | Figure, path: Path | str, *, dpi: int = DPI, svg_text: bool = False) -> Path:
    """Write the figure to ``path`` atomically; png, svg or pdf by its suffix. The same figure gives the same bytes.

    ``svg_text``: an SVG keeps its text as text, which the reader's fonts draw, not as shapes.

    Raises:
        UsageError: another suffix.
        DiskError: the disk is full; ``path`` is as it was.
    """
    path = Path(path)
    form = path.suffix.lower().lstrip(".")
    if form not in FORMATS:
        raise UsageError(f"{path}: wanted a file name that ends with .{', .'.join(FORMATS)}.")
    with atomic_file(path) as part:
        part.write_bytes(figure_bytes(ax, form, dpi=dpi, svg_text=svg_text))
    return path


def figure_bytes(ax: Axes | Figure, form: str, *, dpi: int = DPI, svg_text: bool = False) -> bytes:
    """The figure as a png, svg or pdf file in memory; the same figure gives the same bytes: no date, no random ids.

    Fonts are embedded as TrueType (type 42): journals refuse matplotlib's default, type 3.
    """
    figure = ax if isinstance(ax, Figure) else ax.get_figure(root=True)
    assert figure is not None
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
    options: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if form == "png" else {}
    file = io.BytesIO()
    fonts: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none" if svg_text else "path"}
    with matplotlib.rc_context({"svg.hashsalt": "probe", **fonts}):
        figure.savefig(file, format=form, dpi=dpi, metadata=undated, **options)
    return file.getvalue()


def _check_scale(vmax: float) -> None:
    if not vmax > 0:
        raise UsageError(f"vmax is the weight of the darkest colour and must be above 0, got {vmax}.")
