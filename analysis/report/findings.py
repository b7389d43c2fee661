"""Headings of the report, as sentences that state a finding: every number comes from the report's own frames."""

from __future__ import annotations

import math

import pandas as pd

from probe.scoring.baselines import POSITION_FREE, PREFIX
from probe.scoring.report import Report

SCORE = "top1_possible"
SIDES = {"t2s": ("student", "teacher"), "s2t": ("teacher", "student")}
SIGNIFICANT = 0.05  # of Holm's p value
GAP_SCORES = {
    "classifier_accuracy": "accuracy of a held-out classifier (0.5: cannot be told apart)",
    "energy_distance": "energy distance", "mmd": "Gaussian MMD", "sliced_wasserstein": "sliced Wasserstein-2",
    "frechet": "Fréchet distance", "query_norm": "mean norm of queries", "key_norm": "mean norm of keys",
    "query_norm_sd": "standard deviation of the norms of queries",
    "key_norm_sd": "standard deviation of the norms of keys",
    "cosine": "mean cosine of queries and keys", "cosine_of_means": "cosine of the mean query and the mean key",
}  # fmt: skip


def percent(value: float) -> str:
    """A share as a whole percentage; a dash where it is not defined."""
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def learned(report: Report, direction: str) -> pd.DataFrame:
    """The runs of trained checkpoints in one direction, the best first."""
    runs = report.runs[report.runs["direction"] == direction]
    names = runs["checkpoint"].astype(str)
    trained = runs[~names.str.startswith(PREFIX) & (runs["method"] != "untrained")]
    return trained.sort_values(SCORE, ascending=False, kind="stable")


def headline(report: Report) -> str:
    """How often the best map finds its link, in the first direction that has a trained checkpoint."""
    for direction in report.runs["direction"].unique():
        best = learned(report, direction)
        if len(best):
            row, (rows, _) = best.iloc[0], SIDES[direction]
            return f"{row['checkpoint']} finds a possible link for {percent(row[SCORE])} of the {rows} positions"
    return "Attention maps against gold"


def direction_finding(report: Report, direction: str) -> str:
    """The best checkpoint between the diagonal and the ceiling of its direction."""
    best, runs = learned(report, direction), report.runs[report.runs["direction"] == direction]
    if not len(best):
        return f"No trained checkpoint has {direction} maps"
    row, rows, columns = best.iloc[0], *SIDES[direction]
    found = f"{direction}: {percent(row[SCORE])} of {rows} positions look at a right {columns} token"
    ceiling = runs.loc[runs["checkpoint"] == POSITION_FREE, SCORE]
    bound = f"; no map that ignores positions can exceed {percent(float(ceiling.iloc[0]))}" if len(ceiling) else ""
    return found + bound


def comparison_finding(comparisons: pd.DataFrame) -> str:
    """The first pair's difference in top-1 accuracy, and whether chance could explain it."""
    rows = comparisons[comparisons["score"] == SCORE]
    if not len(rows):
        return "There is no pair of checkpoints to compare"
    row = rows.iloc[0]
    ahead, behind = (row["first"], row["second"]) if row["difference"] >= 0 else (row["second"], row["first"])
    size = f"{100 * abs(row['difference']):.1f} points ({row['direction']}, Holm p = {row['p_holm']:.4f})"
    if row["p_holm"] < SIGNIFICANT:
        return f"{ahead} is ahead of {behind} by {size}"
    return f"That {ahead} is ahead of {behind} by {size} could be chance"


def extraction_finding(extractions: pd.DataFrame) -> str:
    """How far the way to take links moves the best checkpoint's F1, and whether it changes who is ahead."""
    trained = extractions[extractions["method"] != "untrained"]
    table = trained.pivot(index="checkpoint", columns="links", values="f1").dropna(axis=1)
    if table.empty or table.shape[1] < 2:
        return "Links are taken in one way only"
    best = table.loc[table.max(axis=1).idxmax()]
    low, high = best.idxmin(), best.idxmax()
    said = f"How links are taken moves F1 of {best.name} from {best[low]:.2f} ({low}) to {best[high]:.2f} ({high})"
    if len(table) < 2:
        return said
    orders = {tuple(table[way].sort_values(ascending=False, kind="stable").index) for way in table}
    return f"{said}; the checkpoints {'keep their order' if len(orders) == 1 else 'change places'}"


def key_query_finding(frame: pd.DataFrame) -> str:
    """What the classifier says after training."""
    name = "classifier_accuracy_after"
    if name not in frame or not len(frame):
        return "The checkpoints carry no measurements of keys and queries"
    low, high = frame[name].min(), frame[name].max()
    told = "still tells" if low > 0.9 else "can hardly tell" if high < 0.6 else "partly tells"
    return f"After training a held-out classifier {told} queries from keys"


def key_query_rows(frame: pd.DataFrame, *, control: bool = False) -> list[tuple[str, ...]]:
    """(measure, checkpoint, before, after, perhaps control) of every measure taken on both sides of training."""
    rows = []
    for name, words in GAP_SCORES.items():
        for _, row in frame.iterrows():
            pair = [row.get(f"{name}_{when}") for when in ("before", "after")]
            if any(value is None or pd.isna(value) for value in pair):
                continue
            pair += [row.get(f"{name}_control")] if control else []
            shown = ("–" if value is None or pd.isna(value) else f"{value:.4g}" for value in pair)
            rows.append((words, str(row["checkpoint"]), *shown))
    return rows
