"""How the map on screen is shown: its unit, colours, and the part of a long map; each choice is in the link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.data.view import SIZES, Place, Window, overview, window_of
from app.draw import links
from app.draw.list import one_of
from app.draw.map import config
from app.draw.palette import Palette
from probe.maps.attention_map import AttentionMap
from probe.scoring.aggregation import UNITS

SCALES = ("0–1", "max")
BLOCK = "block"  # the name of the selection that a click makes
SIDE = 150  # pixels of its longer side
HEAVIEST = ("0", "1", "3", "5")  # cells of a line that are drawn; 0: all


@dataclass(frozen=True)
class Look:
    """The choices.

    Attributes:
        unit, scale: what a row is, and the colours. size: how many of the unit a side are shown at once.
        least, heaviest: the least weight that is drawn, and how many cells of a line are (0: all).
    """

    unit: str
    scale: str
    size: int
    least: float = 0.0
    heaviest: int = 0


def allowed_links() -> dict[str, list[str]]:
    """Query parameters of the look, and their values."""
    return {"unit": list(UNITS), "scale": list(SCALES), "size": [str(size) for size in SIZES], "top": list(HEAVIEST)}


def ranges() -> dict[str, tuple[float, float]]:
    """Query parameters of the look that are numbers: lowest and highest."""
    return {"least": (0.0, 1.0)}


def draw_look(default_size: int) -> Look:
    """Selectors of unit, colours and zoom, in a row; what thins out a map is behind a button."""
    sizes = [str(size) for size in SIZES]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        unit = _control(
            "Shown by", UNITS, UNITS[0], "unit",
            "token: as the models see it. chunk: the smallest stretches that both sides cut alike. word: what white "
            "space separates. Groups add up columns and average rows, so what sums to 1 still does.",
        )  # fmt: skip
        scale = _control(
            "Colours", SCALES, SCALES[0], "scale",
            "0–1: the same colours for every map. max: up to the heaviest weight on screen, for faint maps.",
        )  # fmt: skip
        size = _control(
            "Zoom", sizes, str(default_size), "size",
            "Most targets a side at once, where the window is wide enough; fewer make bigger cells.",
        )  # fmt: skip
        with st.popover("Fewer cells", icon=":material/filter_alt:"):
            least, heaviest = _draw_thinning()
    chosen = int(one_of(size, [str(default_size), *sizes]))
    return Look(one_of(unit, list(UNITS)), one_of(scale, list(SCALES)), chosen, least, heaviest)


def _draw_thinning() -> tuple[float, int]:
    """The least weight and the lowest rank that are drawn."""
    least = st.slider(
        "Weights of at least", 0.0, 1.0, 0.0, 0.01, key="least", bind="query-params",
        help="Lighter cells are left out; outlined ones stay.",
    )  # fmt: skip
    heaviest = st.segmented_control(
        "Of each line", HEAVIEST, default=HEAVIEST[0], required=True, key="top", bind="query-params",
        format_func=lambda one: "all" if one == HEAVIEST[0] else f"heaviest {one}" if one == "1" else one,
        help="How many cells of each row (t2s) or column (s2t) are drawn, the heaviest first.",
    )  # fmt: skip
    return float(least), int(one_of(heaviest, list(HEAVIEST)))


def _control(label: str, options: object, default: str, key: str, tip: str) -> object:
    return st.segmented_control(label, options, default=default, required=True, key=key, bind="query-params", help=tip)


def draw_window(amap: AttentionMap, look: Look, columns: int, palette: Palette) -> tuple[Window, list[str]]:
    """The part of a map that is on screen, at most ``columns`` wide; a map that is longer gets a picture of the whole
    to steer by, and a slider a side. Returns notes on what the link says that does not fit."""
    rows, columns = min(look.size, len(amap.student)), min(look.size, columns, len(amap.teacher))
    most = {"from": max(amap.weights.shape) - 1, "row": len(amap.student) - rows, "column": len(amap.teacher) - columns}
    found = {name: links.number(name, 0, max(0, most[name]), -1) for name in most}
    notes = [note for _, lines in found.values() for note in lines]
    start, row, column = (found[name][0] for name in most)
    place = Place(max(start, 0), None if row < 0 else row, None if column < 0 else column)
    window = window_of(amap.student, amap.teacher, place, rows, columns)
    if not window.holds_all(amap):
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            draw_overview(amap, window, palette)
            with st.container(width=330):
                _draw_sliders(amap, look, window, own=column >= 0 and row >= 0)
    return window, notes


def draw_overview(amap: AttentionMap, window: Window, palette: Palette) -> None:
    """The whole map, small, with a frame around what is on screen; a click moves the frame there."""
    key = "overview of the map"

    def move() -> None:
        blocks = st.session_state[key]["selection"].get(BLOCK)
        if isinstance(blocks, list) and blocks:
            parts = (("row", window.rows, len(amap.student)), ("column", window.columns, len(amap.teacher)))
            starts = {name: _centred(blocks[-1].get(name), part, length) for name, part, length in parts}
            links.put(**{**starts, "from": None})

    spec = overview_chart(amap, window, palette)
    (top, bottom), (left, right) = window.rows, window.columns
    said = f"The whole map; on screen are rows {top} to {bottom - 1} and columns {left} to {right - 1}"
    st.vega_lite_chart(spec, theme=None, width="content", key=key, on_select=move, alt=said)


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


def _centred(at: object, part: tuple[int, int], length: int) -> int:
    """Where a part as long as ``part`` begins that has ``at`` in its middle, within ``length``."""
    size = part[1] - part[0]
    middle = int(at) if isinstance(at, int | float) else part[0] + size // 2
    return max(0, min(middle - size // 2, length - size))


def _draw_sliders(amap: AttentionMap, look: Look, window: Window, *, own: bool) -> None:
    """A slider for the rows and one for the columns, where there is something to move."""
    name = "target" if look.unit == "token" else look.unit
    sides = (("row", "student", window.rows), ("column", "teacher", window.columns))
    for what, side, (start, stop) in sides:
        length = len(getattr(amap, side))
        if stop - start < length:
            key = f"{what} {start} {look.unit} {look.size} {amap.example_id}"  # anew when the picture moved it

            def move(what: str = what, key: str = key) -> None:
                both = {"row": window.rows[0], "column": window.columns[0]} if own else {}
                links.put(**{**both, what: int(st.session_state[key]), "from": None})

            label = f"{side.capitalize()} {name}s: {stop - start} of {length}, from number"
            tip = "The other side shows the same text, until a click on the picture or \"apart\" says otherwise."
            st.slider(label, 0, length - (stop - start), start, key=key, on_change=move, help=tip)
    begins: dict[str, object] = {"row": window.rows[0], "column": window.columns[0]}
    apart = {**begins, "from": None} if not own else {**begins, "column": None, "from": None}
    st.button(
        "Show the same text on both sides" if own else "Move the sides apart", key="sides apart",
        on_click=links.put, kwargs=apart,
    )  # fmt: skip


def draw_start(longest: int, look: Look, example_id: str) -> tuple[int, list[str]]:
    """Where the window of a long map begins: a slider, whose value is in the link; and a note if the link's is none."""
    last = longest - look.size
    if last <= 0:
        return 0, [f"from = {st.query_params['from'][:200]}"] if st.query_params.get("from", "0") != "0" else []
    start, notes = links.number("from", 0, last, 0)
    key = f"from {look.unit} {look.size} {example_id}"

    def move() -> None:
        links.put(**{"from": int(st.session_state[key])})

    name = "target" if look.unit == "token" else look.unit
    label = f"Shown: {look.size} of {longest} {name}s, from number"
    tip = "Both sides show the same text. Ranks and heaviest cells are those of the whole map."
    chosen = st.slider(label, 0, last, start, key=key, on_change=move, help=tip)
    return max(0, min(int(chosen), last)), notes
