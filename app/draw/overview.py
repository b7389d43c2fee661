"""The whole of a long map as a small picture, with a frame around the part that is on screen."""

from __future__ import annotations

from typing import Any

from app.data.view import Window, overview
from app.draw.map import config
from app.draw.palette import Palette
from probe.maps.attention_map import AttentionMap

BLOCK = "block"  # the name of the selection that a click makes
SIDE = 150  # pixels of its longer side


def overview_chart(amap: AttentionMap, window: Window, palette: Palette) -> dict[str, Any]:
    """A Vega-Lite specification: a block has the colour of its heaviest weight; a click on one is a selection."""
    data = overview(amap)
    rows, columns = amap.weights.shape
    scale = SIDE / max(rows, columns)
    (top, bottom), (left, right) = window.rows, window.columns
    frame = {"row": top, "row_end": bottom, "column": left, "column_end": right}
    across = {"x": _axis("column", columns), "x2": {"field": "column_end"}}
    place = {**across, "y": _axis("row", rows), "y2": {"field": "row_end"}}
    colour = {
        "field": "weight", "type": "quantitative", "legend": None,
        "scale": {"domain": [0, 1], "range": list(palette.weights), "interpolate": "rgb"},
    }  # fmt: skip
    outline = {"type": "rect", "filled": False, "stroke": palette.pinned, "strokeWidth": 2}
    select = {"type": "point", "fields": ["row", "column"], "toggle": False}
    return {
        "background": "transparent",
        "datasets": {"blocks": data.set_axis(data["row"].rename(None))},
        "data": {"name": "blocks"},
        "width": max(40, round(columns * scale)),
        "height": max(40, round(rows * scale)),
        "autosize": {"type": "pad"},
        "params": [{"name": BLOCK, "select": select, "views": ["blocks"]}],
        "layer": [
            {"name": "blocks", "mark": {"type": "rect", "cursor": "pointer"}, "encoding": {**place, "color": colour}},
            {"data": {"values": [frame]}, "mark": outline, "encoding": place},
        ],
        "config": config(palette),
    }


def _axis(field: str, length: int) -> dict[str, Any]:
    scale = {"domain": [0, length], "nice": False, "zero": False, "reverse": field == "row"}
    return {"field": field, "type": "quantitative", "axis": None, "scale": scale}
