"""The sidebar: which run, which examples, in which order; and the list in which one is picked."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app.view import SORTS

NONE = "none"
SCALES = ("0–1", "max")
ALL = "all"


@dataclass(frozen=True)
class Run:
    """What is looked at: a checkpoint, perhaps a second one beside it, a direction and a normalisation."""

    checkpoint: str
    other: str | None
    direction: str
    normalisation: str
    scale: str


@dataclass(frozen=True)
class Filters:
    """Which examples are listed, and how they are sorted."""

    text: str
    category: str | None
    sort: str


def allowed_links(index: pd.DataFrame) -> dict[str, list[str]]:
    """Query parameters with a fixed set of values, and those values."""
    checkpoints = index["checkpoint"].unique().tolist()
    return {
        "checkpoint": checkpoints,
        "compare": [NONE, *checkpoints],
        "direction": _directions(index),
        "normalisation": sorted(index["normalisation"].unique()),
        "category": [ALL, *_categories(index)],
        "sort": list(SORTS),
        "scale": list(SCALES),
    }


def _directions(index: pd.DataFrame) -> list[str]:
    return [name for name in ("t2s", "s2t") if (index["direction"] == name).any()]


def _categories(index: pd.DataFrame) -> list[str]:
    return sorted(name for name in index["category"].unique() if name)


def draw_run(index: pd.DataFrame) -> Run:
    """Selectors of the run. Values are checked again: what a browser sends need not be an option."""
    options = allowed_links(index)
    checkpoint = st.selectbox("Checkpoint", options["checkpoint"], key="checkpoint", bind="query-params")
    others = [NONE, *(name for name in options["checkpoint"] if name != checkpoint)]
    other = st.selectbox(
        "Compare with",
        others,
        key="compare",
        bind="query-params",
        disabled=len(others) == 1,
        help="Shows a second checkpoint's map of the same example beside the first, on one colour scale.",
    )
    left, right = st.columns(2, gap="small")
    direction = left.segmented_control(
        "Direction",
        options["direction"],
        default=options["direction"][0],
        required=True,
        key="direction",
        bind="query-params",
        width="stretch",
        help="t2s: each student row is a distribution over teacher targets. "
        "s2t: each teacher column is a distribution over student targets.",
    )
    scale = right.segmented_control(
        "Colours",
        SCALES,
        default=SCALES[0],
        required=True,
        key="scale",
        bind="query-params",
        width="stretch",
        help="0–1: the same colours for every map. max: up to the heaviest weight on screen, for faint maps.",
    )
    normalisations = options["normalisation"]
    normalisation = normalisations[0]
    if len(normalisations) > 1:
        normalisation = st.selectbox("Normalisation", normalisations, key="normalisation", bind="query-params")
    return Run(
        checkpoint if checkpoint in options["checkpoint"] else options["checkpoint"][0],
        other if other in others and other != NONE else None,
        direction if direction in options["direction"] else options["direction"][0],
        normalisation if normalisation in normalisations else normalisations[0],
        scale if scale in SCALES else SCALES[0],
    )


def draw_filters(index: pd.DataFrame) -> Filters:
    """Search box, category and order of the example list."""
    options = allowed_links(index)
    text = st.text_input(
        "Search examples",
        key="q",
        bind="query-params",
        type="search",
        placeholder="id, category, text or token",
        max_chars=200,
        live="300ms",
    )
    left, right = st.columns(2, gap="small")
    category = left.selectbox("Category", options["category"], key="category", bind="query-params")
    sort = right.selectbox(
        "Sort",
        SORTS,
        key="sort",
        bind="query-params",
        help="worst and best go by top-1 over sure links. difference: where the second checkpoint differs most from "
        "the first. length: most cells first.",
    )
    return Filters(
        str(text or "")[:200],
        category if category in options["category"] and category != ALL else None,
        sort if sort in SORTS else SORTS[0],
    )


def draw_list(frame: pd.DataFrame, total: int, current: str | None, key: str) -> None:
    """The list of examples; clicking a row puts its id into the link, from which the page reads it."""
    st.caption(f"{len(frame)} of {total} examples")
    ids = frame["example_id"].tolist()

    def pick() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and rows[0] < len(ids):
            st.query_params["example"] = ids[rows[0]]

    scored = frame["top1_sure"].notna().any()
    beside = "difference" if scored and "difference" in frame else "size"
    columns = ["example_id", *(["top1_sure"] if scored else []), beside]
    st.dataframe(
        frame[columns],
        hide_index=True,
        height=345,
        row_height=30,
        key=key,
        on_select=pick,
        selection_mode="single-row",
        selection_default={"selection": {"rows": [ids.index(current)] if current in ids else []}},
        column_config={
            "example_id": st.column_config.TextColumn("example", width=145),
            "top1_sure": st.column_config.NumberColumn("top-1", format="%.2f", width=55, help="over sure links"),
            "difference": st.column_config.NumberColumn(
                "change", format="%+.2f", width=70, help="second minus first top-1"
            ),
            "size": st.column_config.TextColumn("size", width=70, help="student × teacher targets"),
        },
        alt="Examples of this run with their top-1 accuracy",
    )
