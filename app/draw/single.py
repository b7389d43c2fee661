"""One map that stands alone, as two pages show it: look, window, downloads, heatmap, texts, table."""

from __future__ import annotations

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.data import layout, view
from app.data.downloads import Picture, file_stem
from app.data.view import Pin, Shown
from app.draw import example as draw_example
from app.draw import links, palette, screen
from app.draw import map as draw_map
from app.draw import pin as draw_pin
from app.draw import states as draw_states
from app.draw import view as draw_view
from app.draw.palette import Palette
from app.draw.view import SCALES
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.metrics import score_map

TEXT_WIDTH = 260  # pixels that texts and distributions beside a map need
GAP = 36  # pixels between the two


def draw_single(amap: AttentionMap, gold: Gold | None, *, key: str, notes: list[str] | None = None) -> None:
    """The map with its gold; what the link says of the look is followed, and what does not fit is noted."""
    # before widgets take what fits out of the link
    misfits = links.note_misfits(key, draw_view.allowed_links(), draw_view.ranges())
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        look = draw_view.draw_look(view.SIZES[-1])
        downloads = st.container(horizontal=True, width="content")
    room, colours = screen.width(), palette.current()
    amap, gold = view.in_unit(amap, gold, look.unit)
    window, part_notes = draw_view.draw_window(amap, look, layout.most_columns(amap, room), colours)
    shown = view.thinned(view.framed(amap, gold, look.unit, window), look.least, look.heaviest)
    pin, pin_notes = Pin.of_link(st.query_params.get("pin"), shown.amap)
    draw_states.draw_notes([*(notes or []), *misfits, *part_notes, *pin_notes])
    top = 1.0 if look.scale == SCALES[0] else float(shown.cells["weight"].max())
    title = f"{amap.checkpoint} · {amap.direction}" + ("" if look.unit == "token" else f" · by {look.unit}")
    with downloads:
        draw_example.draw_downloads([Picture(shown, top, f"{amap.example_id}\n{title}")], file_stem(amap))
    if gold is not None:
        draw_map.draw_key()
    draw_pin.draw_summary(shown, pin)
    draw_body(shown, key, colours, title, top, pin)
    draw_example.draw_table([shown])


def draw_body(shown: Shown, key: str, colours: Palette, title: str, top: float, pin: Pin | None) -> None:
    """The map, and what belongs to it on its right if there is room, else below."""
    room, margin = screen.width(), layout.margin(shown.amap)
    step, width = layout.chart_size(shown.window, room, margin)
    subtitle = [scores_line(shown.amap, shown.gold), *draw_example.outside(shown)]
    left, right, beside_width = beside(width)
    with left:
        draw_example.draw_chart(
            shown, colours, title=title, subtitle=subtitle, top=top, step=step, key=key, pin=pin, width=width
        )
    with right:
        if pin is not None:
            draw_pin.draw_pin(shown, pin, colours, top, beside_width)
        draw_example.draw_texts(shown.amap)


def beside(width: int) -> tuple[DeltaGenerator, DeltaGenerator, int]:
    """A place for a chart of that width, and one for what belongs to it, on its right if there is room, else below;
    and the pixels of the second."""
    room = screen.width()
    if (rest := room - width - GAP) < TEXT_WIDTH:
        return st.container(), st.container(), room
    row = st.container(horizontal=True, gap="medium", wrap=False)
    return row.container(width=width), row.container(width=rest), rest


def scores_line(amap: AttentionMap, gold: Gold | None) -> str:
    """The scores of a map in a line."""
    score = score_map(amap, gold)
    if math.isnan(score.top1_possible):
        return f"{amap.normalisation} normalisation · no gold"
    found = f"top-1 {score.top1_sure:.2f} sure, {score.top1_possible:.2f} possible"
    return f"{found} · gold mass {score.gold_mass_possible:.2f} · {amap.normalisation} normalisation"
