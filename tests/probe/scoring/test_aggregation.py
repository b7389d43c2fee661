"""Grouped maps by hand, by planted alignments and by the laws that grouping keeps; windows cut out of maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.errors import UsageError
from probe.maps.attention_map import AttentionMap, check_map
from probe.scoring.aggregation import NO_ID, UNITS, Partition, cropped, cropped_gold, grouped, grouped_gold, partition
from probe.scoring.metrics import gold_cells
from tests.support.aligned import axis, make_gold, make_map
from tests.support.strategies import law

TEXT = "the cats sat"
STUDENT = axis(TEXT, ["the", " c", "ats", " sat"])
TEACHER = axis(TEXT, ["th", "e", " cats", " ", "sat"])


@st.composite
def maps(draw: st.DrawFn) -> AttentionMap:
    """Maps of a random text, cut at random places on either side, with random weights in either direction."""
    text = "".join(
        draw(st.lists(st.sampled_from(["a", "bc", " ", "\n", "é", "漢", "🙂", "."]), min_size=1, max_size=12))
    )
    sides = []
    for _ in range(2):
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1))))) if len(text) > 1 else []
        bounds = [0, *cuts, len(text)]
        sides.append(axis(text, [text[a:b] for a, b in zip(bounds, bounds[1:], strict=False)], eos=draw(st.booleans())))
    direction = draw(st.sampled_from(["t2s", "s2t"]))
    weights = np.random.default_rng(draw(st.integers(0, 2**32))).random([len(side) for side in sides]) + 1e-3
    weights /= weights.sum(axis=1 if direction == "t2s" else 0, keepdims=True)
    return make_map(*sides, weights, text=text, direction=direction)


def test_groups_by_hand():
    tokens, chunks, words = (partition(TEXT, STUDENT, TEACHER, unit) for unit in UNITS)
    assert [len(side) for side in (tokens.student, tokens.teacher)] == [5, 6]
    assert chunks.student == (range(1), range(1, 3), range(3, 4), range(4, 5))
    assert chunks.teacher == (range(2), range(2, 3), range(3, 5), range(5, 6))
    assert words == chunks  # here; white space alone (" ") goes with the word that follows


def test_words_of_white_space_and_of_several_words():
    text = " a b  c\n"
    pieces = axis(text, [" ", "a b", " ", " c", "\n"])
    assert partition(text, pieces, pieces, "word").student == (range(2), range(2, 4), range(4, 5), range(5, 6))


def test_another_unit_is_refused():
    with pytest.raises(UsageError, match="token, chunk, word; got 'letter'"):
        partition(TEXT, STUDENT, TEACHER, "letter")


def test_a_grouped_map_by_hand():
    weights = [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.0, 0.4, 0.6]]
    text = "abc"
    amap = make_map(axis(text, ["a", "b", "c"], eos=False), axis(text, ["a", "b", "c"], eos=False), weights, text=text)
    groups = Partition((range(2), range(2, 3)), (range(1), range(1, 3)))
    np.testing.assert_allclose(grouped(amap, groups).weights, [[0.3, 0.7], [0.0, 1.0]], atol=1e-7)
    turned = grouped(replace(amap, direction="s2t", weights=amap.weights.T), groups)
    by_hand = [[0.5 + 0.3, (0.1 + 0.1 + 0.0 + 0.4) / 2], [0.2, (0.8 + 0.6) / 2]]
    np.testing.assert_allclose(turned.weights, by_hand, atol=1e-7)
    assert grouped(amap, groups).student.tokens == ("ab", "c")
    assert grouped(amap, groups).student.pieces == ("a b", "c")
    assert grouped(amap, groups).student.ids == (NO_ID, amap.student.ids[2])
    assert grouped(amap, groups).student.spans == ((0, 2), (2, 3))


def test_a_map_that_stays_in_its_chunks_becomes_the_identity():
    groups = partition(TEXT, STUDENT, TEACHER, "chunk")
    weights = np.zeros((5, 6))
    for rows, columns in zip(groups.student, groups.teacher, strict=True):
        weights[rows.start : rows.stop, columns.start : columns.stop] = 1 / len(columns)
    np.testing.assert_array_equal(grouped(make_map(STUDENT, TEACHER, weights, text=TEXT), groups).weights, np.eye(4))


def test_gold_of_groups_links_what_their_targets_link():
    amap = make_map(STUDENT, TEACHER, text=TEXT)
    gold, groups = make_gold(amap), partition(TEXT, STUDENT, TEACHER, "chunk")
    sure, possible = gold_cells(grouped(amap, groups), grouped_gold(gold, groups, grouped(amap, groups)))
    np.testing.assert_array_equal(possible, np.eye(4, dtype=bool))
    np.testing.assert_array_equal(sure, np.eye(4, dtype=bool))


@law(100)
@given(maps(), st.sampled_from(UNITS))
def test_grouping_keeps_sums_mass_and_order(amap: AttentionMap, unit: str):
    groups = partition(amap.text, amap.student, amap.teacher, unit)
    for side, length in ((groups.student, len(amap.student)), (groups.teacher, len(amap.teacher))):
        assert [index for group in side for index in group] == list(range(length))
    made = grouped(amap, groups)
    check_map(made, tolerance=1e-5)  # what sums to 1 still does
    averaged, axis_of_sum = (groups.student, 1) if amap.direction == "t2s" else (groups.teacher, 0)
    sizes = np.array([len(group) for group in averaged])
    mass = made.weights * np.expand_dims(sizes, axis_of_sum)
    np.testing.assert_allclose(mass.sum(), amap.weights.sum(), rtol=1e-5)
    if unit == "token":
        np.testing.assert_array_equal(made.weights, amap.weights)
        assert made.student == amap.student and made.teacher == amap.teacher


@law(100)
@given(maps(), st.data())
def test_a_window_holds_the_cells_and_links_of_its_ranges(amap: AttentionMap, data: st.DataObject):
    n, m = amap.weights.shape
    (top, bottom), (left, right) = (sorted(data.draw(st.tuples(st.integers(0, k), st.integers(0, k)))) for k in (n, m))
    part, gold = cropped(amap, (top, bottom), (left, right)), make_gold(amap)
    np.testing.assert_array_equal(part.weights, amap.weights[top:bottom, left:right])
    wanted = gold_cells(amap, gold)
    found = gold_cells(part, cropped_gold(gold, (top, bottom), (left, right)))
    for one, whole in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, whole[top:bottom, left:right])
