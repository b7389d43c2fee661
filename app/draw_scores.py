"""Scores of the example on screen, beside the mean of its run, or beside the second checkpoint."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from app.view import SCORES

SHOWN = ("top1_sure", "top1_possible", "gold_mass_sure", "reciprocal_rank", "chunk_accuracy", "ceiling_sure")


def draw_scores(scores: pd.Series, beside: pd.Series, name: str) -> None:
    """Six numbers of one map, each with its distance from ``beside``, which is called ``name``."""
    known = [field for field in SHOWN if not math.isnan(scores[field])]
    if not known:
        st.caption("No gold for this example: the map is shown without outlines and scores.")
        return
    for column, field in zip(st.columns(len(known)), known, strict=True):
        label, meaning = SCORES[field]
        delta = None if field == "ceiling_sure" else round(scores[field] - beside[field], 2)
        column.metric(
            label,
            f"{scores[field]:.2f}",
            f"{delta:+.2f}" if delta else delta,
            delta_description=f"{name} {beside[field]:.2f}",
            help=meaning,
        )


def draw_score_table(pairs: list[tuple[str, pd.Series, pd.Series]]) -> None:
    """All scores of one or two maps: this example, the run's mean, and the difference of the second to the first."""
    rows = []
    for name, (label, meaning) in SCORES.items():
        if all(math.isnan(scores[name]) for _, scores, _ in pairs):
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
