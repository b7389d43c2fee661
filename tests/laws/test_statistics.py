"""Laws of intervals, paired tests, Holm's correction, agreement of annotators, and distances of two clouds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe.extraction import mismatch
from probe.gold.agreement import Agreement, agreement
from probe.gold.reading import Gold
from probe.scoring import statistics
from probe.scoring.statistics import bca_interval, compare, holm, resampled_sums
from tests.support.strategies import SEEDS, law

LAW = law(60)
RESAMPLES = 199
sizes = st.integers(2, 12)
statistic_names = st.sampled_from(("ratio", "precision", "recall", "f1", "aer"))
p_values = st.lists(
    st.sampled_from((0.0, 1e-4, 0.004, 0.01, 0.02, 0.03, 0.05, 0.3, 0.6, 1.0, float("nan"))), max_size=8
)


def counts_of(examples: int, seed: int) -> np.ndarray:
    """Counts [examples, 5] as LinkCounts has them; its first two columns are a sum and a size for ``ratio`` too."""
    rng = np.random.default_rng(seed)
    sure = rng.integers(1, 9, examples)
    predicted, more = rng.integers(0, sure + 1), rng.integers(0, 4, examples)
    hit_possible = rng.integers(0, predicted + 1)
    return np.stack([predicted, sure, sure + more, rng.integers(0, hit_possible + 1), hit_possible], axis=1).astype(
        float
    )


# --- intervals ---


@LAW
@given(sizes, SEEDS, statistic_names)
def test_an_interval_lies_within_the_draws_and_holds_the_estimate(examples, seed, name):
    counts, statistic = counts_of(examples, seed), getattr(statistics, name)
    sums = resampled_sums(counts, resamples=RESAMPLES, seed=seed)
    draws, found = statistic(sums), bca_interval(counts, statistic, sums=sums)
    assert draws.min() - 1e-9 <= found.low <= found.high <= draws.max() + 1e-9
    below = ((draws < found.value - 1e-12).mean() + (draws <= found.value + 1e-12).mean()) / 2
    # BCa shifts by the share of draws below the estimate: beyond 2.5 and 97.5 % it need not hold it any more.
    if 0.05 < below < 0.95:
        assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found.low >= 0 and found.high <= 1


@LAW
@given(sizes, SEEDS, st.integers(-5, 5), st.sampled_from((0.25, 2.0, 8.0)))
def test_the_interval_of_a_mean_moves_and_stretches_with_the_values(examples, seed, shift, scale):
    values = np.random.default_rng(seed).integers(0, 9, examples).astype(float)
    one, two = (
        bca_interval(np.stack([part, np.ones(examples)], axis=1), resamples=RESAMPLES, seed=3)
        for part in (values, values * scale + shift)
    )
    wanted = [one.value * scale + shift, one.low * scale + shift, one.high * scale + shift]
    assert [two.value, two.low, two.high] == pytest.approx(wanted, abs=1e-6)


@LAW
@given(sizes, SEEDS, st.integers(0, 5))
def test_resampling_is_linear_and_draws_as_many_examples_as_there_are(examples, seed, draw_seed):
    one, two = counts_of(examples, seed), counts_of(examples, seed + 1)
    first, second, both = (resampled_sums(part, resamples=20, seed=draw_seed) for part in (one, two, one + two))
    assert first + second == pytest.approx(both)
    assert (resampled_sums(np.ones((examples, 1)), resamples=20, seed=draw_seed) == examples).all()
    assert (first >= examples * one.min(axis=0)).all() and (first <= examples * one.max(axis=0)).all()


@LAW
@given(sizes, SEEDS, statistic_names)
def test_an_estimate_ignores_the_order_of_examples_and_empty_ones(examples, seed, name):
    counts, statistic = counts_of(examples, seed), getattr(statistics, name)
    value = float(statistic(counts.sum(axis=0)))
    order = np.random.default_rng(seed).permutation(examples)
    more = np.concatenate([counts[order], np.zeros((2, 5))])
    assert float(statistic(more.sum(axis=0))) == value
    assert bca_interval(more, statistic, resamples=9).value == value
    assert 0 <= value <= 1


# --- paired tests ---


@LAW
@given(sizes, SEEDS, statistic_names)
def test_exchanging_two_systems_turns_the_difference_alone(examples, seed, name):
    one, two, statistic = counts_of(examples, seed), counts_of(examples, seed + 1), getattr(statistics, name)
    there, back = (compare(*pair, statistic, resamples=RESAMPLES, seed=5) for pair in ((one, two), (two, one)))
    assert back.difference.value == pytest.approx(-there.difference.value)
    assert (back.p_bootstrap, back.p_permutation) == (there.p_bootstrap, there.p_permutation)
    for p in (there.p_bootstrap, there.p_permutation):
        assert 0 < p <= 1
    assert -1 <= there.difference.low <= there.difference.high <= 1


@LAW
@given(sizes, SEEDS, statistic_names)
def test_the_order_of_pairs_changes_no_more_than_the_draws_do(examples, seed, name):
    one, two, statistic = counts_of(examples, seed), counts_of(examples, seed + 1), getattr(statistics, name)
    order = np.random.default_rng(seed).permutation(examples)
    there, moved = (compare(one[k], two[k], statistic, resamples=999) for k in (np.arange(examples), order))
    assert moved.difference.value == pytest.approx(there.difference.value)
    # Six standard deviations of the difference of two shares of 999 draws; p_bootstrap is twice a share.
    assert abs(moved.p_permutation - there.p_permutation) <= 6 * (2 * 0.25 / 999) ** 0.5
    assert abs(moved.p_bootstrap - there.p_bootstrap) <= 12 * (2 * 0.25 / 999) ** 0.5


@LAW
@given(sizes, SEEDS, statistic_names)
def test_a_system_does_not_differ_from_itself(examples, seed, name):
    counts = counts_of(examples, seed)
    found = compare(counts, counts, getattr(statistics, name), resamples=99)
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert (found.p_bootstrap, found.p_permutation) == (1, 1)


# --- Holm ---


@LAW
@given(p_values)
def test_holm_never_lowers_and_keeps_the_order(raw):
    p, found = np.array(raw, dtype=float), np.array(holm(raw), dtype=float)
    there = ~np.isnan(p)
    assert (np.isnan(found) == ~there).all()
    p, found = p[there], found[there]
    assert (found >= p).all() and (found <= np.minimum(1, p * len(p)) + 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert all(a <= b for a, b in pairwise(found[order]))


@LAW
@given(p_values, SEEDS)
def test_holm_moves_with_its_family_and_ignores_what_is_missing(raw, seed):
    order = np.random.default_rng(seed).permutation(len(raw)).tolist()
    found = holm(raw)
    assert holm([raw[k] for k in order]) == pytest.approx([found[k] for k in order], nan_ok=True)
    there = [p for p in raw if not np.isnan(p)]
    assert holm(there) == pytest.approx([p for p in found if not np.isnan(p)])
    if there:
        assert min(holm(there)) == pytest.approx(min(1, min(there) * len(there)))


# --- agreement ---


def _golds(rows: int, columns: int, density: float, seed: int) -> tuple[Gold, Gold]:
    rng, tokens = np.random.default_rng(seed), (tuple(map(str, range(rows))), tuple(map(str, range(columns))))
    made = []
    for _ in range(2):
        possible = frozenset(map(tuple, np.argwhere(rng.random((rows, columns)) < density).tolist()))
        sure = frozenset(link for link in possible if rng.random() < 0.5)
        made.append(Gold("one", "", *tokens, "", "", sure, possible))
    return made[0], made[1]


two_golds = st.builds(_golds, st.integers(1, 6), st.integers(1, 6), st.sampled_from((0, 0.1, 0.5, 1)), SEEDS)


def _numbers(found: Agreement) -> tuple[float, ...]:
    return found.kappa, found.f1_sure, found.f1_possible


@LAW
@given(two_golds)
def test_agreement_is_symmetric_and_in_range(pair):
    there, back = agreement([pair]), agreement([pair[::-1]])
    assert _numbers(there) == pytest.approx(_numbers(back))
    assert (there.counts == back.counts.T).all()
    assert -1 - 1e-12 <= there.kappa <= 1 and 0 <= there.f1_sure <= 1 and 0 <= there.f1_possible <= 1


@LAW
@given(two_golds)
def test_an_annotator_agrees_with_themselves_and_kappa_is_one_for_no_others(pair):
    assert _numbers(agreement([(pair[0], pair[0])])) == (1, 1, 1)
    alike = (pair[0].sure, pair[0].possible) == (pair[1].sure, pair[1].possible)
    assert (agreement([pair]).kappa == 1) == alike


@LAW
@given(st.lists(two_golds, min_size=1, max_size=4))
def test_agreement_adds_up_over_examples_in_any_order(pairs):
    whole = agreement(pairs)
    assert (whole.counts == sum(agreement([pair]).counts for pair in pairs)).all()
    assert _numbers(whole) == _numbers(agreement(pairs[::-1]))
    assert whole.counts.sum() == sum(len(a.student_tokens) * len(a.teacher_tokens) for a, _ in pairs)


# --- clouds of queries and keys ---


def _clouds(n: int, m: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, np.random.Generator]:
    rng = np.random.default_rng(seed)
    one, two = (torch.from_numpy(rng.normal(size=(size, width))) for size in (n, m))
    return one, two * 2 + 1, rng


clouds = st.builds(_clouds, st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), SEEDS)
MEASURES = ("energy_distance", "gaussian_mmd", "sliced_wasserstein", "frechet_distance", "mean_cosine")


def _measure(name: str, one: torch.Tensor, two: torch.Tensor) -> float:
    if name in ("energy_distance", "gaussian_mmd"):
        return getattr(mismatch, name)(mismatch.Distances.of(one, two))
    return getattr(mismatch, name)(one, two)


@LAW
@given(clouds, st.sampled_from(MEASURES))
def test_distances_of_clouds_are_symmetric_and_ignore_order(made, name):
    one, two, rng = made
    found = _measure(name, one, two)
    assert _measure(name, two, one) == pytest.approx(found, abs=1e-6)
    orders = [torch.from_numpy(rng.permutation(len(cloud))) for cloud in (one, two)]
    assert _measure(name, one[orders[0]], two[orders[1]]) == pytest.approx(found, abs=1e-6)
    low, high = {"mean_cosine": (-1, 1), "gaussian_mmd": (0, 2**0.5)}.get(name, (0, np.inf))
    assert low - 1e-9 <= found <= high + 1e-9


@LAW
@given(clouds, st.sampled_from([name for name in MEASURES if name != "mean_cosine"]))
def test_a_cloud_is_at_no_distance_from_itself_but_from_one_far_away(made, name):
    one, _, rng = made
    order = torch.from_numpy(rng.permutation(len(one)))
    assert _measure(name, one, one[order]) == pytest.approx(0, abs=1e-4)  # square roots of rounding errors
    assert _measure(name, one, one + 9) > 0.1
