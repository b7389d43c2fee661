"""Scores of the example on screen, beside the mean of its run, or beside the second checkpoint."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from app.draw import screen
from app.server import rule
from app.server.scores import SCORES

SHOWN = ("top1_sure", "top1_possible", "gold_mass_sure", "reciprocal_rank", "chunk_accuracy", "ceiling_sure")
METRIC, GAP = 128, 16  # pixels of one number with its label and what it is set beside, and between two of them
SHORT = {"ceiling_sure": "ceiling"}


def draw_scores(scores: pd.Series, beside: pd.Series, name: str) -> None:
    """Six numbers of one map, each with its distance from ``beside``, which is called ``name``."""
    known = [field for field in SHOWN if not math.isnan(scores[field])]
    if not known:
        st.caption("No gold for this example: the map is shown without outlines and scores.")
        return
    abreast = len(known) if (screen.width() + GAP) // len(known) - GAP >= METRIC + 40 * rule.is_on() else 3
    width = (screen.width() + GAP) // abreast - GAP
    with st.container(horizontal=True, gap="small"):  # which wraps in a narrow window; columns would cut the labels
        for field in known:
            label, meaning = rule.said(SHORT.get(field, SCORES[field][0])), SCORES[field][1]
            delta = None if field == "ceiling_sure" else round(scores[field] - beside[field], 2)
            st.metric(
                label,
                f"{scores[field]:.2f}",
                f"{delta:+.2f}" if delta else delta,
                delta_description=f"{name} {beside[field]:.2f}",
                help=meaning,
                width=width,
            )


def draw_all(pairs: list[tuple[str, pd.Series, pd.Series]], *, expanded: bool = False) -> None:
    """The table of all scores, once it is opened."""
    scores = st.expander("All scores", expanded=expanded, on_change="rerun")
    if scores.open:
        with scores:
            draw_score_table(pairs)


def draw_score_table(pairs: list[tuple[str, pd.Series, pd.Series]]) -> None:
    """All scores of the maps on screen and their runs' means."""
    frame = pd.DataFrame(score_rows(pairs))
    if frame.empty:
        return
    config = {
        name: st.column_config.NumberColumn(name, format="%+.3f" if name.startswith("difference") else "%.3f")
        for name in frame.columns
        if name not in ("score", "meaning")
    }
    height = 37 * (len(frame) + 1)
    st.dataframe(frame, hide_index=True, column_config=config, height=height, alt="Scores of the maps on screen")


def score_rows(pairs: list[tuple[str, pd.Series, pd.Series]]) -> list[dict[str, object]]:
    """One row a score: each map's value, its difference to the first map's, and the means of the runs."""
    rows = []
    for name, (label, meaning) in SCORES.items():
        if all(math.isnan(scores[name]) for _, scores, _ in pairs):
            continue
        row: dict[str, object] = {"score": rule.said(label)}
        row |= {checkpoint: scores[name] for checkpoint, scores, _ in pairs}
        for checkpoint, scores, _ in pairs[1:]:
            title = "difference" if len(pairs) == 2 else f"difference of {checkpoint}"
            row[title] = scores[name] - pairs[0][1][name]
        row |= {f"mean of {checkpoint}": means[name] for checkpoint, _, means in pairs}
        rows.append({**row, "meaning": meaning})
    return rows
