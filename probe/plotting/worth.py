"""The figure of imposed maps: scores of the t2s branch under each of them, with their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from probe.plotting.fonts import font
from probe.plotting.layers import GRID, INK

PANELS = {
    "t2s_ce": "t2s cross-entropy, nats a token (less is better)",
    "t2s_kl": "KL of the t2s distribution to the student's, nats",
    "t2s_accuracy": "t2s accuracy (more is better)",
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def imposed_figure(frame: pd.DataFrame) -> Figure:
    """A panel for each measure, a line for each map, a point with its 95 % interval for each checkpoint.

    Args:
        frame: rows of ``imposed_maps.csv``: checkpoint, map, measure, value, low, high.
    """
    maps, checkpoints = (list(dict.fromkeys(frame[name])) for name in ("map", "checkpoint"))
    figure = Figure(figsize=(13, 1.7 + 0.36 * len(maps)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    spread = np.linspace(-0.18, 0.18, len(checkpoints)) if len(checkpoints) > 1 else np.zeros(1)
    for ax, (measure, label) in zip(axes, PANELS.items(), strict=True):
        for name, shift, colour in zip(checkpoints, spread, COLOURS * len(checkpoints), strict=False):
            chosen = (frame["checkpoint"] == name) & (frame["measure"] == measure)
            rows = frame[chosen].set_index("map").reindex(maps)
            at = np.arange(len(maps)) + shift
            ax.hlines(at, rows["low"], rows["high"], color=colour, linewidth=1.6)
            ax.plot(rows["value"], at, "o", color=colour, markersize=4.5, label=name)
        ax.set_title(label, fontproperties=font(8), color=INK, loc="left")
        ax.grid(axis="x", color=GRID, linewidth=0.6)
        ax.tick_params(length=0, labelsize=7.5)
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
    axes[0].set_yticks(range(len(maps)), maps, fontproperties=font(8.5))
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4, prop=font(8), frameon=False)
    head = font(10.5, bold=True)
    figure.suptitle("The same t2s branch under other maps", fontproperties=head, color=INK, x=0.01, ha="left")
    return figure
