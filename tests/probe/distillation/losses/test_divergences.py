"""The divergences: by hand, by identity, and against plain probabilities."""

from __future__ import annotations

import math

import pytest
import torch

from probe.distillation.losses.divergences import (
    DIVERGENCES,
    adaptive_kl,
    forward_kl,
    js_divergence,
    reverse_kl,
    skewed_forward_kl,
    skewed_reverse_kl,
)
from tests.support import reference

P, Q = (0.5, 0.5), (0.8, 0.2)  # student, teacher


def logits(probabilities: tuple[float, ...], temperature: float = 1.0) -> torch.Tensor:
    """Logits whose softmax at `temperature` is `probabilities`."""
    return temperature * torch.tensor([probabilities], dtype=torch.double).log()


def kl(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))


def mix(weight: float, a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(weight * x + (1 - weight) * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        (forward_kl, 0.8 * math.log(1.6) + 0.2 * math.log(0.4)),
        (reverse_kl, 0.5 * math.log(0.625) + 0.5 * math.log(2.5)),
        (js_divergence, 0.5 * kl(P, (0.65, 0.35)) + 0.5 * kl(Q, (0.65, 0.35))),
        (skewed_forward_kl, kl(Q, mix(0.1, Q, P))),
        (skewed_reverse_kl, kl(P, mix(0.1, P, Q))),
        # tail: the token with q = 0.2 < 0.5; both gaps are 0.3, so head and tail weigh the same
        (adaptive_kl, 0.5 * kl(Q, P) + 0.5 * kl(P, Q)),
    ],
)
def test_two_tokens_by_hand(divergence, expected, temperature):
    value = divergence(logits(P, temperature), logits(Q, temperature), temperature)
    assert value.shape == (1,)
    assert value.item() == pytest.approx(expected, abs=1e-12)


def test_adaptive_weighs_head_and_tail_by_their_gaps():
    p, q = (0.25, 0.25, 0.5), (0.1, 0.3, 0.6)  # tail {0, 1}: cumulated 0.1, 0.4 < 0.5; gaps 0.15 + 0.05, head 0.1
    expected = (0.1 * kl(q, p) + 0.2 * kl(p, q)) / 0.3
    assert adaptive_kl(logits(p), logits(q), 1.0).item() == pytest.approx(expected, abs=1e-12)


def test_adaptive_released_divides_by_the_temperature_twice():
    p, q = (0.25, 0.25, 0.5), (0.1, 0.3, 0.6)
    ours = DIVERGENCES["adaptive_kl-released"](logits(p, 2.0), logits(q, 2.0), 2.0).item()
    soft_p, soft_q = (torch.softmax(logits(x) / 2, -1).squeeze(0).tolist() for x in (p, q))
    assert ours == pytest.approx((0.1 * kl(soft_q, soft_p) + 0.2 * kl(soft_p, soft_q)) / 0.3, abs=1e-12)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_zero_for_equal_and_positive_else(name):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 11, dtype=torch.double)
    assert DIVERGENCES[name](student, student + 3.0, 2.0).abs().max() < 1e-12  # a shift of logits changes nothing
    assert (DIVERGENCES[name](student, teacher, 2.0) > 0).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_matches_plain_probabilities(name):
    torch.manual_seed(1)
    student, teacher = 3 * torch.randn(2, 4, 6, 17, dtype=torch.double)
    student.requires_grad_()
    ours, theirs = DIVERGENCES[name](student, teacher, 2.0), reference.divergence(name, student, teacher, 2.0)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    grads = [torch.autograd.grad(value.sum(), student)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)


def test_js_is_symmetric_and_at_most_log_two():
    far = torch.tensor([[40.0, 0.0]], dtype=torch.double)
    assert js_divergence(far, -far, 1.0).item() == pytest.approx(math.log(2), abs=1e-12)
    torch.manual_seed(2)
    a, b = torch.randn(2, 3, 9, dtype=torch.double)
    torch.testing.assert_close(js_divergence(a, b, 1.0), js_divergence(b, a, 1.0))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_extreme_logits_stay_finite_with_their_gradient(name):
    student = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    value = DIVERGENCES[name](student, torch.tensor([[-200.0, 0.0, 200.0]]), 1.0)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(student.grad).all()
