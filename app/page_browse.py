"""Browse: one example's map, picked from a list that can be searched, filtered and sorted."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import pages
from app.data import layout
from app.data import view as views
from app.data.downloads import Picture, file_stem
from app.data.listing import Filters, Listing, Run
from app.data.source import Source
from app.data.view import SIZES, Pin, Shown
from app.draw import example as draw_example
from app.draw import links, palette, screen
from app.draw import list as draw_list
from app.draw import map as draw_map
from app.draw import pin as draw_pin
from app.draw import scores as draw_scores
from app.draw import states as draw_states
from app.draw import view as draw_view
from app.draw.view import SCALES
from app.server import cache, rule
from app.server.context import Context
from probe.errors import ProbeError
from probe.maps.attention_map import AttentionMap

ASIDE = 310  # pixels beside a map for its texts and what is pinned
GAP = 36  # pixels between the two
READABLE = 13  # pixels a cell; where a map would need smaller ones to leave that room, all that is below it


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    source = draw_states.maps_or_message(context)
    if source is None:
        return
    try:
        draw_browse(source, context)
    except ProbeError as error:
        draw_states.draw_problem(error, "These maps cannot be shown.")


def draw_browse(source: Source, context: Context) -> None:
    """The page of an opened store: the list in the sidebar, and the example that it or the link names."""
    maps = cache.all_maps(source)
    _follow_old_link(maps)
    allowed = {**draw_list.allowed_links(maps), **draw_view.allowed_links()}
    notes = links.note_misfits("browse", allowed, {**links.list_ranges(maps), **draw_view.ranges()})
    board = cache.board(source)
    board.wait_if_small()
    with st.sidebar:
        run = draw_list.draw_run(maps)
        filters = draw_list.draw_search(maps)
        run, filters = draw_list.draw_ranges(maps, run, filters, bool(source.golds))
    listing = cache.run_listing(source, run, filters)
    if not listing.known:
        return draw_states.draw_no_run(run.checkpoint, run.direction)
    opening = cache.typical(source, run) if filters == Filters() else None
    current, note = draw_list.current_example(listing, opening)
    with st.sidebar:
        if not board.complete:
            draw_list.draw_progress(board)
            links.put(example=current)  # the list will be sorted anew; what is looked at stays
        draw_list.draw_list(listing, current, draw_list.list_key(f"{run} {filters}", listing, current))
    draw_example.draw_head("Which teacher token goes with which student token?")
    draw_states.draw_gold_problem(context.gold_problem or board.problem)
    draw_states.draw_notes([*notes, *note])
    if current is None:
        return draw_states.draw_no_match(_wanted(filters))
    draw_one(source, run, listing, current, board.score(listing.row(current)))
    draw_states.draw_footer(source, run, context.gold)


def _follow_old_link(maps: pd.DataFrame) -> None:
    """Links of version 0.1 named a second checkpoint to compare with; that is a page of its own now."""
    query = st.query_params.to_dict()
    other = query.pop("compare", "none")
    if other in set(maps["checkpoint"]):
        first = query.pop("checkpoint", None)
        pages.go("compare", runs=other, **({"reference": first} if first else {}), **query)


def _wanted(filters: Filters) -> str:
    return filters.text or filters.category or "these filters"


def draw_one(source: Source, run: Run, listing: Listing, current: str, scores: dict[str, float]) -> None:
    """Everything about the example ``current``."""
    row = listing.row(current)
    amap = cache.read(source, row)
    toolbar = st.container(horizontal=True, vertical_alignment="center")
    look = draw_view.draw_look(SIZES[-1])
    whole, _ = cache.in_unit(source, row, look.unit)
    columns = layout.most_columns(whole, screen.width())
    window, notes = draw_view.draw_window(whole, look, columns, palette.current())
    shown = views.thinned(cache.shown(source, row, look.unit, window), look.least, look.heaviest)
    pin, pin_notes = Pin.of_link(st.query_params.get("pin"), shown.amap)
    draw_states.draw_notes([*notes, *pin_notes])
    top = 1.0 if look.scale == SCALES[0] else float(shown.cells["weight"].max())
    with toolbar:
        draw_example.draw_steps(amap, listing.ids, current)
        title = f"{amap.example_id}\n{_title(shown, run)}"
        if run.other:
            query = {"example": current, "reference": run.checkpoint, "runs": run.other, "direction": run.direction}
            pages.draw_link("compare", "Compare", **query)
        draw_example.draw_downloads([Picture(shown, top, title)], file_stem(amap))
    means = cache.means(source, run.checkpoint, run.direction, run.normalisation)
    draw_scores.draw_scores(pd.Series(scores), means, "mean")
    if shown.gold is not None:
        draw_map.draw_key()
    draw_pin.draw_summary(shown, pin)
    draw_body(shown, amap, run, top, pin, scores)
    draw_scores.draw_all([(amap.checkpoint, pd.Series(scores), means)])
    draw_example.draw_table([shown])


def draw_body(
    shown: Shown, amap: AttentionMap, run: Run, top: float, pin: Pin | None, scores: dict[str, float]
) -> None:
    """The map, and beside it (or below, if one of the two is too wide) what is pinned and the texts."""
    colours, page, margin = palette.current(), screen.width(), layout.margin(shown.amap)
    step, width = layout.chart_size(shown.window, page - ASIDE, margin)
    aside = step >= READABLE and width <= page - ASIDE
    if not aside:
        step, width = layout.chart_size(shown.window, page, margin)
    subtitle = [_subtitle(scores, amap.normalisation), *draw_example.outside(shown)]
    room = page - width - GAP if aside else page
    with st.container(horizontal=aside, gap="medium", wrap=not aside):
        with st.container(width=width if aside else "stretch"):
            draw_example.draw_chart(
                shown, colours, title=_title(shown, run), subtitle=subtitle, top=top, step=step, key="map", pin=pin,
                width=width,
            )  # fmt: skip
        with st.container(width=room if aside else "stretch"):
            if pin is not None:
                draw_pin.draw_pin(shown, pin, colours, top, room)
            draw_example.draw_texts(amap)


def _title(shown: Shown, run: Run) -> str:
    return f"{run.checkpoint} · {run.direction}" + ("" if shown.unit == "token" else f" · by {shown.unit}")


def _subtitle(scores: dict[str, float], normalisation: str) -> str:
    line = f"{normalisation} normalisation"
    if scores["top1_possible"] == scores["top1_possible"]:
        return f"{rule.said('top-1')} {scores['top1_sure']:.2f} sure, {scores['top1_possible']:.2f} possible · {line}"
    return line
