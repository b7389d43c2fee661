"""The figure of sensitivity: scores under every setting of map extraction, one panel a factor, one bar a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from probe.plotting.breakdowns import HUES, ColourEntry, draw_panel, make_sheet
from probe.plotting.panels import Panel

PANELS_ACROSS = 3


def sensitivity_figure(frame: pd.DataFrame, scores: Sequence[str]) -> Figure:
    """Draw ``scores`` under every value of every factor.

    Args:
        frame: a row per ``factor`` and ``value`` with the scores, their ``…_change`` and ``largest_weight_change``.
        scores: columns that hold shares from 0 to 1.

    Returns:
        A figure with one axes a factor, which carries it as label.
    """
    import seaborn

    palette = seaborn.color_palette("colorblind").as_hex()
    colours = {score: palette[HUES[k]] for k, score in enumerate(scores)}
    panels = {str(name): _panel(str(name), part, scores) for name, part in frame.groupby("factor", sort=False)}
    change = frame[[f"{score}_change" for score in scores]].abs().max(axis=1)
    moves = change.groupby(frame["factor"], sort=False).max().sort_values(ascending=False, kind="stable")
    names = [str(name) for name in moves.index]  # what moves most leads
    lines = [
        "How much the numbers move with the making of the map",
        "all else equal; the first value of a panel is the base; what moves most comes first",
    ]
    legend = [ColourEntry(score.replace("_", " "), Patch(color=colour)) for score, colour in colours.items()]
    columns = [names[start::PANELS_ACROSS] for start in range(PANELS_ACROSS)]
    figure, places = make_sheet(panels, lines, legend, columns=columns)
    for name, place in places.items():
        draw_panel(figure.add_axes(place, label=name), panels[name], colours, "score (0–1)")
    return figure


def _panel(factor: str, part: pd.DataFrame, scores: Sequence[str]) -> Panel:
    rows = [(group, score, part[score].iloc[group]) for group in range(len(part)) for score in scores]
    bars = pd.DataFrame(rows, columns=["group", "checkpoint", "value"]).assign(low=math.nan, high=math.nan)
    change = float(part[[f"{score}_change" for score in scores]].abs().to_numpy().max())
    finding = f"moves by up to {100 * change:.1f} points" if change >= 5e-4 else "moves nothing"
    return Panel(factor, finding, tuple(part["value"]), bars.assign(ceiling=math.nan), dodge=True)
