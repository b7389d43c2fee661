"""The heatmap as a Vega-Lite chart: cells, gold outlines, outcome marks. Tokens go in as data, never as code or HTML.

The specification is written as it is sent: Altair's objects for it took 130 ms a chart to check (November 2026).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from app.data.layout import LABEL_LIMIT
from app.data.letters import wrapped
from app.data.view import Pin, Window, labels
from app.draw.palette import Palette
from app.server import rule
from probe.maps.attention_map import AttentionMap

# Outcomes differ by shape, gold by outline: nothing hangs on telling two colours apart.
SHAPES = {"sure": "circle", "possible": "diamond", "miss": "M-.7,-.7L.7,.7M.7,-.7L-.7,.7", "no gold": "square"}
# The key to the marks, beside the colour legend that the chart draws itself.
KEY = (
    ":orange[▢] gold link: solid sure, dashed possible",
    "○ heaviest cell on a sure link",
    "◇ on a possible link",
    ":red[✕] a miss",
    "□ no link to hit",
)
FONT = '"Source Code Pro", "DejaVu Sans Mono", "Noto Sans CJK SC", "Noto Color Emoji", monospace'
SANS = '"Source Sans", "Source Sans Pro", sans-serif'
# Columns of the drawn data; the tooltip shows them all, under these names and in this order.
TOOLTIP = {
    "student_token": "student token",
    "student_piece": "student piece",
    "student_bytes": "student bytes",
    "student_index": "student index",
    "teacher_token": "teacher token",
    "teacher_piece": "teacher piece",
    "teacher_bytes": "teacher bytes",
    "teacher_index": "teacher index",
    "weight": "weight",
    "rank": "rank",
    "gold": "gold link",
    "outcome": "heaviest cell",
}
DIFFERENCE = ("reference", "difference")  # the reference's weight and this run's minus it, where two maps are compared
SHOW_DATA = {"content": "data"}  # the row of data itself: an expression for each cell took seconds to draw
PIN = "pin"  # the name of the selection that a click makes


@dataclass(frozen=True)
class Scale:
    """The colours of a map: weights from 0 to ``top``, or a ``difference`` from −``top`` to ``top``."""

    top: float
    difference: bool = False


def draw_key(key: Sequence[str] = KEY) -> None:
    """The key to the marks, in small letters of full strength: a caption's are too faint for thin shapes."""
    words = (part.replace("gold link", "link of the span rule") if rule.is_on() else part for part in key)
    st.markdown(":small[" + " &emsp; ".join(words) + "]")


def heatmap(
    cells: pd.DataFrame,
    amap: AttentionMap,
    window: Window,
    palette: Palette,
    *,
    title: str,
    subtitle: Sequence[str],
    scale: Scale,
    step: int,
    unit: str = "token",
    pin: Pin | None = None,
    bare: bool = False,
    width: int = 900,
) -> dict[str, Any]:
    """Draw the cells of :func:`app.data.view.map_cells`: student targets downwards, teacher targets to the right.

    Args:
        cells: one row a cell of the window.
        amap: whose labels the axes bear; equal tokens stay apart because places are indices.
        title, subtitle: a line, and lines, above the map.
        step: pixels a cell.
        unit: what a row is: token, chunk or word.
        pin: the cell whose row and column are framed.
        bare: without labels and legend, for small maps beside others; the tooltip names the tokens.
        width: pixels in which the title's lines are broken.

    Returns:
        A Vega-Lite specification; a click on a cell is its selection ``PIN``.
    """
    data, encoding = _data(cells, amap), _bare(amap, window) if bare else axes(amap, window, unit, step)
    columns, rows = (stop - start for start, stop in (window.columns, window.rows))
    layers = [_cells(amap.direction, scale, palette, 0 if bare else columns * step)]
    layers += _outlines(_words(data, "gold link"), step, palette)
    if not scale.difference:
        layers += _marks(_words(data, "heaviest cell"), step, palette)
    return {
        "background": "transparent",
        "datasets": {"cells": data},
        "data": {"name": "cells"},
        "title": {
            "text": lines if len(lines := wrapped(title, 14, width)) > 1 else title,
            "subtitle": [part for line in subtitle for part in wrapped(line, 12, width)],
            "anchor": "start", "offset": 12, "limit": width,
        },
        "width": columns * step,
        "height": rows * step,
        "autosize": {"type": "pad"},  # width and height are those of the cells, labels come on top
        "params": [
            {"name": "student_labels", "value": labels(amap.text, amap.student)},
            {"name": "teacher_labels", "value": labels(amap.text, amap.teacher)},
            {
                "name": PIN,
                "select": {"type": "point", "fields": ["student index", "teacher index"], "toggle": False},
                "views": ["cells"],
            },
        ],
        "layer": [{"encoding": encoding, "layer": layers}, *_pinned(pin, window, encoding, palette)],
        "config": config(palette),
    }


def config(palette: Palette) -> dict[str, Any]:
    """What all charts of the dashboard share: letters in the theme's colour, no frame, no text for each mark."""
    text = {"labelColor": palette.text, "titleColor": palette.text}
    return {
        "font": SANS,
        "view": {"stroke": None},
        "mark": {"aria": False},  # the chart has one text alternative; thousands of cells need none
        "axis": {"ticks": False, "domain": False, "labelPadding": 4, "grid": False, **text},
        "title": {"color": palette.text, "subtitleColor": palette.text, "fontSize": 14, "subtitleFontSize": 12},
        "legend": {"orient": "bottom", "direction": "horizontal", "titleLimit": 300, "labelLimit": 200, **text},
    }


def _data(cells: pd.DataFrame, amap: AttentionMap) -> pa.Table:
    """The cells under the names of the tooltip, as they are sent: each word once (a third of the bytes).

    Made column by column, without pandas, whose categories and index took 6 ms of a click's 40 (November 2026).
    """
    names = {**TOOLTIP, **dict.fromkeys(DIFFERENCE)}
    columns = {names[name] or name: _column(cells[name], amap) for name in names if name in cells}
    if (cells["gold"] == "").all():  # nowhere, or there is gold
        del columns[TOOLTIP["gold"]]
    return pa.table(columns)


def _column(values: pd.Series, amap: AttentionMap) -> pa.Array:
    if values.name == "rank":
        side, length = ("row", len(amap.teacher)) if amap.direction == "t2s" else ("column", len(amap.student))
        words = [f"{rank} in its {side} of {length}" for rank in range(1, length + 1)]
        return pa.DictionaryArray.from_arrays(values.to_numpy(dtype=np.int32) - 1, words)
    if values.dtype.kind in "if":
        return pa.array(values.to_numpy().round(4).astype(np.int32 if values.dtype.kind == "i" else float))
    words = values.cat.categories.to_numpy(dtype=object)
    if values.name == "outcome":
        words = [word or "no" for word in words]  # the tooltip would say null
    return pa.DictionaryArray.from_arrays(values.cat.codes.to_numpy(), pa.array(words, pa.string()))


def axes(amap: AttentionMap, window: Window, unit: str, step: int) -> dict[str, Any]:
    """Both sides' targets as axes; a chart with them needs its labels as parameters student_labels, teacher_labels."""
    look = {"labelOverlap": False, "labelFlush": False, "labelLimit": LABEL_LIMIT, "labelFontSize": min(12, step - 1)}
    look |= {"labelFont": FONT, "titleAnchor": "start"}
    encoding: dict[str, Any] = {}
    name = "target" if unit == "token" else unit
    for channel, side, part, place in (("x", "teacher", window.columns, "top"), ("y", "student", window.rows, "left")):
        start, stop = part
        length = len(getattr(amap, side))
        count = f"{stop - start} of {length}" if stop - start < length else f"{length}"
        title = f"{count} {side} {name}s" + (" →" if channel == "x" else "")
        encoding[channel] = {
            "field": f"{side} index",
            "type": "ordinal",
            "title": title if channel == "x" else f"← {title}",
            "scale": {"domain": list(range(*part)), "paddingInner": 0, "paddingOuter": 0},  # no gaps without a tooltip
            "axis": {
                **look,
                "orient": place,
                "labelAngle": -90 if channel == "x" else 0,
                "labelExpr": f"{side}_labels[datum.value]",
                **({"titleAlign": "right"} if channel == "y" else {}),
            },
        }
    return encoding


def _bare(amap: AttentionMap, window: Window) -> dict[str, Any]:
    """Places without labels."""
    sides = (("x", "teacher", window.columns), ("y", "student", window.rows))
    scale = {"paddingInner": 0, "paddingOuter": 0}
    return {
        channel: {
            "field": f"{side} index", "type": "ordinal", "axis": None,
            "scale": {**scale, "domain": list(range(*part))},
        }
        for channel, side, part in sides
    }  # fmt: skip


def _cells(direction: str, scale: Scale, palette: Palette, room: int) -> dict[str, Any]:
    """The cells, and a colour legend of at most ``room`` pixels; none for 0."""
    low, colours = (-scale.top, palette.difference) if scale.difference else (0, palette.weights)
    title = f"weight: each {'row' if direction == 't2s' else 'column'} sums to 1"
    key = {
        "title": ("this run − the reference" if scale.difference else title) if room >= 150 else None,
        "gradientLength": min(170, room),
        "gradientThickness": 10,
        "format": "+.3~g" if scale.difference else ".3~g",
    }
    domain = [low, scale.top]
    colour = {
        "field": "difference" if scale.difference else "weight",
        "type": "quantitative",
        "scale": {"domain": domain, "range": list(colours), "clamp": True, "nice": False, "interpolate": "rgb"},
        "legend": key if room else None,
    }
    mark: dict[str, Any] = {"type": "rect", "stroke": palette.background, "tooltip": SHOW_DATA, "cursor": "pointer"}
    mark["strokeWidth"] = 0.6 if room else 0
    return {"name": "cells", "mark": mark, "encoding": {"color": colour}}


def _words(data: pa.Table, column: str) -> set[str]:
    """What a column of words says anywhere."""
    return set(data[column].unique().to_pylist()) if column in data.column_names else set()


def _outlines(present: set[str], step: int, palette: Palette) -> list[dict[str, Any]]:
    width = 2 if step >= 14 else 1.2 if step >= 8 else 0.8  # a broad line would cover small cells
    look = {"type": "rect", "filled": False, "stroke": palette.gold, "strokeWidth": width, "tooltip": SHOW_DATA}
    return [
        {"mark": {**look, "strokeDash": dash}, "transform": [_filter("gold link", level)]}
        for level, dash in (("possible", [3, 2]), ("sure", [1, 0]))
        if level in present
    ]


def _filter(column: str, value: str) -> dict[str, Any]:
    return {"filter": {"field": column, "equal": value}}


def _marks(present: set[str], step: int, palette: Palette) -> list[dict[str, Any]]:
    """A shape on the heaviest cell of each line; a line under the cross keeps it visible on any cell."""
    size = max(28 if step >= 8 else step * step / 3, 0.16 * step * step)
    layers = []
    for name, shape in SHAPES.items():
        if name not in present:
            continue
        only = {"transform": [_filter("heaviest cell", name)]}
        look = {"type": "point", "shape": shape, "opacity": 1, "size": 2 * size if name == "miss" else size}
        if name == "miss":
            layers.append({**only, "mark": {**look, "filled": False, "stroke": palette.halo, "strokeWidth": 4}})
            look |= {"filled": False, "stroke": palette.miss}
        else:
            look |= {"filled": True, "fill": "#ffffff", "stroke": "#0f172a"}
        layers.append({**only, "mark": {**look, "strokeWidth": 1.5, "tooltip": SHOW_DATA}})
    return layers


def _pinned(pin: Pin | None, window: Window, axes: dict[str, Any], palette: Palette) -> list[dict[str, Any]]:
    """Frames around the pinned row and column, where they are in the window."""
    if pin is None:
        return []
    look = {"type": "rect", "filled": False, "stroke": palette.pinned, "strokeWidth": 2}
    lines = (("y", pin.row, window.rows), ("x", pin.column, window.columns))
    return [
        {"data": {"values": [{axes[channel]["field"]: place}]}, "mark": look, "encoding": {channel: axes[channel]}}
        for channel, place, part in lines
        if part[0] <= place < part[1]
    ]
