"""The main part of the page: one example's map or maps, its scores, its text, and what can be taken home."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app.cache import Source
from app import cache, draw_map, draw_scores, view
from app.downloads import csv_bytes, file_stem, png_bytes
from app.draw_list import Run
from app.view import MAX_WINDOW, SCORES, Window
from probe.attention_map import AttentionMap
from probe.gold import Gold

PAGE_WIDTH = 990  # pixels of the main part in a window of 1440; wider windows leave a margin
SCALES = ("0 to 1", "0 to maximum")
HOW_TO_READ = """
- Each **row** is a token the student predicts, each **column** a token the teacher predicts, from the same text.
- A dark cell: the two are matched strongly. In **t2s** maps each row sums to 1, in **s2t** maps each column.
- An **outlined** cell is what people say belongs together: solid for sure, dashed for possible.
- A **shape** marks the heaviest cell of each row (t2s) or column (s2t): a circle hits a sure link, a diamond only a
  possible one, a cross misses.
- Rest the pointer on a cell to see both tokens, the weight, its rank and the gold.
- Pick an example on the left; **N** and **P** step through the list.
"""


@dataclass(frozen=True)
class Panel:
    """One map on screen with everything drawn about it."""

    amap: AttentionMap
    gold: Gold | None
    cells: pd.DataFrame
    scores: pd.Series
    means: pd.Series


def draw_head() -> None:
    """Title, and how to read a map for whoever sees one for the first time."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown("### Which teacher token goes with which student token?")
        with st.popover("How to read a map", icon=":material/help:"):
            st.markdown(HOW_TO_READ)


def draw_example(source: Source, run: Run, rows: pd.DataFrame, listed: pd.DataFrame, current: str) -> None:
    """Everything about the example ``current``."""
    maps = read_maps(source, run, rows, current)
    first = maps[0][0]
    draw_steps(first, listed["example_id"].tolist(), current)
    window = draw_window(first)
    gold = source.golds.get(current)
    panels = [Panel(amap, gold, view.map_cells(amap, gold, window), *scores) for amap, scores in maps]
    if len(panels) == 1:
        draw_scores.draw_scores(panels[0].scores, panels[0].means)
    draw_maps(panels, window)
    draw_downloads(panels, window)
    draw_details(panels, window)


def read_maps(
    source: Source, run: Run, rows: pd.DataFrame, current: str
) -> list[tuple[AttentionMap, tuple[pd.Series, pd.Series]]]:
    """The example's map of the checkpoint and, where wanted and stored, of the second one; each with scores and means."""
    found = []
    for checkpoint in filter(None, (run.checkpoint, run.other)):
        table = rows
        if checkpoint != run.checkpoint:
            table = cache.examples(source, checkpoint, run.direction, run.normalisation)
        match = table[table["example_id"] == current]
        if len(match):
            means = table[list(SCORES)].mean()
            found.append((source.store.read(int(match["row"].iloc[0])), (match.iloc[0], means)))
    return found


def draw_steps(amap: AttentionMap, ids: list[str], current: str) -> None:
    """Which example this is, and buttons (and keys) to the one before and after it in the list."""
    place = ids.index(current)
    with st.container(horizontal=True, vertical_alignment="center"):
        parts = [amap.example_id, amap.category, f"{len(amap.student)} student × {len(amap.teacher)} teacher targets"]
        if amap.truncated:
            parts.append("truncated")
        st.text("   ·   ".join(part for part in parts if part), width="stretch")
        st.text(f"{place + 1} of {len(ids)}")
        for label, step, key in (("Previous", -1, "P"), ("Next", 1, "N")):
            target = place + step
            st.button(
                label,
                key=f"step-{label}",
                shortcut=key,
                disabled=not 0 <= target < len(ids),
                on_click=_show,
                args=(ids[target % len(ids)],),
            )


def _show(example_id: str) -> None:
    st.query_params["example"] = example_id


def draw_window(amap: AttentionMap) -> Window:
    """The part of a long map to draw, chosen by a slider; the whole of a short one."""
    longest = max(len(amap.student), len(amap.teacher))
    start = 0
    if longest > MAX_WINDOW:
        start = st.slider(
            f"Shown: {MAX_WINDOW} of {longest} targets, from target",
            0,
            longest - MAX_WINDOW,
            0,
            key=f"window {amap.example_id}",
            help="Ranks and heaviest cells are those of the whole map.",
        )
    return view.window_at(amap.student, amap.teacher, int(start))


def draw_maps(panels: list[Panel], window: Window) -> None:
    """The heatmaps on one colour scale, side by side where their cells stay readable and below each other where not."""
    columns = window.columns[1] - window.columns[0]
    beside = len(panels) == 2 and draw_map.LABEL_LIMIT + 11 * columns <= PAGE_WIDTH // 2
    places = st.columns(2) if beside else [st.container() for _ in panels]
    scale = st.session_state.get("scale", SCALES[0])
    top = 1.0 if scale != SCALES[1] else max(float(panel.cells["weight"].max()) for panel in panels)
    step = draw_map.cell_step(window.rows[1] - window.rows[0], columns, PAGE_WIDTH // 2 - 20 if beside else PAGE_WIDTH)
    for place, panel in zip(places, panels, strict=True):
        amap = panel.amap
        with place:
            if (outside := view.heaviest_outside(amap, window)) > 0:
                line = "rows" if amap.direction == "t2s" else "columns"
                st.caption(f"{outside} of the {line} shown have their heaviest cell outside this window.")
            chart = draw_map.heatmap(
                panel.cells,
                amap.student.tokens,
                amap.teacher.tokens,
                direction=amap.direction,
                title=f"{amap.checkpoint} · {amap.direction}",
                subtitle=_subtitle(panel),
                vmax=top,
                step=step,
            )
            st.altair_chart(chart, width="content", alt=_finding(panel), key=f"map-{amap.checkpoint}")
    if len(panels) == 2:
        draw_scores.draw_score_table([(p.amap.checkpoint, p.scores, p.means) for p in panels])


def _subtitle(panel: Panel) -> str:
    if panel.scores.isna()["top1_sure"]:
        return f"{panel.amap.method}, {panel.amap.normalisation} normalisation"
    return (
        f"top-1 {panel.scores['top1_sure']:.2f} sure, {panel.scores['top1_possible']:.2f} possible · "
        f"{panel.amap.normalisation} normalisation"
    )


def _finding(panel: Panel) -> str:
    amap = panel.amap
    found = f"Attention map of {amap.example_id}, {amap.checkpoint}, {amap.direction}"
    counts = panel.cells["outcome"].value_counts()
    if panel.gold is None:
        return found
    hits, misses = counts.get("sure", 0) + counts.get("possible", 0), counts.get("miss", 0)
    return f"{found}: {hits} heaviest cells on gold links, {misses} beside them"


def draw_downloads(panels: list[Panel], window: Window) -> None:
    """PNG of each map and CSV of all cells on screen, as they are shown."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("Colour scale", SCALES, default=SCALES[0], required=True, key="scale", bind="query-params")
        for panel in panels:
            stem = file_stem(panel.amap)
            name = "Download PNG" if len(panels) == 1 else f"PNG {panels.index(panel) + 1}"
            st.download_button(
                name,
                data=lambda panel=panel: png_bytes(panel.amap, panel.gold, window),
                file_name=f"{stem}.png",
                mime="image/png",
                icon=":material/image:",
                on_click="ignore",
                key=f"png-{panel.amap.checkpoint}",
            )
        st.download_button(
            "Download CSV",
            data=lambda: csv_bytes([(panel.amap, panel.cells) for panel in panels]),
            file_name=f"{file_stem(panels[0].amap)}.csv",
            mime="text/csv",
            icon=":material/table:",
            on_click="ignore",
            key="csv",
        )


def draw_details(panels: list[Panel], window: Window) -> None:
    """The text, how both tokenizers cut it, all scores, and the map as a table."""
    amap = panels[0].amap
    st.markdown("##### Text")
    st.code(amap.text, language=None, wrap_lines=True)
    st.markdown("##### Tokens")
    st.text(f"student ({len(amap.student)})")
    st.code(view.joined(amap.student.tokens), language=None, wrap_lines=True)
    st.text(f"teacher ({len(amap.teacher)})")
    st.code(view.joined(amap.teacher.tokens), language=None, wrap_lines=True)
    table = st.expander("This map as a table", on_change="rerun")
    if table.open:
        with table:
            draw_table(panels)
    if len(panels) == 1:
        scores = st.expander("All scores of this map", on_change="rerun")
        if scores.open:
            with scores:
                draw_scores.draw_score_table([(amap.checkpoint, panels[0].scores, panels[0].means)])


def draw_table(panels: list[Panel]) -> None:
    """Every cell on screen, heaviest first within each line."""
    for panel in panels:
        st.text(panel.amap.checkpoint)
        st.dataframe(panel.cells, hide_index=True, height=300, alt=_finding(panel))
