"""The figure of link extractions: one panel a link score, a group of bars for each way to take links."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from probe.plotting.breakdowns import INTERVAL, ColourEntry, checkpoint_colours, draw_panel, make_sheet
from probe.plotting.panels import DIRECTIONS, Panel, shown_name
from probe.scoring.names import SCORES

PANEL_COLUMNS = (("f1", "precision"), ("aer", "recall"))


def extractions_figure(extractions: pd.DataFrame, direction: str) -> Figure:
    """Draw the link scores of the stored checkpoints under each way to take links.

    Args:
        extractions: rows of ``extractions.csv``, of one direction and without baselines.

    Returns:
        A figure whose axes carry the labels ``f1``, ``aer``, ``precision`` and ``recall``.
    """
    colours = checkpoint_colours(extractions)
    panels = {name: _panel(extractions, name) for column in PANEL_COLUMNS for name in column}
    head = f"How links are taken from the same maps, {direction} ({DIRECTIONS[direction]})"
    lines = [head, f"{extractions['n_examples'].max()} examples · thin lines: 95 % bootstrap intervals over examples"]
    legend = [ColourEntry(shown_name(name), Patch(color=colour)) for name, colour in colours.items()]
    legend.append(ColourEntry("95 % interval", Line2D([], [], **INTERVAL)))
    figure, places = make_sheet(panels, lines, legend, columns=PANEL_COLUMNS)
    for name, place in places.items():
        draw_panel(figure.add_axes(place, label=name), panels[name], colours, "score (0–1)")
    return figure


def _panel(frame: pd.DataFrame, score: str) -> Panel:
    ways = list(dict.fromkeys(frame["links"]))
    bars = pd.DataFrame(
        {
            "group": [ways.index(way) for way in frame["links"]], "checkpoint": frame["checkpoint"].to_list(),
            "value": frame[score].to_list(), "low": frame[f"{score}_low"].to_list(),
            "high": frame[f"{score}_high"].to_list(), "ceiling": math.nan,
        }
    )  # fmt: skip
    title = f"{SCORES[score].label}: {SCORES[score].meaning}"
    return Panel(title, "", tuple(ways), bars, dodge=True)
