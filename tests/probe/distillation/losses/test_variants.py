"""Losses of dskd-cma-b and dskd-cma-m against naive equations; the nested point; what λ and the offsets learn from."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from probe.distillation.losses import student_head
from probe.distillation.losses.attended import dskd_cma
from probe.distillation.losses.terms import Heads
from probe.models.attention import ByteAttention, CrossModelAttention, MonotoneAttention, Normalisation
from tests.support.dense_variants import DIM_S, DIM_T, SIGMAS, TEXTS, World, dense_loss, features, gaps, posteriors

close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-11)
NORMALISATION = Normalisation("frozen", *SIGMAS)


@pytest.fixture(autouse=True)
def _double(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(student_head, "TILE_FLOATS", 64)  # several chunks of rows even here
    monkeypatch.setattr(student_head, "LEAST_ROWS", 2)
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def loss_of(world: World, attention, **options):
    options = {"spans": world.spans, "reduction": "sum", **options}
    return dskd_cma(world.states, attention, Heads(*world.heads), NORMALISATION, **options)


def with_bytes(offset_values: bool = True) -> ByteAttention:
    """λ = 0.4, and a U that is not 0."""
    attention = ByteAttention(DIM_S, DIM_T, offset_values)
    torch.nn.init.constant_(attention.gap, math.log(math.expm1(0.4)))
    if attention.offset is not None:
        torch.nn.init.normal_(attention.offset.weight)
    return attention


def assert_dense(world: World, attention, weigh, **added):
    ours, dense = loss_of(world, attention).loss, dense_loss(world, attention, weigh, **added)
    close(ours, dense)
    found, wanted = world.gradients(ours, attention), world.gradients(dense, attention)
    for name, want in wanted.items():
        assert want.abs().max() > 0, name
        close(found[name], want)


@pytest.mark.parametrize("offset_values", [True, False])
def test_bytes_are_the_dense_equation(offset_values):
    world, attention = World(), with_bytes(offset_values)

    def weigh(scores, spans):
        biased = scores - F.softplus(attention.gap) * gaps(spans)
        return biased.softmax(1), biased.softmax(0)

    added = {"added": lambda weights, spans: attention.offset(features(weights, spans))} if offset_values else {}
    assert_dense(world, attention, weigh, **added)


def test_order_is_the_dense_equation():
    def weigh(scores, _spans):
        found = posteriors(scores)
        return found / found.sum(1, keepdim=True), found / found.sum(0, keepdim=True)

    assert_dense(World(), MonotoneAttention(DIM_S, DIM_T), weigh)


@pytest.mark.parametrize("make", [with_bytes, lambda: MonotoneAttention(DIM_S, DIM_T)], ids=["b", "m"])
def test_batch_mates_change_nothing(make):
    whole, attention = World(), make()
    together = loss_of(whole, attention).loss
    total = torch.zeros(())
    for number in range(len(TEXTS)):
        alone = World(spans=whole.spans[number : number + 1])
        part = whole.part(number)
        for name, value in part.items():
            object.__setattr__(alone.states, name, value)
        alone.heads = whole.heads
        total = total + loss_of(alone, attention).loss
    close(total, together)


@pytest.mark.parametrize("offset_values", [True, False])
def test_without_gap_and_offsets_it_is_dskd_cma_to_the_bit(offset_values):
    """λ = 0 and U = 0: the loss, every term and every gradient are DSKD-CMA's own."""
    world, plain = World(), CrossModelAttention(DIM_S, DIM_T)
    nested = ByteAttention(DIM_S, DIM_T, offset_values)
    nested.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.constant_(nested.gap, -1e3)  # softplus gives 0
    assert nested.gap_rate.item() == 0.0 and (nested.offset is None or not nested.offset.weight.any())
    found, wanted = loss_of(world, nested), loss_of(world, plain, spans=None)
    for term in ("loss", "ce", "t2s_ce", "t2s_kd", "s2t_kd", "t2s_correct", "s2t_correct", "max_t2s_prob"):
        assert torch.equal(getattr(found, term), getattr(wanted, term)), term
    got, want = world.gradients(found.loss, nested), world.gradients(wanted.loss, plain)
    for name, gradient in want.items():
        assert torch.equal(got[name], gradient), name


def test_at_the_start_lambda_and_offsets_already_learn():
    """λ_0 = 0.05 and U_0 = 0, and both get a gradient from distillation, none from the cross-entropy alone."""
    world, attention = World(), ByteAttention(DIM_S, DIM_T)
    assert attention.gap_rate.item() == pytest.approx(0.05) and not attention.offset.weight.any()
    learnt = world.gradients(loss_of(world, attention).loss, attention)
    alone = world.gradients(loss_of(world, attention, kd_rate=0.0).loss, attention)
    for name in ("gap", "offset.weight", "query.weight"):
        assert learnt[name].abs().max() > 0 and alone[name].abs().max() == 0


def test_spans_are_asked_for():
    with pytest.raises(ValueError, match="needs the spans"):
        loss_of(World(), with_bytes(), spans=None)
