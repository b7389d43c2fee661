"""Probe curves as small charts, one a measure: a line a run, told apart by colour, dash and shape."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app.data.training_runs import MEASURES
from app.draw.map import config
from app.draw.palette import Palette

DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
SHAPES = ("circle", "square", "diamond", "triangle-up")
BETWEEN_0_AND_1 = ("top1", "gold_mass", "entropy", "collapse", "classifier")


def curve_chart(curves: dict[str, pd.DataFrame], measure: str, palette: Palette, step: int | None) -> dict[str, Any]:
    """The Vega-Lite specification of one measure over the steps of all runs; a rule marks ``step``."""
    parts = [frame[["step", measure]].assign(run=name).dropna() for name, frame in curves.items() if measure in frame]
    data = pd.concat(parts, ignore_index=True).rename(columns={measure: "value"})
    names = list(curves)
    share = measure.startswith(BETWEEN_0_AND_1)
    scale = {"domain": [0, 1]} if share else {"zero": False}
    axis = {"grid": True, "gridColor": palette.faint}
    colour = {"domain": names, "range": [palette.series[k % len(palette.series)] for k in range(len(names))]}
    dashes = {"domain": names, "range": [DASHES[k % len(DASHES)] for k in range(len(names))]}
    shapes = {"domain": names, "range": [SHAPES[k % len(SHAPES)] for k in range(len(names))]}
    legend = {"title": None, "labelLimit": 180} if len(names) > 1 else None
    encoding = {
        "x": {"field": "step", "type": "quantitative", "title": "step", "axis": {**axis, "tickMinStep": 1}},
        "y": {"field": "value", "type": "quantitative", "title": None, "scale": scale, "axis": axis},
        "color": {"field": "run", "type": "nominal", "scale": colour, "legend": legend},
    }
    line = {"mark": {"type": "line"}, "encoding": {"strokeDash": {"field": "run", "scale": dashes, "legend": legend}}}
    point = {"mark": {"type": "point", "filled": True, "size": 45, "opacity": 1, "tooltip": {"content": "data"}},
             "encoding": {"shape": {"field": "run", "scale": shapes, "legend": legend}}}  # fmt: skip
    return {
        "background": "transparent",
        "title": {"text": MEASURES.get(measure, measure), "anchor": "start", "fontWeight": "normal"},
        "datasets": {"curve": data.set_axis(data["run"].rename(None))},
        "data": {"name": "curve"},
        "width": "container",
        "height": 240,
        "layer": [{"encoding": encoding, "layer": [line, point]}, *_rule(step, palette)],
        "config": config(palette),
    }


def _rule(step: int | None, palette: Palette) -> list[dict[str, Any]]:
    """Where the slider stands."""
    if step is None:
        return []
    mark = {"type": "rule", "stroke": palette.pinned, "strokeWidth": 1.5, "strokeDash": [4, 3]}
    encoding = {"x": {"field": "at", "type": "quantitative", "title": "step"}}
    return [{"data": {"values": [{"at": step}]}, "mark": mark, "encoding": encoding}]


def said(curves: dict[str, pd.DataFrame], measure: str) -> str:
    """What the chart shows, in words: where each run begins and ends."""
    parts = []
    for name, frame in curves.items():
        if measure in frame and frame[measure].notna().any():
            known = frame.dropna(subset=measure)
            first, last = known.iloc[0], known.iloc[-1]
            parts.append(
                f"{name}: {first[measure]:.3g} at step {first['step']:.0f}, {last[measure]:.3g} at {last['step']:.0f}"
            )
    return f"{MEASURES.get(measure, measure)} over training. " + "; ".join(parts)
