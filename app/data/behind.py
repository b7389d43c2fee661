"""The examples behind a number of the overview: which of them pull it down, and at which position; plain data."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from app.data.view import Pin
from probe.scoring.names import SCORES

# Scores that are means over positions, so that a position can be pointed at; the others are of whole examples.
POSITION_SCORES = ("top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "chunk_accuracy")
EXAMPLE_SCORES = ("f1", "aer")


@dataclass(frozen=True)
class Number:
    """A number of the overview: a score of a run in a direction, over all positions or those of a group."""

    checkpoint: str
    direction: str
    score: str
    breakdown: str = ""
    group: str = ""


def in_group(tokens: pd.DataFrame, number: Number) -> pd.DataFrame:
    """The positions of the tokens table that a number is a mean of."""
    rows = tokens[(tokens["checkpoint"] == number.checkpoint) & (tokens["direction"] == number.direction)]
    if number.breakdown:
        wanted: object = number.group
        if number.breakdown == "tied":
            wanted = number.group == "tied"
        rows = rows[rows[number.breakdown].astype(object) == wanted]
    return rows[rows[number.score].notna()] if number.score in POSITION_SCORES else rows


def examples_behind(tokens: pd.DataFrame, examples: pd.DataFrame, number: Number) -> pd.DataFrame:
    """One row an example, the one that costs most first.

    Columns: ``example_id``, ``category``, ``score`` (its mean), ``positions`` it counts, ``lost`` (what they lack to
    1 in all), ``token`` and ``looks at`` of its worst position, and ``pin``, the cell to look at.
    """
    if number.score in EXAMPLE_SCORES:
        rows = examples[(examples["checkpoint"] == number.checkpoint) & (examples["direction"] == number.direction)]
        frame = rows[["example_id", "category", "n_positions"]].assign(score=rows[number.score])
        frame = frame.rename(columns={"n_positions": "positions"})
        order = [SCORES[number.score].better == "higher", True]
        return frame.sort_values(["score", "example_id"], ascending=order, kind="stable")
    rows = in_group(tokens, number)
    if rows.empty:
        return pd.DataFrame(
            columns=["example_id", "category", "score", "positions", "lost", "token", "looks at", "pin"]
        )
    rows = rows.assign(example_id=rows["example_id"].astype(str), category=rows["category"].astype(str))
    parts = rows.groupby("example_id", sort=True)
    frame = parts[number.score].agg(score="mean", positions="count").reset_index()
    frame["lost"] = (1 - frame["score"]) * frame["positions"]
    worst = rows.loc[parts[number.score].idxmin()].set_index("example_id")
    frame = frame.join(worst[["category", "token", "heaviest_token", "position", "heaviest"]], on="example_id")
    frame["pin"] = [
        str(Pin(int(line), int(best)) if number.direction == "t2s" else Pin(int(best), int(line)))
        for line, best in zip(frame["position"], frame["heaviest"], strict=True)
    ]
    frame = frame.rename(columns={"heaviest_token": "looks at"}).drop(columns=["position", "heaviest"])
    return frame.sort_values(["lost", "example_id"], ascending=[False, True], kind="stable").reset_index(drop=True)
