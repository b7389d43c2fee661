"""A slice of `python -m tests.coverage`: bounds are 4 standard deviations of its 200 runs; too wide fails at 99 %."""

from __future__ import annotations

from tests.coverage.__main__ import simulate


def test_intervals_hold_the_truth_and_tests_err_as_often_as_they_say() -> None:
    found = simulate(200, resamples=500)
    margin = 4 * (0.05 * 0.95 / 200) ** 0.5
    assert 0.95 - margin <= found.coverage <= 0.99
    assert found.bootstrap_errs <= 0.05 + margin and found.permutation_errs <= 0.05 + margin
