"""A report in words: the table that people read in the terminal, and the same numbers as one JSON object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probe.scoring.baselines import PREFIX
from probe.scoring.names import LINK_SCORES, headings

if TYPE_CHECKING:
    from probe.scoring.report import Report

# column of runs.csv -> heading; those in WITH_INTERVAL are printed with their 95 % interval
HEADINGS = {
    **headings(("top1_sure", "top1_possible")), "top1_possible_untied": "untied", "top1_possible_tied": "tied",
    "gold_mass_possible": "mass", **headings(("reciprocal_rank", "chunk_accuracy", *LINK_SCORES)),
}  # fmt: skip
WITH_INTERVAL = ("top1_sure", "top1_possible")
DIRECTIONS = {"t2s": "t2s: each student position looks at teacher positions", "s2t": "s2t: the other way round"}


def report_lines(report: Report, written: Sequence[Path] = ()) -> list[str]:
    """The report as lines of plain text."""
    lines: list[str] = []
    for direction, part in report.runs.groupby("direction", sort=False):
        lines += [*_direction_lines(str(direction), part), ""]
    if len(report.comparisons):
        lines += [*_comparison_lines(report.comparisons), ""]
    if len(report.extractions):
        lines += [*_extraction_lines(report.extractions), ""]
    if len(report.key_query):
        lines += [*_key_query_lines(report.key_query), ""]
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"wrote {path}" for path in written]
    return lines[:-1] if lines and not lines[-1] else lines


def report_values(report: Report, written: Sequence[Path] = ()) -> dict[str, Any]:
    """The report as values for JSON; numbers that are not defined are null."""
    names = ("runs", "comparisons", "extractions", "key_query")
    values: dict[str, Any] = {name: records(getattr(report, name)) for name in names}
    return {**values, "notes": list(report.notes), "written": [str(path) for path in written]}


def _direction_lines(direction: str, part: pd.DataFrame) -> list[str]:
    most = part.loc[part["n_examples"].idxmax()]
    share = most["n_tied"] / max(1, most["n_positions"])
    title = (
        f"{DIRECTIONS.get(direction, direction)} "
        f"({most['n_examples']} examples, {most['n_positions']} positions with gold, {share:.0%} of them tied)"
    )
    rows = [["checkpoint", *HEADINGS.values()]]
    rows += [[str(row["checkpoint"]), *(_cell(row, name) for name in HEADINGS)] for _, row in part.iterrows()]
    return [title, *aligned(rows)]


def _cell(row: pd.Series, name: str) -> str:
    value = row.get(name, math.nan)
    if math.isnan(value):
        return "–"
    if name in WITH_INTERVAL and not math.isnan(row[f"{name}_low"]):
        return f"{value:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"
    return f"{value:.3f}"


def aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
             for row in rows]  # fmt: skip
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _comparison_lines(comparisons: pd.DataFrame) -> list[str]:
    rows = [["paired difference", "direction", "score", "difference [95 %]", "p bootstrap", "p permutation", "p Holm"]]
    for _, row in comparisons.iterrows():
        if row["score"] in ("top1_possible", "gold_mass_possible", "aer"):
            interval = f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"
            tests = [f"{row[name]:.4f}" for name in ("p_bootstrap", "p_permutation", "p_holm")]
            rows.append([f"{row['first']} − {row['second']}", row["direction"], row["score"], interval, *tests])
    return aligned(rows)


def _extraction_lines(extractions: pd.DataFrame) -> list[str]:
    """F1 of the stored checkpoints under each way to take links from a map."""
    stored = extractions[~extractions["checkpoint"].str.startswith(PREFIX)]
    ways = list(dict.fromkeys(stored["links"]))
    rows = [["F1 by extraction of links", "direction", *ways]]
    for (checkpoint, direction), part in stored.groupby(["checkpoint", "direction"], sort=False):  # type: ignore[misc]
        values = dict(zip(part["links"], part["f1"], strict=True))
        rows.append([checkpoint, direction, *(f"{values[way]:.3f}" if way in values else "–" for way in ways)])
    return aligned(rows)


def _key_query_lines(frame: pd.DataFrame) -> list[str]:
    names = [name for name in frame.columns if name not in ("schema_version", "signature", "checkpoint", "method")]
    rows = [["key-query gap", *(name.replace("_", " ") for name in names)]]
    for _, row in frame.iterrows():
        shown = (f"{row[name]:.3f}" if isinstance(row[name], float) else str(row[name]) for name in names)
        rows.append([str(row["checkpoint"]), *shown])
    return [*aligned(rows), "(classifier accuracy: held out, 0.5 = keys and queries cannot be told apart)"]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
