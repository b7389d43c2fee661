"""The main part of the page: one example's map or maps, its scores, its text, and what can be taken home."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app import cache, draw_map, draw_scores, view
from app.cache import Source
from app.downloads import csv_bytes, file_stem, png_bytes
from app.draw_list import SCALES, Run
from app.view import MAX_BESIDE, MAX_WINDOW, SCORES, Window
from probe.attention_map import AttentionMap
from probe.gold import Gold

PAGE_WIDTH = 915  # pixels of the main part in a window of 1440; wider windows leave a margin
COLUMN_GAP = 32  # pixels between two maps side by side, and the rest of the axis labels
TEXT_BESIDE = 640  # a map narrower than this leaves room for the texts on its right
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
    toolbar = st.container(horizontal=True, vertical_alignment="center")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        beside = len(maps) == 2 and not draw_whole(first)
        window = draw_window(first, MAX_BESIDE if beside else MAX_WINDOW)
    gold = source.golds.get(current)
    panels = [Panel(amap, gold, view.map_cells(amap, gold, window), *scores) for amap, scores in maps]
    top = 1.0 if run.scale == SCALES[0] else max(float(panel.cells["weight"].max()) for panel in panels)
    with toolbar:
        draw_steps(first, listed["example_id"].tolist(), current)
        draw_downloads(panels, window, top)
    draw_panel_scores(panels)
    if gold is not None:
        st.caption(" &emsp; ".join(draw_map.KEY))
    step, width = draw_map.chart_size(window, PAGE_WIDTH // 2 - COLUMN_GAP if beside else PAGE_WIDTH)
    if len(panels) == 1 and width < TEXT_BESIDE:
        left, right = st.columns([width + 20, PAGE_WIDTH - width - 20])
        with left:
            draw_maps(panels, window, top, step)
        with right:
            draw_texts(first)
    else:
        draw_maps(panels, window, top, step, beside=beside)
        draw_texts(first)
    draw_tables(panels)


def draw_whole(amap: AttentionMap) -> bool:
    """Whether two maps that are too long to be side by side are shown below each other instead; asked if they are."""
    if max(len(amap.student), len(amap.teacher)) <= MAX_BESIDE:
        return False
    return st.toggle("Whole maps, below each other", key="whole", bind="query-params")


def draw_panel_scores(panels: list[Panel]) -> None:
    """The scores above the maps: beside the run's mean, or the second checkpoint's beside the first's."""
    first, second = panels[0], panels[-1]
    if second is first:
        draw_scores.draw_scores(first.scores, first.means, "mean")
    else:
        st.text(f"{second.amap.checkpoint}, and its difference from {first.amap.checkpoint}:")
        draw_scores.draw_scores(second.scores, first.scores, "from")


def read_maps(
    source: Source, run: Run, rows: pd.DataFrame, current: str
) -> list[tuple[AttentionMap, tuple[pd.Series, pd.Series]]]:
    """The example's map of the checkpoint and, where wanted and stored, the second's; each with scores and means."""
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
            on_click=_show,
            args=(ids[target % len(ids)],),
        )


def _show(example_id: str) -> None:
    st.query_params["example"] = example_id


def draw_window(amap: AttentionMap, size: int) -> Window:
    """The part of a long map to draw, at most ``size`` targets a side, chosen by a slider; the whole of a short one."""
    longest = max(len(amap.student), len(amap.teacher))
    start = 0
    if longest > size:
        start = st.slider(
            f"Shown: {size} of {longest} targets, from target",
            0,
            longest - size,
            0,
            key=f"window {size} {amap.example_id}",
            help="Both sides show the same text. Ranks and heaviest cells are those of the whole map.",
        )
    return view.window_at(amap.student, amap.teacher, int(start), size)


def draw_maps(panels: list[Panel], window: Window, top: float, step: int, *, beside: bool = False) -> None:
    """The heatmaps on one colour scale, from 0 to ``top``: side by side where their cells stay readable."""
    # A row that does not wrap scrolls sideways where the window is too narrow for it.
    rows = [st.container(horizontal=True, wrap=False, gap="small") for _ in range(1 if beside else len(panels))]
    places = rows * len(panels) if beside else rows
    for place, panel in zip(places, panels, strict=True):
        amap = panel.amap
        chart = draw_map.heatmap(
            panel.cells,
            amap.student.tokens,
            amap.teacher.tokens,
            direction=amap.direction,
            title=f"{amap.checkpoint} · {amap.direction}",
            subtitle=_subtitle(panel, window),
            vmax=top,
            step=step,
        )
        place.altair_chart(chart, width="content", alt=_finding(panel), key=f"map-{amap.checkpoint}")


def _subtitle(panel: Panel, window: Window) -> list[str]:
    lines = [f"{panel.amap.normalisation} normalisation"]
    if not panel.scores.isna()["top1_sure"]:
        scores = f"top-1 {panel.scores['top1_sure']:.2f} sure, {panel.scores['top1_possible']:.2f} possible"
        lines[0] = f"{scores} · {lines[0]}"
    if window != Window((0, len(panel.amap.student)), (0, len(panel.amap.teacher))):
        line = "rows" if panel.amap.direction == "t2s" else "columns"
        outside = view.heaviest_outside(panel.amap, window)
        lines.append(f"{outside} of these {line} have their heaviest cell outside this window")
    return lines


def _finding(panel: Panel) -> str:
    amap = panel.amap
    found = f"Attention map of {amap.example_id}, {amap.checkpoint}, {amap.direction}"
    counts = panel.cells["outcome"].value_counts()
    if panel.gold is None:
        return found
    hits, misses = counts.get("sure", 0) + counts.get("possible", 0), counts.get("miss", 0)
    return f"{found}: {hits} heaviest cells on gold links, {misses} beside them"


def draw_downloads(panels: list[Panel], window: Window, top: float) -> None:
    """PNG of each map and CSV of all cells on screen, as they are shown."""
    for number, panel in enumerate(panels, 1):
        st.download_button(
            "PNG" if len(panels) == 1 else f"PNG {number}",
            data=functools.partial(png_bytes, panel.amap, panel.gold, window, top),
            file_name=f"{file_stem(panel.amap)}.png",
            mime="image/png",
            icon=":material/download:",
            on_click="ignore",
            key=f"png-{number}",
            help="This map as a picture, as shown.",
        )
    st.download_button(
        "CSV",
        data=functools.partial(csv_bytes, [(panel.amap, panel.cells) for panel in panels]),
        file_name=f"{file_stem(panels[0].amap)}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        key="csv",
        help="Every cell shown, one a row: tokens, weight, rank, gold.",
    )


def draw_texts(amap: AttentionMap) -> None:
    """The example's text, and where both tokenizers cut it."""
    st.markdown("##### Text")
    st.text(amap.text)
    for side, axis in (("Student", amap.student), ("Teacher", amap.teacher)):
        st.markdown(f"##### {side} tokens ({len(axis)})")
        st.text(view.joined(axis.tokens))


def draw_tables(panels: list[Panel]) -> None:
    """All scores, and every cell on screen as a table; both wait to be opened, the scores of two maps do not."""
    scores = st.expander("All scores", expanded=len(panels) == 2, on_change="rerun")
    if scores.open:
        with scores:
            draw_scores.draw_score_table([(panel.amap.checkpoint, panel.scores, panel.means) for panel in panels])
    table = st.expander("This map as a table", on_change="rerun")
    if table.open:
        with table:
            for panel in panels:
                st.text(panel.amap.checkpoint)
                st.dataframe(panel.cells, hide_index=True, height=300, alt=_finding(panel))
