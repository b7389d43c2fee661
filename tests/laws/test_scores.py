"""Laws of a map's score, its baselines and its ceiling: padding, order, sums of credit, micro and macro means."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.errors import DataError, NonFiniteError
from probe.gold.reading import Gold, gold_hash
from probe.maps.attention_map import AttentionMap, check_map
from probe.scoring import baselines
from probe.scoring.alignment import span_links
from probe.scoring.metrics import MapScore, position_scores, score_map
from probe.scoring.runs import RunRows
from probe.scoring.statistics import ratio
from probe.scoring.ties import best_position_free, pair_classes, tied_rows
from tests.support.aligned import axis, make_gold, make_map
from tests.support.strategies import SEEDS, WEIGHT_KINDS, Problem, law, problems

LAW = law(60)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ORDERLESS = (
    *("top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "reciprocal_rank", "entropy"),
    *("average_precision", "coverage", "collapse", "n_positions", "n_sure", "precision", "recall", "f1", "aer"),
)
PADDED = ("top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "n_positions", "n_sure", "recall")
directions = st.sampled_from(("t2s", "s2t"))


def map_of(problem: Problem, direction: str = "t2s") -> AttentionMap:
    """A map with the problem's weights; each position is a letter of its own, and the last one EOS."""
    sides = [axis(LETTERS[: size - 1], list(LETTERS[: size - 1])) for size in problem.weights.shape]
    weights = problem.weights if direction == "t2s" else problem.weights.T
    text = LETTERS[: max(problem.weights.shape) - 1]
    return make_map(*(sides if direction == "t2s" else sides[::-1]), weights, text=text, direction=direction)


def gold_of(problem: Problem, direction: str = "t2s") -> Gold:
    cells = (part if direction == "t2s" else part.T for part in (problem.sure, problem.possible))
    sure, possible = (frozenset(map(tuple, np.argwhere(part).tolist())) for part in cells)
    return Gold("one", "", (), (), "", "", sure, possible)


def score(problem: Problem, direction: str = "t2s") -> MapScore:
    return score_map(map_of(problem, direction), gold_of(problem, direction))


def same(one: MapScore, two: MapScore, names: tuple[str, ...]) -> None:
    for name in names:
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-6, nan_ok=True), name


# --- the score of a map ---


@LAW
@given(problems(kinds=("smooth",)), directions)
def test_a_score_ignores_the_order_of_rows_and_columns(problem, direction):
    same(score(problem, direction), score(problem.permuted(), direction), ORDERLESS)


@LAW
@given(problems(), directions, st.integers(1, 4), st.integers(1, 4))
def test_a_score_ignores_padding(problem, direction, rows, columns):
    n, m = problem.weights.shape
    weights = np.pad(problem.weights, ((0, 0), (0, columns)))
    weights = np.concatenate([weights, np.full((rows, m + columns), 1 / (m + columns))])
    sure, possible = (np.pad(part, ((0, rows), (0, columns))) for part in (problem.sure, problem.possible))
    one, two = score(problem, direction), score(Problem(weights, sure, possible, *_orders(weights)), direction)
    same(one, two, PADDED)
    assert (two.n_rows, two.links.hit_sure) == (n + rows, one.links.hit_sure)


def _orders(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(weights.shape[0]), np.arange(weights.shape[1])


@LAW
@given(problems(), directions)
def test_means_of_a_score_are_those_of_its_positions(problem, direction):
    found = score(problem, direction)
    assert (found.n_rows, found.n_positions) == (len(problem.weights), problem.scored.sum())
    for name in ("top1_sure", "top1_possible", "gold_mass_possible", "reciprocal_rank", "offset"):
        values = getattr(found.positions, name)
        counted = problem.sure.any(axis=1) if name.endswith("sure") else problem.scored
        assert (~np.isnan(values) == counted).all(), name
        mean = values[counted].mean() if counted.any() else np.nan
        assert getattr(found, name) == pytest.approx(mean, nan_ok=True), name


@LAW
@given(problems(), st.sampled_from((1.01, 0.9, -1.0, np.nan, np.inf)), SEEDS)
def test_only_weights_that_sum_to_one_are_a_map(problem, factor, seed):
    amap = map_of(problem)
    check_map(amap)
    weights, at = amap.weights.copy(), seed % len(amap.weights)
    weights[at] *= factor
    with pytest.raises((DataError, NonFiniteError)):
        check_map(replace(amap, weights=weights))


@LAW
@given(st.lists(problems(most=4), min_size=1, max_size=4), SEEDS)
def test_the_hash_of_gold_ignores_order_and_sees_every_link(several, seed):
    golds = [replace(gold_of(problem), id=str(k)) for k, problem in enumerate(several)]
    assert gold_hash(golds) == gold_hash(golds[::-1])
    k = seed % len(golds)
    link = frozenset({(seed % 5, seed % 7)})
    changed = replace(golds[k], possible=golds[k].possible ^ link)
    assert gold_hash([*golds[:k], changed, *golds[k + 1 :]]) != gold_hash(golds)


# --- micro and macro ---


@LAW
@given(st.lists(problems(), min_size=1, max_size=4))
def test_micro_is_the_macro_mean_weighted_by_positions(several):
    parts = [(one.weights * one.possible).sum(axis=1)[one.scored] for one in several]
    tokens = pd.DataFrame({"gold_mass_possible": np.concatenate(parts)})
    means = [part.mean() if len(part) else np.nan for part in parts]
    codes = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    run = RunRows("one", "t2s", tokens, pd.DataFrame({"gold_mass_possible": means}), codes)
    micro, macro = run.counts("gold_mass_possible"), run.example_counts("gold_mass_possible")
    sizes = np.array([len(part) for part in parts])
    weighted = np.nansum(np.nan_to_num(means) * sizes) / sizes.sum() if sizes.sum() else np.nan
    assert float(ratio(micro.sum(axis=0))) == pytest.approx(weighted, nan_ok=True)
    plain = np.nanmean(means) if sizes.any() else np.nan
    assert float(ratio(macro.sum(axis=0))) == pytest.approx(plain, nan_ok=True)
    if len(set(sizes.tolist())) == 1 and sizes.all():
        assert float(ratio(micro.sum(axis=0))) == pytest.approx(plain)


# --- baselines ---


@LAW
@given(problems(), directions)
def test_uniform_gives_each_cell_its_share(problem, direction):
    made = baselines.uniform(map_of(problem, direction))
    check_map(made, tolerance=1e-6)
    found = score_map(made, gold_of(problem, direction))
    share = problem.possible.mean(axis=1)[problem.scored]
    assert found.positions.top1_possible[problem.scored] == pytest.approx(share)
    assert found.entropy == pytest.approx(1 if problem.weights.shape[1] > 1 else 0)


@LAW
@given(problems(), directions)
def test_diagonal_never_goes_back_and_ends_at_the_ends(problem, direction):
    made = baselines.diagonal(map_of(problem, direction))
    check_map(made, tolerance=0)
    weights = made.weights if direction == "t2s" else made.weights.T
    places = weights.argmax(axis=1)
    assert places[0] == 0 and (len(places) == 1 or places[-1] == weights.shape[1] - 1)
    assert (np.diff(places) >= 0).all() and (weights.max(axis=1) == 1).all()


@LAW
@given(problems(), directions)
def test_the_span_rule_is_always_right_on_its_own_links(problem, direction):
    amap = map_of(problem, direction)
    made = baselines.span_rule(amap)
    check_map(made, tolerance=1e-6)
    found = score_map(made, make_gold(amap))
    sure, possible = span_links(amap.student.spans, amap.teacher.spans)
    assert (len(possible) > 0, len(sure) > 0) == (found.n_positions > 0, found.n_sure > 0)
    assert found.top1_possible == pytest.approx(1) and found.gold_mass_possible == pytest.approx(1, abs=1e-6)


# --- what no position-free map can beat ---

classes = st.lists(st.integers(0, 2), min_size=1, max_size=4)


def _numbered(labels: list[int]) -> np.ndarray:
    known: dict[int, int] = {}
    return np.array([known.setdefault(label, len(known)) for label in labels])


@LAW
@given(classes, classes, SEEDS)
def test_the_ceiling_is_the_best_of_all_choices(rows, columns, seed):
    row_classes, column_classes = _numbered(rows), _numbered(columns)
    gold = np.random.default_rng(seed).random((len(rows), len(columns))) < 0.4
    shares = np.stack([gold[:, column_classes == c].mean(axis=1) for c in range(column_classes.max() + 1)], axis=1)
    choices = product(range(shares.shape[1]), repeat=int(row_classes.max()) + 1)
    by_hand = max(sum(shares[i, choice[r]] for i, r in enumerate(row_classes)) for choice in choices)
    best = best_position_free(gold, row_classes, column_classes)
    assert best.credit.sum() == pytest.approx(by_hand)
    assert best.weights().sum(axis=1) == pytest.approx(1)
    assert (best.weights() * gold).sum(axis=1) == pytest.approx(best.credit)


@LAW
@given(problems(), SEEDS)
def test_the_ceiling_ignores_order_and_rises_with_gold(problem, seed):
    rng = np.random.default_rng(seed)
    rows, columns = (_numbered(rng.integers(0, 4, size).tolist()) for size in problem.weights.shape)
    found = best_position_free(problem.possible, rows, columns)
    moved = best_position_free(problem.permuted().possible, rows[problem.row_order], columns[problem.column_order])
    assert moved.credit.sum() == pytest.approx(found.credit.sum())
    assert best_position_free(problem.sure, rows, columns).credit.sum() <= found.credit.sum() + 1e-9
    assert (found.credit >= 0).all() and (found.credit <= 1 + 1e-12).all()
    tied = tied_rows(problem.possible, rows, columns)
    again = tied_rows(problem.permuted().possible, rows[problem.row_order], columns[problem.column_order])
    assert (again == tied[problem.row_order]).all()


@LAW
@given(problems(kinds=WEIGHT_KINDS), st.integers(2, 4), SEEDS)
def test_a_map_of_repeated_tokens_stays_below_its_ceiling(problem, kinds, seed):
    """Positions with one (input, target) pair get one row or column of weights: what a position-free map must do."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, kinds, size).tolist() for size in problem.weights.shape]
    rows, columns = (pair_classes(part) for part in ids)
    first = [np.array([np.flatnonzero(part == c)[0] for c in part]) for part in (rows, columns)]
    weights = problem.weights[first[0]][:, first[1]]
    weights = weights / weights.sum(axis=1, keepdims=True) if weights.sum(axis=1).all() else np.ones_like(weights)
    sides = [SimpleNamespace(ids=part, spans=[(k, k + 1) for k in range(len(part))]) for part in ids]
    amap = SimpleNamespace(weights=weights, direction="t2s", student=sides[0], teacher=sides[1], example_id="one")
    found = position_scores(amap, problem.sure, problem.possible)  # type: ignore[arg-type]
    for degree in ("sure", "possible"):
        ceiling = np.nansum(getattr(found, f"ceiling_{degree}"))
        assert np.nansum(getattr(found, f"top1_{degree}")) <= ceiling + 1e-6
        if np.allclose(weights.sum(axis=1), 1):
            assert np.nansum(getattr(found, f"gold_mass_{degree}")) <= ceiling + 1e-6
