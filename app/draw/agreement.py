"""A second annotator beside the first: whose links are shown, how far the two agree, and a download of links."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import streamlit as st

from app.data.annotations import links_of, with_links
from app.draw import links
from app.draw import states as draw_states
from app.draw.annotation import Other
from app.draw.desk import NARROW, Seat
from probe.errors import DataError, ProbeError
from probe.gold.agreement import agreement
from probe.gold.reading import Gold, write_gold

NOBODY, GOLD = "nobody", "the gold file"
MEANING = {
    "kappa": "Cohen's kappa over all cells and the levels none, possible, sure: 0 as by chance, 1 the same",
    "F1, sure": "of the sure links of one by those of the other",
    "F1, possible": "the same for all links",
}
FORMATS = {"JSONL": "jsonl", "Pharaoh": "pharaoh", "NAACL": "naacl"}


def draw_other(seat: Seat, gold: Gold | None) -> tuple[Other | None, list[str]]:
    """Selector of the second annotator: who annotated this example, or the gold file; and a note on the link."""
    example = seat.amap.example_id
    names = [
        name
        for name in seat.annotations.annotators()
        if name != seat.name and seat.annotations.load(name, example) is not None
    ]
    options = [NOBODY, *([GOLD] if gold is not None else []), *names]
    notes = links.note_misfits("annotate second", {"second": options})
    chosen = st.selectbox(
        "Compare with", options, key="second", bind="query-params", disabled=len(options) == 1, width=NARROW,
        help="Shows a second annotator's links on the same map, and how far you agree.",
    )  # fmt: skip
    if chosen == GOLD and gold is not None:
        return Other(GOLD, links_of(gold)), notes
    saved = seat.annotations.load(chosen, example) if chosen in names else None
    return None if saved is None else Other(chosen, saved.links), notes


def draw_export(seat: Seat) -> None:
    """All links of this annotator, in one of the formats of gold."""
    if not seat.name:
        return
    golds = seat.annotations.all_of(seat.name)
    st.markdown("##### Take your links home")
    if not golds:
        st.caption("Nothing is saved under this name yet.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.segmented_control(
            "Format", list(FORMATS), default="JSONL", required=True, key="format", bind="query-params"
        )
        suffix = FORMATS.get(str(name), "jsonl")
        try:
            content = gold_bytes(golds, suffix)
        except ProbeError as error:
            draw_states.draw_plain(str(error))
            return
        st.download_button(
            f"Download {len(golds)} examples", content, f"gold.{suffix}", "text/plain", icon=":material/download:",
            on_click="ignore", help="Reads as --gold of every command here.",
        )  # fmt: skip
    st.caption("On disk there is one file an example; each of them is gold in JSONL, too.")


def gold_bytes(golds: dict[str, Gold], suffix: str) -> bytes:
    """The gold as one file of a format. Raises DataError for an id that the format cannot hold."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"gold.{suffix}"
        write_gold(path, golds)
        return path.read_bytes()


def draw_agreement(seat: Seat, other: Other | None) -> None:
    """How far the two agree here and on all examples that both annotated, and where they differ."""
    if other is None:
        return
    mine, theirs = seat.desk.links, other.links
    base = seat.desk.saved.gold
    here = (with_links(base, mine), with_links(base, theirs))
    st.markdown("##### Agreement")
    rows = [_scores("this example", [here])]
    if seat.name and other.name != GOLD:
        first, second = seat.annotations.all_of(seat.name), seat.annotations.all_of(other.name)
        both = [(first[name], second[name]) for name in first if name in second]
        rows += [_scores(f"all {len(both)} examples of both", both)] if both else []
    columns = ["kappa", "F1, sure", "F1, possible"]
    formats = {name: st.column_config.NumberColumn(name, format="%.3f", help=MEANING[name]) for name in columns}
    frame = pd.DataFrame(rows, columns=["over", *columns])
    said = f"Agreement with {other.name}: kappa {rows[0][1]:.2f} on this example"
    st.dataframe(frame, hide_index=True, column_config=formats, width=560, alt=said)
    draw_differences(seat, other)


def _scores(over: str, pairs: list[tuple[Gold, Gold]]) -> tuple[str, float, float, float]:
    try:
        found = agreement(pairs)
    except DataError:  # of other tokens: annotated with other maps in the same folder
        return over, float("nan"), float("nan"), float("nan")
    return over, found.kappa, found.f1_sure, found.f1_possible


def draw_differences(seat: Seat, other: Other) -> None:
    """The cells on which the two differ."""
    amap, mine, theirs = seat.amap, seat.desk.links, other.links
    cells = [cell for cell in sorted({*mine, *theirs}) if mine.get(cell) != theirs.get(cell)]
    if not cells:
        st.text(f"The two agree on every cell of this example: you and {other.name}.")
        return
    st.text(f"Cells of this example on which you and {other.name} differ: {len(cells)}")
    rows = [
        (i, amap.student.tokens[i], j, amap.teacher.tokens[j], mine.get((i, j), "none"), theirs.get((i, j), "none"))
        for i, j in cells
    ]
    columns = ["student index", "student token", "teacher index", "teacher token", "you", "the other"]
    st.dataframe(pd.DataFrame(rows, columns=columns), hide_index=True, alt=f"{len(cells)} cells in which you differ")
