"""The annotator's grid: a cell for each pair of targets, links marked by shape; a click on one is a choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from app.data.annotations import Links
from app.data.view import Window
from app.draw import map as draw_map
from app.draw.palette import Palette
from probe.maps.attention_map import AttentionMap

CELL = "cell"  # the name of the selection that a click makes
KEY = (
    ":orange[●] sure link",
    ":orange[◇] possible link",
    ":violet[▢] the other annotator's link: solid sure, dashed possible",
)


def grid_cells(amap: AttentionMap, window: Window, links: Links, other: Links | None, *, weights: bool) -> pd.DataFrame:
    """One row a cell of the window: both tokens and indices, the level of the link, the other's, and the weight."""
    rows, columns = (np.arange(*part) for part in (window.rows, window.columns))
    i, j = (grid.ravel().tolist() for grid in np.meshgrid(rows, columns, indexing="ij"))
    cells = list(zip(i, j, strict=True))
    frame = pd.DataFrame(
        {
            "student token": [amap.student.tokens[row] for row in i],
            "teacher token": [amap.teacher.tokens[column] for column in j],
            "student index": i,
            "teacher index": j,
            "link": [links.get(cell, "none") for cell in cells],
        }
    )
    if other is not None:
        frame["other annotator"] = [other.get(cell, "none") for cell in cells]
    if weights:
        frame["weight"] = amap.weights[i, j].round(4)
    return frame


def grid(data: pd.DataFrame, amap: AttentionMap, window: Window, palette: Palette, step: int) -> dict[str, Any]:
    """The Vega-Lite specification of :func:`grid_cells`; a click on a cell is its selection ``CELL``."""
    axes = draw_map.axes(amap, window, "token", step)
    # An index of numbers would be sent, and show in the tooltip.
    data = data.set_axis(data["student token"].rename(None))
    layers = [_cells(data, palette)]
    if "other annotator" in data:
        layers += [_outline(data, "other annotator", level, palette.pinned, step) for level in ("possible", "sure")]
    layers += [_mark(level, shape, step, palette) for level, shape in (("possible", "diamond"), ("sure", "circle"))]
    columns, rows = (stop - start for start, stop in (window.columns, window.rows))
    select = {"type": "point", "fields": ["student index", "teacher index"], "toggle": False, "clear": False}
    return {
        "background": "transparent",
        "datasets": {"cells": data},
        "data": {"name": "cells"},
        "width": columns * step,
        "height": rows * step,
        "autosize": {"type": "pad"},
        "params": [
            {"name": "student_labels", "value": list(amap.student.tokens)},
            {"name": "teacher_labels", "value": list(amap.teacher.tokens)},
            {"name": CELL, "select": select, "views": ["cells"]},
        ],
        "encoding": axes,
        "layer": layers,
        "config": draw_map.config(palette),
    }


def _cells(data: pd.DataFrame, palette: Palette) -> dict[str, Any]:
    mark = {"type": "rect", "stroke": palette.faint, "strokeWidth": 0.6, "cursor": "pointer"}
    colour: dict[str, Any] = {"value": palette.weights[0]}
    if "weight" in data:
        scale = {"domain": [0, 1], "range": list(palette.weights), "clamp": True, "interpolate": "rgb"}
        colour = {"field": "weight", "type": "quantitative", "scale": scale, "legend": None}
    return {"name": "cells", "mark": {**mark, "tooltip": draw_map.SHOW_DATA}, "encoding": {"color": colour}}


def _outline(data: pd.DataFrame, column: str, level: str, colour: str, step: int) -> dict[str, Any]:
    dash = [1, 0] if level == "sure" else [3, 2]
    look = {"type": "rect", "filled": False, "stroke": colour, "strokeWidth": 2, "strokeDash": dash}
    return {"mark": {**look, "tooltip": draw_map.SHOW_DATA}, "transform": [_only(column, level)]}


def _mark(level: str, shape: str, step: int, palette: Palette) -> dict[str, Any]:
    """A filled circle for sure, an open diamond for possible; a halo keeps both visible on any weight."""
    filled = level == "sure"
    look = {"type": "point", "shape": shape, "size": max(24, 0.3 * step * step), "opacity": 1, "cursor": "pointer"}
    look |= {"filled": True, "fill": palette.gold if filled else palette.halo}
    look |= {"stroke": palette.halo if filled else palette.gold, "strokeWidth": 1 if filled else 2}
    return {"mark": {**look, "tooltip": draw_map.SHOW_DATA}, "transform": [_only("link", level)]}


def _only(column: str, value: str) -> dict[str, Any]:
    return {"filter": {"field": column, "equal": value}}
