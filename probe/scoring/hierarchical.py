"""Uncertainty over seeds and texts at once: every seed meets every text, and both are drawn from a population.

A cell [seed, text] is one run on one held-out text. Every number here is a ratio of sums, Σ ``part`` / Σ ``whole``:
bits per byte, a difference of two arms, a slope over doses, the share of a gap. Arms are paired by seed and by text, so
a difference or a slope is a sum of the arms' cells with weights (:func:`contrast`) before anything is resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from probe.errors import DataError

RESAMPLES = 10_000
POWER = 0.8
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A ratio of sums over seeds and texts.

    ``low`` and ``high`` are a 95 % interval (NaN without two texts). ``standard_error`` and ``freedom`` (degrees of
    freedom) are those of seeds and texts together, of texts alone where there is one seed. ``p`` is two-sided, for a
    true value of 0. ``detectable`` is the smallest true difference that a design with this error finds in 80 of 100
    repetitions, two-sided at 5 %.
    """

    value: float
    low: float
    high: float
    standard_error: float
    freedom: float
    p: float
    detectable: float
    seeds: int
    texts: int


def contrast(arms: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Σ_k weights[k] · arms[k], cell by cell [seed, text]: (1, −1) is a difference, :func:`slope_weights` a slope."""
    if len(arms) != len(weights):
        raise ValueError(f"wanted a weight for each of {len(arms)} arms, got {len(weights)}.")
    return np.tensordot(np.asarray(weights, dtype=np.float64), np.stack(arms).astype(np.float64), axes=1)


def slope_weights(doses: Sequence[float]) -> np.ndarray:
    """Weights [dose] of the least-squares slope, (x_k − x̄) / Σ (x − x̄)². Raises DataError for fewer than two doses."""
    x = np.asarray(doses, dtype=np.float64)
    centred = x - x.mean() if len(x) else x
    if not (centred**2).sum() > 0:
        raise DataError(f"a slope needs two doses or more, got {sorted(set(x.tolist()))}.")
    return centred / (centred**2).sum()


def estimate(
    part: np.ndarray, whole: np.ndarray, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Σ part / Σ whole of cells [seed, text], with an interval over seeds and texts.

    The bootstrap draws seeds with replacement, then texts with replacement, the same texts for every drawn seed: a text
    that is hard is hard in all runs (Owen 2007, *The pigeonhole bootstrap*). Drawing texts anew in each seed would
    divide their variance by the number of seeds. Percentiles of so few seeds are too narrow (three seeds: a factor
    √(2/3), and 1.96 in place of Student's t), so the draws are stretched about the value until their standard
    deviation is t / z times the standard error of :func:`error_of_mean`: the bootstrap gives the shape, Student's t the
    width (Hesterberg 2015, *What teachers should know about the bootstrap*, calls this expanding). p is Student's. In
    simulations of known truth 92 to 99 of 100 intervals hold it; 92 with three seeds that differ far more than texts.

    Raises:
        DataError: ``part`` and ``whole`` have unlike shapes or no cell, or a cell is not finite.
    """
    part, whole = _checked(part, whole)
    seeds, texts = part.shape
    value = float(part.sum() / whole.sum())
    if texts < 2:
        return Estimate(value, NAN, NAN, NAN, NAN, NAN, NAN, seeds, texts)
    error, freedom = error_of_mean((part - value * whole) / whole.mean())
    low, high = _stretched(_draws(part, whole, resamples, seed), value, error, freedom, level)
    return Estimate(
        value, low, high, error, freedom, _p_value(value, error, freedom), detectable(error, freedom), seeds, texts
    )


def error_of_mean(cells: np.ndarray) -> tuple[float, float]:
    """Standard error of the mean of cells [seed, text] with both drawn at random, and its degrees of freedom.

    Var = (MS_seed + MS_text − MS_cell) / (seeds · texts), the mean squares of the two-way layout without repetition;
    degrees of freedom by Satterthwaite (1946), no fewer than those of the scarcer of the two. What
    is taken off leaves at least the larger of the two mean squares.
    One seed: the error over texts alone.
    """
    seeds, texts = cells.shape
    by_text = float(seeds * cells.mean(axis=0).var(ddof=1))
    if seeds == 1:
        return float(np.sqrt(by_text / texts)), texts - 1.0
    by_seed = float(texts * cells.mean(axis=1).var(ddof=1))
    left = cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True) + cells.mean()
    rest = float((left**2).sum() / ((seeds - 1) * (texts - 1)))
    square = max(by_seed + by_text - rest, by_seed, by_text)
    spread = by_seed**2 / (seeds - 1) + by_text**2 / (texts - 1) + rest**2 / ((seeds - 1) * (texts - 1))
    freedom = min(square**2 / spread, seeds * texts - 1.0) if spread > 0 else seeds * texts - 1.0
    return float(np.sqrt(square / (seeds * texts))), max(freedom, min(seeds, texts) - 1.0)


def detectable(error: float, freedom: float, *, level: float = 0.95, power: float = POWER) -> float:
    """The smallest true difference found with ``power``, two-sided: (t_(1+level)/2 + t_power) · standard error."""
    return (_quantile((1 + level) / 2, freedom) + _quantile(power, freedom)) * error


def _checked(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    part = np.asarray(part, dtype=np.float64)
    if part.ndim != 2 or not part.size:
        raise DataError(f"wanted cells [seed, text], got an array of shape {part.shape}.")
    whole = np.asarray(whole, dtype=np.float64)
    if whole.shape != part.shape:
        raise DataError(f"wanted a whole for each of {part.shape} cells, got {whole.shape}.")
    if not (np.isfinite(part).all() and np.isfinite(whole).all() and whole.sum() > 0):
        raise DataError("a cell [seed, text] is not finite, or nothing counts. Leave the damaged run out.")
    return part, whole


def _draws(part: np.ndarray, whole: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The ratio [resamples] of drawn seeds and texts; the draws depend on the shape and the seed alone."""
    rng, (seeds, texts) = np.random.default_rng(seed), part.shape
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).astype(np.float64)
    of_texts = rng.multinomial(texts, np.full(texts, 1 / texts), size=resamples).astype(np.float64)
    sums = [np.einsum("rt,rt->r", of_seeds @ cells, of_texts) for cells in (part, whole)]
    drawn = sums[1] > 0  # a draw in which nothing counts has no ratio
    return sums[0][drawn] / sums[1][drawn]


def _stretched(draws: np.ndarray, value: float, error: float, freedom: float, level: float) -> tuple[float, float]:
    spread = float(draws.std())
    if spread < 1e-15:
        return value, value
    top = (1 + level) / 2
    factor = _quantile(top, freedom) * error / (NormalDist().inv_cdf(top) * spread)
    low, high = value + factor * (np.quantile(draws, [1 - top, top]) - value)
    return float(low), float(high)


def _p_value(value: float, error: float, freedom: float) -> float:
    from scipy.special import stdtr  # here, so that reading a report loads no scipy

    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stdtr(freedom, -abs(value) / error))


def _quantile(share: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))
