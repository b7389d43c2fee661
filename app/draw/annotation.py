"""An annotation on screen: what state it is in, the map to click, the same links as a table, and cells in dispute."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app.data import layout, view
from app.data.annotations import LEVELS, Links
from app.data.desk import NEXT, unlinked
from app.data.view import Window
from app.draw import desk as draw_desk
from app.draw import grid as draw_grid
from app.draw import map as draw_map
from app.draw import palette, screen
from app.draw import states as draw_states
from app.draw import view as draw_view
from app.draw.desk import Seat
from app.draw.example import draw_steps
from app.draw.single import beside
from app.draw.view import SCALES, Look
from probe.gold.reading import Link
from probe.maps.attention_map import AttentionMap

SIZE = 40  # targets a side at once: cells that are easy to hit
BRUSHES = ("next", *LEVELS[::-1])
AROUND = "sure → possible → none"  # what the first of them is called
SHOWN_NAMES = 8  # targets without a link that are named


@dataclass(frozen=True)
class Other:
    """Whose links are shown beside the annotator's own."""

    name: str
    links: Links


def draw_toolbar(seat: Seat, listed: list[str]) -> None:
    """Which example this is and whether it is saved; undo, redo, and steps through the list."""
    idle = not seat.name
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_steps(seat.amap, listed, seat.amap.example_id)
        _button("Undo", "Z", draw_desk.undo, seat, idle or not seat.desk.done, "Takes back your last change.")
        _button("Redo", "Y", draw_desk.redo, seat, idle or not seat.desk.undone, "Makes it again.")
    draw_state(seat)
    draw_disputes(seat)


def _button(label: str, key: str, act: object, seat: Seat, disabled: bool, tip: str) -> None:
    icon = f":material/{label.lower()}:"
    st.button(label, key=label, icon=icon, shortcut=key, on_click=act, args=(seat,), disabled=disabled, help=tip)


def draw_state(seat: Seat) -> None:
    """One line: what is on disk. A failed save says so, and can be tried again."""
    problem = st.session_state.get(draw_desk.PROBLEM)
    if not seat.name:
        st.info("Type your name above; then click cells to set links.", icon=":material/edit:")
    elif problem is not None:
        st.error("Your last change is not saved; it is kept on this page.", icon=":material/save:")
        draw_states.draw_plain(str(problem))
        st.button("Save again", on_click=draw_desk.save, args=(seat,), type=palette.main_button())
    else:
        # Of one height, so that the first click does not move the map under the pointer.
        with st.container(horizontal=True, vertical_alignment="center", height=44, border=False):
            draw_version(seat)


def draw_version(seat: Seat) -> None:
    """Whether these links are the annotator's own yet, and since which version."""
    saved, merged = seat.desk.saved, seat.desk.merged
    if saved.version == 0:
        st.text(f"Not annotated yet: these links are from the {_origin(seat)}.")
        tip = "Saves these links as yours, without a change."
        st.button("They are right as they are", on_click=draw_desk.save, args=(seat,), key="accept", help=tip)
    else:
        more = f", with {merged} changes by someone else with this name" if merged else ""
        st.text(f"✓ Saved as {seat.name}, version {saved.version}{more}")


def _origin(seat: Seat) -> str:
    return "span rule" if seat.desk.saved.gold.annotator == "span rule" else "gold file"


def draw_disputes(seat: Seat) -> None:
    """Cells that two editors with one name set differently, each with both choices."""
    disputes = [dispute for dispute in seat.desk.saved.disputed if dispute.cell not in seat.desk.settled]
    if not disputes:
        return
    st.warning(
        f"{len(disputes)} cells were set differently by two editors at once. Choose:", icon=":material/call_split:"
    )
    for dispute in disputes:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(_cell_name(seat.amap, dispute.cell))
            for verb, level in (("Keep", dispute.kept), ("Use", dispute.wanted)):
                key = f"{verb} {dispute.cell}"
                st.button(f"{verb}: {level}", key=key, on_click=draw_desk.change, args=(seat, [(dispute.cell, level)]))


def _cell_name(amap: AttentionMap, cell: Link) -> str:
    i, j = cell
    return f"{amap.student.tokens[i]} ({i})  –  {amap.teacher.tokens[j]} ({j})"


def allowed_links() -> dict[str, list[str]]:
    """Query parameters of the grid, and their values."""
    return {"brush": [AROUND, *BRUSHES], "weights": ["true", "false", "True", "False"]}


def draw_window(amap: AttentionMap) -> tuple[Window, list[str]]:
    """The whole of a short map, a part of a long one, chosen by a slider; and a note if the link's part is none."""
    longest = max(len(amap.student), len(amap.teacher))
    size = min(SIZE, layout.most_columns(amap, screen.width()))
    start, notes = draw_view.draw_start(longest, Look("token", SCALES[0], size), amap.example_id)
    return view.window_at(amap.student, amap.teacher, start, size), notes


def draw_links(seat: Seat, window: Window, other: Other | None) -> None:
    """The grid to click; the model's weights are hidden unless asked for, so that they do not persuade anyone."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        brush = st.segmented_control(
            "A click makes the cell", BRUSHES, default=BRUSHES[0], required=True, key="brush",
            format_func=lambda name: AROUND if name == "next" else name, bind="query-params",
            help="next: an empty cell becomes sure, then possible, then empty again.",
        )  # fmt: skip
        weights = st.toggle(
            "Show the model's weights", key="weights", bind="query-params",
            help="Shades each cell by the weight of the map that the foot of the page names.",
        )  # fmt: skip
    draw_map.draw_key(draw_grid.KEY if other else draw_grid.KEY[:2])
    colours = palette.current()
    cells = draw_grid.grid_cells(
        seat.amap, window, seat.desk.links, other.links if other else None, weights=bool(weights)
    )
    step, width = layout.chart_size(window, screen.width(), layout.margin(seat.amap))
    key = f"grid {seat.amap.example_id} {st.session_state.get(draw_desk.CLICKS, 0)}"

    def click() -> None:
        picked = st.session_state[key]["selection"].get(draw_grid.CELL, [])
        cells = [(cell.get("student index"), cell.get("teacher index")) for cell in picked[:1]]
        levels = [(cell, NEXT[seat.desk.level(cell)] if brush == "next" else str(brush)) for cell in cells]
        draw_desk.change(seat, levels)

    spec = draw_grid.grid(cells, seat.amap, window, colours, step)
    select = click if seat.name else "ignore"
    left, right, _ = beside(width)
    left.vega_lite_chart(spec, theme=None, width="content", key=key, on_select=select, alt=said(seat))
    with right:
        draw_counts(seat)


def said(seat: Seat) -> str:
    """What the map shows, in words."""
    levels = list(seat.desk.links.values())
    rows, columns = unlinked(seat.desk.links, len(seat.amap.student), len(seat.amap.teacher))
    counts = f"{levels.count('sure')} sure and {levels.count('possible')} possible links"
    return (
        f"Links of {seat.amap.example_id}: {counts}; without any: {len(rows)} student, {len(columns)} teacher targets"
    )


def draw_counts(seat: Seat) -> None:
    """How many links there are, and which targets have none."""
    amap, lines = seat.amap, [said(seat)]
    missing = unlinked(seat.desk.links, len(amap.student), len(amap.teacher))
    for side, axis, places in zip(("student", "teacher"), (amap.student, amap.teacher), missing, strict=True):
        if places:
            more = f" … and {len(places) - SHOWN_NAMES} more" if len(places) > SHOWN_NAMES else ""
            names = "  ".join(f"{axis.tokens[place]} ({place})" for place in places[:SHOWN_NAMES])
            lines.append(f"{side} targets without a link: {names}{more}")
    st.text("\n".join(lines))
    st.markdown("##### Text")
    st.text(amap.text)


def draw_table(seat: Seat) -> None:
    """The links as a table whose levels can be edited, and a row in which one is added: all of it by keyboard."""
    table = st.expander("Edit the links in a table", on_change="rerun")
    if not table.open:
        return
    with table:
        frame = link_frame(seat)
        key = f"table {seat.amap.example_id} {st.session_state.get(draw_desk.CLICKS, 0)}"

        def edited() -> None:
            rows = st.session_state[key]["edited_rows"]
            cells = list(zip(frame["student index"].tolist(), frame["teacher index"].tolist(), strict=True))
            chosen = [(cells[row], changed.get("link")) for row, changed in rows.items() if 0 <= row < len(cells)]
            draw_desk.change(seat, chosen)

        st.data_editor(
            frame, hide_index=True, key=key, on_change=edited, height=320, num_rows="fixed",
            disabled=True if not seat.name else [name for name in frame if name != "link"],
            column_config={"link": st.column_config.SelectboxColumn("link", options=list(LEVELS), required=True)},
            alt=said(seat),
        )  # fmt: skip
        _draw_new_link(seat)


def link_frame(seat: Seat) -> pd.DataFrame:
    """One row a link, in reading order."""
    amap = seat.amap
    rows = [
        (i, amap.student.tokens[i], j, amap.teacher.tokens[j], level)
        for (i, j), level in sorted(seat.desk.links.items())
    ]
    return pd.DataFrame(rows, columns=["student index", "student token", "teacher index", "teacher token", "link"])


def _draw_new_link(seat: Seat) -> None:
    with st.form("new link", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = [
            st.selectbox(
                f"{side} target",
                range(len(axis)),
                format_func=lambda place, axis=axis: f"{place}  {axis.tokens[place]}",
            )
            for side, axis in (("Student", seat.amap.student), ("Teacher", seat.amap.teacher))
        ]
        level = st.selectbox("Link", LEVELS[::-1])
        if st.form_submit_button("Set", disabled=not seat.name):
            draw_desk.change(seat, [((chosen[0], chosen[1]), level)])
            st.rerun()
