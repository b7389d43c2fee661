"""The figures of a study: bits per byte over the dose of wrong links, and every arm beside the reference."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from probe.plotting.fonts import font
from probe.plotting.layers import GRID, INK
from probe.plotting.worth import COLOURS

SOFT = "#94a3b8"
LESS = "bits per byte of held-out text, minus the reference's (less is better)"
MORE = "top-1 possible on the gold (more is better)"


def dose_figure(dose: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """A panel a pair: the change of bits per byte from the lowest dose, with its interval; a grey line a seed.

    The change, not the level: a text that is hard is hard at every dose, and its part in the interval cancels.

    Args:
        dose: rows of ``dose.csv``.
        runs: rows of ``runs.csv``; those with a dose are the lines of the seeds.
    """
    pairs = list(dict.fromkeys(dose["pair"]))
    figure = Figure(figsize=(5.2 * max(1, len(pairs)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, pair in zip(np.atleast_1d(figure.subplots(1, max(1, len(pairs)))), pairs, strict=False):
        _seed_lines(ax, runs[(runs["pair"] == pair) & runs["dose"].notna()])
        rows = dose[(dose["pair"] == pair) & (dose["row"] == "dose")]
        errors = np.abs(rows[["change_low", "change_high"]].to_numpy(float).T - rows["change"].to_numpy(float))
        ax.errorbar(rows["dose"], rows["change"], yerr=errors, fmt="o-", color=COLOURS[0], linewidth=1.8, capsize=3)
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.set_title(f"{pair}: {slope_words(dose, pair)}", fontproperties=font(8.5), color=INK, loc="left")
        ax.set_xlabel("share of the map's rows that are wrong", fontproperties=font(8))
        ax.set_ylabel("change of bits per byte, held-out text", fontproperties=font(8))
        ax.set_xticks(sorted(set(rows["dose"])))
        _plain(ax, "y")
    title = "Does a wrong map make a worse student?"
    figure.suptitle(title, fontproperties=font(10.5, bold=True), color=INK, x=0.01, ha="left")
    return figure


def slope_words(dose: pd.DataFrame, pair: str) -> str:
    """The slope of a pair with its interval, in words; that there is none where one dose was run."""
    rows = dose[(dose["pair"] == pair) & (dose["row"] == "slope")]
    if not len(rows):
        return "no slope, one dose"
    row = rows.iloc[0]
    return f"slope {row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"


def _seed_lines(ax: Axes, runs: pd.DataFrame) -> None:
    for _, rows in runs.groupby("seed"):
        line = rows.sort_values("dose")
        ax.plot(
            line["dose"], line["bits_per_byte"] - line["bits_per_byte"].iloc[0], color=SOFT, linewidth=0.8, zorder=1
        )


def arms_figure(arms: pd.DataFrame, comparisons: pd.DataFrame, pair: str) -> Figure:
    """Two panels, a line an arm, coloured by class: bits per byte minus the reference's, paired; top-1 possible.

    Args:
        arms: rows of ``arms.csv``.
        comparisons: rows of ``comparisons.csv``; the reference is what most arms are compared with.
        pair: whose arms are drawn.
    """
    rows = arms[arms["pair"] == pair]
    names, kinds = (list(dict.fromkeys(rows[column])) for column in ("arm", "class"))
    places, classes = (
        {name: place for place, name in enumerate(names)},
        dict(zip(rows["arm"], rows["class"], strict=True)),
    )
    figure = Figure(figsize=(11, 1.6 + 0.3 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    colours = dict(zip(kinds, COLOURS * (1 + len(kinds) // len(COLOURS)), strict=False))
    for ax, points in ((left, _differences(comparisons, pair)), (right, rows[rows["measure"] == "top1_possible"])):
        for arm, value, low, high in points[["arm", "value", "low", "high"]].itertuples(index=False):
            ax.hlines(places[arm], low, high, color=colours[classes[arm]], linewidth=1.6)
            ax.plot(value, places[arm], "o", color=colours[classes[arm]], markersize=4.5)
    left.axvline(0, color=INK, linewidth=0.8)
    for ax, label in ((left, LESS), (right, MORE)):
        ax.set_title(label, fontproperties=font(8), color=INK, loc="left")
        _plain(ax, "x")
    left.set_yticks(range(len(names)), names, fontproperties=font(8.5))
    left.invert_yaxis()
    marks = [Line2D([], [], marker="o", color=colours[kind], label=str(kind) or "no class") for kind in kinds]
    figure.legend(handles=marks, loc="outside lower left", ncols=6, prop=font(8), frameon=False)
    title = f"Arms of the pair {pair}, by class of map"
    figure.suptitle(title, fontproperties=font(10.5, bold=True), color=INK, x=0.01, ha="left")
    return figure


def _differences(comparisons: pd.DataFrame, pair: str) -> pd.DataFrame:
    """Each arm minus the reference, in bits per byte: arm, value, low, high."""
    rows = comparisons[(comparisons["pair"] == pair) & (comparisons["measure"] == "bits_per_byte")]
    rows = rows[rows["second"] != "0"]  # a slope is no arm
    reference = rows["second"].mode()
    kept = rows[rows["second"] == reference.iloc[0]] if len(reference) else rows
    return kept.rename(columns={"first": "arm", "difference": "value"}).drop_duplicates("arm")


def _plain(ax: Axes, grid: Literal["x", "y"]) -> None:
    ax.grid(axis=grid, color=GRID, linewidth=0.6)
    ax.tick_params(length=0, labelsize=7.5)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
