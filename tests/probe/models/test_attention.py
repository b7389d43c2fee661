"""Cross-model attention: by hand, by identity, and the five ways to measure σ."""

from __future__ import annotations

import math

import pytest
import torch

from probe.errors import NonFiniteError, UsageError
from probe.models.attention import (
    CrossModelAttention,
    Normalisation,
    attention_scores,
    batch_key_sigma,
    key_sigma,
    keys,
    measure_sigmas,
    queries,
    s2t_weights,
    t2s_weights,
    values_t2s,
)
from tests.support.published import batch_sigmas


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_projector_shapes():
    attention = CrossModelAttention(3, 5)
    shapes = {name: tuple(weight.shape) for name, weight in attention.named_parameters()}
    assert shapes == {
        "query.weight": (10, 6), "query.bias": (10,), "t2s.weight": (3, 5), "t2s.bias": (3,),
        "s2t.weight": (5, 3), "s2t.bias": (5,),
    }  # fmt: skip


def test_keys_queries_scores_and_values_by_hand():
    key = keys(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [4.0]]), 2.0)
    assert key.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    query = queries(torch.tensor([[1.0]]), torch.tensor([[2.0]]), lambda pair: 10 * pair)
    assert query.tolist() == [[10.0, 20.0]]
    expected = [[25 / math.sqrt(2), 55 / math.sqrt(2)]]  # d_t = 1: divided by sqrt(2 d_t)
    torch.testing.assert_close(attention_scores(query, key), torch.tensor(expected))
    value = values_t2s(torch.tensor([[6.0]]), torch.tensor([[2.0]]), 3.0, 4.0, lambda x: x + 1)
    assert value.tolist() == [[3.5]]


def test_t2s_rows_and_s2t_columns_sum_to_one():
    scores = 5 * torch.randn(4, 7)
    torch.testing.assert_close(t2s_weights(scores).sum(1), torch.ones(4))
    torch.testing.assert_close(s2t_weights(scores).sum(0), torch.ones(7))


def test_masked_positions_get_no_weight_and_change_nothing():
    scores = torch.randn(2, 4, 7)
    wide = torch.cat([scores, 100 * torch.ones(2, 4, 2)], dim=2)
    weights = t2s_weights(wide, torch.arange(9) < 7)
    assert weights[..., 7:].abs().max() == 0
    torch.testing.assert_close(weights[..., :7], t2s_weights(scores))
    tall = torch.cat([scores[0], 100 * torch.ones(3, 7)])
    weights = s2t_weights(tall, torch.arange(7) < 4)
    assert weights[4:].abs().max() == 0
    torch.testing.assert_close(weights[:4], s2t_weights(scores[0]))


def test_a_row_without_a_valid_cell_is_refused():
    with pytest.raises(ValueError, match="valid cell"):
        t2s_weights(torch.zeros(2, 3), torch.tensor([[True, False, True], [False, False, False]]))
    with pytest.raises(ValueError, match="valid cell"):
        s2t_weights(torch.zeros(2, 3), torch.tensor([False, False]))


def test_tied_positions_have_equal_columns():
    table = torch.randn(6, 4)
    ids = torch.tensor([0, 1, 0, 1])
    key = keys(table[ids[:-1]], table[ids[1:]], 1.0)  # positions 0 and 2 are the same (input, target) pair
    weights = t2s_weights(attention_scores(torch.randn(5, 8), key))
    torch.testing.assert_close(weights[:, 0], weights[:, 2], rtol=0, atol=1e-7)


def test_measured_sigmas_are_unbiased_over_all_elements():
    x, z, hidden = torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 6.0]]), torch.tensor([[1.0, 3.0]])
    sigmas = measure_sigmas(x, z, hidden)
    assert sigmas.kind == "frozen"
    assert sigmas.sigma_k == pytest.approx(math.sqrt((9 + 1 + 1 + 9) / 3))
    assert sigmas.sigma_e == pytest.approx(math.sqrt(2))
    assert sigmas.sigma_h == pytest.approx(math.sqrt(2))
    assert key_sigma(x, z) == sigmas.sigma_k


def test_batch_normalisation_counts_token_zero_outside_the_response():
    x, z, hidden = torch.randn(3, 2, 5, 4)
    zero = torch.full((4,), 7.0)
    response = torch.tensor([[False, True, True, True, False], [True, True, False, False, False]])
    filled = [emb.clone() for emb in (x, z)]
    for emb in filled:
        emb[~response] = zero
    sigmas = batch_sigmas(x, z, hidden, response, zero)
    assert sigmas.kind == "batch"
    assert sigmas.sigma_k == pytest.approx(torch.cat(filled, -1).std().item(), rel=1e-5)
    assert sigmas.sigma_k == batch_key_sigma(x, z, response, zero)
    assert sigmas.sigma_e == pytest.approx(filled[1].std().item(), rel=1e-5)
    assert sigmas.sigma_h == pytest.approx(hidden.std().item(), rel=1e-5)  # all positions, padding included


def test_batch_normalisation_depends_on_padding_and_masked_does_not():
    x, z, hidden = torch.randn(3, 1, 3, 4)
    zero, response = torch.zeros(4), torch.ones(1, 3, dtype=torch.bool)
    pad = [torch.cat([emb, torch.zeros(1, 4, 4)], dim=1) for emb in (x, z, hidden)]
    longer = torch.cat([response, torch.zeros(1, 4, dtype=torch.bool)], dim=1)
    assert batch_sigmas(*pad, longer, zero).sigma_k < 0.8 * batch_sigmas(x, z, hidden, response, zero).sigma_k
    alone, padded = (
        measure_sigmas(*(s[r] for s in side), kind="masked") for side, r in (((x, z, hidden), response), (pad, longer))
    )
    assert alone == padded


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_impossible_sigmas_are_refused(value):
    with pytest.raises(NonFiniteError, match="sigma_h"):
        Normalisation("frozen", 1.0, value, 1.0)


def test_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="frozen, batch, masked, example.*'layer'"):
        Normalisation("layer", 1.0, 1.0, 1.0)


def test_measuring_broken_or_constant_states_is_refused():
    good = torch.randn(3, 4)
    with pytest.raises(NonFiniteError, match="hidden states must be finite"):
        measure_sigmas(good, good, torch.full((3, 4), math.nan))
    with pytest.raises(NonFiniteError, match="sigma_e"):
        measure_sigmas(good, torch.ones(3, 4), good)
    with pytest.raises(NonFiniteError, match="at least two"):
        measure_sigmas(good[:0], good[:0], good[:0])


def test_doubling_sigma_halves_the_scores():
    x, z = torch.randn(2, 4, 3)
    query = torch.randn(2, 6)
    one, two = (attention_scores(query, keys(x, z, sigma)) for sigma in (1.0, 2.0))
    torch.testing.assert_close(one, 2 * two)
