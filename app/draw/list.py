"""The sidebar: which run, which examples, in which order; and the list in which one is picked."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
import streamlit as st

from app.data.listing import SORTS, Filters, Listing, Run
from app.draw import links, screen
from app.server import rule
from app.server.scores import ScoreBoard

ALL = "all"
DIRECTIONS = ("t2s", "s2t")
COLUMNS = {
    "example_id": st.column_config.TextColumn("example", width=118),
    "top1_sure": st.column_config.NumberColumn("top-1", format="%.2f", width=52, help="over sure links"),
    "difference": st.column_config.NumberColumn(
        "change", format="%+.2f", width=60, help="top-1 of the run minus that of the one it is set against"
    ),
    "distance": st.column_config.NumberColumn(
        "apart", format="%.2f", width=48, help="mean share of a line's weight that lies elsewhere in the other map"
    ),
    "size": st.column_config.TextColumn("size", width=70, help="student × teacher targets"),
}
LIST_HEIGHT, ROW_HEIGHT = 405, 30  # pixels
NARROW = {"example_id": st.column_config.TextColumn("example", width=80)}  # so that four columns fit


def allowed_links(maps: pd.DataFrame) -> dict[str, list[str]]:
    """Query parameters of the sidebar with a fixed set of values, and those values."""
    checkpoints = maps["checkpoint"].unique().tolist()
    return {
        "checkpoint": checkpoints,
        "against": checkpoints,
        "direction": directions(maps),
        "normalisation": normalisations(maps),
        "category": [ALL, *_categories(maps)],
        "sort": list(SORTS),
    }


def directions(maps: pd.DataFrame) -> list[str]:
    """The directions of the stored maps, t2s first."""
    return [name for name in DIRECTIONS if (maps["direction"] == name).any()]


def normalisations(maps: pd.DataFrame) -> list[str]:
    return sorted(maps["normalisation"].unique())


def _categories(maps: pd.DataFrame) -> list[str]:
    return sorted(name for name in maps["category"].unique() if name)


def one_of(value: object, options: list[str]) -> str:
    """The value if it is an option, else the first one: what a browser sends need not be an option."""
    return str(value) if value in options else options[0]


def run_query(maps: pd.DataFrame, **wanted: str) -> dict[str, str]:
    """The parameters of a run, such as checkpoint="dskd-cma", without those that a page begins with: it would take
    them out of the link again, and each is a step back."""
    options = allowed_links(maps)
    return {name: value for name, value in wanted.items() if value != options[name][0]}


def draw_run(maps: pd.DataFrame) -> Run:
    """Selectors of the run."""
    options = allowed_links(maps)
    checkpoint = one_of(
        st.selectbox("Checkpoint", options["checkpoint"], key="checkpoint", bind="query-params"), options["checkpoint"]
    )
    direction, normalisation = draw_direction(maps)
    return Run(checkpoint, direction, normalisation)


def draw_direction(maps: pd.DataFrame) -> tuple[str, str]:
    """Selectors of the direction and, where there are several, of the normalisation."""
    options = directions(maps)
    direction = st.segmented_control(
        "Direction",
        options,
        default=options[0],
        required=True,
        key="direction",
        bind="query-params",
        width="stretch",
        help="t2s: each student row is a distribution over teacher targets. "
        "s2t: each teacher column is a distribution over student targets.",
    )
    kinds = normalisations(maps)
    kind = kinds[0]
    if len(kinds) > 1:
        kind = st.selectbox("Normalisation", kinds, key="normalisation", bind="query-params")
    return one_of(direction, options), one_of(kind, kinds)


def draw_search(maps: pd.DataFrame, sorts: tuple[str, ...] = SORTS) -> Filters:
    """Search box, category and order of the example list."""
    text = st.text_input(
        "Search examples",
        key="q",
        bind="query-params",
        type="search",
        placeholder="id, category or words of the text",
        max_chars=200,
        live="300ms",
        help="If no example has what you type, those that resemble it are listed.",
    )
    options = [ALL, *_categories(maps)]
    left, right = st.columns(2, gap="small")
    category = one_of(left.selectbox("Category", options, key="category", bind="query-params"), options)
    sort = right.selectbox(
        "Sort",
        sorts,
        key="sort",
        bind="query-params",
        help="worst and best go by top-1 over sure links. difference: where the two runs differ most. "
        "length: most cells first.",
    )
    return Filters(str(text or "")[:200], None if category == ALL else category, one_of(sort, list(sorts)))


def draw_ranges(maps: pd.DataFrame, run: Run, filters: Filters, scored: bool) -> tuple[Run, Filters]:
    """More filters: by score, length, and disagreement with another run, which is chosen here."""
    others = [name for name in maps["checkpoint"].unique() if name != run.checkpoint]
    score, least, other = None, 0.0, others[0] if others else None
    with st.expander("More filters"):
        if scored:
            low, high = st.slider("Top-1, sure", 0.0, 1.0, (0.0, 1.0), 0.05, key="score", bind="query-params")
            score = None if (low, high) == (0.0, 1.0) else (float(low), float(high))
        length = _draw_length(maps)
        if others:
            other = one_of(
                st.selectbox(
                    "Set against", others, key="against", bind="query-params", help="whose scores `change` starts from"
                ),
                others,
            )
        if others and scored:
            least = float(
                st.slider("Top-1 differs by at least", 0.0, 1.0, 0.0, 0.05, key="differ", bind="query-params")
            )
    run = Run(run.checkpoint, run.direction, run.normalisation, other)
    return run, Filters(filters.text, filters.category, filters.sort, score, length, least)


def _draw_length(maps: pd.DataFrame) -> tuple[int, int] | None:
    shortest, longest = int(maps["length"].min()), int(maps["length"].max())
    if shortest == longest:
        return None
    ends = (shortest, longest)
    low, high = st.slider("Targets of the longer side", *ends, ends, key="length", bind="query-params")
    return None if (low, high) == ends else (int(low), int(high))


def draw_list(listing: Listing, current: str | None, key: str) -> None:
    """The list of examples; clicking a row puts its id into the link, from which the page reads it."""
    count = f"{len(listing.ids)} of {len(listing.known)} examples"
    st.caption(count + (" · none has these words; these resemble them" if listing.similar else ""))

    def pick() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and 0 <= rows[0] < len(listing.ids):
            links.show(listing.ids[rows[0]])

    st.dataframe(
        listing.table,
        hide_index=True,
        height=LIST_HEIGHT,
        row_height=ROW_HEIGHT,
        key=key,
        on_select=pick,
        selection_mode="single-row",
        selection_default={"selection": {"rows": [listing.places[current]] if current in listing.places else []}},
        column_config=_columns(listing),
        alt="Examples of this run with their top-1 accuracy",
    )
    if current in listing.places:
        screen.draw_scroll(listing.places[current], key, ROW_HEIGHT)


def _columns(listing: Listing) -> dict[str, Any]:
    """How the columns are shown: narrower where there are four, and with a word where they are not of gold."""
    config = COLUMNS | NARROW if "distance" in listing.table.column_names else COLUMNS
    if rule.is_on():
        tip = "over the sure links of the span rule"
        config = config | {"top1_sure": st.column_config.NumberColumn("rule", format="%.2f", width=52, help=tip)}
    return config


@st.fragment(run_every="1.5s")
def draw_progress(board: ScoreBoard) -> None:
    """How far the scores are; the page is drawn again when they are complete."""
    if board.complete:
        st.rerun()
    share = board.scored / max(1, len(board.values))
    st.progress(share, f"scored {board.scored:,} of {len(board.values):,} maps; then the list is sorted")


def list_key(what: str, listing: Listing, current: str | None) -> str:
    """The list's key. A new key draws the list anew: when what it lists changes, or another row is to be marked.

    A row that was clicked is marked already: the key stays, and with it the place to which the list was scrolled.
    """
    base = f"list {hashlib.sha256(what.encode('utf-8', 'backslashreplace')).hexdigest()[:12]}"  # names stay out of keys
    number = st.session_state.get("list number", 0)
    state = st.session_state.get(f"{base} {number}")
    if state is not None:
        marked = [listing.ids[row] for row in state["selection"]["rows"] if row < len(listing.ids)]
        if marked != [current]:
            number += 1
            st.session_state["list number"] = number
    return f"{base} {number}"


def current_example(listing: Listing, typical: str | None = None) -> tuple[str | None, list[str]]:
    """The example named by the link, else the ``typical`` one, else the first of the list; and a note if the link
    names one that is not here."""
    first = typical if typical in listing.places else listing.ids[0] if listing.ids else None
    wanted = st.query_params.get("example")
    if wanted is None or wanted in listing.places:
        return wanted or first, []
    if wanted in listing.known:
        return first, []  # it is here, but not among the examples that are listed
    return first, [f"example = {wanted[:200]}"]
