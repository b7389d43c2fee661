"""The parts around an example's maps, shared by all pages: name, stepping, downloads, texts, and its table of cells."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import streamlit as st

from app.data import view
from app.data.downloads import Picture, csv_bytes, html_bytes, picture_bytes, shown_stem
from app.data.view import Pin, Shown
from app.draw import links
from app.draw import map as draw_map
from app.draw.palette import Palette
from probe.maps.attention_map import AttentionMap

MIME = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
HOW_TO_READ = """
- Each **row** is a token the student predicts, each **column** a token the teacher predicts, from the same text.
- A strong colour: the two are matched strongly. In **t2s** maps each row sums to 1, in **s2t** maps each column.
- An **outlined** cell is what people say belongs together: solid for sure, dashed for possible.
- A **shape** marks the heaviest cell of each row (t2s) or column (s2t): a circle hits a sure link, a diamond only a
  possible one, a cross misses.
- Rest the pointer on a cell to see both tokens, the weight, its rank and the gold; **click** it to pin its row and
  column.
- Pick an example on the left; the keys **N** and **P** step through the list.
"""


def draw_head(title: str) -> None:
    """Title, and how to read a map for whoever sees one for the first time."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"### {title}")
        with st.popover("How to read a map", icon=":material/help:"):
            st.markdown(HOW_TO_READ)


def draw_steps(amap: AttentionMap, ids: list[str], current: str) -> None:
    """Which example this is, and buttons (and keys) to the one before and after it in the list."""
    place = ids.index(current)
    parts = [amap.example_id, amap.category, f"{len(amap.student)} × {len(amap.teacher)} targets"]
    if amap.truncated:
        parts.append("truncated")
    st.text("   ·   ".join(part for part in parts if part), width="stretch")
    for label, step, key in (("Previous", -1, "P"), ("Next", 1, "N")):
        target = place + step
        st.button(
            label,
            key=f"step-{label}",
            shortcut=key,
            disabled=not 0 <= target < len(ids),
            on_click=links.show,
            args=(ids[target % len(ids)],),
        )


def draw_downloads(pictures: Sequence[Picture], stem: str, maps: Sequence[Shown] = ()) -> None:
    """Each picture in every format, HTML of each map, and CSV of the cells of ``maps``, as they are on screen."""
    for kind, mime in MIME.items():
        for number, picture in enumerate(pictures, 1):
            st.download_button(
                kind.upper() if len(pictures) == 1 else f"{kind.upper()} {number}",
                data=functools.partial(picture_bytes, picture, kind),
                file_name=f"{shown_stem(picture.shown)}{'-difference' if picture.reference else ''}.{kind}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"{kind}-{number}",
                help=_picture_help(picture, number),
            )
    whole = [picture.shown for picture in pictures if picture.reference is None]
    for number, shown in enumerate(whole, 1):
        st.download_button(
            "HTML" if len(whole) == 1 else f"HTML {number}",
            data=functools.partial(html_bytes, shown),
            file_name=f"{shown_stem(shown)}.html",
            mime="text/html",
            icon=":material/download:",
            on_click="ignore",
            key=f"html-{number}",
            help="What is on screen as one page that loads nothing, for a mail or a supplement.",
        )
    st.download_button(
        "CSV",
        data=functools.partial(csv_bytes, maps or [picture.shown for picture in pictures]),
        file_name=f"{stem}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="csv",
        help="Every cell shown, one a row: tokens, weight, rank, gold.",
    )


def _picture_help(picture: Picture, number: int) -> str:
    """What a button downloads, without any name of a run: help texts are Markdown."""
    what = "The map" if picture.reference is None else "The difference"
    return f"{what} as it is on screen (picture {number}), always in light colours, for print."


def draw_chart(
    shown: Shown, palette: Palette, *, title: str, subtitle: Sequence[str], top: float, step: int, key: str,
    pin: Pin | None, width: int, difference: bool = False, bare: bool = False,
) -> None:  # fmt: skip
    """One heatmap, its title in ``width`` pixels; a click on a cell pins it."""
    spec = draw_map.heatmap(
        shown.cells, shown.amap, shown.window, palette, title=title, subtitle=subtitle,
        scale=draw_map.Scale(top, difference), step=step, unit=shown.unit, pin=pin, bare=bare, width=width,
    )  # fmt: skip

    def click() -> None:
        cells = st.session_state[key]["selection"].get(draw_map.PIN)
        pinned = None
        if isinstance(cells, list) and cells:
            text = f"{cells[-1].get('student index')}.{cells[-1].get('teacher index')}"
            pinned = Pin.of(text, shown.amap)
        links.put(pin=pinned)

    said = f"Difference of maps, {title}: {difference_finding(shown)}" if difference else finding(shown)
    st.vega_lite_chart(spec, theme=None, width="content", key=key, on_select=click, alt=said)


def finding(shown: Shown) -> str:
    """What a map shows, in a sentence: its text alternative."""
    amap, counts = shown.amap, view.outcome_counts(shown.cells)
    found = f"Attention map of {amap.example_id}, {amap.checkpoint}, {amap.direction}, by {shown.unit}"
    if shown.gold is None:
        return f"{found}: {len(amap.student)} student by {len(amap.teacher)} teacher positions, without gold"
    hits, misses = counts["sure"] + counts["possible"], counts["miss"]
    return f"{found}: {hits} heaviest cells on gold links, {misses} beside them"


def difference_finding(shown: Shown) -> str:
    """Where two maps differ most, in a sentence."""
    cell = shown.cells.loc[shown.cells["difference"].abs().idxmax()]
    pair = f"{cell['student_token']} with {cell['teacher_token']}"
    return f"the largest is {cell['difference']:+.2f}, at {pair}"


def outside(shown: Shown) -> list[str]:
    """A line for the subtitle where the window hides heaviest cells."""
    if shown.window.holds_all(shown.amap):
        return []
    line = "rows" if shown.amap.direction == "t2s" else "columns"
    hidden = view.heaviest_outside(shown.amap, shown.window)
    return [f"{hidden} of these {line} have their heaviest cell outside this window"]


def draw_texts(amap: AttentionMap) -> None:
    """The example's text, and where both tokenizers cut it."""
    st.markdown("##### Text")
    st.text(amap.text)
    for side, axis in (("Student", amap.student), ("Teacher", amap.teacher)):
        st.markdown(f"##### {side} tokens ({len(axis)})")
        st.text(view.joined(axis.tokens))


def draw_table(maps: Sequence[Shown]) -> None:
    """Every cell on screen as a table, once it is opened."""
    table = st.expander("This map as a table", on_change="rerun")
    if table.open:
        with table:
            for shown in maps:
                st.text(shown.amap.checkpoint)
                st.dataframe(shown.cells, hide_index=True, height=300, alt=finding(shown))
