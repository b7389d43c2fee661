"""Laws of links and their counts: extractions inside bounds, symmetries, order, padding; P, R, F1, AER."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.gold.reading import Link
from probe.scoring.alignment import LinkMethod, links_from_map
from probe.scoring.metrics import LinkCounts, link_counts
from tests.support.strategies import SEEDS, Problem, law, problems

LAW = law(60)
WAYS = get_args(LinkMethod)
UNORDERED = tuple(name for name in WAYS if name != "monotone")
PADDED = tuple(name for name in UNORDERED if name != "itermax-simalign")  # it stops where no row or column is free
SYMMETRIC = tuple(name for name in WAYS if name not in ("argmax", "monotone"))
methods, thresholds = st.sampled_from(WAYS), st.sampled_from((0.0, 0.05, 0.1, 0.2, 0.5, 0.9))
SIDE = 5
CELLS = [(i, j) for i in range(SIDE) for j in range(SIDE)]
LINK = st.sampled_from(CELLS)


def _of_bits(bits: int) -> frozenset[Link]:
    return frozenset(cell for k, cell in enumerate(CELLS) if bits >> k & 1)


link_sets = st.integers(0, 2 ** len(CELLS) - 1).map(_of_bits)  # one draw a set


def other_of(problem: Problem) -> np.ndarray:
    """A map of the other direction [rows, columns]: columns sum to 1."""
    raw = problem.weights**2 + 1e-3
    return raw / raw.sum(axis=0)


def links(weights: np.ndarray, method: str, other: np.ndarray, threshold: float, direction: str = "t2s") -> set[Link]:
    return links_from_map(weights, method, direction=direction, other=other, threshold=threshold)


def turned(found: set[Link]) -> set[Link]:
    return {(j, i) for i, j in found}


# --- the extractions ---


@LAW
@given(problems(), methods, thresholds, st.sampled_from(("t2s", "s2t")))
def test_all_stay_inside(problem, method, threshold, direction):
    found = links(problem.weights, method, other_of(problem), threshold, direction)
    rows, columns = problem.weights.shape
    assert all(type(i) is int and type(j) is int and 0 <= i < rows and 0 <= j < columns for i, j in found)


@LAW
@given(problems(), st.sampled_from(SYMMETRIC), thresholds)
def test_those_without_a_direction_are_symmetric(problem, method, threshold):
    weights, other = problem.weights, other_of(problem)
    assert links(weights.T, method, other.T, threshold) == turned(links(weights, method, other, threshold))


@LAW
@given(problems(), st.sampled_from(("argmax", "monotone")))
def test_links_of_the_turned_map_are_those_of_the_other_direction(problem, method):
    weights = problem.weights
    if method == "monotone":  # a sum in another order may tell a tie apart
        weights = np.random.default_rng(0).random(weights.shape)
    assert links_from_map(weights.T, method, direction="s2t") == turned(links_from_map(weights, method))


@LAW
@given(problems(kinds=("smooth",)), st.sampled_from(UNORDERED), thresholds, SEEDS)
def test_links_move_with_rows_and_columns(problem, method, threshold, seed):
    weights = np.random.default_rng(seed).random(problem.weights.shape)  # no two alike, for the first of a tie wins
    cells = np.ix_(problem.row_order, problem.column_order)
    found = links(weights[cells], method, other_of(problem)[cells], threshold)
    back = {(int(problem.row_order[i]), int(problem.column_order[j])) for i, j in found}
    assert back == links(weights, method, other_of(problem), threshold)


@LAW
@given(problems(), st.sampled_from(PADDED), thresholds, st.integers(1, 4), st.integers(1, 4))
def test_links_ignore_rows_and_columns_without_weight(problem, method, threshold, rows, columns):
    wide = [np.pad(part, ((0, rows), (0, columns))) for part in (problem.weights, other_of(problem))]
    found = {link for link in links(wide[0], method, wide[1], threshold) if link[0] < len(problem.weights)}
    assert found == links(problem.weights, method, other_of(problem), threshold)


@LAW
@given(problems(), st.integers(1, 4))
def test_mutual_and_itermax_link_positions_to_one_another(problem, iterations):
    mutual = links_from_map(problem.weights, "mutual")
    assert len({i for i, _ in mutual}) == len({j for _, j in mutual}) == len(mutual)
    few, more = (links_from_map(problem.weights, "itermax", iterations=k) for k in (iterations, iterations + 1))
    assert mutual <= few <= more
    assert all(problem.weights[link] > 0 for link in more)
    assert links_from_map(problem.weights, "itermax", iterations=1) == mutual


@LAW
@given(problems(), thresholds)
def test_both_directions_is_what_both_thresholds_say(problem, threshold):
    weights, other = problem.weights, other_of(problem)
    apart = [links_from_map(one, "threshold", threshold=threshold) for one in (weights, other)]
    found = links(weights, "both-directions", other, threshold)
    assert found == apart[0] & apart[1] == links(other, "both-directions", weights, threshold)


@LAW
@given(problems(), st.sampled_from(("argmax", "mutual", "itermax", "itermax-simalign")), st.integers(-8, 8))
def test_links_that_rank_ignore_scale(problem, method, power):
    assert links_from_map(problem.weights * 2.0**power, method) == links_from_map(problem.weights, method)


# --- counts ---


@LAW
@given(link_sets, link_sets, link_sets)
def test_counts_and_link_scores_are_in_range(found, sure, more):
    counts = link_counts(set(found), sure, sure | more)
    assert 0 <= counts.hit_sure <= min(counts.predicted, counts.sure)
    assert counts.hit_sure <= counts.hit_possible <= min(counts.predicted, counts.possible)
    for name in ("precision", "recall", "f1", "aer"):
        assert 0 <= getattr(counts, name) <= 1, name


@LAW
@given(link_sets, link_sets)
def test_f1_is_symmetric_and_precision_and_recall_change_places(one, two):
    there, back = link_counts(set(one), two, two), link_counts(set(two), one, one)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.f1 == pytest.approx(back.f1) and there.aer == pytest.approx(back.aer)


@LAW
@given(link_sets, link_sets)
def test_aer_is_one_minus_f1_where_all_gold_is_sure(found, gold):
    counts = link_counts(set(found), gold, gold)
    assert counts.aer == pytest.approx(1 - counts.f1)


@LAW
@given(link_sets, link_sets, link_sets, LINK)
def test_one_more_link_does_what_it_must(found, sure, more, link):
    possible = sure | more
    before, after = (link_counts(set(one), sure, possible) for one in (found, found | {link}))
    assert after.recall >= before.recall
    if link not in possible:
        assert after.precision <= before.precision and after.aer >= before.aer - 1e-12
    elif found:
        assert after.precision >= before.precision
    if link in sure and link not in found:
        assert after.recall > before.recall and after.aer <= before.aer + 1e-12


@LAW
@given(link_sets, link_sets, link_sets, SEEDS)
def test_counts_ignore_how_positions_are_numbered(found, sure, more, seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(SIDE).tolist(), rng.permutation(SIDE).tolist()

    def moved(part):
        return frozenset((rows[i], columns[j]) for i, j in part)

    gold = sure | more
    assert link_counts(set(moved(found)), moved(sure), moved(gold)) == link_counts(set(found), sure, gold)


@LAW
@given(st.lists(st.tuples(link_sets, link_sets), min_size=1, max_size=5))
def test_counts_of_examples_add_up(pairs):
    counts = [link_counts(set(found), gold, gold) for found, gold in pairs]
    joined = [frozenset((SIDE * k + i, j) for k, pair in enumerate(pairs) for i, j in pair[side]) for side in (0, 1)]
    whole = sum(counts, LinkCounts())
    assert whole == link_counts(set(joined[0]), joined[1], joined[1])
    assert whole == sum(reversed(counts), LinkCounts()) == whole + LinkCounts()
    if whole.predicted:
        weighted = sum(one.precision * one.predicted for one in counts) / whole.predicted
        assert whole.precision == pytest.approx(weighted)  # micro is the macro mean weighted by size
    assert replace(whole, predicted=0, hit_sure=0, hit_possible=0).precision == 1
