"""What a click on a cell opens: the distribution of its row and column, and both tokens in their running texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.data.view import Pin, Shown, labels, line_ranks
from app.draw import links
from app.draw.map import FONT, config
from app.draw.palette import Palette
from app.draw.text import running_text
from probe.maps.attention_map import AttentionMap, by_rows, column_axis
from probe.scoring.causes import MEANINGS, wrong_links
from probe.scoring.metrics import gold_cells
from probe.text.axis import TokenAxis

BARS = 8  # heaviest cells that are drawn as bars
SUMMARY = 92  # pixels that the lines above the map are high
NARROWEST, WIDEST = 300, 620  # pixels of one side's bars and text


@dataclass(frozen=True)
class Side:
    """A pinned row (``student``) or column (``teacher``): its token, its weights, and the axis ``to`` which they go."""

    name: str
    axis: TokenAxis
    index: int
    line: np.ndarray
    others: TokenAxis
    other: int
    to: str


def draw_summary(shown: Shown, pin: Pin | None) -> None:
    """What was clicked, in two lines above the map, of one height, so that a click does not move the map."""
    with st.container(border=True, height=SUMMARY, horizontal=True, vertical_alignment="center", wrap=False):
        if pin is None:
            st.caption("Click a cell to pin its row and column: where the weight goes, and whether that is right.")
            return
        st.text("\n".join(summary(shown, pin)), width="stretch")
        st.button(
            "Unpin", icon=":material/keep_off:", on_click=links.put, kwargs={"pin": None}, key="unpin", shortcut="U"
        )


def summary(shown: Shown, pin: Pin) -> list[str]:
    """The pinned cell, where its line has most weight, and whether that is right; if not, why."""
    amap = shown.amap
    named = {"student": labels(amap.text, amap.student), "teacher": labels(amap.text, amap.teacher)}
    student, teacher = named["student"][pin.row], named["teacher"][pin.column]
    rank = int(line_ranks(amap)[pin.row, pin.column])
    weight = amap.weights[pin.row, pin.column]
    lines = [f"{student} ({pin.row}) with {teacher} ({pin.column}): weight {weight:.2f}, rank {rank}"]
    line, other = (pin.row, student) if amap.direction == "t2s" else (pin.column, teacher)
    weights, names = by_rows(amap, amap.weights)[line], named["teacher" if amap.direction == "t2s" else "student"]
    order = np.argsort(-weights, kind="stable")[:3]
    looks = ", ".join(f"{names[place]} {weights[place]:.2f}" for place in order)
    return [*lines, f"{other} looks at {looks}{verdict(shown, line)}"]


def verdict(shown: Shown, line: int) -> str:
    """Whether the heaviest cell of a line is right; '' without gold to say so."""
    if shown.gold is None:
        return ""
    amap, gold = shown.amap, shown.gold
    wanted = np.flatnonzero(by_rows(amap, gold_cells(amap, gold)[1])[line])
    if not len(wanted):
        return " · no link to hit"
    wrong = [one for one in wrong_links(amap, gold) if one.row == line]
    if not wrong:
        return " · right"
    tokens = " ".join(column_axis(amap).tokens[place] for place in wanted)
    cause = f"{MEANINGS[wrong[0].cause]} ({wrong[0].cause})" if shown.unit == "token" else f"by {shown.unit}"
    return f" · wrong: {cause}; wanted {tokens}"


def draw_pin(shown: Shown, pin: Pin, palette: Palette, top: float, width: int) -> None:
    """The pinned row and column of the map on screen, in ``width`` pixels: below each other, or beside each other."""
    columns = 2 if width >= 2 * NARROWEST else 1
    places = st.columns(2, gap="medium") if columns == 2 else (st.container(), st.container())
    for place, side in zip(places, _sides(shown.amap, pin), strict=True):
        with place:
            _draw_side(shown, pin, palette, top, min(WIDEST, width // columns - 24), side)


def _sides(amap: AttentionMap, pin: Pin) -> tuple[Side, Side]:
    return (
        Side("student", amap.student, pin.row, amap.weights[pin.row], amap.teacher, pin.column, "teacher"),
        Side("teacher", amap.teacher, pin.column, amap.weights[:, pin.column], amap.student, pin.row, "student"),
    )


def _draw_side(shown: Shown, pin: Pin, palette: Palette, top: float, width: int, side: Side) -> None:
    """Where the weight of a row goes, or what each row gives a column: bars, and the running text."""
    sums = (side.name == "student") == (shown.amap.direction == "t2s")
    what = "where its weight goes" if sums else f"what each {side.to} {_unit(shown)} gives it"
    st.markdown(f"##### {side.name.capitalize()} {_unit(shown)} {side.index}: {what}")
    token = side.axis.tokens[side.index]
    st.text(token)
    linked = _linked(shown, pin, side.name)
    frame = heaviest(side.line, side.others.tokens, linked)
    spec = bars(frame, palette, width)
    st.vega_lite_chart(spec, theme=None, width="content", key=f"bars-{side.name}", alt=_said(frame, token))
    start, stop = shown.window.columns if side.name == "student" else shown.window.rows
    spec = running_text(
        side.others.tokens[start:stop], side.line[start:stop], palette,
        first=start, top=top, width=width, pinned=side.other, gold=linked,
    )  # fmt: skip
    said = f"The {side.to} tokens of the text, {side.others.tokens[side.other]} among them"
    st.vega_lite_chart(spec, theme=None, width="content", key=f"text-{side.to}", alt=said)


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
