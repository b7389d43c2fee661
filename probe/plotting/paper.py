"""Heatmaps for print: of a given width, no letter under 6 points, one legend and one colour bar for all panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from probe.errors import UsageError
from probe.gold.reading import Gold, Link
from probe.maps.attention_map import AttentionMap
from probe.plotting import MAX_TOKENS, check_comparable, difference_label, layers, outcomes
from probe.plotting import legend as key
from probe.plotting.fonts import font, glyphs
from probe.plotting.labels import elide, readable, wrap
from probe.plotting.layout import TARGET, CellRanges, Sheet, View, axis_names, new_figure, part_around, part_of
from probe.scoring.metrics import gold_cells, score_map

LEAST = 6.0  # points: the smallest letter, as journals ask for
FONTS = (8.0, 7.5, 7.0, 6.5, LEAST)  # of labels, the first that fits
HEAD, NAMES, LETTER = 7.5, 6.5, 0.8  # points: titles and axis names; a label's part of a cell
CELL = (LEAST / LETTER, 14.0)  # points
HIGHEST = 560.0  # points that the cells may take: a page is about 650 high
LABEL_COLUMNS = 12  # longer tokens are elided
BAR_WIDE = 70.0
EDGE, BETWEEN, BAR, LINE = 2.0, 9.0, 26.0, 9.0  # points: margin, between panels, the colour bar, a line of a title


@dataclass(frozen=True)
class Panel:
    """What one axes shows: its title, values [student, teacher], the map whose heaviest cells are marked."""

    title: tuple[str, ...]
    values: np.ndarray
    marked: AttentionMap | None = None


@dataclass(frozen=True)
class Colours:
    """The one colour scale of all panels."""

    cmap: str | layers.Colormap
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Plan:
    """Where everything goes, in points: ``across`` panels of ``sheet`` in ``down`` rows, ``width`` in all."""

    width: float
    across: int
    down: int
    sheet: Sheet
    above: float  # for a panel's title

    @classmethod
    def of(cls, amap: AttentionMap, view: View, width: float, panels: int, columns: int, lines: int) -> Plan:
        """The plan with the largest labels that fit; ``sheet.cell`` is under ``CELL[0]`` where none does."""
        across = min(panels, columns)
        labels = [
            tuple(elide(readable(token, glyphs()), LABEL_COLUMNS) for token in axis.tokens[part])
            for axis, part in ((amap.student, view.rows), (amap.teacher, view.columns))
        ]
        names = axis_names(amap, view)
        for size in FONTS:
            sheet = Sheet(labels[0], labels[1], *names, (), 1.0, size, True)
            room = (width - 2 * EDGE - sheet.left - BETWEEN * (across - 1)) / across
            cell = min(room / len(labels[1]), HIGHEST / len(labels[0]), CELL[1])
            if cell * LETTER >= size:
                break
        return cls(width, across, -(-panels // across), replace(sheet, cell=cell), _height(lines))

    @property
    def fits(self) -> bool:
        return self.sheet.cell >= CELL[0]

    @property
    def panel(self) -> tuple[float, float]:
        """Width and height of a panel with its title and labels, and of the gap after it."""
        wide, high = self.sheet.cell * len(self.sheet.columns), self.sheet.cell * len(self.sheet.rows)
        return wide + BETWEEN, self.above + self.sheet.up + high + BETWEEN

    @property
    def height(self) -> float:
        return self.down * self.panel[1] + BAR

    def place(self, figure: Figure, number: int, below: float) -> Axes:
        """The axes of a panel; ``below``: points between the last panel and the lower edge."""
        width, height = figure.get_size_inches() * 72
        step, high = self.panel
        cells = self.sheet.cell * len(self.sheet.rows)
        x = EDGE + self.sheet.left + number % self.across * step
        y = below + (self.down - 1 - number // self.across) * high
        return figure.add_axes((x / width, y / height, (step - BETWEEN) / width, cells / height))


def _height(lines: int) -> float:
    """Points that a title of so many lines takes."""
    return 1.35 * HEAD + LINE * (lines - 1) if lines else 0.0


def fitting_window(
    amap: AttentionMap, width: float, *, panels: int = 1, columns: int = 1, window: CellRanges | None = None,
    pin: Link | None = None,
) -> CellRanges:  # fmt: skip
    """The largest part of a map, or of its ``window``, whose labels have 6 points at ``width`` points.

    It is the beginning, where both sides show the same text, or the part around the ``pin``.

    Raises:
        UsageError: the window is empty or leaves the map, or not even one token fits.
    """
    n, m = amap.weights.shape
    whole = ((0, n), (0, m)) if window is None else window
    View.of(amap, MAX_TOKENS, whole)  # refuses what leaves the map
    for most in range(min(max(n, m), MAX_TOKENS), 0, -1):
        part = part_of(amap, whole, most) if pin is None else part_around(whole, pin, most)
        if Plan.of(amap, View.of(amap, MAX_TOKENS, part), width, panels, columns, 0).fits:
            return part
    raise UsageError(
        f"{width / 72:.3g} in leave no room for one token of {amap.example_id!r} with labels of {LEAST:g} points in "
        f"{min(panels, columns)} columns. Choose a greater width or fewer columns."
    )


def paper_figure(
    maps: Sequence[AttentionMap],
    *,
    width: float,
    gold: Gold | None = None,
    vmax: float = 1.0,
    columns: int = 3,
    titles: bool = True,
    window: CellRanges | None = None,
    pin: Link | None = None,
    unit: str = TARGET,
) -> Figure:
    """One map, or maps of one example beside each other, ``width`` points wide; a panel's title is its run.

    Args:
        maps: on the same tokens. gold: outlined in every panel.
        vmax: weight of the darkest colour. columns: panels beside each other.
        titles: what was drawn, its scores, and where it is cut; without them, panels have the names of runs alone.
        window, pin: the part to show and a cell to frame; by default the part that fits (:func:`fitting_window`).
        unit: what a row and a column are.

    Raises:
        UsageError: no map, maps on other tokens, nothing fits. DataError: the gold is for other tokens.
    """
    if not maps:
        raise UsageError("a figure needs at least one map.")
    tokens = {(amap.student.tokens, amap.teacher.tokens, amap.direction) for amap in maps}
    if len(tokens) > 1:
        raise UsageError("panels share their labels: wanted maps of one direction on the same tokens.")
    sure, possible = gold_cells(maps[0], gold)
    fitted = fitting_window(maps[0], width, panels=len(maps), columns=columns, window=window, pin=pin)
    note = View.of(maps[0], MAX_TOKENS, fitted, unit).note if len(maps) == 1 else ""
    panels = [Panel(_title(amap, gold, note, alone=len(maps) == 1), amap.weights, amap) for amap in maps]
    return _drawn(
        maps[0], [panel if titles else _untitled(panel, len(panels)) for panel in panels], (sure, possible),
        Colours(layers.WEIGHTS, 0.0, vmax, "weight"), width, columns,
        View.of(maps[0], MAX_TOKENS, fitted, unit), pin, outlined=gold is not None,
    )  # fmt: skip


def paper_difference(
    first: AttentionMap,
    second: AttentionMap,
    *,
    width: float,
    gold: Gold | None = None,
    vmax: float = 1.0,
    titles: bool = True,
    window: CellRanges | None = None,
    pin: Link | None = None,
    unit: str = TARGET,
) -> Figure:
    """``first`` − ``second``, ``width`` points wide; the colour bar says what is subtracted from what.

    Raises:
        DataError: the maps cannot be subtracted, or the gold is for other tokens. UsageError: nothing fits.
    """
    check_comparable(first, second)
    fitted = fitting_window(first, width, window=window, pin=pin)
    note = View.of(first, MAX_TOKENS, fitted, unit).note
    title = (first.example_id, f"{first.checkpoint} − {second.checkpoint} · {first.direction}", *filter(None, [note]))
    panel = Panel(title if titles else (), first.weights - second.weights)
    beside = int((width - 2 * EDGE - BAR_WIDE - 10) / (0.602 * LEAST)) - len("weight:  − ")
    colours = Colours("PRGn", -vmax, vmax, difference_label(first, second, max(3, beside // 2)))
    return _drawn(
        first, [panel], gold_cells(first, gold), colours, width, 1, View.of(first, MAX_TOKENS, fitted, unit), pin,
        outlined=gold is not None,
    )  # fmt: skip


def _title(amap: AttentionMap, gold: Gold | None, note: str, *, alone: bool) -> tuple[str, ...]:
    score = score_map(amap, gold) if gold is not None else None
    top = f"top-1 {score.top1_sure:.2f} sure, {score.top1_possible:.2f} possible".replace("nan", "–") if score else ""
    head = (amap.example_id, f"{amap.checkpoint} · {amap.direction}") if alone else (amap.checkpoint,)
    return (*head, *filter(None, [top, note]))


def _untitled(panel: Panel, panels: int) -> Panel:
    """The panel without its title; one of several keeps the name of its run, by which they are told apart."""
    return replace(panel, title=panel.title[:1] if panels > 1 else ())


def _drawn(
    amap: AttentionMap, panels: Sequence[Panel], links: tuple[np.ndarray, np.ndarray], colours: Colours, width: float,
    columns: int, view: View, pin: Link | None, *, outlined: bool,
) -> Figure:  # fmt: skip
    """The panels, the legend under the first of the last row, and the colour bar under that."""
    panels = _wrapped(panels, amap, view, width, columns)
    plan = Plan.of(amap, view, width, len(panels), columns, max(len(panel.title) for panel in panels))
    entries = _entries(amap, panels, plan, view, pin, outlined=outlined)
    strip = key.LegendStrip(plan.sheet, tuple(entries), size=LEAST, room=width - 2 * EDGE) if entries else None
    below = BAR + (strip.height if strip is not None else 0.0)
    figure = new_figure(width, plan.height + below - BAR)
    for number, panel in enumerate(panels):
        ax = plan.place(figure, number, below)
        mesh = _draw_panel(ax, panel, links, colours, plan, view, first=number % plan.across == 0, outlined=outlined)
        if pin is not None:
            layers.draw_pin(ax, view.inside(pin), plan.sheet)
        if strip is not None and number == (plan.down - 1) * plan.across:
            ax.add_artist(strip)
    _draw_bar(figure, mesh, colours)
    return figure


def _wrapped(panels: Sequence[Panel], amap: AttentionMap, view: View, width: float, columns: int) -> list[Panel]:
    """The panels with titles that are no wider than they are."""
    plan = Plan.of(amap, view, width, len(panels), columns, 0)
    points = width - 2 * EDGE if len(panels) == 1 else plan.panel[0] - BETWEEN
    shown = []
    for panel in panels:
        lines = [readable(line, glyphs()) for line in panel.title]
        head = [elide(line, int(points / (0.65 * HEAD))) for line in lines[:1]]
        rest = [
            elide(part, int(points / (0.602 * LEAST)))
            for line in lines[1:]
            for part in wrap(line.split(" · "), int(points / (0.602 * LEAST)))
        ]
        shown.append(replace(panel, title=(*head, *rest)))
    return shown


def _entries(
    amap: AttentionMap, panels: Sequence[Panel], plan: Plan, view: View, pin: Link | None, *, outlined: bool
) -> list[key.Entry]:
    entries = key.gold_entries(amap.direction, marks=panels[0].marked is not None) if outlined else []
    if pin is not None:
        row, column = view.inside(pin)
        weight = float(panels[0].values[pin]) if len(panels) == 1 else None
        entries.append(key.pin_entry(plan.sheet.rows[row], plan.sheet.columns[column], weight))
    if len(panels) > 1 and len(panels[0].title) > 1 and view.note:  # once, not over each panel
        entries.append(key.Entry(view.note))
    return entries


def _draw_panel(
    ax: Axes, panel: Panel, links: tuple[np.ndarray, np.ndarray], colours: Colours, plan: Plan, view: View, *,
    first: bool, outlined: bool,
) -> QuadMesh:  # fmt: skip
    sheet, (sure, possible) = plan.sheet, links
    named = layers.SIDES if first else ("teacher",)
    mesh = layers.draw_cells(
        ax, panel.values[view.cells], sheet, cmap=colours.cmap, vmin=colours.low, vmax=colours.high, labelled=named
    )
    if outlined:
        layers.draw_gold(ax, sure[view.cells], possible[view.cells], sheet)
        if panel.marked is not None:
            marks = outcomes(panel.marked, sure, possible)
            layers.draw_marks(ax, {name: cells[view.cells] for name, cells in marks.items()}, sheet)
    layers.draw_axis_names(ax, sheet, size=NAMES, named=layers.SIDES if first else ())
    x = -sheet.left if first and plan.across == 1 else 0.0
    for number, line in enumerate(reversed(panel.title)):
        head = number == len(panel.title) - 1
        face = font(HEAD, bold=True) if head else font(LEAST, line)
        at = (x, sheet.up + 5 + LINE * number)
        ax.annotate(line, (0, 1), at, font=face, va="bottom", **{**layers.BESIDE, "color": layers.INK})
    return mesh


def _draw_bar(figure: Figure, mesh: QuadMesh, colours: Colours) -> None:
    """The colour scale, in the lower left corner, and what it is of."""
    width, height = figure.get_size_inches() * 72
    cax = figure.add_axes(((EDGE + 4) / width, 14 / height, (BAR_WIDE - 4) / width, 5 / height))
    bar = figure.colorbar(mesh, cax=cax, orientation="horizontal")
    low, high = mesh.get_clim()
    bar.set_ticks([low, (low + high) / 2, high])
    bar.ax.tick_params(labelsize=LEAST, length=1.5, width=0.4, pad=1, colors=layers.GREY)
    bar.outline.set(linewidth=0.4, color=layers.GREY)  # type: ignore[operator]
    style = {**layers.BESIDE, "font": font(LEAST, colours.label), "va": "center"}
    cax.annotate(colours.label, (1, 0.5), (10, 0), **style)
