"""Laws of the measures of a map: ranges, other orders of rows and columns, padding, more gold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.scoring import measures
from probe.scoring.measures import TIE
from tests.support.strategies import SEEDS, Problem, law, problems

LAW = law(60)
PADDING = st.integers(1, 5)
POSITIVE = ("smooth", "tied", "uniform")  # no weight within TIE of the zeros that padding brings


def top1(problem: Problem) -> np.ndarray:
    return (measures.heaviest_shares(problem.weights) * problem.possible).sum(axis=1)


def gold_mass(problem: Problem) -> np.ndarray:
    return (problem.weights * problem.possible).sum(axis=1)


def padded(problem: Problem, rows: int, columns: int) -> Problem:
    """More columns of no weight and no gold, and more (uniform) rows without gold."""
    wide = [np.pad(part, ((0, 0), (0, columns))) for part in (problem.weights, problem.sure, problem.possible)]
    n, m = wide[0].shape
    weights = np.concatenate([wide[0], np.full((rows, m), 1 / m)])
    sure, possible = (np.concatenate([part, np.zeros((rows, m), dtype=bool)]) for part in wide[1:])
    return Problem(weights, sure, possible, np.arange(n + rows), np.arange(m))


# --- credit of the heaviest cells ---


@LAW
@given(problems())
def test_ties_share_a_credit_of_one(problem):
    shares = measures.heaviest_shares(problem.weights)
    assert shares.sum(axis=1) == pytest.approx(1)
    for row, weights in zip(shares, problem.weights, strict=True):
        winners = row[row > 0]
        assert np.ptp(winners) == 0 and weights[row > 0].min() >= weights.max() - TIE > weights[row == 0].max(
            initial=-1
        )


@LAW
@given(problems())
def test_top1_moves_with_rows_and_columns(problem):
    assert top1(problem.permuted()) == pytest.approx(top1(problem)[problem.row_order], abs=1e-12)


@LAW
@given(problems(), PADDING, PADDING)
def test_top1_ignores_padding(problem, rows, columns):
    # Seven shares of 1/7 add up to 1 or to its neighbour: it depends on how many columns are added at once.
    assert top1(padded(problem, rows, columns)) == pytest.approx(np.append(top1(problem), np.zeros(rows)), abs=1e-12)


@LAW
@given(problems())
def test_top1_is_a_share_and_is_one_where_every_cell_is_gold(problem):
    found = top1(problem)
    assert (found >= 0).all() and (found <= 1 + 1e-12).all()
    assert found[problem.possible.all(axis=1)] == pytest.approx(1)
    assert (found[~problem.scored] == 0).all()


# --- gold mass ---


@LAW
@given(problems())
def test_gold_mass_moves_with_rows_and_columns(problem):
    assert gold_mass(problem.permuted()) == pytest.approx(gold_mass(problem)[problem.row_order], abs=1e-12)


@LAW
@given(problems(), PADDING, PADDING)
def test_gold_mass_ignores_padding(problem, rows, columns):
    assert gold_mass(padded(problem, rows, columns)) == pytest.approx(np.append(gold_mass(problem), np.zeros(rows)))


@LAW
@given(problems(), SEEDS)
def test_more_gold_never_lowers_a_score(problem, seed):
    more = problem.possible | (np.random.default_rng(seed).random(problem.possible.shape) < 0.3)
    richer = Problem(problem.weights, problem.sure, more, problem.row_order, problem.column_order)
    assert (gold_mass(richer) >= gold_mass(problem) - 1e-12).all() and (gold_mass(richer) <= 1 + 1e-12).all()
    assert (top1(richer) >= top1(problem) - 1e-12).all()
    ranks = [measures.reciprocal_rank(problem.weights, gold)[problem.scored] for gold in (problem.possible, more)]
    assert (ranks[1] >= ranks[0] - 1e-12).all()


# --- reciprocal rank ---


@LAW
@given(problems())
def test_reciprocal_rank_moves_with_rows_and_columns(problem):
    found, moved = (measures.reciprocal_rank(one.weights, one.possible) for one in (problem, problem.permuted()))
    there = problem.scored
    assert (moved[there[problem.row_order]] == found[problem.row_order][there[problem.row_order]]).all()
    assert (found[there] >= 1 / problem.weights.shape[1]).all() and (found[there] <= 1).all()


@LAW
@given(problems(kinds=POSITIVE), PADDING, PADDING)
def test_reciprocal_rank_ignores_padding(problem, rows, columns):
    wide = padded(problem, rows, columns)
    found, more = (measures.reciprocal_rank(one.weights, one.possible) for one in (problem, wide))
    assert (more[: len(found)][problem.scored] == found[problem.scored]).all()


@LAW
@given(problems(kinds=("smooth", "peaked")))
def test_reciprocal_rank_is_one_just_where_the_heaviest_cell_is_gold(problem):
    gaps = np.diff(np.sort(problem.weights, axis=1), axis=1)
    there = problem.scored & (gaps > 3 * TIE).all(axis=1)  # no ties
    found = measures.reciprocal_rank(problem.weights, problem.possible)
    assert ((found[there] == 1) == (top1(problem)[there] == 1)).all()


# --- entropy ---


@LAW
@given(problems())
def test_entropy_is_a_share_and_moves_with_rows_alone(problem):
    found = measures.row_entropy(problem.weights)
    assert (found >= -1e-12).all() and (found <= 1 + 1e-9).all()
    assert measures.row_entropy(problem.permuted().weights) == pytest.approx(found[problem.row_order], abs=1e-9)


@LAW
@given(problems(), PADDING, PADDING)
def test_entropy_in_nats_ignores_padding(problem, rows, columns):
    n, m = problem.weights.shape
    nats = measures.row_entropy(problem.weights) * np.log(m)
    wide = measures.row_entropy(padded(problem, rows, columns).weights) * np.log(m + columns)
    assert wide[:n] == pytest.approx(nats, abs=1e-9)


# --- average precision ---


@LAW
@given(problems())
def test_average_precision_ignores_the_order_of_rows_and_columns(problem):
    found = measures.average_precision(problem.weights, problem.possible)
    moved = problem.permuted()
    assert measures.average_precision(moved.weights, moved.possible) == pytest.approx(found, nan_ok=True)
    assert np.isnan(found) == (not problem.possible.any())
    assert np.isnan(found) or 0 < found <= 1 + 1e-12
    assert not problem.possible.all() or found == pytest.approx(1)


@LAW
@given(problems(kinds=POSITIVE), PADDING)
def test_average_precision_ignores_columns_without_weight(problem, columns):
    wide = padded(problem, 0, columns)
    found = measures.average_precision(problem.weights, problem.possible)
    assert measures.average_precision(wide.weights, wide.possible) == pytest.approx(found, nan_ok=True)


# --- scores without gold, and offsets ---


@LAW
@given(problems())
def test_coverage_and_collapse_ignore_order(problem):
    moved, columns = problem.permuted().weights, problem.weights.shape[1]
    for measure in (measures.coverage, measures.collapse):
        assert measure(moved) == pytest.approx(measure(problem.weights))
        assert 1 / columns - 1e-12 <= measure(problem.weights) <= 1 + 1e-12


@LAW
@given(problems(), PADDING)
def test_coverage_and_collapse_ignore_columns_without_weight(problem, more):
    wide, columns = padded(problem, 0, more).weights, problem.weights.shape[1]
    assert measures.collapse(wide) == pytest.approx(measures.collapse(problem.weights))
    sums = [measures.coverage(weights) * weights.shape[1] for weights in (problem.weights, wide)]
    assert sums[1] == pytest.approx(sums[0]) and sums[0] <= columns + 1e-9


@LAW
@given(problems())
def test_diagonality_is_a_share_and_symmetric(problem):
    found = measures.diagonality(problem.weights)
    assert 0 <= found <= 1
    assert measures.diagonality(problem.weights.T) == pytest.approx(found)
    assert measures.diagonality(problem.weights[::-1, ::-1]) == pytest.approx(found)


@LAW
@given(problems())
def test_signed_distance_is_that_of_the_nearest_gold_cell(problem):
    found = measures.signed_distance(problem.possible)
    for i, j in np.ndindex(found.shape):
        gold = np.flatnonzero(problem.possible[i])
        nearest = min((abs(j - k), j - k < 0) for k in gold) if len(gold) else (0, False)
        assert found[i, j] == (-nearest[0] if nearest[1] else nearest[0])
