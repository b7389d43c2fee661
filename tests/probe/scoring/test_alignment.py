"""Span rule, chunks and links from a map, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from probe.errors import DataError, UsageError
from probe.scoring.alignment import chunks, links_from_map, span_gold, span_links
from tests.support.aligned import FINGERPRINTS, axis

# "unhappy cat": student  un|happy| cat|EOS ; teacher  unh|app|y|␣|cat|EOS
STUDENT = [(0, 2), (2, 7), (7, 11), (11, 11)]
TEACHER = [(0, 3), (3, 6), (6, 7), (7, 8), (8, 11), (11, 11)]


def test_span_rule_by_hand():
    sure, possible = span_links(STUDENT, TEACHER)
    assert sure == {(0, 0), (2, 3), (3, 5)}
    assert possible == {(0, 0), (1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (3, 5)}


def test_chunks_by_hand():
    found = chunks(STUDENT, TEACHER)
    assert [(list(c.student), list(c.teacher), c.relation) for c in found] == [
        ([0, 1], [0, 1, 2], "n:m"),
        ([2], [3, 4], "1:n"),
        ([3], [5], "1:1"),
    ]


def test_other_side_of_each_relation():
    assert [c.relation for c in chunks(TEACHER, STUDENT)] == ["n:m", "n:1", "1:1"]


def test_equal_spans_are_sure_for_tokens_that_share_a_character():
    # one emoji: four byte tokens on the student's side, one token on the teacher's
    sure, possible = span_links([(0, 4)] * 4 + [(4, 4)], [(0, 4), (4, 4)])
    assert sure == possible == {(0, 0), (1, 0), (2, 0), (3, 0), (4, 1)}
    assert [c.relation for c in chunks([(0, 4)] * 4 + [(4, 4)], [(0, 4), (4, 4)])] == ["n:1", "1:1"]


def test_space_that_one_side_drops():
    # "a b": student a|␣|b ; teacher (WordPiece) a|b
    student, teacher = [(0, 1), (1, 2), (2, 3), (3, 3)], [(0, 1), (2, 3), (3, 3)]
    sure, possible = span_links(student, teacher)
    assert sure == possible == {(0, 0), (2, 1), (3, 2)}
    assert [c.relation for c in chunks(student, teacher)] == ["1:1", "n:0", "1:1", "1:1"]
    assert [c.relation for c in chunks(teacher, student)] == ["1:1", "0:n", "1:1", "1:1"]


def test_space_inside_the_token_of_the_other_side():
    # "a b": student a|␣b ; teacher a|b: they share the byte of b, and start at different bytes
    sure, possible = span_links([(0, 1), (1, 3)], [(0, 1), (2, 3)])
    assert sure == {(0, 0)}
    assert possible == {(0, 0), (1, 1)}
    assert [c.relation for c in chunks([(0, 1), (1, 3)], [(0, 1), (2, 3)])] == ["1:1", "1:1"]


def test_empty_span_belongs_to_what_starts_there():
    # a marker without text before "ab"
    sure, possible = span_links([(0, 0), (0, 2), (2, 2)], [(0, 2), (2, 2)])
    assert sure == possible == {(0, 0), (1, 0), (2, 1)}
    assert [c.relation for c in chunks([(0, 0), (0, 2), (2, 2)], [(0, 2), (2, 2)])] == ["n:1", "1:1"]


def test_empty_span_inside_a_token_has_no_link():
    sure, possible = span_links([(0, 1), (1, 1), (1, 2), (2, 2)], [(0, 2), (2, 2)])
    assert (1, 0) not in possible and sure == {(0, 0), (3, 1)}
    assert [list(c.student) for c in chunks([(0, 1), (1, 1), (1, 2), (2, 2)], [(0, 2), (2, 2)])] == [[0, 1, 2], [3]]


def test_eos_pairs_with_eos_alone():
    # the student has an empty token at the end of the text, before its EOS
    sure, _ = span_links([(0, 1), (1, 1), (1, 1)], [(0, 1), (1, 1)])
    assert sure == {(0, 0), (2, 1)}


def test_truncated_sides_have_no_eos():
    sure, possible = span_links([(0, 1), (1, 2)], [(0, 2)])
    assert (sure, possible) == ({(0, 0)}, {(0, 0), (1, 0)})
    assert span_links([(0, 1), (1, 1)], [(0, 1)]) == ({(0, 0)}, {(0, 0)})
    assert [c.relation for c in chunks([(0, 1), (1, 1)], [(0, 1)])] == ["1:1", "n:0"]


def test_limits_of_spans():
    assert span_links([], []) == (frozenset(), frozenset())
    assert chunks([], []) == []
    assert span_links([(0, 0)], [(0, 0)])[0] == {(0, 0)}
    assert [c.relation for c in chunks([], [(0, 1)])] == ["0:n"]


@pytest.mark.parametrize("spans", [[(2, 3), (0, 1)], [(3, 1)], [(0, 5), (1, 3)]])
def test_spans_that_go_backwards_are_refused(spans):
    with pytest.raises(DataError, match="teacher spans go backwards"):
        span_links([(0, 5)], spans)
    with pytest.raises(DataError, match="student spans go backwards"):
        chunks(spans, [(0, 5)])


def test_linear_time_on_long_texts():
    spans = [(k, k + 1) for k in range(5_000)]
    sure, possible = span_links(spans, spans)  # a dense comparison would need 25 million cells
    assert len(sure) == len(possible) == 5_000
    assert len(chunks(spans, spans)) == 5_000


WEIGHTS = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6]])


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"method": "argmax"}, {(0, 0), (1, 0), (2, 2)}),
        ({"method": "argmax", "direction": "s2t"}, {(0, 0), (1, 1), (2, 2)}),
        ({"method": "mutual"}, {(0, 0), (2, 2)}),
        ({"method": "threshold", "threshold": 0.35}, {(0, 0), (1, 0), (1, 1), (2, 2)}),
        ({"method": "threshold", "threshold": 0.6}, set()),  # above, not at
        ({"method": "itermax"}, {(0, 0), (1, 0), (2, 2)}),  # 0.9 · 0.5 > 0.4
        ({"method": "itermax", "iterations": 1}, {(0, 0), (2, 2)}),
        ({"method": "both-directions", "threshold": 0.35, "other": WEIGHTS.T}, {(0, 0), (1, 1), (2, 2)}),
    ],
)
def test_links_from_map_by_hand(options, wanted):
    assert links_from_map(WEIGHTS, **options) == wanted


def test_itermax_prefers_what_is_still_free():
    weights = np.array([[0.6, 0.3, 0.1], [0.5, 0.48, 0.02], [0.2, 0.2, 0.6]])
    assert links_from_map(weights, "itermax") == {(0, 0), (1, 1), (2, 2)}  # 0.9 · 0.5 < 0.48
    assert links_from_map(np.eye(2), "itermax", iterations=9) == {(0, 0), (1, 1)}


def test_ties_take_the_first_cell():
    assert links_from_map(np.full((2, 3), 1 / 3)) == {(0, 0), (1, 0)}
    assert links_from_map(np.full((2, 3), 1 / 3), "mutual") == {(0, 0)}


def test_no_cells_no_links():
    assert links_from_map(np.zeros((0, 3))) == set()
    assert links_from_map(np.zeros((2, 2)), "mutual") == set()


def test_wrong_link_options():
    with pytest.raises(UsageError, match="both directions"):
        links_from_map(WEIGHTS, "both-directions")
    with pytest.raises(UsageError, match="unknown link method 'softmax'"):
        links_from_map(WEIGHTS, "softmax")


def test_span_gold_is_the_rule_with_labels():
    student, teacher = axis("a b", ["a", " b"]), axis("a b", ["a ", "b"])
    gold = span_gold("x", "a b", student, teacher, FINGERPRINTS, note="prefilled")
    assert gold.sure == {(0, 0), (2, 2)}
    assert gold.possible == {(0, 0), (1, 0), (1, 1), (2, 2)}
    assert (gold.student_tokens, gold.teacher_tokenizer, gold.annotator) == (student.tokens, "7" * 16, "span rule")
