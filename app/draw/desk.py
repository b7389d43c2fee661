"""The annotator's place: the name, the desk kept between clicks, and saving after each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import streamlit as st

from app.data.annotations import LEVELS, NAME, Annotations, Saved
from app.data.desk import Desk
from app.data.source import Source
from app.server.scores import fitting_gold
from probe.errors import DataError, ProbeError
from probe.gold.reading import Gold, Link
from probe.maps.attention_map import AttentionMap
from probe.scoring.alignment import span_gold

NARROW = 300  # pixels of a name
DESK, PROBLEM, CLICKS = "desk", "desk problem", "desk clicks"


@dataclass(frozen=True)
class Seat:
    """Who annotates which map, and how far that is. Without a name nothing can be changed."""

    annotations: Annotations
    name: str
    amap: AttentionMap
    desk: Desk


def draw_name() -> tuple[str, list[str]]:
    """The annotator's name, '' while there is none, and a note if what was typed cannot be one."""
    typed = st.text_input(
        "Your name",
        key="annotator",
        bind="query-params",
        max_chars=200,  # more than a name may have: a longer one is refused, not cut to another name
        width=NARROW,
        placeholder="under which your links are saved",
        help="Letters, digits, spaces, dots and dashes. Everyone with the same name shares one set of links.",
    )
    name = " ".join(str(typed or "").split())
    if not name or NAME.fullmatch(name):
        return name, []
    return "", [f"annotator = {name[:200]} (wanted letters, digits, spaces, dots and dashes, at most 40)"]


def starting_point(source: Source, amap: AttentionMap) -> tuple[Gold, DataError | None]:
    """The links to start from: gold that is there and fits, else the span rule's; and why gold could not be used."""
    store = source.store
    ruled = span_gold(
        amap.example_id, amap.text, amap.student, amap.teacher, (store.student_fingerprint, store.teacher_fingerprint)
    )
    try:
        gold = fitting_gold(source, amap)
    except DataError as error:
        return ruled, error
    if gold is None:
        return ruled, None
    return replace(ruled, sure=gold.sure, possible=gold.possible, annotator=gold.annotator or "gold"), None


def sit(annotations: Annotations, name: str, amap: AttentionMap, start: Gold) -> Seat:
    """The desk of the session for this name and example; what another editor has saved meanwhile is taken over."""
    disk = annotations.load(name, start.id) if name else None
    disk = disk or Saved(start)
    if (disk.gold.student_tokens, disk.gold.teacher_tokens) != (start.student_tokens, start.teacher_tokens):
        raise DataError(
            f"the annotation of {start.id!r} by {name!r} was made on other tokens. "
            "Start with another folder: --annotations DIR."
        )
    identity = (str(annotations.folder), name, start.id, start.student_tokenizer, start.teacher_tokenizer)
    known, desk = st.session_state.get(DESK, (None, None))
    if known != identity or desk is None:
        desk = Desk(disk, disk.links)
        st.session_state[PROBLEM] = None
    elif disk.version > desk.saved.version and st.session_state.get(PROBLEM) is None:
        desk = replace(desk, saved=disk, links=disk.links)
    st.session_state[DESK] = (identity, desk)
    return Seat(annotations, name, amap, desk)


def change(seat: Seat, levels: Iterable[tuple[Link, str]]) -> None:
    """Set these cells and save. Cells outside the map and levels that there are not are passed over."""
    size = (len(seat.amap.student), len(seat.amap.teacher))
    fit = [
        ((i, j), level)
        for (i, j), level in levels
        if type(i) is int and type(j) is int and 0 <= i < size[0] and 0 <= j < size[1] and level in LEVELS
    ]
    _keep(seat, _latest(seat).set(fit))


def undo(seat: Seat) -> None:
    _keep(seat, _latest(seat).undo())


def redo(seat: Seat) -> None:
    _keep(seat, _latest(seat).redo())


def save(seat: Seat) -> None:
    """Save the links as they are: an example that needs no correction, or a save that failed before."""
    _keep(seat, _latest(seat))


def _latest(seat: Seat) -> Desk:
    return st.session_state[DESK][1]


def _keep(seat: Seat, desk: Desk) -> None:
    """Save the desk under the annotator's name; where that fails the links stay on screen, and the page says so."""
    if not seat.name:
        return
    st.session_state[CLICKS] = st.session_state.get(CLICKS, 0) + 1
    try:
        desk = desk.store(seat.annotations, seat.name)
        st.session_state[PROBLEM] = None
    except ProbeError as error:
        st.session_state[PROBLEM] = error
    st.session_state[DESK] = (st.session_state[DESK][0], desk)
