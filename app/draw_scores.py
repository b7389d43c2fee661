"""Scores of the example on screen, beside the mean of its run, or beside the second checkpoint."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from app.view import SCORES

SHOWN = ("top1_sure", "top1_possible", "gold_mass_sure", "reciprocal_rank", "chunk_accuracy")


def draw_scores(scores: pd.Series, means: pd.Series) -> None:
    """Five numbers of one map with their distance from the run's mean."""
    names = [name for name in SHOWN if _known(scores[name])]
    if not names:
        st.caption("No gold for this example: the map is shown without outlines and scores.")
        return
    for column, name in zip(st.columns(len(names)), names, strict=True):
        label, meaning = SCORES[name]
        delta = f"{scores[name] - means[name]:+.2f} vs mean {means[name]:.2f}"
        column.metric(label, f"{scores[name]:.2f}", delta, help=meaning)
    if _known(scores["ceiling_sure"]):
        st.caption(
            f"Tied positions cannot be told apart without positions: the best position-free map reaches "
            f"top-1 (sure) {scores['ceiling_sure']:.2f} here."
        )


def draw_score_table(pairs: list[tuple[str, pd.Series, pd.Series]], title: str = "") -> None:
    """All scores of one or two maps: this example, the run's mean, and the difference of the second to the first."""
    rows = []
    for name, (label, meaning) in SCORES.items():
        if not any(_known(scores[name]) for _, scores, _ in pairs):
            continue
        row: dict[str, object] = {"score": label}
        for checkpoint, scores, _ in pairs:
            row[checkpoint] = scores[name]
        if len(pairs) == 2:
            row["difference"] = pairs[1][1][name] - pairs[0][1][name]
        for checkpoint, _, means in pairs:
            row[f"mean of {checkpoint}"] = means[name]
        rows.append({**row, "meaning": meaning})
    if not rows:
        return
    frame = pd.DataFrame(rows)
    config = {
        name: st.column_config.NumberColumn(name, format="%+.3f" if name == "difference" else "%.3f")
        for name in frame.columns
        if name not in ("score", "meaning")
    }
    height = 37 * (len(frame) + 1)
    st.dataframe(frame, hide_index=True, column_config=config, height=height, alt="Scores of the maps on screen")


def _known(value: float) -> bool:
    return not math.isnan(value)
