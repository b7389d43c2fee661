"""Annotate: say which tokens belong together, by clicking cells or in a table; every edit is saved at once."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.data.annotations import Annotations
from app.data.listing import search
from app.data.source import Source
from app.draw import agreement as draw_agreement
from app.draw import annotation as draw_annotation
from app.draw import desk as draw_desk
from app.draw import links
from app.draw import states as draw_states
from app.draw.annotation import Other
from app.draw.desk import Seat
from app.server import cache
from app.server.context import Context
from probe.errors import DataError, ProbeError, UnsafeError

MOST_LISTED = 500  # examples in the selector; the search box narrows them down
HOW_TO = """
- Each **row** is a token of the student, each **column** a token of the teacher, of the same text.
- **Click** a cell to mark a link: the first click makes it sure, the second possible, the third takes it away.
- A link is **sure** when both models predict from the same text so far, for instance when both tokens start at the
  same letter. It is **possible** when the tokens only share some of their text.
- You start from the span rule (or from gold that is there); correct it where it is wrong.
- Each click is **saved at once** under your name. **Z** takes it back, **Y** makes it again, **N** and **P** go to the
  next and the previous example.
- Two people with different names annotate apart, and see below how far they agree. Two with one name work on one file;
  their changes are put together.
"""


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    source = draw_states.maps_or_message(context)
    if source is None:
        return
    try:
        draw_annotations(source, Annotations(context.annotations), context.gold)
    except ProbeError as error:
        draw_states.draw_problem(error, "This cannot be annotated.")


def draw_annotations(source: Source, annotations: Annotations, gold: Path | None) -> None:
    """The page of an opened store."""
    draw_head()
    top = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with top:
        name, notes = draw_desk.draw_name()
    try:
        done = len(annotations.examples_of(name)) if name else None
    except UnsafeError:
        name, done, notes = "", None, [*notes, f"annotator = {name} (its folder is a symbolic link; refused)"]
    with st.sidebar:
        example, listed, note = draw_example(source, done)
    allowed = {**draw_annotation.allowed_links(), "format": list(draw_agreement.FORMATS)}
    notes = [*notes, *note, *links.note_misfits("annotate", allowed)]
    if example is None:
        draw_states.draw_notes(notes)
        return draw_states.draw_no_match(str(st.session_state.get("q", "")))
    seat, problem = take_seat(source, annotations, name, example)
    with top:
        other, misfit = draw_agreement.draw_other(seat, source.golds.get(example) if problem is None else None)
    draw_states.draw_notes([*notes, *misfit])
    if problem is not None:
        st.warning("The gold of this example cannot be used; the span rule is shown instead.", icon=":material/rule:")
        draw_states.draw_plain(str(problem))
    draw_annotation.draw_toolbar(seat, listed)
    window, misfit = draw_annotation.draw_window(seat.amap)
    draw_states.draw_notes(misfit)
    draw_annotation.draw_links(seat, window, other)
    draw_annotation.draw_table(seat)
    draw_agreement.draw_agreement(seat, other)
    draw_agreement.draw_export(seat)
    draw_states.draw_provenance(facts(source, seat, other, gold))


def facts(source: Source, seat: Seat, other: Other | None, gold: Path | None) -> dict[str, object]:
    """Where the links on screen come from, and which map lies under them; names of files only, not their paths."""
    saved, amap, store = seat.desk.saved, seat.amap, source.store
    path = seat.annotations.path(seat.name, amap.example_id)
    there = saved.version > 0 and path.is_file()
    place = "/".join(path.parts[-3:])
    return {
        "annotation": f"{place}, version {saved.version}, sha256 {draw_states.digest(path)}" if there else "none saved",
        "began from": f"links by {saved.gold.annotator}" if not there else "",
        "compared with": other.name if other else "",
        "gold": gold.name if gold and source.golds else "none",
        "maps": f"{store.path.name}, {len(store)} maps, schema version {store.manifest['schema_version']}",
        "map shown": f"{amap.checkpoint}, {amap.direction}, {amap.normalisation} normalisation",
        "tokenizers": f"student {store.student_fingerprint}, teacher {store.teacher_fingerprint}",
        "signature of the maps": store.provenance.get("signature", ""),
    }


def draw_head() -> None:
    """Title, and what to do here for whoever does it for the first time."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown("### Which tokens belong together?")
        with st.popover("How to annotate", icon=":material/help:"):
            st.markdown(HOW_TO)


def draw_example(source: Source, done: int | None) -> tuple[str | None, list[str], list[str]]:
    """Search box and selector of the example; its id, the ids that are listed, and a note on a bad link."""
    rows = cache.all_maps(source).drop_duplicates("example_id")
    text = st.text_input("Search examples", key="q", bind="query-params", type="search", max_chars=200)
    found = search(rows, str(text or "")[:200])[0]["example_id"].tolist()
    wanted = st.query_params.get("example")
    note = [f"example = {wanted[:200]}"] if wanted is not None and not (rows["example_id"] == wanted).any() else []
    listed = found[:MOST_LISTED]
    if wanted in found and wanted not in listed:
        listed = [wanted, *listed]
    if not listed:
        return None, [], note
    current = wanted if wanted in listed else listed[0]

    def pick() -> None:
        links.show(st.session_state["annotated example"])

    st.session_state["annotated example"] = current
    st.selectbox("Example", listed, key="annotated example", on_change=pick)
    shown = f", the first {MOST_LISTED} are listed" if len(found) > MOST_LISTED else ""
    progress = "" if done is None else f" · {done} annotated by you"
    st.caption(f"{len(found)} of {len(rows)} examples{shown}{progress}")
    return current, listed, note


def take_seat(source: Source, annotations: Annotations, name: str, example: str) -> tuple[Seat, DataError | None]:
    """The desk of this annotator and example: what is saved, else gold, else the span rule."""
    maps = cache.all_maps(source)
    row = int(maps.loc[maps["example_id"] == example, "row"].iloc[0])
    amap = source.store.read(row)
    start, problem = draw_desk.starting_point(source, amap)
    return draw_desk.sit(annotations, name, amap, start), problem
