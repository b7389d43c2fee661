"""Uncertainty of scores over examples: BCa bootstrap intervals, paired bootstrap and permutation tests, Holm.

A corpus score is a function of summed counts: ``counts`` [examples, parts] are added over examples, then divided once
by a *statistic*, which takes sums [..., parts] and returns values [...]. Resampling draws whole examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
RESAMPLES = 10_000
MOST_RESAMPLES = 1_000_000  # a hundred times what a p-value of four digits needs
BLOCK = 2_000_000  # cells drawn at a time: 16 MB, whatever the number of examples

_normal = NormalDist()


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval; ``low`` and ``high`` are NaN with fewer than two examples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same examples: ``difference`` is first minus second; two-sided p values."""

    difference: Interval
    p_bootstrap: float
    p_permutation: float


def ratio(sums: np.ndarray) -> np.ndarray:
    """Part 0 divided by part 1 of sums [..., 2]; NaN where nothing counts."""
    total = sums[..., 1]
    return np.divide(sums[..., 0], total, out=np.full(total.shape, np.nan), where=total > 0)


def precision(sums: np.ndarray) -> np.ndarray:
    """|A ∩ P| / |A| of sums [..., 5] in the order of LinkCounts; 1 without predicted links."""
    return np.divide(sums[..., 4], sums[..., 0], out=np.ones(sums.shape[:-1]), where=sums[..., 0] > 0)


def recall(sums: np.ndarray) -> np.ndarray:
    """|A ∩ S| / |S| of sums [..., 5] in the order of LinkCounts; 1 without sure links."""
    return np.divide(sums[..., 3], sums[..., 1], out=np.ones(sums.shape[:-1]), where=sums[..., 1] > 0)


def f1(sums: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall of sums [..., 5]; 0 where both are 0."""
    p, r = precision(sums), recall(sums)
    return np.divide(2 * p * r, p + r, out=np.zeros(p.shape), where=p + r > 0)


def aer(sums: np.ndarray) -> np.ndarray:
    """Alignment error rate 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|) of sums [..., 5]; 0 where |A| + |S| = 0."""
    size = sums[..., 0] + sums[..., 1]
    hits = sums[..., 3] + sums[..., 4]
    return 1 - np.divide(hits, size, out=np.ones(size.shape), where=size > 0)


def resampled_sums(counts: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Sums [resamples, parts] of examples drawn with replacement; the draws depend on the seed and the size alone.

    So two systems on the same examples are resampled alike, which makes their difference a paired one.
    """
    examples, rng = len(counts), np.random.default_rng(seed)
    blocks = []
    for size in _block_sizes(resamples, examples):
        drawn = rng.integers(0, examples, size=(size, examples)) + np.arange(size)[:, None] * examples
        times = np.bincount(drawn.ravel(), minlength=size * examples).reshape(size, examples)
        blocks.append(times.astype(np.float64) @ counts)
    return np.concatenate(blocks)


def bca_interval(
    counts: np.ndarray,
    statistic: Statistic = ratio,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    sums: np.ndarray | None = None,
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987) of a corpus score over examples.

    Args:
        counts: [examples, parts].
        sums: ``resampled_sums(counts)`` where it is already known (several scores can share one resampling).
    """
    counts = np.asarray(counts, dtype=np.float64)
    value = float(statistic(counts.sum(axis=0)))
    if len(counts) < 2 or np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    sums = resampled_sums(counts, resamples=resamples, seed=seed) if sums is None else sums
    return _bca(value, statistic(sums), statistic(counts.sum(axis=0) - counts), level)


def compare(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic = ratio,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two systems whose counts [examples, parts] are for the same examples in the same order.

    Paired bootstrap: how often the resampled difference is on the other side of zero. Paired permutation: the systems
    are swapped at random in each example, and a difference at least as large is counted. Both add one to numerator and
    denominator, so that no p value is 0.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    totals = first.sum(axis=0), second.sum(axis=0)
    value = float(statistic(totals[0]) - statistic(totals[1]))
    if len(first) < 2 or np.isnan(value):
        nan = float("nan")
        return Comparison(Interval(value, nan, nan), nan, nan)
    drawn = [statistic(resampled_sums(part, resamples=resamples, seed=seed)) for part in (first, second)]
    left_out = statistic(totals[0] - first) - statistic(totals[1] - second)
    draws = drawn[0] - drawn[1]
    draws = draws[~np.isnan(draws)]
    slack = 1e-12  # differences that are equal in exact arithmetic count as equal
    beyond = min((draws <= slack).sum(), (draws >= -slack).sum())
    return Comparison(
        difference=_bca(value, draws, left_out, level),
        p_bootstrap=min(1.0, 2 * float(beyond + 1) / (len(draws) + 1)),
        p_permutation=_permutation(first, second, statistic, value, resamples, seed),
    )


def _permutation(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, value: float, resamples: int, seed: int
) -> float:
    rng = np.random.default_rng([seed, 1])
    gap, extreme, counted = first - second, 0, 0
    for size in _block_sizes(resamples, len(first)):
        moved = rng.integers(0, 2, size=(size, len(first))).astype(np.float64) @ gap
        differences = statistic(first.sum(axis=0) - moved) - statistic(second.sum(axis=0) + moved)
        extreme += int((np.abs(differences) >= abs(value) - 1e-12).sum())
        counted += int((~np.isnan(differences)).sum())
    return (extreme + 1) / (counted + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p values, in the given order; NaN stays NaN and is not counted."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]
    adjusted = np.full(len(p), np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted.tolist()


def _bca(value: float, draws: np.ndarray, left_out: np.ndarray, level: float) -> Interval:
    """Interval from the draws [resamples] and the leave-one-out values [examples]."""
    draws, left_out = draws[~np.isnan(draws)], left_out[~np.isnan(left_out)]
    if not len(draws) or np.ptp(draws) < 1e-12:
        return Interval(value, value, value)
    below = ((draws < value - 1e-12).sum() + (draws <= value + 1e-12).sum()) / 2  # half of the equal ones
    edge = 1 / (len(draws) + 1)
    bias = _normal.inv_cdf(float(np.clip(below / len(draws), edge, 1 - edge)))
    pull = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    spread = float((pull**2).sum())
    acceleration = float((pull**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    ends = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        z = bias + _normal.inv_cdf(tail)
        ends.append(_normal.cdf(bias + z / (1 - acceleration * z)))
    low, high = np.quantile(draws, ends)
    return Interval(value, float(low), float(high))


def _block_sizes(resamples: int, examples: int) -> list[int]:
    most = max(1, BLOCK // max(1, examples))
    return [min(most, resamples - start) for start in range(0, resamples, most)]
