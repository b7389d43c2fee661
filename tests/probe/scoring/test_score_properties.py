"""Laws of a map's scores over random Unicode: bounds, turned and reversed maps, perfect maps, the ceiling."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from probe.scoring import measures
from probe.scoring.alignment import links_from_map
from probe.scoring.metrics import MapMetric, link_counts, score_map
from probe.scoring.ties import best_position_free, pair_classes
from tests.support.aligned import make_gold, make_map
from tests.support.strategies import golds, law, maps

METHODS = ("argmax", "mutual", "itermax", "itermax-simalign", "threshold", "monotone")
LAW = law(60)


@LAW
@given(st.data())
def test_scores_are_in_range(data):
    amap = data.draw(maps())
    score = score_map(amap, data.draw(golds(amap)))
    unit = (
        *("top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "reciprocal_rank", "chunk_accuracy"),
        *("entropy", "ceiling_sure", "ceiling_possible", "average_precision", "coverage", "collapse", "diagonality"),
        *("precision", "recall", "f1", "aer"),
    )
    for name in unit:
        value = getattr(score, name)
        assert np.isnan(value) or -1e-6 <= value <= 1 + 1e-6, (name, value)
    assert score.n_tied <= score.n_positions <= score.n_rows >= score.n_sure
    assert abs(np.nan_to_num(score.offset)) < max(amap.weights.shape)


@LAW
@given(st.data())
def test_sure_never_beats_possible_on_the_same_positions(data):
    amap = data.draw(maps())
    rows = score_map(amap, data.draw(golds(amap))).positions
    both = ~np.isnan(rows.top1_sure)
    assert (rows.top1_sure[both] <= rows.top1_possible[both] + 1e-9).all()
    assert (rows.gold_mass_sure[both] <= rows.gold_mass_possible[both] + 1e-9).all()
    assert ((rows.offset == 0) >= (rows.top1_possible == 1)).all()


@LAW
@given(st.data())
def test_turning_map_and_gold_changes_nothing(data):
    amap = data.draw(maps(direction="t2s"))
    gold = data.draw(golds(amap))
    turned = make_map(amap.teacher, amap.student, amap.weights.T, text=amap.text, direction="s2t")
    flipped = replace(
        gold,
        student_tokens=gold.teacher_tokens,
        teacher_tokens=gold.student_tokens,
        sure=frozenset((j, i) for i, j in gold.sure),
        possible=frozenset((j, i) for i, j in gold.possible),
    )
    one, two = score_map(amap, gold), score_map(turned, flipped)
    for name in (
        "top1_possible",
        "gold_mass_sure",
        "reciprocal_rank",
        "chunk_accuracy",
        "offset",
        "entropy",
        "f1",
        "aer",
    ):
        assert getattr(one, name) == pytest.approx(getattr(two, name), nan_ok=True), name


@LAW
@given(st.data())
def test_reversing_rows_and_columns_changes_no_hit(data):
    amap = data.draw(maps())
    gold = np.zeros(amap.weights.shape, dtype=bool)
    gold[tuple(np.array(sorted({(0, 0), *data.draw(golds(amap)).possible})).T)] = True
    weights = amap.weights.astype(np.float64)
    for measure in (
        lambda w, g: np.sort((measures.heaviest_shares(w) * g).sum(axis=1)),
        lambda w, g: np.sort(measures.reciprocal_rank(w, g)),
        measures.average_precision,
        lambda w, g: measures.collapse(w),
        lambda w, g: measures.diagonality(w + 1e-9),
    ):
        assert measure(weights, gold) == pytest.approx(measure(weights[::-1, ::-1], gold[::-1, ::-1]))


@LAW
@given(maps())
def test_gold_as_a_map_is_perfect(amap):
    gold = make_gold(amap)
    cells = np.zeros(amap.weights.shape)
    cells[tuple(np.array(sorted(gold.possible)).T)] = 1
    dim = 1 if amap.direction == "t2s" else 0
    assume(cells.sum(axis=dim).all())
    score = score_map(replace(amap, weights=(cells / cells.sum(axis=dim, keepdims=True)).astype(np.float32)), gold)
    perfect = (score.top1_possible, score.gold_mass_possible, score.chunk_accuracy, score.average_precision)
    assert perfect == pytest.approx((1, 1, 1, 1))
    assert score.offset == 0 and score.precision == 1


@LAW
@given(maps(), st.floats(1e-3, 1e3))
def test_measures_that_rank_ignore_scale(amap, scale):
    weights = amap.weights.astype(np.float64) + 1e-9
    gold = weights > np.median(weights)
    assume(gold.any())
    assert measures.row_entropy(weights * scale) == pytest.approx(measures.row_entropy(weights), abs=1e-9)
    assert measures.diagonality(weights * scale) == pytest.approx(measures.diagonality(weights), abs=1e-9)


@LAW
@given(st.data())
def test_average_precision_of_distinct_weights_is_the_mean_precision_at_hits(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    weights = rng.permutation(12).reshape(3, 4) / 66
    gold = rng.random((3, 4)) < 0.4
    assume(gold.any())
    order = np.argsort(-weights, axis=None)
    hits = gold.ravel()[order]
    by_hand = np.mean([hits[: k + 1].mean() for k in np.flatnonzero(hits)])
    assert measures.average_precision(weights, gold) == pytest.approx(by_hand)


@LAW
@given(st.data())
def test_position_free_maps_never_beat_the_ceiling(data):
    amap = data.draw(maps())
    gold = data.draw(golds(amap))
    sides = (amap.student, amap.teacher) if amap.direction == "t2s" else (amap.teacher, amap.student)
    rows, columns = (pair_classes(side.ids) for side in sides)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    weights = rng.random((rows.max() + 1, columns.max() + 1))[rows][:, columns]
    weights = weights / weights.sum(axis=1, keepdims=True)
    weights = weights if amap.direction == "t2s" else weights.T
    score = score_map(replace(amap, weights=weights.astype(np.float32)), gold)
    for degree, kind in product(("sure", "possible"), ("top1", "gold_mass")):
        value, ceiling = getattr(score, f"{kind}_{degree}"), getattr(score, f"ceiling_{degree}")
        assert np.isnan(value) or value <= ceiling + 1e-6


@LAW
@given(st.data())
def test_the_ceiling_is_one_where_nothing_is_tied(data):
    amap = data.draw(maps())
    rows = score_map(amap, data.draw(golds(amap))).positions
    free = ~rows.tied & ~np.isnan(rows.ceiling_possible)
    assert (rows.ceiling_possible[free] == 1).all()


@LAW
@given(st.lists(st.integers(0, 3), max_size=12))
def test_pair_classes_group_equal_pairs(ids):
    classes = pair_classes(ids)
    inputs = [None, *ids[:-1]]
    for i, j in product(range(len(ids)), repeat=2):
        assert (classes[i] == classes[j]) == ((inputs[i], ids[i]) == (inputs[j], ids[j]))


@LAW
@given(st.data())
def test_merging_classes_never_raises_the_ceiling(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    gold = rng.random((5, 6)) < 0.3
    apart = best_position_free(gold, np.arange(5), np.arange(6)).credit.sum()
    merged = best_position_free(gold, np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 3, 3])).credit.sum()
    assert merged <= apart == gold.any(axis=1).sum()


@LAW
@given(st.data())
def test_link_scores_are_consistent(data):
    amap = data.draw(maps())
    gold = data.draw(golds(amap))
    for method in METHODS:
        score = MapMetric(links=method, threshold=0.2).score(amap, gold)
        found = links_from_map(amap.weights, method, direction=amap.direction, threshold=0.2)
        assert score.links == link_counts(found, gold.sure, gold.possible)
        assert min(score.precision, score.recall) - 1e-9 <= score.f1 <= max(score.precision, score.recall) + 1e-9
        if gold.sure == gold.possible and found:
            assert score.aer == pytest.approx(1 - score.f1)  # with one kind of link AER is 1 - F1
