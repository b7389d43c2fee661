"""A number of the overview that was clicked: it is in the link, and the examples behind it are listed."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from app.data import behind
from app.data.behind import Number
from app.draw import links
from app.draw.list import run_query
from app.server import rule
from probe.scoring.report import Report

# The scores of the table: column of the report -> (name, what it means, its ceiling in a breakdown).
COLUMNS = {
    "top1_sure": ("top-1, sure", "share of positions whose heaviest cell is a sure link"),
    "top1_possible": ("top-1, possible", "share of positions whose heaviest cell is a possible link"),
    "gold_mass_sure": ("gold mass, sure", "mean weight on sure links"),
    "chunk_accuracy": ("chunk", "share of positions whose heaviest cell lies in the right chunk"),
    "f1": ("F1", "of the links that the heaviest cells make"),
    "aer": ("AER", "alignment error rate of those links: lower is better"),
}
NAMES = {
    "relation": "relation of the chunk", "tied": "tied or untied", "token_class": "class of the token",
    "place": "place in the response", "length": "length", "category": "category of the example",
}  # fmt: skip


def put_number(number: Number) -> None:
    """Write a number that was clicked into the link, so that whoever comes back finds its examples again."""
    group = {"n_by": number.breakdown or None, "n_group": number.group or None}
    links.put(n_run=number.checkpoint, n_score=number.score, **group)


def allowed_numbers(report: Report) -> dict[str, list[str]]:
    """Query parameters of a number that was clicked, and their values."""
    return {
        "n_run": report.runs["checkpoint"].unique().tolist(),
        "n_score": list(COLUMNS),
        "n_by": list(NAMES),
        "n_group": sorted({str(group) for group in report.breakdowns["group"]}),
    }


def number_of_link(report: Report, direction: str) -> Number | None:
    """The number that the link names, if any."""
    allowed = allowed_numbers(report)
    found = {name: st.query_params.get(name, "") for name in allowed}
    if any(value and value not in allowed[name] for name, value in found.items()):
        return None
    if not (found["n_run"] and found["n_score"]) or bool(found["n_by"]) != bool(found["n_group"]):
        return None
    return Number(found["n_run"], direction, found["n_score"], found["n_by"], found["n_group"])


def draw_behind(report: Report, number: Number, maps: pd.DataFrame, go: Callable[..., object]) -> None:
    """The examples behind a number; picking one goes to the page Browse (``go``), its worst position pinned."""
    st.markdown("##### The examples behind that number")
    of = COLUMNS[number.score][0]
    where = f", {NAMES[number.breakdown]}: {number.group}" if number.breakdown else ""
    st.text(f"{number.checkpoint}, {number.direction}, {rule.said(of)}{where}")
    if number.checkpoint.startswith("baseline:"):
        st.caption("Baselines need no model, and no map of theirs is stored. Their examples are those of the runs.")
        return
    frame = behind.examples_behind(report.tokens, report.examples, number)
    key = f"behind {number}"
    shown = st.dataframe(
        frame.drop(columns="pin", errors="ignore"),
        hide_index=True,
        height=300,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "score": st.column_config.NumberColumn(rule.said(of), format="%.2f"),
            "lost": st.column_config.NumberColumn("lost", format="%.1f", help="what its positions lack to 1, in all"),
        },
        alt=f"{len(frame)} examples behind the number, the one that costs most first",
    )
    st.caption("The first costs most. Pick one to open it, with its worst position pinned.")
    rows = shown["selection"]["rows"]
    if rows and 0 <= rows[0] < len(frame):
        picked = frame.iloc[rows[0]]
        query = run_query(maps, checkpoint=number.checkpoint, direction=number.direction)
        go("browse", example=picked["example_id"], **query, **({"pin": picked["pin"]} if "pin" in picked else {}))
