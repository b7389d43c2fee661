"""The byte gap, the offset features and the monotone paths, against counting and enumeration; and their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe.models.attention import ByteAttention, CrossModelAttention, MonotoneAttention, s2t_weights, t2s_weights
from probe.models.byte_gap import byte_gaps, offset_features
from probe.models.map_rule import MapRule, map_weights, rule_of
from probe.models.monotone import path_posteriors
from probe.scoring.alignment import span_links
from tests.support.aligned import axis
from tests.support.dense_variants import TEXTS, features, gaps, posteriors, spans_of
from tests.support.strategies import PLACES, SEEDS, SHORT_TEXTS, law, pieces_at

LAW = law(40)
LIKE = torch.zeros((), dtype=torch.double)
SHAPES = ((1, 1), (1, 4), (3, 1), (2, 2), (3, 5), (5, 4))


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def test_gaps_by_hand():
    # student ab|cde|eos, teacher a|b|cd|e|eos
    spans = ((0, 2), (2, 5), (5, 5)), ((0, 1), (1, 2), (2, 4), (4, 5), (5, 5))
    assert byte_gaps(spans, LIKE).tolist() == [[0, 0, 1, 3, 4], [2, 1, 0, 0, 1], [5, 4, 2, 1, 0]]


def test_a_marker_without_text_belongs_to_what_starts_there():
    spans = ((0, 0), (0, 2), (2, 2)), ((0, 1), (1, 2), (2, 2))
    assert byte_gaps(spans, LIKE)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("pieces", TEXTS, ids=str)
def test_gaps_are_the_bytes_counted(pieces):
    torch.testing.assert_close(byte_gaps(spans_of(pieces), LIKE), gaps(spans_of(pieces)))


def test_features_of_the_three_pieces_of_one_word_by_hand():
    """They begin 0, 1/3 and 2/3 into it and are a third as long; EOS beside EOS has o = r = 0."""
    spans = ((0, 1), (1, 2), (2, 3), (3, 3)), ((0, 3), (3, 3))
    weights = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    found = offset_features(weights, spans)
    o, share = torch.tensor([0, 1 / 3, 2 / 3, 0]), torch.tensor([0.25, 0.25, 0.25, 0])
    for column, angle in enumerate((math.pi / 2 * o, math.pi * o, math.pi / 2 * share, math.pi * share)):
        torch.testing.assert_close(found[:, column], angle.sin())
        torch.testing.assert_close(found[:, 4 + column], angle.cos())


@pytest.mark.parametrize("pieces", TEXTS, ids=str)
def test_features_are_their_definition(pieces):
    spans = spans_of(pieces)
    weights = torch.randn(len(spans[0]), len(spans[1])).softmax(1)
    torch.testing.assert_close(offset_features(weights, spans), features(weights, spans))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_posteriors_are_those_of_all_paths_enumerated(shape):
    scores = 3 * torch.randn(shape)
    torch.testing.assert_close(path_posteriors([scores])[0], posteriors(scores), rtol=1e-9, atol=1e-12)


def test_a_planted_path_is_found():
    scores, path = torch.full((4, 5), -9.0), [(0, 0), (1, 1), (1, 2), (2, 3), (3, 4)]
    for cell in path:
        scores[cell] = 9.0
    found = path_posteriors([scores])[0]
    assert {tuple(cell) for cell in (found > 0.5).nonzero().tolist()} == set(path)


def test_the_gradient_of_the_recursion_is_that_of_the_enumeration():
    scores = [torch.randn(shape, requires_grad=True) for shape in SHAPES]
    towards = [torch.randn(shape) for shape in SHAPES]

    def gradients(made):
        return torch.autograd.grad(sum((one * way).sum() for one, way in zip(made, towards, strict=True)), scores)

    wanted = gradients([posteriors(one) for one in scores])
    for found, want in zip(gradients(path_posteriors(scores)), wanted, strict=True):
        torch.testing.assert_close(found, want, rtol=1e-8, atol=1e-10)


def test_gradcheck():
    scores = [torch.randn(shape, requires_grad=True) for shape in ((3, 4), (2, 5), (1, 1))]
    assert torch.autograd.gradcheck(lambda *parts: tuple(path_posteriors(parts)), scores)


def test_padding_changes_nothing():
    scores = [torch.randn(shape) for shape in SHAPES]
    for one, padded in zip(scores, path_posteriors(scores), strict=True):
        torch.testing.assert_close(padded, path_posteriors([one])[0], rtol=1e-12, atol=1e-15)


def test_long_and_steep_scores_stay_finite():
    """300 x 280 cells of scores up to a hundred: F reaches 30,000; rows and columns still weigh what they must."""
    scores = 30 * torch.randn(300, 280, dtype=torch.float)
    scores.requires_grad_()
    ((t2s, s2t),) = map_weights(MapRule(in_order=True), [scores], None)
    assert t2s.dtype == torch.float
    torch.testing.assert_close(t2s.sum(1), torch.ones(300, dtype=torch.float))
    torch.testing.assert_close(s2t.sum(0), torch.ones(280, dtype=torch.float))
    (t2s[:, ::7].sum() + s2t[::5].sum()).backward()
    assert scores.grad is not None and bool(scores.grad.isfinite().all())


def test_rules_of_the_projectors():
    assert rule_of(CrossModelAttention(4, 6)) == MapRule()
    assert rule_of(MonotoneAttention(4, 6)) == MapRule(in_order=True)
    rule = rule_of(ByteAttention(4, 6))
    assert rule.reads_bytes and rule.gap_rate.item() == pytest.approx(0.05, rel=1e-6)
    with pytest.raises(ValueError, match="needs the spans"):
        map_weights(rule, [torch.randn(2, 3)], None)


def test_maps_of_a_rule_by_their_definition():
    spans = spans_of(TEXTS[0])
    scores = torch.randn(len(spans[0]), len(spans[1]))
    ((t2s, s2t),) = map_weights(MapRule(gap_rate=0.3), [scores], [spans])
    torch.testing.assert_close(t2s, (scores - 0.3 * gaps(spans)).softmax(1))
    torch.testing.assert_close(s2t, (scores - 0.3 * gaps(spans)).softmax(0))
    ((alone,),) = map_weights(MapRule(), [scores], None, ["s2t"])
    assert torch.equal(alone, s2t_weights(scores))
    ((nothing, _),) = map_weights(MapRule(gap_rate=torch.zeros(1)), [scores], [spans])
    assert torch.equal(nothing, t2s_weights(scores))  # λ = 0 is DSKD-CMA to the bit


@st.composite
def cuts(draw: st.DrawFn) -> tuple:
    """Spans of two cuts of a text, EOS last."""
    text = draw(SHORT_TEXTS)
    return tuple(axis(text, pieces_at(text, draw(PLACES))).spans for _ in range(2))


@LAW
@given(cuts())
def test_no_gap_is_a_possible_link_of_the_span_rule(spans):
    """Between cuts of one text, g is 0 just where the rule links; turned round, g is turned round."""
    found = byte_gaps(spans, LIKE)
    assert {tuple(cell) for cell in (found == 0).nonzero().tolist()} == set(span_links(*spans)[1])
    assert torch.equal(byte_gaps(spans[::-1], LIKE), found.T)


@LAW
@given(cuts(), SEEDS)
def test_a_dear_gap_leaves_weight_on_links_alone(spans, seed):
    scores = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(spans[0]), len(spans[1]))))
    ((t2s, s2t),) = map_weights(MapRule(gap_rate=100.0), [scores], [spans])
    linked = byte_gaps(spans, LIKE) == 0
    torch.testing.assert_close((t2s * linked).sum(1), torch.ones(len(spans[0])))
    torch.testing.assert_close((s2t * linked).sum(0), torch.ones(len(spans[1])))


@LAW
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from((0.0, 1.0, 20.0)), SEEDS)
def test_laws_of_path_posteriors(n, m, scale, seed):
    """Shares of paths; every path passes both corners, each row and each column; turned or read backwards, so is P."""
    scores = scale * torch.from_numpy(np.random.default_rng(seed).normal(size=(n, m)))
    found = path_posteriors([scores])[0]
    assert bool((found >= 0).all()) and float(found.max()) <= 1 + 1e-9
    assert float(found[0, 0]) == pytest.approx(1) and float(found[-1, -1]) == pytest.approx(1)
    assert float(found.sum(1).min()) >= 1 - 1e-9 and float(found.sum(0).min()) >= 1 - 1e-9
    torch.testing.assert_close(path_posteriors([scores.T])[0], found.T, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(path_posteriors([scores.flip((0, 1))])[0], found.flip((0, 1)), rtol=1e-8, atol=1e-10)
