"""The tokens of one side as running text, each on the colour of its weight: a chart, so no token is ever markup."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from app.data.letters import MONO, columns
from app.draw.map import FONT, SHOW_DATA, config
from app.draw.palette import Palette, on_weight

SIZE, LINE = 13, 25  # pixels: of the letters, and from one line to the next
LETTER = MONO * SIZE  # a monospaced letter is so wide; those of East Asia and emoji are twice that
LONGEST = 40  # letters of a token that are drawn


def running_text(
    tokens: Sequence[str],
    weights: np.ndarray,
    palette: Palette,
    *,
    first: int,
    top: float,
    width: int,
    pinned: int,
    gold: Collection[int] = (),
) -> dict[str, Any]:
    """A Vega-Lite specification of the tokens in lines of ``width`` pixels.

    Args:
        tokens, weights: those to show; they are numbered from ``first``.
        top: the weight of the last colour.
        pinned: number of the token to frame. gold: numbers of tokens with an outline.
    """
    data = _placed(tokens, width).assign(index=np.arange(first, first + len(tokens)), weight=np.round(weights, 4))
    height = int(data["bottom"].max()) + 3 if len(data) else LINE
    place = {
        "x": _pixels("left", width), "x2": {"field": "right"}, "y": _pixels("top", height), "y2": {"field": "bottom"},
    }  # fmt: skip
    colour = {
        "field": "weight",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [0, top], "range": list(palette.weights), "clamp": True, "interpolate": "rgb"},
    }
    box = {"type": "rect", "cornerRadius": 3}
    frames = [(palette.gold, [2, 0], set(gold) - {pinned}), (palette.pinned, [1, 0], {pinned})]
    layers: list[dict[str, Any]] = [{"mark": {**box, "tooltip": SHOW_DATA}, "encoding": {**place, "color": colour}}]
    for stroke, dash, numbers in frames:
        if numbers & set(data["index"]):
            look = {**box, "filled": False, "stroke": stroke, "strokeWidth": 2, "strokeDash": dash}
            chosen = {"filter": {"field": "index", "oneOf": sorted(numbers)}}
            layers.append({"transform": [chosen], "mark": look, "encoding": place})
    light, heavy = on_weight(palette)
    letters = {
        "x": {**_pixels("left", width)}, "y": {**_pixels("middle", height)}, "text": {"field": "token"},
        "color": {"condition": {"test": f"datum.weight > {palette.turn * top}", "value": heavy}, "value": light},
    }  # fmt: skip
    mark = {"type": "text", "align": "left", "dx": 3, "font": FONT, "fontSize": SIZE, "tooltip": SHOW_DATA}
    return {
        "background": "transparent",
        "datasets": {"tokens": data.set_axis(data["token"].rename(None))},
        "data": {"name": "tokens"},
        "width": width,
        "height": height,
        "autosize": {"type": "pad"},
        "layer": [*layers, {"mark": mark, "encoding": letters}],
        "config": config(palette),
    }


def _pixels(field: str, length: int) -> dict[str, Any]:
    scale = {"domain": [0, length], "nice": False, "zero": False}
    return {
        "field": field,
        "type": "quantitative",
        "axis": None,
        "scale": {**scale, "reverse": field in ("top", "middle")},
    }


def _placed(tokens: Sequence[str], width: int) -> pd.DataFrame:
    """Where each token's box is, in pixels from the top left; a line is broken between tokens."""
    rows, at, line = [], 0.0, 0
    for token in tokens:
        text = token if len(token) <= LONGEST else token[: LONGEST - 1] + "…"
        size = max(columns(text), 1) * LETTER + 6
        if at and at + size > width:
            at, line = 0.0, line + 1
        rows.append((text, at, min(at + size, width), line * LINE, line * LINE + LINE - 4, line * LINE + LINE / 2 - 2))
        at += size + 2
    return pd.DataFrame(rows, columns=["token", "left", "right", "top", "bottom", "middle"])
