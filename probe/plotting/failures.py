"""Why maps fail: each checkpoint's wrong links by cause, one panel a direction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from probe.plotting.breakdowns import ColourEntry, checkpoint_colours, draw_panel, make_sheet
from probe.plotting.panels import Panel, shown_name


def failure_figure(causes: pd.DataFrame, order: Sequence[str]) -> Figure:
    """Draw the share of wrong links by cause.

    Args:
        causes: a row per checkpoint, direction and cause with ``of_wrong``, ``wrong`` and ``n_positions``.
        order: the causes from the top.

    Returns:
        A figure with one axes a direction, which carries it as label.
    """
    colours = checkpoint_colours(causes)
    panels = {str(d): _panel(part, str(d), order) for d, part in causes.groupby("direction", sort=False)}
    lines = ["Why links are wrong: the first cause that fits", "bars, numbers: share of a checkpoint's wrong links"]
    legend = [ColourEntry(shown_name(name), Patch(color=colour)) for name, colour in colours.items()]
    figure, places = make_sheet(panels, lines, legend, columns=[[name] for name in panels])
    for name, place in places.items():
        draw_panel(figure.add_axes(place, label=name), panels[name], colours, "share of wrong links (0–1)")
    return figure


def _panel(part: pd.DataFrame, direction: str, order: Sequence[str]) -> Panel:
    bars = pd.DataFrame(
        {
            "group": [order.index(cause) for cause in part["cause"]], "checkpoint": part["checkpoint"].to_list(),
            "value": part["of_wrong"].to_list(), "low": math.nan, "high": math.nan, "ceiling": math.nan,
        }
    )  # fmt: skip
    totals = part.groupby("checkpoint", sort=False).agg(wrong=("wrong", "sum"), of=("n_positions", "first"))
    finding = "wrong: " + ", ".join(f"{row['wrong'] / max(1, row['of']):.0%}" for _, row in totals.iterrows())
    return Panel(f"Wrong links, {direction}", f"{finding} of positions", tuple(order), bars, dodge=True)
