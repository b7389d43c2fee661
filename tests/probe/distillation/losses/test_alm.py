"""Approximate likelihood matching: its equation and gradients, worked cases, and the public notebook's chunks."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from probe.distillation.imposed import chunk_index
from probe.distillation.losses import student_head
from probe.distillation.losses.alm import ChunkIndex, alm, binary_kl
from probe.distillation.losses.target_likelihood import target_likelihoods
from tests.support.dense_variants import DIM_S, TEXTS, VOCAB_S, World, chunks_of, pair_of

close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-11)


@pytest.fixture(autouse=True)
def _double(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(student_head, "TILE_FLOATS", 64)  # several chunks of rows even here
    monkeypatch.setattr(student_head, "LEAST_ROWS", 2)
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def test_target_likelihoods_are_those_of_a_softmax():
    hidden, head = torch.randn(9, DIM_S, requires_grad=True), torch.randn(VOCAB_S, DIM_S, requires_grad=True)
    bias, targets, way = torch.randn(VOCAB_S, requires_grad=True), torch.randint(VOCAB_S, (9,)), torch.randn(9)
    ours = target_likelihoods(hidden, head, targets, bias)
    logits = hidden @ head.T + bias
    dense = logits.log_softmax(1).gather(1, targets[:, None]).squeeze(1)
    close(ours.log_p, dense)
    assert ours.correct == (logits.argmax(1) == targets).sum()
    leaves = hidden, head, bias
    found, wanted = (torch.autograd.grad(made @ way, leaves) for made in (ours.log_p, dense))
    for got, want in zip(found, wanted, strict=True):
        close(got, want)


def test_two_chunks_by_hand():
    """Teacher chunks of 1/2 · 1/2 and 1/8, student chunks of 1/2 and 1/4 · 1/2, at τ = 1: (1/4 against 1/2) is
    1/4 log 1/2 + 3/4 log 3/2 and (1/8 against 1/8) nothing."""
    index = ChunkIndex(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
    world = World()
    object.__setattr__(world.states, "student_lengths", [3])
    object.__setattr__(world.states, "teacher_lengths", [3])
    # a head of one feature: logits (log odds, 0), so that p(target 0) is what the table says
    odds = [p / (1 - p) for p in (1 / 2, 1 / 4, 1 / 2)]
    states = {"student_hidden": torch.tensor([[math.log(x)] for x in odds]), "student_targets": torch.zeros(3).long()}
    for name, value in states.items():
        object.__setattr__(world.states, name, value)
    object.__setattr__(world.states, "teacher_targets", torch.zeros(3).long())
    teacher = torch.tensor([math.log(1 / 2), math.log(1 / 2), math.log(1 / 8)])
    head, options = torch.tensor([[1.0], [0.0]]), {"kd_rate": 0.25, "temperature": 1.0, "reduction": "sum"}
    terms = alm(world.states, head, teacher, index, **options)
    kl = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    ce = math.log(2) + math.log(4) + math.log(2)
    assert terms.kd.item() == pytest.approx(kl, abs=1e-5) and terms.ce.item() == pytest.approx(ce)
    assert terms.loss.item() == pytest.approx(0.75 * ce + 0.25 * kl, abs=1e-5)


def test_the_public_codes_term_is_ours_and_the_teachers_entropy():
    """Its binary cross-entropy at temperature 100 with 1e-6 taken off, written out in probabilities."""
    teacher, student = -8 * torch.rand(50), -8 * torch.rand(50)
    p, q = ((one / 100 - 1e-6).exp() for one in (teacher, student))
    public = -(p * q.log() + (1 - p) * (1 - q).log())
    entropy = -(p * p.log() + (1 - p) * (1 - p).log())
    torch.testing.assert_close(binary_kl(teacher / 100, student / 100), public - entropy, rtol=1e-7, atol=1e-12)


def test_the_chunks_of_the_public_notebook():
    """Its response, cut as Llama 3 and Gemma 2 do: the chunks of more than one token are the ones that it lists."""
    teacher = ["I", "'m", " a", " large", " language", " model", ",", " so", " I", "'m", " naturally", " doing",
               " pretty", " well", ",", " than", "ky", "ou", "very", "much", "."]  # fmt: skip
    student = ["I", "'", "m", " a", " large", " language", " model", ",", " so", " I", "'", "m", " naturally",
               " doing", " pretty", " well", ",", " than", "kyou", "very", "much", "."]  # fmt: skip
    index = chunk_index([pair_of((student, teacher))])
    several = []
    for chunk in range(index.count):
        tokens = [[side[k] for k in (where == chunk).nonzero().flatten().tolist() if k < len(side)]
                  for side, where in ((teacher, index.teacher), (student, index.student))]  # fmt: skip
        several += [tokens] if max(map(len, tokens)) > 1 else []
    assert several == [[["'m"], ["'", "m"]], [["'m"], ["'", "m"]], [["ky", "ou"], ["kyou"]]]


def teacher_log_p(world: World):
    logits = world.states.teacher_hidden @ world.heads[1].T
    return logits.log_softmax(1).gather(1, world.states.teacher_targets[:, None]).squeeze(1)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 100.0])
def test_alm_is_its_equation(temperature):
    world = World()
    ours = alm(world.states, world.heads[0], teacher_log_p(world), chunk_index([pair_of(p) for p in TEXTS]),
               kd_rate=0.3, temperature=temperature, reduction="sum")  # fmt: skip
    total = torch.zeros(())
    for number, pieces in enumerate(TEXTS):
        part = world.part(number)
        log_q = (part["student_hidden"] @ world.heads[0].T).log_softmax(1)
        log_q = log_q[torch.arange(len(log_q)), part["student_targets"]]
        log_p = teacher_log_p(world).split(list(world.states.teacher_lengths))[number]
        total = total - 0.7 * log_q.sum()
        for rows, columns in chunks_of(pieces):
            p, q = ((side.sum() / temperature - 1e-6).exp() for side in (log_p[columns], log_q[rows]))
            kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
            total = total + 0.3 * temperature * kl
    torch.testing.assert_close(ours.loss, total, rtol=1e-8, atol=1e-8)
    found, wanted = world.gradients(ours.loss), world.gradients(total)
    for name, want in wanted.items():
        assert want.abs().max() > 0, name
        torch.testing.assert_close(found[name], want, rtol=1e-7, atol=1e-8)


def test_a_student_as_likely_as_the_teacher_has_nothing_to_learn_from_chunks():
    world = World()
    own = target_likelihoods(world.states.student_hidden, world.heads[0], world.states.student_targets)
    index = chunk_index([pair_of(pieces) for pieces in TEXTS])
    same = ChunkIndex(index.student, index.student, index.count)
    object.__setattr__(world.states, "teacher_targets", world.states.student_targets)
    terms = alm(world.states, world.heads[0], own.log_p.detach(), same, kd_rate=1.0, reduction="sum")
    assert terms.kd.abs().item() < 1e-9
    assert all(gradient.abs().max() < 1e-9 for gradient in world.gradients(terms.loss).values())


def test_the_weight_of_a_chunk_at_a_large_temperature():
    """τ KL grows into the divergence of two Poisson rates: its slope in log q is log p / log q − 1."""
    log_p, log_q = torch.tensor([-3.0]), torch.tensor([-5.0], requires_grad=True)
    tau = 1e4
    (slope,) = torch.autograd.grad(tau * binary_kl(log_p / tau, log_q / tau).sum(), log_q)
    assert slope.item() == pytest.approx(3 / 5 - 1, rel=1e-2)
