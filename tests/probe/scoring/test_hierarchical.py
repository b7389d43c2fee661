"""Intervals over seeds and texts: by hand, by identities, and by coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from probe.errors import DataError
from probe.scoring import hierarchical
from probe.scoring.hierarchical import contrast, detectable, error_of_mean, estimate, slope_weights


def test_the_value_is_a_ratio_of_sums() -> None:
    found = estimate(np.array([[2.0, 1.0], [4.0, 1.0]]), np.array([[4.0, 1.0], [4.0, 1.0]]), resamples=50)
    assert found.value == 8 / 10 and (found.seeds, found.texts) == (2, 2)


def test_the_error_by_hand() -> None:
    """Cells 1 2 3 / 3 6 3: seeds' means 2, 4, texts' 2, 4, 3; MS_seed 3·2 = 6, MS_text 2·1 = 2, what is left is
    [0, −1, 1 / 0, 1, −1] with MS 4 / 2 = 2. Var = (6 + 2 − 2) / 6 = 1; freedom 36 / (36/1 + 4/2 + 4/2) < 1, made 1.
    """
    error, freedom = error_of_mean(np.array([[1.0, 2, 3], [3, 6, 3]]))
    assert error == pytest.approx(1.0) and freedom == 1.0


def test_one_seed_has_the_error_of_its_texts() -> None:
    texts = np.array([[1.0, 2.0, 4.0, 5.0]])
    error, freedom = error_of_mean(texts)
    assert error == pytest.approx(texts.std(ddof=1) / 2) and freedom == 3


def test_a_difference_between_equal_arms_is_nothing_at_all() -> None:
    cells = np.random.default_rng(0).normal(size=(3, 8))
    found = estimate(contrast([cells, cells], (1, -1)), np.ones((3, 8)), resamples=100)
    assert (found.value, found.low, found.high, found.p, found.detectable) == (0, 0, 0, 1, 0)


def test_pairing_takes_the_texts_out() -> None:
    """A constant step between two arms is certain, however unlike the texts and seeds are."""
    rng = np.random.default_rng(1)
    arm = rng.normal(size=(3, 1)) + 10 * rng.normal(size=(1, 20))
    found = estimate(contrast([arm + 0.25, arm], (1, -1)), np.ones((3, 20)), resamples=200)
    assert found.low == pytest.approx(0.25) and found.high == pytest.approx(0.25) and found.p < 1e-9


def test_slope_weights_give_the_least_squares_slope() -> None:
    doses, rng = [0, 0.25, 0.5, 0.75, 1], np.random.default_rng(2)
    arms = [rng.normal(size=(3, 7)) for _ in doses]
    means = [arm.mean() for arm in arms]
    expected = np.polyfit(doses, means, 1)[0]
    found = estimate(contrast(arms, slope_weights(doses)), np.ones((3, 7)), resamples=50)
    assert found.value == pytest.approx(expected)


def test_the_smallest_detectable_difference_of_the_normal_case() -> None:
    assert detectable(1.0, 1e9) == pytest.approx(1.959964 + 0.841621, abs=1e-4)
    assert detectable(2.0, 2) == pytest.approx(2 * (4.302653 + 1.060660), abs=1e-4)  # Student's t, 2 degrees of freedom


def test_the_same_seed_gives_the_same_interval_and_texts_may_stand_in_any_order() -> None:
    cells = np.random.default_rng(3).normal(1, 1, size=(3, 30))
    one, again = (estimate(cells, np.ones_like(cells), resamples=500, seed=4) for _ in range(2))
    turned = estimate(cells[:, ::-1], np.ones_like(cells), resamples=500, seed=4)
    assert one == again and turned.standard_error == pytest.approx(one.standard_error)
    assert one.low < one.value < one.high


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        (np.ones(3), np.ones(3)),
        (np.ones((2, 0)), np.ones((2, 0))),
        (np.ones((2, 3)), np.ones((2, 2))),
        (np.array([[1.0, np.nan]]), np.ones((1, 2))),
        (np.ones((1, 2)), np.zeros((1, 2))),
    ],
)
def test_cells_that_cannot_be_counted_are_refused(part: np.ndarray, whole: np.ndarray) -> None:
    with pytest.raises(DataError):
        estimate(part, whole)


def test_one_dose_has_no_slope() -> None:
    with pytest.raises(DataError, match="two doses"):
        slope_weights([0.5, 0.5])


def test_one_text_has_a_value_and_no_interval() -> None:
    found = estimate(np.array([[2.0], [3.0]]), np.ones((2, 1)))
    assert found.value == 2.5 and np.isnan(found.low) and np.isnan(found.p)


def simulated(rng: np.random.Generator, truth: float, seeds: int, of_seeds: float, of_texts: float) -> np.ndarray:
    """Cells [seed, text] of a population whose mean is ``truth``: seeds, 40 texts and cells each vary."""
    texts = of_texts * (rng.exponential(size=(1, 40)) - 1)  # skewed, as bits of texts are
    return truth + of_seeds * rng.normal(size=(seeds, 1)) + texts + 0.5 * rng.normal(size=(seeds, 40))


@pytest.mark.parametrize(
    ("seeds", "of_seeds", "of_texts"), [(3, 0.0, 1.0), (3, 0.15, 1.0), (3, 0.5, 0.5), (5, 0.3, 1.0), (5, 0.0, 0.0)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(seeds: int, of_seeds: float, of_texts: float) -> None:
    """95 % of 1,000 designs, within what chance and Satterthwaite's approximation allow (0.92 to 0.99)."""
    rng, truth, inside, found = np.random.default_rng(5), 0.3, 0, 0
    for number in range(1000):
        cells = simulated(rng, truth, seeds, of_seeds, of_texts)
        one = estimate(cells, np.ones_like(cells), resamples=200, seed=number)
        inside += one.low <= truth <= one.high
        found += one.p < 0.05 and not one.low <= 0 <= one.high
    assert 0.92 <= inside / 1000 <= 0.99
    assert found > 0


def test_plain_percentiles_of_three_seeds_are_too_narrow() -> None:
    """Why the draws are stretched: without it, far fewer than 95 % of the intervals hold the truth."""
    rng, inside = np.random.default_rng(6), 0
    for number in range(400):
        cells = simulated(rng, 0.0, 3, 0.5, 0.5)
        low, high = np.quantile(hierarchical._draws(cells, np.ones_like(cells), 200, number), [0.025, 0.975])
        inside += low <= 0 <= high
    assert inside / 400 < 0.85


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    rng, seeds = np.random.default_rng(7), 5
    typical = np.mean([error_of_mean(simulated(rng, 0, seeds, 0.3, 1.0))[0] for _ in range(300)])
    freedom = np.mean([error_of_mean(simulated(rng, 0, seeds, 0.3, 1.0))[1] for _ in range(300)])
    truth, hits = detectable(float(typical), float(freedom)), 0
    for _ in range(500):
        cells = simulated(rng, truth, seeds, 0.3, 1.0)
        hits += estimate(cells, np.ones_like(cells), resamples=2).p < 0.05
    assert 0.72 <= hits / 500 <= 0.9
