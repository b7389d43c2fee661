"""Charts of the overview: every run with its interval beside the baselines; the breakdowns beside their ceilings."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app.draw.map import config
from app.draw.palette import Palette

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")  # runs differ by shape, too
WIDE = 560  # pixels from 0 to 1


def runs_chart(runs: pd.DataFrame, score: str, palette: Palette) -> dict[str, Any]:
    """One line a run: the score and its 95 % interval; runs of the store filled, baselines hollow."""
    data = pd.DataFrame(
        {
            "run": runs["checkpoint"].to_numpy(),
            "value": runs[score].round(4).to_numpy(),
            "low": runs[f"{score}_low"].round(4).to_numpy(),
            "high": runs[f"{score}_high"].round(4).to_numpy(),
            "kind": ["baseline" if name.startswith("baseline:") else "run" for name in runs["checkpoint"]],
        }
    )
    y = {"field": "run", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 190, "minExtent": 150}}
    hollow = {"condition": {"test": "datum.kind === 'run'", "value": palette.series[0]}, "value": palette.background}
    point = {"type": "point", "size": 90, "opacity": 1, "stroke": palette.series[0], "tooltip": {"content": "data"}}
    return _frame(
        data,
        {"y": y, "x": _share("value")},
        [
            {"mark": {"type": "rule", "color": palette.series[0], "strokeWidth": 2}, "encoding": _interval()},
            {"mark": point, "encoding": {"fill": hollow}},
            {
                "mark": {"type": "text", "align": "left", "color": palette.text},
                "encoding": {"x": {"value": WIDE + 8}, "text": {"field": "value", "format": ".2f"}},
            },
        ],
        palette,
        26,
    )


def breakdown_chart(groups: pd.DataFrame, score: str, ceiling: str, palette: Palette) -> dict[str, Any]:
    """One band a group, one mark a run with its interval, and a tick at the position-free ceiling of the group."""
    names = groups["checkpoint"].unique().tolist()
    data = pd.DataFrame(
        {
            "group": groups["group"].to_numpy(),
            "run": groups["checkpoint"].to_numpy(),
            "value": groups[score].round(4).to_numpy(),
            "low": groups[f"{score}_low"].round(4).to_numpy(),
            "high": groups[f"{score}_high"].round(4).to_numpy(),
            "ceiling": groups[ceiling].round(4).to_numpy(),
            "positions": groups["n_sure" if score.endswith("sure") else "n_positions"].to_numpy(),
        }
    )
    look = {"domain": names, "range": list(palette.series[: len(names)])}
    runs = {"field": "run", "type": "nominal"}
    shape = {**runs, "scale": {"domain": names, "range": list(SHAPES[: len(names)])}, "title": "run"}
    colour = {**runs, "scale": look, "title": "run"}
    offset = {**runs, "sort": names}
    y = {
        "field": "group",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 190, "minExtent": 150},
    }
    tick = {"type": "tick", "color": palette.text, "thickness": 2, "opacity": 0.6, "tooltip": {"content": "data"}}
    point = {"type": "point", "filled": True, "size": 80, "opacity": 1, "tooltip": {"content": "data"}}
    place = {"y": y, "yOffset": offset}
    return _frame(
        data,
        {},
        [
            {"mark": tick, "encoding": {**place, "x": _share("ceiling")}},
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {**place, **_interval(), "color": colour}},
            {"mark": point, "encoding": {**place, "x": _share("value"), "color": colour, "shape": shape}},
        ],
        palette,
        max(16, 14 * len(names)) + 8,
    )


def _share(field: str) -> dict[str, Any]:
    axis = {"grid": True, "gridOpacity": 0.25, "format": ".1f", "tickCount": 6, "labelPadding": 2}
    return {"field": field, "type": "quantitative", "scale": {"domain": [0, 1]}, "title": None, "axis": axis}


def _interval() -> dict[str, Any]:
    return {"x": _share("low"), "x2": {"field": "high"}}


def _frame(
    data: pd.DataFrame, encoding: dict[str, Any], layers: list[dict[str, Any]], palette: Palette, step: int
) -> dict[str, Any]:  # fmt: skip
    first = data.columns[0]
    bands = data[first].nunique()
    return {
        "background": "transparent",
        "datasets": {"rows": data.set_axis(data[first].rename(None))},
        "data": {"name": "rows"},
        "width": WIDE,
        "height": bands * step,
        "autosize": {"type": "pad"},
        "encoding": encoding,
        "layer": layers,
        "config": config(palette),
    }
