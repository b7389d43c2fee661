"""Every score of a map, worked by hand, and its limits: empty, a single cell, all tied."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from probe.errors import DataError
from probe.gold.reading import Gold, gold_hash
from probe.scoring import baselines
from probe.scoring.measures import (
    average_precision,
    collapse,
    coverage,
    diagonality,
    heaviest_shares,
    reciprocal_rank,
    row_entropy,
    signed_distance,
)
from probe.scoring.metrics import LinkCounts, MapMetric, link_counts, score_map
from probe.scoring.ties import best_position_free, pair_classes, tied_rows
from tests.support.aligned import axis, make_gold, make_map

NAN = float("nan")
# "ab cd": student ab|␣cd|EOS, teacher a|b|␣cd|EOS. Sure (0,0) (1,2) (2,3); possible also (0,1).
TEXT = "ab cd"
STUDENT, TEACHER = axis(TEXT, ["ab", " cd"]), axis(TEXT, ["a", "b", " cd"])
WEIGHTS = [
    [0.20, 0.50, 0.20, 0.10],  # heaviest is possible, not sure
    [0.25, 0.25, 0.25, 0.25],  # all tied
    [0.40, 0.10, 0.30, 0.20],  # heaviest is wrong: three columns before EOS
]
MAP = make_map(STUDENT, TEACHER, WEIGHTS, text=TEXT)
GOLD = make_gold(MAP)


@pytest.mark.parametrize(
    ("score", "wanted"),
    [
        ("top1_sure", [0, 1 / 4, 0]),
        ("top1_possible", [1, 1 / 4, 0]),
        ("gold_mass_sure", [0.2, 0.25, 0.2]),
        ("gold_mass_possible", [0.7, 0.25, 0.2]),
        ("reciprocal_rank", [1, 1 / 2.5, 1 / 3]),  # four tied: mid-rank 2.5
        ("chunk_accuracy", [1, 1 / 4, 0]),
        ("offset", [0, (-2 - 1 + 0 + 1) / 4, -3]),
        ("tied", [False, False, False]),
        ("ceiling_sure", [1, 1, 1]),
        ("best", [1, 0, 0]),
        ("best_weight", [0.5, 0.25, 0.4]),
    ],
)
def test_each_position_by_hand(score, wanted):
    assert getattr(score_map(MAP, GOLD).positions, score) == pytest.approx(wanted, abs=1e-6)


def test_map_means_and_counts_by_hand():
    score = score_map(MAP, GOLD)
    assert (score.n_rows, score.n_positions, score.n_sure, score.n_tied) == (3, 3, 3, 0)
    assert score.top1_possible == pytest.approx(1.25 / 3)
    assert score.gold_mass_sure == pytest.approx(0.65 / 3)
    assert score.offset == pytest.approx(-3.5 / 3)
    assert score.coverage == pytest.approx((0.85 + 0.85 + 0.75 + 0.55) / 4)
    assert score.collapse == pytest.approx((0.25 + 1) / 3)  # columns get 1.25, 1.25, 0.25, 0.25 of three rows
    # argmax links: (0,1) (1,0) (2,0); A∩S = {}, A∩P = {(0,1)}; |S| = 3, |P| = 4
    assert score.links == LinkCounts(3, 3, 4, 0, 1)
    assert (score.precision, score.recall, score.f1) == (1 / 3, 0, 0)
    assert score.aer == pytest.approx(1 - 1 / 6)


def test_s2t_is_the_same_on_the_transposed_map():
    turned = make_map(TEACHER, STUDENT, np.transpose(WEIGHTS), text=TEXT, direction="s2t")
    flipped = Gold(
        "one", "", (), (), "", "", *(frozenset((j, i) for i, j in part) for part in (GOLD.sure, GOLD.possible))
    )
    one, two = score_map(MAP, GOLD), score_map(turned, flipped)
    for name in ("top1_sure", "gold_mass_possible", "offset", "entropy", "average_precision", "aer", "diagonality"):
        assert getattr(one, name) == pytest.approx(getattr(two, name)), name


def test_planted_alignment_is_perfect():
    planted = np.zeros((3, 4))
    planted[[0, 1, 2], [0, 2, 3]] = 1
    score = score_map(replace(MAP, weights=planted.astype(np.float32)), GOLD)
    perfect = ("top1_sure", "top1_possible", "gold_mass_sure", "reciprocal_rank", "chunk_accuracy", "recall", "f1")
    assert [getattr(score, name) for name in perfect] == [1.0] * len(perfect)
    assert (score.aer, score.offset, score.entropy) == (0, 0, 0)


def test_without_gold_only_gold_free_scores():
    score = score_map(MAP)
    assert np.isnan([score.top1_sure, score.offset, score.average_precision, score.aer, score.ceiling_sure]).all()
    assert score.n_positions == 0
    assert score.chunk_accuracy == pytest.approx(1.25 / 3)  # chunks come from spans
    assert 0 < score.entropy < 1


def test_rows_without_links_do_not_count():
    gold = replace(GOLD, sure=frozenset({(0, 0)}), possible=frozenset({(0, 0), (2, 3)}))
    score = score_map(MAP, gold)
    assert (score.n_positions, score.n_sure) == (2, 1)
    assert (score.top1_sure, score.top1_possible) == (0, 0)
    assert np.isnan(score.positions.top1_possible[1])


def test_single_cell():
    eos = axis("", [])
    score = score_map(make_map(eos, eos, [[1.0]], text=""), make_gold(make_map(eos, eos, [[1.0]], text="")))
    assert (score.top1_sure, score.chunk_accuracy, score.entropy, score.aer, score.average_precision) == (1, 1, 0, 0, 1)
    assert (score.coverage, score.collapse, score.diagonality) == (1, 1, 1)


def test_empty_map_is_refused():
    nothing = axis("", [], eos=False)
    with pytest.raises(DataError, match="empty"):
        score_map(make_map(nothing, nothing, np.zeros((0, 0)), text=""))


def test_gold_for_other_tokens_is_refused():
    with pytest.raises(DataError, match="other student tokens: first difference at index 0"):
        score_map(MAP, replace(GOLD, student_tokens=("x", "␣cd", "‹eos›")))


def test_ties_share_within_the_tolerance():
    assert heaviest_shares(np.array([[0.4, 0.4 - 5e-7, 0.2]])).tolist() == [[0.5, 0.5, 0]]
    assert heaviest_shares(np.array([[0.4, 0.4 - 5e-6, 0.2]])).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("row", "gold", "wanted"),
    [
        ([0.5, 0.3, 0.2], [0, 1, 0], 1 / 2),
        ([0.5, 0.3, 0.2], [0, 1, 1], 1 / 2),  # the best gold cell counts
        ([0.4, 0.4, 0.2], [1, 0, 0], 1 / 1.5),
        ([0.4, 0.3, 0.3], [0, 0, 1], 1 / 2.5),
        ([1 / 3] * 3, [1, 1, 1], 1 / 2),  # mid-rank of three
    ],
)
def test_reciprocal_rank_by_hand(row, gold, wanted):
    assert reciprocal_rank(np.array([row]), np.array([gold], dtype=bool)) == pytest.approx([wanted])


def test_signed_distance_by_hand():
    gold = np.array([[0, 1, 0, 0, 1, 0], [0] * 6], dtype=bool)
    assert signed_distance(gold).tolist() == [[-1, 0, 1, -1, 0, 1], [0] * 6]


def test_entropy_limits():
    assert row_entropy(np.array([[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0]])) == pytest.approx([1, 0, 0.5])
    assert row_entropy(np.array([[0.999], [1.0]])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("weights", "gold", "wanted"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0, 1]], 1.0),
        ([[0.9, 0.1], [0.2, 0.8]], [[0, 1], [0, 0]], 1 / 4),  # the lightest of four
        ([[0.9, 0.1], [0.2, 0.8]], [[1, 0], [1, 0]], (1 + 2 / 3) / 2),
        ([[0.5, 0.5], [0.5, 0.5]], [[1, 0], [0, 0]], 1 / 4),  # all tied enter together
        ([[0.5, 0.5], [0.5, 0.5]], [[0, 0], [0, 0]], NAN),
    ],
)
def test_average_precision_by_hand(weights, gold, wanted):
    assert average_precision(np.array(weights), np.array(gold, dtype=bool)) == pytest.approx(wanted, nan_ok=True)


def test_gold_free_scores_by_hand():
    sink = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert (coverage(sink), collapse(sink)) == (0.5, 1.0)
    assert (coverage(np.eye(3)), collapse(np.eye(3)), diagonality(np.eye(3))) == (1, pytest.approx(1 / 3), 1)
    assert diagonality(np.array([[0.0, 1.0], [1.0, 0.0]])) == pytest.approx(0.5)  # centres ¼ and ¾: distance ½
    assert diagonality(np.full((200, 200), 1 / 200)) == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("counts", "wanted"),  # precision, recall, F1, AER
    [
        (LinkCounts(4, 2, 5, 1, 3), (3 / 4, 1 / 2, 0.6, 1 - 4 / 6)),
        (LinkCounts(2, 2, 2, 2, 2), (1, 1, 1, 0)),
        (LinkCounts(3, 2, 2, 0, 0), (0, 0, 0, 1)),
        (LinkCounts(0, 2, 2, 0, 0), (1, 0, 0, 1)),  # nothing predicted
        (LinkCounts(2, 0, 3, 0, 2), (1, 1, 1, 0)),  # no sure link
        (LinkCounts(2, 0, 0, 0, 0), (0, 1, 0, 1)),
        (LinkCounts(0, 0, 0, 0, 0), (1, 1, 1, 0)),
    ],
)
def test_link_scores_and_empty_sets_by_hand(counts, wanted):
    assert (counts.precision, counts.recall, counts.f1, counts.aer) == pytest.approx(wanted)


def test_link_counts_add():
    one = link_counts({(0, 0), (1, 1)}, frozenset({(0, 0)}), frozenset({(0, 0), (2, 2)}))
    assert one == LinkCounts(2, 1, 2, 1, 1)
    assert one + one == LinkCounts(4, 2, 4, 2, 2)


def test_classes_of_input_target_pairs():
    # the the cat the cat: pairs (?,the) (the,the) (the,cat) (cat,the) (the,cat)
    assert pair_classes([7, 7, 9, 7, 9]).tolist() == [0, 1, 2, 3, 2]
    assert pair_classes([]).tolist() == []
    assert pair_classes([7]).tolist() == [0]


def test_position_free_ceiling_by_hand():
    # "xy xy": both sides xy|␣xy... with the same ids twice: ids x y x y; pairs (?,x) (x,y) (y,x) (x,y)
    classes = pair_classes([1, 2, 1, 2])
    best = best_position_free(np.eye(4, dtype=bool), classes, classes)
    # rows 1 and 3 must share one row, and columns 1 and 3 one column: half credit each
    assert best.credit.tolist() == [1, 0.5, 1, 0.5]
    assert tied_rows(np.eye(4, dtype=bool), classes, classes).tolist() == [False, True, False, True]
    assert best.weights().tolist() == [[1, 0, 0, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0], [0, 0.5, 0, 0.5]]


def test_tied_rows_with_free_columns_choose_one_for_all():
    # two equal student positions, two different teacher columns: the best common choice wins one of them
    best = best_position_free(np.eye(2, dtype=bool), np.array([0, 0]), np.array([0, 1]))
    assert best.credit.sum() == 1
    # both columns are gold for both rows
    assert best_position_free(np.ones((2, 2), dtype=bool), np.array([0, 0]), np.array([0, 0])).credit.tolist() == [1, 1]


def test_ceiling_equals_exhaustive_search():
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows, columns = rng.integers(0, 3, 4), rng.integers(0, 3, 5)
        _, rows = np.unique(rows, return_inverse=True)
        _, columns = np.unique(columns, return_inverse=True)
        gold = rng.random((4, 5)) < 0.3
        best = 0.0
        for choice in product(range(columns.max() + 1), repeat=rows.max() + 1):
            shares = (
                np.array([columns == choice[r] for r in rows])
                / np.array([(columns == choice[r]).sum() for r in rows])[:, None]
            )
            best = max(best, (shares * gold).sum())
        assert best_position_free(gold, rows, columns).credit.sum() == pytest.approx(best)


def test_no_position_free_map_beats_the_ceiling():
    rng = np.random.default_rng(1)
    text = "ab ab ab cd ab"
    side = axis(text, ["ab", " ab", " ab", " cd", " ab"])
    other = axis(text, ["a", "b", " a", "b", " ab", " cd", " ab"], ids=[1, 2, 3, 2, 4, 5, 4])
    ties = [pair_classes(part.ids) for part in (side, other)]
    gold = make_gold(make_map(side, other, text=text))
    for _ in range(50):
        free = rng.random((ties[0].max() + 1, ties[1].max() + 1)) ** 3
        weights = free[ties[0]][:, ties[1]]
        score = score_map(make_map(side, other, weights / weights.sum(1, keepdims=True), text=text), gold)
        assert score.top1_sure <= score.ceiling_sure + 1e-9
        assert score.top1_possible <= score.ceiling_possible + 1e-9
        assert score.gold_mass_possible <= score.ceiling_possible + 1e-6


def test_ceiling_is_reached_by_its_own_map():
    text = "ab ab ab"
    side, other = axis(text, ["ab", " ab", " ab"]), axis(text, ["ab ", "ab", " ab"])
    amap = make_map(side, other, text=text)
    gold = make_gold(amap)
    cells = np.zeros((4, 4), dtype=bool)
    cells[tuple(np.array(sorted(gold.possible)).T)] = True
    best = best_position_free(cells, pair_classes(side.ids), pair_classes(other.ids))
    score = score_map(replace(amap, weights=best.weights().astype(np.float32)), gold)
    assert score.top1_possible == pytest.approx(score.ceiling_possible)


@pytest.mark.parametrize("direction", ["t2s", "s2t"])
def test_baseline_maps_by_hand(direction):
    amap = replace(MAP, direction=direction)
    axis_of_one = 1 if direction == "t2s" else 0
    for make in (baselines.uniform, baselines.diagonal, baselines.span_rule):
        one = make(amap)
        assert one.weights.shape == (3, 4)
        assert one.weights.sum(axis=axis_of_one) == pytest.approx(1)
    if direction == "t2s":
        assert np.argwhere(baselines.diagonal(amap).weights).tolist() == [[0, 0], [1, 2], [2, 3]]
        assert score_map(baselines.uniform(amap), GOLD).top1_possible == pytest.approx((2 + 1 + 1) / 12)
        assert baselines.span_rule(amap).weights[0].tolist() == [1, 0, 0, 0]  # sure goes before possible
    else:
        assert baselines.span_rule(amap).weights[:, 1].tolist() == [1, 0, 0]  # only possible
    assert score_map(baselines.span_rule(amap), GOLD).top1_possible == 1


def test_best_position_free_baseline_takes_the_ceilings():
    best = baselines.position_free(score_map(MAP, GOLD))
    assert best.top1_sure == best.gold_mass_sure == best.ceiling_sure
    assert best.positions.top1_possible is best.positions.ceiling_possible
    assert np.isnan(best.aer) and np.isnan(best.positions.offset).all()


def test_signature_says_how_the_number_was_made():
    names = {"method": "dskd-cma", "direction": "t2s", "normalisation": "frozen", "gold": "12ab", "maps": "34cd"}
    line = MapMetric().signature(**names)
    assert line.startswith(
        "method:dskd-cma|direction:t2s|norm:frozen|links:argmax|ties:share@1e-06|gold:12ab|maps:34cd|"
    )
    assert "links:threshold>0.25" in MapMetric(links="threshold", threshold=0.25).signature(**names)


def test_gold_hash_sees_links_and_not_order():
    other = replace(GOLD, id="two")
    assert gold_hash([GOLD, other]) == gold_hash([other, GOLD])
    assert gold_hash([GOLD]) != gold_hash([replace(GOLD, sure=frozenset())])
    assert len(gold_hash([])) == 8


def test_both_directions_takes_the_other_map():
    other = replace(MAP, direction="s2t", weights=np.full((3, 4), 1 / 3, dtype=np.float32))
    score = MapMetric(links="both-directions", threshold=0.3).score(MAP, GOLD, other=other)
    assert score.links == LinkCounts(2, 3, 4, 0, 1)  # (0,1) and (2,0); 0.30 in float32 is not above 0.3
