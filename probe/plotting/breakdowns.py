"""Breakdowns: where a method fails, as bars by kind of position, beside the baselines and the position-free ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from probe.errors import UsageError
from probe.plotting.fonts import em_width, font
from probe.plotting.labels import wrap
from probe.plotting.layers import GREY, GRID, INK
from probe.plotting.layout import DPI
from probe.plotting.panels import GROUPS, IN_BREAKDOWNS, Panel, all_positions, by_group, header, shown_name
from probe.scoring.baselines import PREFIX
from probe.scoring.names import SCORES

if TYPE_CHECKING:
    from matplotlib.typing import ColorType

UNTRAINED, BASELINE = "#8c8c8c", "#c9d1db"  # greys: nothing was learned
HUES = (0, 1, 2, 4, 3, 5, 6, 8, 9)  # of seaborn's colour-blind-safe palette, without its grey
# Points: a bar among others, a bar alone, the least that a group's two lines need
BAR, ROW, GROUP = 10.0, 17.0, 29.0
PANEL, RIGHT, EDGE = 236.0, 34.0, 12.0  # width of the bars, of their numbers, of the rim
ABOVE, BELOW, GAP = 36.0, 34.0, 14.0  # height of a panel's title, of its axis, of the gap to the next panel
HEAD, TITLE, LABEL, SMALL = 10.5, 8.5, 8.0, 7.5  # font sizes
WIDTH = 0.84  # the part of a group that its bars take
INTERVAL: dict[str, Any] = {"color": INK, "linewidth": 0.9}
LIMIT: dict[str, Any] = {"color": INK, "linewidth": 1.5, "linestyle": (0, (2.0, 1.0))}
CEILING = "ceiling: knows tokens, not positions"
PANEL_COLUMNS = (("all", "relation"), ("token_class", "tied"))
AxesBox = tuple[float, float, float, float]  # left, bottom, width, height, in figures


class Frames(Protocol):
    """A report, or anything with the frames of its runs.csv and breakdowns.csv."""

    @property
    def runs(self) -> pd.DataFrame: ...

    @property
    def breakdowns(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class ColourEntry:
    """A line of the legend."""

    label: str
    handle: Patch | Line2D


def breakdown_figure(report_or_frames: Frames, *, metric: str = "top1_possible", direction: str = "t2s") -> Figure:
    """Draw one score over all positions, and by chunk relation, by ties and by token class.

    Args:
        report_or_frames: a report, or an object with its ``runs`` and ``breakdowns``.
        metric: one of ``IN_BREAKDOWNS``; all are shares from 0 to 1.
        direction: ``t2s`` or ``s2t``.

    Returns:
        A figure whose axes carry the labels ``all``, ``relation``, ``tied`` and ``token_class``: bars in the order of
        the labels, intervals as the lines with gid ``interval``, ceilings as those with gid ``ceiling``. A checkpoint
        has one colour everywhere, in both directions.

    Raises:
        UsageError: an unknown metric, or a direction without runs.
    """
    runs, groups = report_or_frames.runs, report_or_frames.breakdowns
    if metric not in IN_BREAKDOWNS:
        raise UsageError(f"no breakdown holds {metric!r}; choose one of {', '.join(IN_BREAKDOWNS)}.")
    found = sorted(set(runs["direction"])) if len(runs) else []
    if direction not in found:
        raise UsageError(f"the report has no run of direction {direction!r}; it has {', '.join(found) or 'none'}.")
    colours = checkpoint_colours(runs)
    runs, groups = (frame[frame["direction"] == direction] for frame in (runs, groups))
    untrained = set(runs.loc[runs["method"] == "untrained", "checkpoint"])
    panels = {"all": all_positions(runs, metric)}
    parts = {name: groups[groups["breakdown"] == name] for name in GROUPS}
    panels |= {name: by_group(part, name, metric, untrained) for name, part in parts.items() if len(part)}
    names = [name for name in dict.fromkeys(runs["checkpoint"]) if not name.startswith(PREFIX)]
    legend = [ColourEntry(shown_name(name), Patch(color=colours[name])) for name in names]
    legend.append(ColourEntry("95 % interval", Line2D([], [], **INTERVAL)))
    legend += [ColourEntry(CEILING, Line2D([], [], **LIMIT))] if SCORES[metric].ceiling else []
    figure, places = make_sheet(panels, header(runs, metric, direction), legend)
    for name, place in places.items():
        draw_panel(figure.add_axes(place, label=name), panels[name], colours, f"{SCORES[metric].meaning} (0–1)")
    return figure


def checkpoint_colours(runs: pd.DataFrame) -> dict[str, ColorType]:
    """Colour of each checkpoint, by order of appearance; greys for the untrained and the baselines.

    From the tenth checkpoint on, colours repeat: bars stand in the order of the legend.
    """
    import seaborn  # imports pyplot and takes a second

    palette = seaborn.color_palette("colorblind").as_hex()
    colours: dict[str, ColorType] = {}
    for name, method in runs.drop_duplicates("checkpoint")[["checkpoint", "method"]].itertuples(index=False):
        learned = sum(colour not in (UNTRAINED, BASELINE) for colour in colours.values())
        hue = palette[HUES[learned % len(HUES)]]
        colours[name] = BASELINE if name.startswith(PREFIX) else UNTRAINED if method == "untrained" else hue
    return colours


def _height(panel: Panel) -> float:
    bars = panel.bars["checkpoint"].nunique()
    return len(panel.labels) * (max(GROUP, (bars + 0.6) * BAR) if panel.dodge else ROW)


def _left(panel: Panel) -> float:
    """Room that the labels need."""
    return 8 + LABEL * max(em_width(line) for label in panel.labels for line in label.split("\n"))


def make_sheet(
    panels: Mapping[str, Panel],
    lines: Sequence[str],
    legend: Sequence[ColourEntry],
    columns: Sequence[Sequence[str]] = PANEL_COLUMNS,
) -> tuple[Figure, dict[str, AxesBox]]:
    """A figure with header and legend, and where each panel goes: in columns with the room that their labels need."""
    columns = [[name for name in column if name in panels] for column in columns]
    lefts = [EDGE + max((_left(panels[name]) for name in column), default=0.0) for column in columns]
    width = max(sum(lefts) + len(columns) * (PANEL + RIGHT) + EDGE, 1.05 * HEAD * em_width(lines[0]) + 2 * EDGE)
    small = [part for line in lines[1:] for part in wrap(line.split(" · "), int((width - 2 * EDGE) / (0.602 * SMALL)))]
    across = max(1, int((width - 2 * EDGE) / (40 + SMALL * max(em_width(entry.label) for entry in legend))))
    below = EDGE + 22 + 11 * len(small)
    top = below + 14 * math.ceil(len(legend) / across) + 8
    tall = [sum(ABOVE + _height(panels[n]) + BELOW for n in column) + GAP * (len(column) - 1) for column in columns]
    height = top + max(tall) + EDGE / 2
    figure = Figure(figsize=(width / 72, height / 72), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    style: dict[str, Any] = {"va": "top", "linespacing": 1.3, "parse_math": False}
    x = EDGE / width
    figure.text(x, 1 - EDGE / height, lines[0], color=INK, font=font(HEAD, bold=True), **style)
    figure.text(x, 1 - (EDGE + 20) / height, "\n".join(small), color=GREY, font=font(SMALL), **style)
    _draw_legend(figure, legend, (x, 1 - below / height), across)
    places, edge = {}, 0.0
    for column, left in zip(columns, lefts, strict=True):
        edge, down = edge + left, top
        for name in column:
            down += ABOVE + _height(panels[name])
            places[name] = (edge / width, 1 - down / height, PANEL / width, _height(panels[name]) / height)
            down += BELOW + GAP
        edge += PANEL + RIGHT
    return figure, places


def _draw_legend(figure: Figure, entries: Sequence[ColourEntry], corner: tuple[float, float], across: int) -> None:
    legend = figure.legend(
        [entry.handle for entry in entries], [str(k) for k in range(len(entries))], loc="upper left",
        bbox_to_anchor=corner, ncols=across, frameon=False, borderaxespad=0, borderpad=0, handlelength=1.6,
        columnspacing=1.4, labelspacing=0.5,
    )  # fmt: skip
    for text, entry in zip(legend.get_texts(), entries, strict=True):  # a label that starts with _ would be left out
        text.set(text=entry.label, font=font(SMALL, entry.label), parse_math=False, color=INK)


def draw_panel(ax: Axes, panel: Panel, colours: Mapping[str, ColorType], share: str) -> None:
    """Bars, their values, intervals and ceilings, title and labels; ``share`` names the axis."""
    import seaborn

    bars, names = panel.bars, list(dict.fromkeys(panel.bars["checkpoint"]))
    seaborn.barplot(
        bars, x="value", y="group", hue="checkpoint", order=list(range(len(panel.labels))), hue_order=names, orient="h",
        palette=colours, saturation=1, errorbar=None, dodge=panel.dodge, legend=False, width=WIDTH, ax=ax,
    )  # fmt: skip
    seaborn.despine(ax=ax, left=True, bottom=True)
    thick = WIDTH / (len(names) if panel.dodge else 1)
    for bar in bars.itertuples(index=False):
        middle = bar.group + ((names.index(bar.checkpoint) - (len(names) - 1) / 2) * thick if panel.dodge else 0)
        if math.isfinite(bar.value):
            _draw_value(ax, middle, bar.value, bar.low, bar.high)
        if math.isfinite(bar.ceiling) and panel.dodge:
            _draw_ceiling(ax, bar.ceiling, middle - thick / 2, middle + thick / 2)
    if math.isfinite(panel.ceiling):
        _draw_ceiling(ax, panel.ceiling, -0.5, len(panel.labels) - 0.5)
    _dress(ax, panel, share)


def _draw_value(ax: Axes, middle: float, value: float, low: float, high: float) -> None:
    """The interval, where there is one, and the number right of the axes."""
    if math.isfinite(low) and math.isfinite(high):
        ax.hlines(middle, low, high, gid="interval", zorder=3, clip_on=False, **INTERVAL)
    style: dict[str, Any] = {"va": "center_baseline", "color": INK, "font": font(SMALL - 0.5)}
    ax.text(1.02, middle, f"{value:.2f}", transform=ax.get_yaxis_transform(), gid="value", **style)


def _draw_ceiling(ax: Axes, ceiling: float, low: float, high: float) -> None:
    ax.plot([ceiling, ceiling], [low, high], gid="ceiling", zorder=4, clip_on=False, **LIMIT)


def _dress(ax: Axes, panel: Panel, share: str) -> None:
    """Title, finding, names of axes, labels and grid."""
    ax.set(xlim=(0, 1), ylim=(len(panel.labels) - 0.5, -0.5), axisbelow=True, ylabel="")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"], font=font(SMALL), color=GREY)
    ax.set_yticks(range(len(panel.labels)), list(panel.labels), parse_math=False, color=INK, linespacing=1.25)
    for tick, label in zip(ax.get_yticklabels(), panel.labels, strict=True):
        tick.set(font=font(SMALL if panel.dodge else LABEL, label))
    ax.tick_params(length=0)
    ax.grid(axis="x", color=GRID, linewidth=0.6)
    ax.set_xlabel(share, font=font(SMALL), color=GREY)
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    left, up = 8 - _left(panel), 18 if panel.finding else 6
    ax.annotate(panel.title, (0, 1), (left, up), font=font(TITLE, bold=True), color=INK, gid="title", **style)
    ax.annotate(panel.finding, (0, 1), (left, 6), font=font(SMALL), color=GREY, gid="finding", **style)
