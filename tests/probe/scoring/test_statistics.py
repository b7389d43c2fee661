"""Intervals and tests: by hand, against plain loops, and on simulated data with known answers."""

from __future__ import annotations

from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from probe.scoring import statistics as st
from probe.scoring.metrics import LinkCounts

RNG = np.random.default_rng(7)


def ratios(values):
    return np.stack([np.asarray(values, dtype=float), np.ones(len(values))], axis=1)


def test_statistics_agree_with_link_counts():
    for _ in range(30):
        predicted, sure, more = RNG.integers(0, 4, 3)
        hit_sure = int(RNG.integers(0, min(predicted, sure) + 1))
        counts = LinkCounts(int(predicted), int(sure), int(sure + more), hit_sure, int(predicted))
        sums = np.array([counts.predicted, counts.sure, counts.possible, counts.hit_sure, counts.hit_possible], float)
        for name in ("precision", "recall", "f1", "aer"):
            assert float(getattr(st, name)(sums)) == pytest.approx(getattr(counts, name)), (name, counts)


def test_ratio_of_nothing_is_nan():
    assert np.isnan(st.ratio(np.zeros(2)))
    assert st.ratio(np.array([[1.0, 2.0], [0.0, 0.0]])).tolist()[0] == 0.5


def test_resampling_is_the_same_for_the_same_seed_and_size():
    counts = RNG.random((30, 4))
    one, two = (st.resampled_sums(counts, resamples=50, seed=3) for _ in range(2))
    assert (one == two).all()
    assert np.allclose(st.resampled_sums(counts[:, 1:2], resamples=50, seed=3)[:, 0], one[:, 1])  # draws are shared
    assert not np.allclose(one, st.resampled_sums(counts, resamples=50, seed=4))


def test_resampling_in_blocks(monkeypatch):
    counts = np.ones((30, 1))
    monkeypatch.setattr(st, "BLOCK", 100)
    assert (st.resampled_sums(counts, resamples=50) == 30).all()
    assert len(st.resampled_sums(counts, resamples=50)) == 50


def test_bca_against_a_plain_loop():
    values = RNG.exponential(size=25)
    counts = ratios(values)
    draws = sorted(float(st.ratio(row)) for row in st.resampled_sums(counts, resamples=2000, seed=1))
    normal, mean = NormalDist(), values.mean()
    bias = normal.inv_cdf(sum(draw < mean for draw in draws) / 2000)
    left_out = [np.delete(values, k).mean() for k in range(25)]
    pull = [np.mean(left_out) - value for value in left_out]
    acceleration = sum(p**3 for p in pull) / (6 * sum(p**2 for p in pull) ** 1.5)
    ends = []
    for tail in (0.025, 0.975):
        z = bias + normal.inv_cdf(tail)
        ends.append(np.quantile(draws, normal.cdf(bias + z / (1 - acceleration * z))))
    found = st.bca_interval(counts, resamples=2000, seed=1)
    assert (found.value, found.low, found.high) == pytest.approx((mean, *ends))


@pytest.mark.parametrize("spread", ["even", "skewed", "few values"])
def test_intervals_are_those_of_scipy(spread):
    """The same draws (numpy's generator, seed and order), so the same ends: micro ratios, and macro means."""
    stats = pytest.importorskip("scipy.stats")
    values = {
        "even": RNG.random(30), "skewed": RNG.exponential(size=30) ** 2, "few values": RNG.integers(0, 3, 30) / 2.0
    }[spread]  # fmt: skip
    sizes = RNG.integers(1, 60, 30).astype(float)
    options = {"n_resamples": 10_000, "batch": 10_000, "method": "BCa", "vectorized": True}
    macro = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(5), **options).confidence_interval
    micro = stats.bootstrap(
        (values * sizes, sizes), lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True,
        rng=np.random.default_rng(5), **options,
    ).confidence_interval  # fmt: skip
    one = st.bca_interval(ratios(values), seed=5)
    two = st.bca_interval(np.stack([values * sizes, sizes], axis=1), seed=5)
    assert (one.low, one.high) == pytest.approx(tuple(macro), abs=1e-9)
    assert (two.low, two.high) == pytest.approx(tuple(micro), abs=1e-9)


def test_interval_limits():
    assert np.isnan(st.bca_interval(ratios([0.5])).low)
    assert np.isnan(st.bca_interval(np.zeros((3, 2))).value)
    same = st.bca_interval(ratios([0.5] * 9), resamples=100)
    assert (same.value, same.low, same.high) == (0.5, 0.5, 0.5)
    one = st.bca_interval(ratios([0] * 9 + [1]), resamples=200)
    assert 0 <= one.low <= one.value <= one.high <= 1


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for run in range(200):
        size = rng.integers(5, 60, 60)  # positions of an example
        hits = rng.binomial(size, np.clip(rng.normal(0.8, 0.05, 60), 0, 1))
        found = st.bca_interval(np.stack([hits, size], axis=1).astype(float), resamples=500, seed=run)
        covered += found.low <= 0.8 <= found.high
    assert 0.89 <= covered / 200 <= 0.995  # 200 runs: about four standard errors around 0.95


def test_permutation_agrees_with_all_swaps():
    first, second = ratios(RNG.normal(0.2, 1, 8)), ratios(RNG.normal(0, 1, 8))
    gaps = first[:, 0] - second[:, 0]
    exact = np.mean([abs(np.dot(s, gaps)) >= abs(gaps.sum()) - 1e-12 for s in product((1, -1), repeat=8)])
    assert st.compare(first, second, resamples=20_000).p_permutation == pytest.approx(exact, abs=0.015)


def test_a_system_against_itself():
    counts = ratios(RNG.random(20))
    result = st.compare(counts, counts, resamples=200)
    assert (result.difference.value, result.difference.low, result.difference.high) == (0, 0, 0)
    assert result.p_permutation == result.p_bootstrap == 1


def test_a_clear_difference_is_seen_and_is_antisymmetric():
    base = RNG.random(40)
    better, worse = ratios(base + 0.3 + RNG.normal(0, 0.05, 40)), ratios(base)
    one, two = (st.compare(*pair, resamples=1000) for pair in ((better, worse), (worse, better)))
    assert one.p_permutation == two.p_permutation == pytest.approx(1 / 1001)
    assert one.p_bootstrap == two.p_bootstrap == pytest.approx(2 / 1001)
    assert one.difference.value == pytest.approx(-two.difference.value)
    assert 0.2 < one.difference.low < one.difference.value < one.difference.high < 0.4


def test_the_paired_test_rarely_errs():
    rng = np.random.default_rng(3)
    errors = 0
    for run in range(300):
        shared = rng.random(30)
        pair = [ratios(shared + rng.normal(0, 0.1, 30)) for _ in range(2)]
        errors += st.compare(*pair, resamples=300, seed=run).p_permutation < 0.05
    assert errors / 300 <= 0.09  # 0.05 and three standard errors


def test_too_few_examples_have_no_p_value():
    assert np.isnan(st.compare(ratios([1]), ratios([0])).p_permutation)


@pytest.mark.parametrize(
    ("p", "wanted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.01, float("nan"), 0.02], [0.02, float("nan"), 0.02]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
    ],
)
def test_holm_by_hand(p, wanted):
    assert st.holm(p) == pytest.approx(wanted, nan_ok=True)
