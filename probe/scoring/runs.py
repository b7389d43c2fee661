"""Corpus tables: one row per checkpoint and direction with intervals, breakdowns, and paired comparisons.

Micro means add over positions and divide once; macro means are means of the examples' means. Intervals are over
examples. An example in which a score is not defined (no sure link, say) has no part in that score's macro mean: it is
drawn with the others, and counts nothing. Link scores of an example without links follow the rule of ``LinkCounts``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from probe.scoring import statistics
from probe.scoring.baselines import POSITION_FREE, PREFIX
from probe.scoring.extractions import Extraction
from probe.scoring.names import KEY_SCORES, LINK_SCORES, MAP_SCORES, POSITION_SCORES
from probe.scoring.statistics import Interval, Statistic, bca_interval, compare, holm, resampled_sums
from probe.scoring.tables import LINK_COUNTS, SCHEMA_VERSION, Scored

BREAKDOWNS = ("relation", "tied", "token_class", "place", "length", "category")
COMPARISON_COLUMNS = (
    "schema_version", "signature", "direction", "first", "second", "score", "n_examples", "first_value", "second_value",
    "difference", "difference_low", "difference_high", "p_bootstrap", "p_permutation", "p_holm",
)  # fmt: skip
LINK_STATISTICS: dict[str, Statistic] = {name: getattr(statistics, name) for name in LINK_SCORES}


@dataclass(frozen=True)
class RunRows:
    """The tokens and examples of one checkpoint and direction; ``codes`` [tokens] is each token's example row."""

    checkpoint: str
    direction: str
    tokens: pd.DataFrame
    examples: pd.DataFrame
    codes: np.ndarray

    @property
    def labels(self) -> dict[str, Any]:
        first = self.examples.iloc[0]
        names = ("signature", "checkpoint", "method", "direction", "normalisation")
        return {"schema_version": SCHEMA_VERSION, **{name: first[name] for name in names}}

    def counts(self, score: str, mask: np.ndarray | None = None) -> np.ndarray:
        """Sum and number [examples, 2] of a per-position score, over the positions of ``mask`` [tokens]."""
        values = self.tokens[score].to_numpy()
        counted = ~np.isnan(values) if mask is None else mask & ~np.isnan(values)
        size = len(self.examples)
        sums = np.bincount(self.codes, weights=np.where(counted, values, 0.0), minlength=size)
        return np.stack([sums, np.bincount(self.codes, weights=counted, minlength=size)], axis=1)

    def example_counts(self, score: str) -> np.ndarray:
        """Value and 1 [examples, 2] of a per-example score, 0 and 0 where it is NaN: its ratio is the macro mean."""
        values = self.examples[score].to_numpy(dtype=np.float64)
        return np.stack([np.nan_to_num(values), ~np.isnan(values)], axis=1).astype(np.float64)

    def link_counts(self) -> np.ndarray:
        """Counts [examples, 5] in the order of LinkCounts."""
        return self.examples[list(LINK_COUNTS)].to_numpy(dtype=np.float64)


def split_runs(tokens: pd.DataFrame, examples: pd.DataFrame) -> list[RunRows]:
    """One Run per checkpoint and direction, in order of appearance."""
    keys = ["checkpoint", "direction"]
    parts = dict(iter(tokens.groupby(keys, sort=False, observed=True)))
    runs = []
    for key, rows in examples.groupby(keys, sort=False, observed=True):
        part = parts[key]
        places = pd.Index(rows["example_id"]).get_indexer(pd.Index(part["example_id"].astype(object)))
        runs.append(RunRows(str(key[0]), str(key[1]), part, rows.reset_index(drop=True), places))  # type: ignore[index]
    return runs


def runs_frame(runs: Sequence[RunRows], *, resamples: int = statistics.RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """One row per run: every score and macro mean with its 95 % BCa interval, tied and untied positions apart."""
    return pd.DataFrame([_run_row(run, resamples, seed) for run in runs])


def _run_row(run: RunRows, resamples: int, seed: int) -> dict[str, Any]:
    tied = run.tokens["tied"].to_numpy(dtype=bool)
    micro = {name: run.counts(name) for name in POSITION_SCORES}
    for name in KEY_SCORES:
        micro |= {f"{name}_tied": run.counts(name, tied), f"{name}_untied": run.counts(name, ~tied)}
    means = {name: run.example_counts(name) for name in MAP_SCORES}
    means |= {f"{name}_macro": run.example_counts(name) for name in (*POSITION_SCORES, *LINK_SCORES)}
    row = {
        **run.labels,
        "n_examples": len(run.examples),
        **{name: int(run.examples[name].sum()) for name in ("n_positions", "n_sure", "n_tied")},
    }
    for name, interval in _intervals({**micro, **means}, resamples, seed).items():
        row |= _cells(name, interval)
    return row if run.checkpoint == POSITION_FREE else row | _link_cells(run.link_counts(), resamples, seed)


def _intervals(counts: dict[str, np.ndarray], resamples: int, seed: int) -> dict[str, Interval]:
    """Intervals of many ratios [examples, 2] from one resampling."""
    sums = resampled_sums(np.concatenate(list(counts.values()), axis=1), resamples=resamples, seed=seed)
    return {
        name: bca_interval(part, sums=sums[:, 2 * place : 2 * place + 2])
        for place, (name, part) in enumerate(counts.items())
    }


def _cells(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _link_cells(counts: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Link scores with intervals, of counts [examples, 5] in the order of LinkCounts."""
    sums = resampled_sums(counts, resamples=resamples, seed=seed)
    cells: dict[str, float] = {}
    for name, statistic in LINK_STATISTICS.items():
        cells |= _cells(name, bca_interval(counts, statistic, sums=sums))
    return cells


def extractions_frame(maps: Sequence[Scored], *, resamples: int = statistics.RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """One row per run and way to take links: sums of link counts, and link scores with intervals, of the same maps."""
    groups: dict[tuple[str, str, str], list[tuple[Scored, Extraction]]] = {}
    for one in maps:
        for extraction in one.extractions:
            groups.setdefault((one.checkpoint, one.direction, extraction.links), []).append((one, extraction))
    rows = []
    for found in groups.values():
        one, extraction = found[0]
        counts = np.array([astuple(part.counts) for _, part in found], dtype=np.float64)
        rows.append(
            {
                "schema_version": SCHEMA_VERSION,
                "signature": extraction.signature,
                **{name: getattr(one, name) for name in ("checkpoint", "method", "direction", "normalisation")},
                "links": extraction.links,
                "n_examples": len(found),
                **dict(zip(LINK_COUNTS, counts.sum(axis=0).astype(int).tolist(), strict=True)),
                **_link_cells(counts, resamples, seed),
            }
        )
    return pd.DataFrame(rows)


def breakdowns_frame(runs: Sequence[RunRows], *, resamples: int = statistics.RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """One row per run, breakdown and group: key scores with intervals, beside the ceilings of the same positions."""
    names = (*KEY_SCORES, "chunk_accuracy", "ceiling_sure", "ceiling_possible")
    rows = []
    for run in runs:
        groups = list(_groups(run))
        counts = {
            f"{place} {name}": run.counts(name, mask) for place, (_, _, mask) in enumerate(groups) for name in names
        }
        intervals = _intervals(counts, resamples, seed)
        scored = {name: ~np.isnan(run.tokens[f"top1_{name}"].to_numpy()) for name in ("possible", "sure")}
        for place, (breakdown, group, mask) in enumerate(groups):
            row = {**run.labels, "breakdown": breakdown, "group": group}
            row |= {"n_positions": int((mask & scored["possible"]).sum()), "n_sure": int((mask & scored["sure"]).sum())}
            for name in names:
                row |= _cells(name, intervals[f"{place} {name}"])
            rows.append(row)
    return pd.DataFrame(rows)


def _groups(run: RunRows) -> Iterator[tuple[str, str, np.ndarray]]:
    for breakdown in BREAKDOWNS:
        values = run.tokens[breakdown].astype(object).to_numpy()
        for value in sorted(set(values)):
            named = {True: "tied", False: "untied"}[value] if breakdown == "tied" else str(value)
            yield breakdown, named, values == value


def comparisons_frame(runs: Sequence[RunRows], *, resamples: int = statistics.RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """Each pair of stored checkpoints per direction, on the examples that both have; Holm over the whole table.

    ``difference`` is ``first`` minus ``second``. ``p_holm`` corrects the permutation p values.
    """
    rows = []
    for one, two in combinations([run for run in runs if not run.checkpoint.startswith(PREFIX)], 2):
        if one.direction == two.direction:
            rows += _compare_pair(one, two, resamples, seed)
    frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))  # the header is there even without a pair
    frame["p_holm"] = holm(frame["p_permutation"].tolist())
    return frame


def _compare_pair(one: RunRows, two: RunRows, resamples: int, seed: int) -> list[dict[str, Any]]:
    shared = pd.Index(one.examples["example_id"]).intersection(pd.Index(two.examples["example_id"]), sort=False)
    places = [pd.Index(run.examples["example_id"]).get_indexer(shared) for run in (one, two)]
    if not len(shared):
        return []
    tests: list[tuple[str, Statistic, list[np.ndarray]]]
    tests = [(name, statistics.ratio, [run.counts(name) for run in (one, two)]) for name in KEY_SCORES]
    tests += [(name, LINK_STATISTICS[name], [run.link_counts() for run in (one, two)]) for name in ("f1", "aer")]
    rows = []
    for name, statistic, (left, right) in tests:
        left, right = left[places[0]], right[places[1]]
        result = compare(left, right, statistic, resamples=resamples, seed=seed)
        rows.append(
            {
                "schema_version": SCHEMA_VERSION,
                "signature": f"{one.labels['signature']} / {two.labels['signature']}",
                "direction": one.direction,
                "first": one.checkpoint,
                "second": two.checkpoint,
                "score": name,
                "n_examples": len(shared),
                "first_value": float(statistic(left.sum(axis=0))),
                "second_value": float(statistic(right.sum(axis=0))),
                **_cells("difference", result.difference),
                "p_bootstrap": result.p_bootstrap,
                "p_permutation": result.p_permutation,
            }
        )
    return rows
