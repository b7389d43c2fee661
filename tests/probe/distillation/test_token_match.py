"""MinED's matches: warping by hand and by brute force, tokens by edit distance."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from probe.distillation import token_match
from probe.distillation.token_match import aligned_positions, token_map, warp
from probe.text.examples import Example
from probe.text.tokenization import PairTokenizer
from tests.support import tiny


def test_warp_by_hand():
    """A teacher token that two student tokens share: rows 1 and 2 both go to column 1."""
    distances = np.array([[0.0, 3.0, 3.0], [3.0, 1.0, 3.0], [3.0, 1.0, 3.0], [3.0, 3.0, 0.0]])
    assert warp(distances) == [(0, 0), (1, 1), (2, 1), (3, 2)]


def test_ties_go_diagonally_first():
    assert warp(np.zeros((3, 3))) == [(0, 0), (1, 1), (2, 2)]
    assert warp(np.zeros((1, 3))) == [(0, 0), (0, 1), (0, 2)]
    assert warp(np.zeros((3, 1))) == [(0, 0), (1, 0), (2, 0)]


def paths(n: int, m: int) -> list[list[tuple[int, int]]]:
    if (n, m) == (1, 1):
        return [[(0, 0)]]
    shorter = [(n - 1, m - 1), (n - 1, m), (n, m - 1)]
    return [[*path, (n - 1, m - 1)] for a, b in shorter if a and b for path in paths(a, b)]


@pytest.mark.parametrize("shape", list(itertools.product((1, 2, 4), (1, 3, 5))))
def test_no_path_is_cheaper(shape):
    distances = np.random.default_rng(0).integers(0, 9, shape).astype(float)
    found = warp(distances)
    assert found in paths(*shape)
    assert sum(distances[cell] for cell in found) == min(sum(distances[c] for c in path) for path in paths(*shape))


def test_tokens_map_to_themselves_or_to_the_nearest(monkeypatch):
    monkeypatch.setattr(token_match, "BLOCK", 2)  # more than one block
    student = ["␣the", "the", "␣ho", "use", "‹eos›"]
    teacher = ["the", "‹eos›", "␣house", "uses", "␣thee", "␣the"]
    assert token_map(student, teacher).tolist() == [1, 4, 2, 3, 0, 0]


def test_long_tokens_do_not_wrap_round():
    """A distance of 256 would be 0 in a byte."""
    assert token_map(["a" * 256, "b" * 250 + "c"], ["b" * 256]).tolist() == [1]


def test_equal_tokenizers_align_everywhere():
    pairer = PairTokenizer(tiny.byte_bpe(), tiny.byte_bpe())
    mapping = token_map(*pairer.displays)
    assert mapping.tolist() == list(range(len(pairer.displays[0])))
    (pair,) = pairer.encode([Example("a", "Say:", ("Pack my box with naïve 北京 😀",), "")])
    assert aligned_positions(pair, mapping).tolist() == list(range(len(pair.student.targets)))


def test_a_position_with_two_partners_has_none():
    """The path takes "the" through "the" and then "t", so neither is its one partner, though one is its own token."""
    (pair,) = PairTokenizer(tiny.byte_bpe(), tiny.byte_bpe()).encode([Example("a", "", ("x",), "")])

    def side(tokens: tuple[str, ...], ids: tuple[int, ...]):
        axis = replace(pair.student.axis, tokens=tokens, pieces=tokens, ids=ids, spans=((0, 0),) * len(ids))
        return replace(pair.student, ids=(9, *ids), start=0, axis=axis)

    made = replace(pair, student=side(("the", "‹eos›"), (1, 0)), teacher=side(("the", "t", "‹eos›"), (1, 2, 0)))
    assert aligned_positions(made, np.array([0, 1, 2])).tolist() == [-1, 2]


def test_a_position_counts_where_one_token_stands_for_its_own():
    pairer = PairTokenizer(tiny.byte_bpe(280), tiny.byte_bpe(320))
    mapping = token_map(*pairer.displays)
    (pair,) = pairer.encode([Example("a", "Say:", ("the quick fox.",), "")])
    aligned = aligned_positions(pair, mapping)
    student, teacher = pair.student.axis.tokens, pair.teacher.axis.tokens
    assert aligned[-1] == len(teacher) - 1  # EOS with EOS
    found = [(student[i], teacher[j]) for i, j in enumerate(aligned) if j >= 0]
    assert ("‹eos›", "‹eos›") in found and len(found) > 3
    vocabulary = set(pairer.displays[0])
    for own, other in found:  # the same token, or the nearest where the student has no such token
        assert own == other or other not in vocabulary
    shared = [i for i, token in enumerate(student) if token not in teacher]
    assert all(aligned[i] < 0 or teacher[aligned[i]] not in vocabulary for i in shared)
    assert sorted(aligned[aligned >= 0]) == aligned[aligned >= 0].tolist()  # in order
