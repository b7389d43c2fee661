"""The divergences D(student, teacher) of the distillation terms, one number a position.

Each takes logits [..., vocab] of the student (which gets the gradient) and of the teacher (a constant to the caller),
divides both by the temperature τ and sums over the vocabulary. None is multiplied by τ², and no constant is dropped:
each is 0 where the two distributions are equal. p is the student's distribution, q the teacher's. Logits must be
finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, "*position vocab"]
PerPosition = Float[Tensor, "*position"]
Divergence = Callable[[Tensor, Tensor, float], Tensor]


def forward_kl(student: Logits, teacher: Logits, temperature: float) -> PerPosition:
    """KL(q ‖ p) = Σ_v q (log q − log p): the student must cover all that the teacher does."""
    log_p, log_q = _log_probs(student, teacher, temperature)
    return _kl(log_q, log_p)


def reverse_kl(student: Logits, teacher: Logits, temperature: float) -> PerPosition:
    """KL(p ‖ q) = Σ_v p (log p − log q): the student must stay where the teacher is."""
    log_p, log_q = _log_probs(student, teacher, temperature)
    return _kl(log_p, log_q)


def js_divergence(student: Logits, teacher: Logits, temperature: float) -> PerPosition:
    """½ KL(p ‖ m) + ½ KL(q ‖ m) with m = (p + q) / 2; symmetric, at most log 2."""
    log_p, log_q = _log_probs(student, teacher, temperature)
    log_m = _log_mixture(log_p, log_q, 0.5)
    return 0.5 * (_kl(log_p, log_m) + _kl(log_q, log_m))


def skewed_forward_kl(student: Logits, teacher: Logits, temperature: float, *, skew: float = 0.1) -> PerPosition:
    """KL(q ‖ λ q + (1 − λ) p) with λ = `skew` (arXiv 2402.03898); finite where p vanishes."""
    log_p, log_q = _log_probs(student, teacher, temperature)
    return _kl(log_q, _log_mixture(log_q, log_p, skew))


def skewed_reverse_kl(student: Logits, teacher: Logits, temperature: float, *, skew: float = 0.1) -> PerPosition:
    """KL(p ‖ λ p + (1 − λ) q) with λ = `skew` (arXiv 2402.03898); finite where q vanishes."""
    log_p, log_q = _log_probs(student, teacher, temperature)
    return _kl(log_p, _log_mixture(log_p, log_q, skew))


def adaptive_kl(
    student: Logits, teacher: Logits, temperature: float, *, alpha: float = 0.5, released: bool = False
) -> PerPosition:
    """(g_head KL(q ‖ p) + g_tail KL(p ‖ q)) / (g_head + g_tail)   (arXiv 2404.02657).

    The tail is the set of the teacher's least likely tokens whose cumulated probability stays below `alpha`, the head
    the rest; g is Σ |q − p| over each, a constant to the gradient. Equal distributions give 0. `released` replays the
    published code, which divides the logits of the two KLs by the temperature a second time.
    """
    log_p, log_q = _log_probs(student, teacher, temperature)
    with torch.no_grad():
        p, q = log_p.exp(), log_q.exp()
        sorted_q, order = q.sort(dim=-1)
        gap = (sorted_q - p.gather(-1, order)).abs()
        tail = sorted_q.cumsum(dim=-1) < alpha
        g_tail = (gap * tail).sum(dim=-1)
        g_head = (gap * ~tail).sum(dim=-1)
        share = g_head / (g_head + g_tail).clamp_min(torch.finfo(gap.dtype).tiny)
    if released:
        log_p, log_q = _log_probs(student, teacher, temperature * temperature)
    return share * _kl(log_q, log_p) + (1 - share) * _kl(log_p, log_q)


def sorted_l1(student: Logits, teacher: Float[Tensor, "*position vocab_t"], temperature: float) -> PerPosition:
    """Σ_v |p(v) − q(v)| over both sorted downwards, the shorter followed by zeros (ULD, arXiv 2402.12030); at most 2.

    The vocabularies may differ: only the shapes of the two distributions are compared.
    """
    p, q = (torch.softmax(logits / temperature, -1).sort(-1, descending=True).values for logits in (student, teacher))
    shared = min(p.shape[-1], q.shape[-1])
    rest = p[..., shared:].sum(-1) + q[..., shared:].sum(-1)  # one of the two is empty
    return (p[..., :shared] - q[..., :shared]).abs().sum(-1) + rest


def same_vocabulary(divergence: Divergence) -> Divergence:
    """``divergence`` over the ids that both heads have: heads of one tokenizer may be padded to unequal heights."""

    def over_shared(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        shared = min(student.shape[-1], teacher.shape[-1])
        return divergence(student[..., :shared], teacher[..., :shared], temperature)

    return over_shared


DIVERGENCES: dict[str, Divergence] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "js_divergence": js_divergence,
    "skewed_forward_kl": skewed_forward_kl,
    "skewed_reverse_kl": skewed_reverse_kl,
    "adaptive_kl": adaptive_kl,
    "adaptive_kl-released": partial(adaptive_kl, released=True),
}


def _log_probs(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return torch.log_softmax(student / temperature, dim=-1), torch.log_softmax(teacher / temperature, dim=-1)


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    return (log_a.exp() * (log_a - log_b)).sum(dim=-1)


def _log_mixture(log_a: Tensor, log_b: Tensor, weight: float) -> Tensor:
    """log(weight · a + (1 − weight) · b), in logs so that nothing underflows."""
    return torch.logaddexp(log_a + math.log(weight), log_b + math.log1p(-weight))
