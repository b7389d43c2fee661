"""How the map on screen is shown: its unit, colours, and the part of a long map; each choice is in the link."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app.data.view import SIZES
from app.draw import links
from app.draw.list import one_of
from probe.scoring.aggregation import UNITS

SCALES = ("0–1", "max")


@dataclass(frozen=True)
class Look:
    """The choices: the unit, the colours (``scale``), and how many of the unit a side are shown at once (``size``)."""

    unit: str
    scale: str
    size: int


def allowed_links() -> dict[str, list[str]]:
    """Query parameters of the look, and their values."""
    return {"unit": list(UNITS), "scale": list(SCALES), "size": [str(size) for size in SIZES]}


def draw_look(default_size: int) -> Look:
    """Selectors of unit, colours and zoom, in a row."""
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
            "Zoom", sizes, str(default_size), "size", "Most targets a side at once; fewer make bigger cells."
        )
    return Look(one_of(unit, list(UNITS)), one_of(scale, list(SCALES)), int(one_of(size, [str(default_size), *sizes])))


def _control(label: str, options: object, default: str, key: str, tip: str) -> object:
    return st.segmented_control(label, options, default=default, required=True, key=key, bind="query-params", help=tip)


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
