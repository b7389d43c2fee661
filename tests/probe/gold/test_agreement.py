"""Agreement of two annotators against numbers worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probe.errors import DataError
from probe.gold.agreement import agreement, compare
from probe.gold.reading import Gold


def gold(sure: set[tuple[int, int]], possible: set[tuple[int, int]], size: tuple[int, int] = (2, 2)) -> Gold:
    tokens = [tuple("abcdef"[:length]) for length in size]
    return Gold("one", "", *tokens, "", "", frozenset(sure), frozenset(sure | possible))


def test_one_annotator_with_herself_agrees_wholly() -> None:
    one = gold({(0, 0)}, {(1, 1)})
    found = agreement([(one, one)])
    assert (found.kappa, found.f1_sure, found.f1_possible) == (1, 1, 1)


def test_sure_against_possible_by_hand() -> None:
    # 4 cells: both "none" on three, sure against possible on one. Observed 3/4, by chance 3/4 * 3/4 = 9/16.
    found = agreement([(gold({(0, 0)}, set()), gold(set(), {(0, 0)}))])
    np.testing.assert_array_equal(found.counts, [[3, 0, 0], [0, 0, 0], [0, 1, 0]])
    assert found.kappa == pytest.approx(3 / 7)
    assert (found.f1_sure, found.f1_possible) == (0, 1)


def test_counts_are_summed_before_they_are_divided() -> None:
    same = (gold({(0, 0), (1, 1)}, set()), gold({(0, 0), (1, 1)}, set()))
    apart = (gold({(0, 0)}, set()), gold({(0, 1)}, set()))
    found = agreement([same, apart])
    # 8 cells; both sure on 2, one sure on 1 + 1, none on 4. Observed 6/8; chance (3/8)^2 + (5/8)^2 = 34/64.
    assert found.examples == 2
    assert found.kappa == pytest.approx((6 / 8 - 34 / 64) / (1 - 34 / 64))
    assert found.f1_sure == pytest.approx(2 * 2 / (3 + 3))


def test_chance_agreement_is_zero() -> None:
    # Each marks one row of a 2 x 2 square, crosswise: 1 cell both, 1 neither, 2 one of them; observed = chance = 1/2.
    found = agreement([(gold({(0, 0), (0, 1)}, set()), gold({(0, 0), (1, 0)}, set()))])
    assert found.kappa == pytest.approx(0)


def test_no_links_at_all_is_agreement_and_no_pair_is_an_error() -> None:
    nothing = gold(set(), set())
    found = agreement([(nothing, nothing)])
    assert (found.kappa, found.f1_sure, found.f1_possible) == (1, 1, 1)
    with pytest.raises(DataError, match="at least one example"):
        agreement([])
    with pytest.raises(DataError, match="other tokens"):
        agreement([(nothing, gold(set(), set(), (2, 3)))])


def test_precision_and_recall_are_of_the_second_against_the_first() -> None:
    # First: two sure, one possible. Second: one of the sure ones, and one that the first has as possible.
    one, other = gold({(0, 0), (1, 1)}, {(0, 1)}), gold({(0, 0), (0, 1)}, set())
    found = agreement([(one, other)])
    assert (found.cells, found.differing) == (4, 2)
    assert (found.precision_sure, found.recall_sure) == (1 / 2, 1 / 2)
    assert (found.precision_possible, found.recall_possible) == (1, 2 / 3)
    turned = agreement([(other, one)])
    assert (turned.precision_possible, turned.recall_possible) == (2 / 3, 1)
    assert (turned.kappa, turned.f1_sure, turned.f1_possible) == (found.kappa, found.f1_sure, found.f1_possible)


def test_shares_of_nothing_are_one() -> None:
    found = agreement([(gold(set(), set()), gold({(0, 0)}, set()))])
    assert (found.precision_sure, found.recall_sure, found.f1_sure) == (0, 1, 0)


def test_examples_come_by_their_differences_and_sum_up_to_all() -> None:
    first = {"a": gold({(0, 0)}, set()), "b": gold({(0, 0)}, set()), "only": gold(set(), set())}
    second = {"a": gold({(0, 0)}, set()), "b": gold({(1, 1)}, {(0, 1)}), "other": gold(set(), set())}
    found = compare(first, second)
    assert [(name, one.differing) for name, one in found.examples] == [("b", 3), ("a", 0)]
    assert (found.all.examples, found.all.cells, found.all.differing) == (2, 8, 3)
    np.testing.assert_array_equal(found.all.counts, sum(one.counts for _, one in found.examples))
    assert found.all.f1_sure == pytest.approx(2 * 1 / (2 + 2))


def test_signature_changes_with_the_links_that_were_compared_and_with_nothing_else() -> None:
    first, second = {"a": gold({(0, 0)}, set())}, {"a": gold(set(), {(0, 0)})}
    signature = compare(first, second).signature
    assert signature.startswith("agree:kappa+f1|levels:none,possible,sure|a:")
    assert signature == compare({**first, "b": gold(set(), set())}, second).signature
    assert signature != compare(second, first).signature


def test_what_cannot_be_compared_is_refused() -> None:
    one = gold({(0, 0)}, set())
    with pytest.raises(DataError, match="both annotated, found none: 1 ids like 'a', 1 like 'b'"):
        compare({"a": one}, {"b": one})
    with pytest.raises(DataError, match="teacher tokens: first difference at index 2: wanted no token, found 'c'"):
        compare({"a": one}, {"a": gold({(0, 0)}, set(), (2, 3))})
    with pytest.raises(DataError, match="another text"):
        compare({"a": replace(one, text="ab")}, {"a": replace(one, text="ac")})
    bare = replace(one, student_tokens=(), teacher_tokens=())
    with pytest.raises(DataError, match="names no tokens, so its cells are unknown"):
        agreement([(bare, bare)])
