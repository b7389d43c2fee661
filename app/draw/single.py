"""One map that stands alone, as two pages show it: look, window, downloads, heatmap, texts, table."""

from __future__ import annotations

import math

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.data import view
from app.data.downloads import Picture, file_stem
from app.data.view import Pin
from app.draw import example as draw_example
from app.draw import links, palette
from app.draw import map as draw_map
from app.draw import pin as draw_pin
from app.draw import states as draw_states
from app.draw import view as draw_view
from app.draw.view import SCALES
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.metrics import score_map

TEXT_WIDTH = 290  # pixels that texts and distributions beside a map need


def draw_single(amap: AttentionMap, gold: Gold | None, *, key: str, notes: list[str] | None = None) -> None:
    """The map with its gold; what the link says of the look is followed, and what does not fit is noted."""
    misfits = links.note_misfits(key, draw_view.allowed_links())  # before widgets take what fits out of the link
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        look = draw_view.draw_look(view.SIZES[-1])
        downloads = st.container(horizontal=True, width="content")
    whole, _ = view.in_unit(amap, None, look.unit)
    start, part_notes = draw_view.draw_start(max(whole.weights.shape), look, amap.example_id)
    shown = view.shown(amap, gold, look.unit, start, look.size)
    pin, pin_notes = Pin.of_link(st.query_params.get("pin"), shown.amap)
    draw_states.draw_notes([*(notes or []), *misfits, *part_notes, *pin_notes])
    top = 1.0 if look.scale == SCALES[0] else float(shown.cells["weight"].max())
    title = f"{amap.checkpoint} · {amap.direction}" + ("" if look.unit == "token" else f" · by {look.unit}")
    with downloads:
        draw_example.draw_downloads([Picture(shown, top, f"{amap.example_id}\n{title}")], file_stem(amap))
    if gold is not None:
        draw_map.draw_key()
    step, width = draw_map.chart_size(shown.window, draw_example.PAGE_WIDTH)
    left, right = beside(width)
    colours, subtitle = palette.current(), [scores_line(amap, gold), *draw_example.outside(shown)]
    with left:
        draw_example.draw_chart(shown, colours, title=title, subtitle=subtitle, top=top, step=step, key=key, pin=pin)
    with right:
        if pin is None:
            draw_pin.draw_hint()
        else:
            draw_pin.draw_pin(shown, pin, colours, top, TEXT_WIDTH)
        draw_example.draw_texts(amap)
    draw_example.draw_table([shown])


def beside(width: int) -> tuple[DeltaGenerator, DeltaGenerator]:
    """A place for a chart of that width, and one for what belongs to it: on its right if there is room, else below."""
    room = draw_example.PAGE_WIDTH - width - 20
    if room < TEXT_WIDTH:
        return st.container(), st.container()
    row = st.container(horizontal=True, gap="medium")  # which wraps in a narrow window; columns would overlap
    return row.container(width=width), row.container(width=room - 20)


def scores_line(amap: AttentionMap, gold: Gold | None) -> str:
    """The scores of a map in a line."""
    score = score_map(amap, gold)
    if math.isnan(score.top1_possible):
        return f"{amap.normalisation} normalisation · no gold"
    found = f"top-1 {score.top1_sure:.2f} sure, {score.top1_possible:.2f} possible"
    return f"{found} · gold mass {score.gold_mass_possible:.2f} · {amap.normalisation} normalisation"
