"""What a click on a cell opens: the distribution of its row and column, and both tokens in their running texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.data.view import Pin, Shown
from app.draw import links
from app.draw.map import FONT, config
from app.draw.palette import Palette
from app.draw.text import running_text

BARS = 8  # heaviest cells that are drawn as bars


def draw_hint() -> None:
    """What a click would do."""
    st.caption("Click a cell to pin its row and column: where the weight goes, and both tokens in their texts.")


def draw_pin(shown: Shown, pin: Pin, palette: Palette, top: float, width: int) -> None:
    """The pinned row and column of the map on screen, in ``width`` pixels."""
    amap = shown.amap
    st.button("Unpin", icon=":material/keep_off:", on_click=links.put, kwargs={"pin": None})
    sides = (
        ("student", amap.student, pin.row, amap.weights[pin.row], amap.teacher, pin.column, "teacher"),
        ("teacher", amap.teacher, pin.column, amap.weights[:, pin.column], amap.student, pin.row, "student"),
    )
    for name, axis, index, line, others, other, to in sides:
        sums = (name == "student") == (amap.direction == "t2s")
        what = "where its weight goes" if sums else f"what each {to} {_unit(shown)} gives it"
        st.markdown(f"##### {name.capitalize()} {_unit(shown)} {index}: {what}")
        st.text(axis.tokens[index])
        linked = _linked(shown, pin, name)
        frame = heaviest(line, others.tokens, linked)
        spec = bars(frame, palette, width)
        st.vega_lite_chart(spec, theme=None, width="content", key=f"bars-{name}", alt=_said(frame, axis.tokens[index]))
        start, stop = shown.window.columns if name == "student" else shown.window.rows
        spec = running_text(
            others.tokens[start:stop], line[start:stop], palette,
            first=start, top=top, width=width, pinned=other, gold=linked,
        )  # fmt: skip
        said = f"The {to} tokens of the text, {others.tokens[other]} among them"
        st.vega_lite_chart(spec, theme=None, width="content", key=f"text-{to}", alt=said)


def _unit(shown: Shown) -> str:
    return "target" if shown.unit == "token" else shown.unit


def _linked(shown: Shown, pin: Pin, side: str) -> set[int]:
    """What gold links with the pinned row (``student``) or column (``teacher``)."""
    if shown.gold is None:
        return set()
    if side == "student":
        return {j for i, j in shown.gold.possible if i == pin.row}
    return {i for i, j in shown.gold.possible if j == pin.column}


def heaviest(line: np.ndarray, tokens: tuple[str, ...], linked: set[int], count: int = BARS) -> pd.DataFrame:
    """The heaviest cells of a line, and all with gold: place in the line, token, weight, whether gold links it."""
    order = np.argsort(-line, kind="stable")
    chosen = [*order[:count].tolist(), *(place for place in order[count:].tolist() if place in linked)]
    frame = pd.DataFrame({"index": chosen, "token": [tokens[place] for place in chosen]})
    return frame.assign(weight=line[chosen].astype(float), gold=[place in linked for place in chosen])


def bars(frame: pd.DataFrame, palette: Palette, width: int) -> dict[str, Any]:
    """A bar a cell; gold ones have the outline that they have on the map."""
    labels = frame["token"].tolist()
    data = frame.assign(place=range(len(frame)), weight=frame["weight"].round(4))
    data["gold link"] = np.where(frame["gold"], "yes", "no")
    y = {
        "field": "place", "type": "ordinal", "title": None, "scale": {"paddingInner": 0.25},
        "axis": {"labelExpr": "labels[datum.value]", "labelFont": FONT, "labelLimit": 90, "minExtent": 90},
    }  # fmt: skip
    x = {"field": "weight", "type": "quantitative", "title": "weight", "scale": {"domain": [0, 1]}}
    data = data[["place", "token", "index", "weight", "gold link"]].set_axis(data["token"].rename(None))
    bar = {"type": "bar", "color": palette.weights[3], "tooltip": {"content": "data"}, "strokeWidth": 2}
    stroke = {"condition": {"test": "datum['gold link'] === 'yes'", "value": palette.gold}, "value": None}
    number = {"type": "text", "align": "left", "dx": 5, "color": palette.text}
    return {
        "background": "transparent",
        "datasets": {"bars": data},
        "data": {"name": "bars"},
        "params": [{"name": "labels", "value": labels}],
        "width": max(60, width - 160),
        "height": {"step": 18},
        "autosize": {"type": "pad"},
        "encoding": {"y": y, "x": {**x, "axis": None}},
        "layer": [
            {"mark": bar, "encoding": {"stroke": stroke}},
            {"mark": number, "encoding": {"text": {"field": "weight", "format": ".2f"}}},
        ],
        "config": config(palette),
    }


def _said(frame: pd.DataFrame, token: str) -> str:
    first = frame.iloc[0]
    on_gold = frame.loc[frame["gold"], "weight"].sum()
    return f"{token}: most weight, {first['weight']:.2f}, is on {first['token']}; {on_gold:.2f} on gold links"
