"""Tokens: every position of a run as a row that can be searched and filtered; a click opens its map, pinned."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import pages
from app.data.listing import Run
from app.data.source import Source
from app.data.tokens import MATCHES, RESULTS, Query, chosen, counts
from app.draw import links
from app.draw import list as draw_list
from app.draw import states as draw_states
from app.draw.choice import several
from app.server import cache, rule
from app.server.context import Context
from app.server.positions import PositionTable
from app.server.turns import PAGES
from probe.errors import DataError, ProbeError
from probe.scoring.causes import CAUSES, MEANINGS

MOST = 2_000  # rows that are sent; more of them are counted
PATIENCE = 0.5  # seconds that a page waits for a small run
CLASSES = ("word start", "continuation", "number", "punctuation", "white space", "part of a character", "EOS")
RELATIONS = ("1:1", "1:n", "n:1", "n:m", "n:0", "0:n")
LISTS = {"result": RESULTS, "cause": CAUSES, "class": CLASSES, "relation": RELATIONS}
CONFIG = {
    "example_id": st.column_config.TextColumn("example"),
    "position": st.column_config.NumberColumn("position", help="of the student in t2s, of the teacher in s2t"),
    "weight": st.column_config.NumberColumn("weight", format="%.2f", help="on what it looks at"),
    "relation": st.column_config.TextColumn("relation", help="student to teacher tokens of the chunk"),
}


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    source = draw_states.maps_or_message(context)
    if source is None:
        return
    try:
        draw_tokens(source, context)
    except ProbeError as error:
        draw_states.draw_problem(error, "These positions cannot be listed.")


def draw_tokens(source: Source, context: Context) -> None:
    """The page of an opened store: run and filters in the sidebar, the table beside it."""
    maps = cache.all_maps(source)
    lists = {name: ["", *values] for name, values in LISTS.items()}
    runs = {name: draw_list.allowed_links(maps)[name] for name in ("checkpoint", "direction", "normalisation")}
    notes = links.note_misfits("tokens", {**runs, **lists, "match": MATCHES})
    with st.sidebar:
        run = draw_list.draw_run(maps)
        query = draw_query(bool(source.golds))
    st.markdown("### Which tokens go wrong, and why?")
    st.caption(
        "A row is a position: its token, and the token that it looks at (its heaviest cell). Search on the left; "
        "pick a row to open its map with the cell pinned."
    )
    draw_states.draw_gold_problem(context.gold_problem)
    draw_states.draw_notes(notes)
    table = cache.positions(source, run)
    with PAGES.aside():
        table.wait(PATIENCE)
    if not table.complete:
        draw_progress(table)
    if table.problem is not None:
        draw_states.draw_plain(str(table.problem))
    try:
        found = chosen(table.frame, query)
    except DataError as error:
        st.warning("This search cannot be made.", icon=":material/search_off:")
        return draw_states.draw_plain(str(error))
    draw_table(found, len(table.frame), run, maps, scored=bool(source.golds))
    draw_states.draw_footer(source, run, context.gold)


def draw_query(scored: bool) -> Query:
    """Search boxes and filters; those of gold only where there is gold."""
    tip = 'whole token: `the` finds it with and without a space before it, "␣the" only with one.'
    text: dict[str, Any] = {"bind": "query-params", "max_chars": 100, "live": "300ms"}
    token = st.text_input("Token", key="token", type="search", placeholder="the", help=tip, **text)
    looks_at = st.text_input("Looks at", key="looks", placeholder="any token", **text)
    match = draw_list.one_of(
        st.selectbox("What is typed is a", MATCHES, key="match", bind="query-params"), list(MATCHES)
    )
    values = {
        name: tuple(several(name.capitalize(), options, [], name, ours=options, tip=_tip(name)))
        for name, options in LISTS.items()
        if scored or name in ("class", "relation")
    }
    return Query(
        str(token or ""), str(looks_at or ""), match, values.get("result", ()), values.get("cause", ()),
        values["class"], values["relation"],
    )  # fmt: skip


def _tip(name: str) -> str | None:
    if name == "cause":
        return "  \n".join(f"{cause}: {meaning}." for cause, meaning in MEANINGS.items())
    if name == "result":
        return "shared: heaviest cells that tie, of which some are right. no link: nothing to hit."
    return None


def draw_table(found: pd.DataFrame, total: int, run: Run, maps: pd.DataFrame, *, scored: bool) -> None:
    """What was found: how much of it is wrong, and why; and the rows, one of which may be picked."""
    where = f"{len(found):,} of {total:,} positions in {found['example_id'].nunique():,} examples"
    st.text(" · ".join([where, *(f"{number:,} {name}" for name, number in counts(found).items())]))
    if found.empty:
        return draw_states.draw_no_match("these filters")
    if len(found) > MOST:
        st.caption(f"The first {MOST:,} are listed, wrong ones first; filter to see others.")
    rows = found.head(MOST)
    hidden = ["pin"] if scored else ["pin", "wanted", "result", "cause"]
    order = ["token", "looks at", "wanted", "result", "cause", "weight", "class", "relation", "example_id", "position"]
    words = {name: st.column_config.TextColumn(rule.said(name)) for name in ("wanted", "result", "cause")}
    shown = st.dataframe(
        rows.drop(columns=[*hidden, "category"]), hide_index=True, height=560, key=f"positions {run}",
        on_select="rerun", selection_mode="single-row", column_config={**CONFIG, **words},
        column_order=[name for name in order if name not in hidden],
        alt=f"{len(found)} positions, the wrong ones first",
    )  # fmt: skip
    picked = shown["selection"]["rows"]
    if picked and 0 <= picked[0] < len(rows):
        row = rows.iloc[picked[0]]
        parts = {"checkpoint": run.checkpoint, "direction": run.direction, "normalisation": run.normalisation}
        query = draw_list.run_query(maps, **parts)
        pages.go("browse", example=row["example_id"], pin=row["pin"], **query)


@st.fragment(run_every="1s")
def draw_progress(table: PositionTable) -> None:
    """How many maps are read; the page is drawn again when all are."""
    if table.complete:
        st.rerun()
    st.progress(table.done / max(1, table.total), f"read {table.done:,} of {table.total:,} maps of the run")
