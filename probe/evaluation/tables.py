"""Tables of generated responses: a row a response, a row a checkpoint and data set, averages, paired comparisons.

Scores are in [0, 1] for a response and in percent for a data set, as the papers print them. A data set's score is the
mean over its examples for each seed, then mean and standard deviation (n - 1) over the seeds; an average over data sets
is the mean of their means, seed by seed. Intervals and tests are over examples, whose score is the mean over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from probe.scoring import statistics
from probe.scoring.tables import SCHEMA_VERSION

RESPONSE_SCORES = ("rouge_l", "exact_match")
AVERAGES = {"in-domain": ("in",), "out-of-domain": ("out",), "all": ("in", "out")}
COMPARISON_COLUMNS = (
    "schema_version", "signature", "dataset", "domain", "first", "second", "score", "n_examples", "n_seeds",
    "first_value", "second_value", "difference", "difference_low", "difference_high", "p_bootstrap", "p_permutation",
    "p_holm",
)  # fmt: skip


@dataclass(frozen=True)
class ScoredResponse:
    """One response and its scores."""

    example_id: str
    category: str
    seed: int
    response: str
    n_tokens: int
    ended: bool
    prompt_cut: bool
    rouge_l: float
    exact_match: float


@dataclass(frozen=True)
class Evaluated:
    """All responses of one checkpoint on one data set; ``domain`` is ``in`` or ``out``."""

    checkpoint: str
    method: str
    dataset: str
    domain: str
    signature: str
    seeds: tuple[int, ...]
    responses: tuple[ScoredResponse, ...]

    @property
    def labels(self) -> dict[str, Any]:
        names = ("signature", "checkpoint", "method", "dataset", "domain")
        return {"schema_version": SCHEMA_VERSION, **{name: getattr(self, name) for name in names}}

    def scores(self, name: str) -> np.ndarray:
        """A score in percent [examples, seeds], examples in the order of the file."""
        found = {(one.example_id, one.seed): getattr(one, name) for one in self.responses}
        examples = dict.fromkeys(one.example_id for one in self.responses)
        return 100 * np.array([[found[example, seed] for seed in self.seeds] for example in examples])


def responses_frame(parts: Sequence[Evaluated]) -> pd.DataFrame:
    """One row a response."""
    return pd.DataFrame([{**part.labels, **asdict(one)} for part in parts for one in part.responses])


def evaluation_frame(
    parts: Sequence[Evaluated], *, resamples: int = statistics.RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """One row per checkpoint and data set, and after a checkpoint's data sets its averages where they are several."""
    rows: list[dict[str, Any]] = []
    for checkpoint in dict.fromkeys(part.checkpoint for part in parts):
        own = [part for part in parts if part.checkpoint == checkpoint]
        rows += [_row(part, resamples, seed) for part in own]
        if len(own) > 1:
            for name, domains in AVERAGES.items():
                if members := [part for part in own if part.domain in domains]:
                    rows.append(_average(name, members))
    return pd.DataFrame(rows)


def _row(part: Evaluated, resamples: int, seed: int) -> dict[str, Any]:
    row = {**part.labels, "level": "data set", **_sizes([part])}
    for name in RESPONSE_SCORES:
        scores = part.scores(name)
        interval = statistics.bca_interval(_counts(scores), resamples=resamples, seed=seed)
        row |= _mean_and_deviation(name, scores.mean(axis=0))
        row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row


def _average(name: str, members: Sequence[Evaluated]) -> dict[str, Any]:
    signature = f"average-of:{len(members)}|" + members[0].signature.split("|data:")[0]
    domain = name if name == "all" else name.split("-")[0]
    labels = {**members[0].labels, "signature": signature, "dataset": f"average {name}", "domain": domain}
    row = {**labels, "level": "average", **_sizes(members)}
    for score in RESPONSE_SCORES:
        row |= _mean_and_deviation(score, np.mean([part.scores(score).mean(axis=0) for part in members], axis=0))
    return row


def _sizes(members: Sequence[Evaluated]) -> dict[str, Any]:
    responses = [one for part in members for one in part.responses]
    return {
        "n_examples": len(responses) // len(members[0].seeds),
        "n_seeds": len(members[0].seeds),
        "mean_tokens": float(np.mean([one.n_tokens for one in responses])),
        "ended": float(np.mean([one.ended for one in responses])),
        "prompt_cut": float(np.mean([one.prompt_cut for one in responses])),
    }


def _mean_and_deviation(name: str, by_seed: np.ndarray) -> dict[str, float]:
    deviation = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan")
    return {name: float(by_seed.mean()), f"{name}_std": deviation}


def _counts(scores: np.ndarray) -> np.ndarray:
    """Sum and number [examples, 2], for :mod:`probe.scoring.statistics`."""
    means = scores.mean(axis=1)
    return np.stack([means, np.ones_like(means)], axis=1)


def comparisons_frame(
    parts: Sequence[Evaluated], against: str, *, resamples: int = statistics.RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Every checkpoint minus ``against`` on each data set: paired bootstrap and permutation, Holm over the table."""
    rows = []
    references = {part.dataset: part for part in parts if part.checkpoint == against}
    for part in parts:
        if part.checkpoint != against:
            rows += [_comparison(part, references[part.dataset], name, resamples, seed) for name in RESPONSE_SCORES]
    frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    frame["p_holm"] = statistics.holm(frame["p_permutation"].tolist())
    return frame


def _comparison(one: Evaluated, two: Evaluated, name: str, resamples: int, seed: int) -> dict[str, Any]:
    first, second = _counts(one.scores(name)), _counts(two.scores(name))
    result = statistics.compare(first, second, resamples=resamples, seed=seed)
    return {
        "schema_version": SCHEMA_VERSION,
        "signature": f"{one.signature} / {two.signature}",
        "dataset": one.dataset,
        "domain": one.domain,
        "first": one.checkpoint,
        "second": two.checkpoint,
        "score": name,
        "n_examples": len(first),
        "n_seeds": len(one.seeds),
        "first_value": float(first[:, 0].mean()),
        "second_value": float(second[:, 0].mean()),
        "difference": result.difference.value,
        "difference_low": result.difference.low,
        "difference_high": result.difference.high,
        "p_bootstrap": result.p_bootstrap,
        "p_permutation": result.p_permutation,
    }
