"""Charts of the overview: every run with its interval beside the baselines; the breakdowns beside their ceilings."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app.data.runs import drawn, group_and_seed, grouped
from app.draw.map import config
from app.draw.palette import Palette

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")  # runs differ by shape, too
WIDEST, NARROWEST = 560, 180  # pixels from 0 to 1
LABELS, VALUES = 160, 46  # pixels of the names on the left, and of the numbers on the right


def plot_width(room: int, right: int = VALUES) -> int:
    """Pixels from 0 to 1 where a chart may be ``room`` wide, with ``right`` pixels for what is written on its right."""
    return max(NARROWEST, min(WIDEST, room - LABELS - right))


def runs_chart(runs: pd.DataFrame, score: str, palette: Palette, room: int) -> dict[str, Any]:
    """One line a group of runs (:func:`app.data.runs.grouped`): a run and its 95 % interval, or the mean of several
    seeds, a dot each; groups of the store filled, baselines hollow."""
    groups = drawn(grouped(runs, score))
    width, shown = plot_width(room), set(groups["group"])
    data = pd.DataFrame(
        {
            "run": groups["group"].to_numpy(),
            "value": groups["mean"].round(4).to_numpy(),
            "low": groups["low"].round(4).to_numpy(),
            "high": groups["high"].round(4).to_numpy(),
            "seeds": groups["seeds"].to_numpy(),
            "kind": ["baseline" if name.startswith("baseline:") else "run" for name in groups["group"]],
        }
    )
    y = {"field": "run", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 150, "minExtent": 150}}
    hollow = {"condition": {"test": "datum.kind === 'run'", "value": palette.series[0]}, "value": palette.background}
    point = {"type": "point", "size": 90, "opacity": 1, "stroke": palette.series[0], "tooltip": {"content": "data"}}
    return _frame(
        data,
        {"y": y, "x": _share("value")},
        [
            {"mark": {"type": "rule", "color": palette.series[0], "strokeWidth": 2}, "encoding": _interval()},
            {"mark": point, "encoding": {"fill": hollow}},
            *_seeds(runs, score, shown, palette),
            {
                "mark": {"type": "text", "align": "left", "color": palette.text},
                "encoding": {"x": {"value": width + 8}, "text": {"field": "value", "format": ".2f"}},
            },
        ],
        palette,
        26,
        width,
    )


def _seeds(runs: pd.DataFrame, score: str, shown: set[str], palette: Palette) -> list[dict[str, Any]]:
    """A dot for each seed of the groups that have several."""
    rows = []
    for name, value in zip(runs["checkpoint"], runs[score], strict=True):
        group, seed = group_and_seed(str(name))
        if seed is not None and group in shown:
            rows.append({"run": group, "value": round(float(value), 4), "seed": seed})
    if not rows:
        return []
    mark = {"type": "point", "filled": True, "size": 34, "opacity": 1, "color": palette.series[1]}
    return [{"data": {"values": rows}, "mark": {**mark, "tooltip": {"content": "data"}}}]


def breakdown_chart(
    groups: pd.DataFrame, score: str, ceiling: str, palette: Palette, room: int
) -> dict[str, Any]:  # fmt: skip
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
        "axis": {"labelLimit": 150, "minExtent": 150},
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
        plot_width(room, 16),
    )


def _share(field: str) -> dict[str, Any]:
    axis = {"grid": True, "gridOpacity": 0.25, "format": ".1f", "tickCount": 6, "labelPadding": 2}
    return {"field": field, "type": "quantitative", "scale": {"domain": [0, 1]}, "title": None, "axis": axis}


def _interval() -> dict[str, Any]:
    return {"x": _share("low"), "x2": {"field": "high"}}


def _frame(
    data: pd.DataFrame, encoding: dict[str, Any], layers: list[dict[str, Any]], palette: Palette, step: int,
    width: int,
) -> dict[str, Any]:  # fmt: skip
    first = data.columns[0]
    bands = data[first].nunique()
    return {
        "background": "transparent",
        "datasets": {"rows": data.set_axis(data[first].rename(None))},
        "data": {"name": "rows"},
        "width": width,
        "height": bands * step,
        "autosize": {"type": "pad"},
        "encoding": encoding,
        "layer": layers,
        "config": {**config(palette), "legend": {**config(palette)["legend"], "columns": max(1, width // 150)}},
    }
