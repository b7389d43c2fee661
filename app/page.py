"""The page: arguments, selectors, the example on screen, and a message for whatever goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `streamlit run` puts app/ on the path, not the project
    sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402
import streamlit as st  # noqa: E402

from app import cache, draw_list, draw_page, draw_states  # noqa: E402
from app.arguments import arguments  # noqa: E402
from app.cache import Source  # noqa: E402
from app.draw_list import Filters, Run  # noqa: E402
from app.view import order, search, with_difference  # noqa: E402
from probe.errors import DataError, ProbeError, UsageError  # noqa: E402
from probe.files import MANIFEST  # noqa: E402

# Our own picture: an icon by name would be fetched from the network.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 3"><rect width="3" height="3" fill="#d6e6f4"/>'
    '<path d="M0 0h1v1h1v1h1v1H2V2H1V1H0z" fill="#1d5f99"/></svg>'
)


def main() -> None:
    """Assemble the page; every error a user can meet ends in a message that says what to do."""
    st.set_page_config("Attention maps", ICON, layout="wide", initial_sidebar_state=370)
    try:
        maps, gold = arguments(sys.argv[1:])
    except UsageError as error:
        return draw_states.draw_problem(error, "The page was started with arguments that it does not know.")
    if not (maps / MANIFEST).is_file() and not maps.is_file() and not _has_files(maps):
        return draw_states.draw_no_maps(f"looked for a map store in: {maps}")
    try:
        source = cache.open_source(maps, None)
        draw(source, gold)
    except ProbeError as error:
        draw_states.draw_problem(error, "These maps cannot be shown.")


def _has_files(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir())


def draw(source: Source, gold: Path | None) -> None:
    """The page of an opened store."""
    if not len(source.store):
        return draw_states.draw_no_maps("this map store holds no maps")
    index = source.store.index
    notes = link_notes(index)
    with st.sidebar:
        run = draw_list.draw_run(index)
        filters = draw_list.draw_filters(index)
    with st.spinner("Scoring the maps …"):
        source, problem = with_gold(source, gold, run)
        rows = cache.examples(source, run.checkpoint, run.direction, run.normalisation)
    if rows.empty:
        return draw_states.draw_no_run(run.checkpoint, run.direction)
    if run.other:
        rows = with_difference(rows, cache.examples(source, run.other, run.direction, run.normalisation))
    listed = order(search(rows, filters.text, filters.category), filters.sort)
    current, note = current_example(rows, listed)
    with st.sidebar:
        key = list_key(run, filters, listed["example_id"].tolist(), current)
        draw_list.draw_list(listed, len(rows), current, key)
    draw_page.draw_head()
    if problem is not None:
        draw_states.draw_gold_problem(problem)
    draw_states.draw_notes([*notes, *note])
    if current is None:
        return draw_states.draw_no_match(filters.text)
    draw_page.draw_example(source, run, rows, listed, current)
    draw_states.draw_footer(source.store, run, gold.name if gold and source.golds else None)


def with_gold(source: Source, gold: Path | None, run: Run) -> tuple[Source, DataError | None]:
    """The source with its gold if that fits the maps; else without, and the reason."""
    if gold is None:
        return source, None
    try:
        scored = cache.open_source(source.store.path, gold)
        for checkpoint in filter(None, (run.checkpoint, run.other)):
            cache.examples(scored, checkpoint, run.direction, run.normalisation)
        return scored, None
    except DataError as error:
        return source, error


def link_notes(index: pd.DataFrame) -> list[str]:
    """Values of the link that are no options here; said once, when the page is opened."""
    if "notes" not in st.session_state:
        allowed = draw_list.allowed_links(index)
        wanted = {name: st.query_params[name] for name in allowed if name in st.query_params}
        st.session_state["notes"] = [
            f"{name} = {value}" for name, value in wanted.items() if value not in allowed[name]
        ]
    return st.session_state["notes"]


def current_example(rows: pd.DataFrame, listed: pd.DataFrame) -> tuple[str | None, list[str]]:
    """The example named by the link, else the first of the list; and a note if the link names one that is not here."""
    first = listed["example_id"].iloc[0] if len(listed) else None
    wanted = st.query_params.get("example")
    if wanted is None or (listed["example_id"] == wanted).any():
        return wanted or first, []
    if (rows["example_id"] == wanted).any():
        return first, []  # it is here, but not among the examples that the search lists
    return first, [f"example = {wanted}"]


def list_key(run: Run, filters: Filters, ids: list[str], current: str | None) -> str:
    """The list's key. A new key draws the list anew: when what it lists changes, or another row is to be marked.

    A row that was clicked is marked already: the key stays, and with it the place to which the list was scrolled.
    """
    base = f"list {run} {filters}"
    number = st.session_state.get("list number", 0)
    state = st.session_state.get(f"{base} {number}")
    if state is not None and [ids[row] for row in state["selection"]["rows"] if row < len(ids)] != [current]:
        number += 1
        st.session_state["list number"] = number
    return f"{base} {number}"


main()
