"""Approximate likelihood matching (ALM, arXiv 2503.20083): a chunk of text is as likely to both models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from probe.distillation.losses.target_likelihood import target_likelihoods
from probe.distillation.losses.terms import LossTerms, PairedStates, Reduction, finish

LEAST = 1e-6  # taken off tempered log-likelihoods, as the public code does: a chunk of probability 1 has no odds


@dataclass(frozen=True)
class ChunkIndex:
    """The chunk of each position, flat over the batch; ``count`` is that of positions in no chunk."""

    student: Int[Tensor, " student"]
    teacher: Int[Tensor, " teacher"]
    count: int


def alm(
    states: PairedStates,
    student_head: Float[Tensor, "vocab_s d_s"],
    teacher_log_p: Float[Tensor, " teacher"],
    index: ChunkIndex,
    *,
    kd_rate: float = 0.5,
    temperature: float = 100.0,
    student_bias: Float[Tensor, " vocab_s"] | None = None,
    reduction: Reduction = "mean",
) -> LossTerms:
    """L = (1 − λ) L_ce + λ Σ_c τ KL(Bern(p_c^(1/τ)) ‖ Bern(q_c^(1/τ))), λ = `kd_rate`, τ = `temperature`.

    log p_c is the sum of the teacher's log-likelihoods of its targets in the chunk c, log q_c the student's: of the
    same text after the same text. Chunks that one side does not cover count in L_ce alone. A large τ looks at long,
    unlikely chunks as well: at τ = 1 both coins all but never fall on them, and nothing is learnt.

    The term is multiplied by τ, so that λ weighs it against L_ce: its derivative by log q_c tends to
    log p_c / log q_c − 1 as τ grows. The public code has the cross-entropy of the same coins, not multiplied: it is
    larger by their entropy, a constant. LEAST is its. Chunks are not debiased.

    `mean` divides by the number of student targets. Reached by the gradient: `student_hidden`, `student_head` and
    `student_bias`; the teacher is a constant. `teacher_log_p`: log p(z_j) of each position, untempered.
    """
    own = target_likelihoods(states.student_hidden, student_head, states.student_targets, student_bias)
    by_chunk = [
        log_p.new_zeros(index.count + 1).index_add(0, where.to(log_p.device), log_p)[: index.count]
        for log_p, where in ((teacher_log_p, index.teacher), (own.log_p, index.student))
    ]
    matched = temperature * binary_kl(by_chunk[0] / temperature, by_chunk[1] / temperature).sum()
    ce = -own.log_p.sum()
    zero = torch.zeros_like(ce.detach())
    terms = LossTerms(
        loss=(1 - kd_rate) * ce + kd_rate * matched,
        n_student=len(states.student_targets),
        n_teacher=len(states.teacher_targets),
        ce=ce.detach(),
        t2s_ce=zero,
        t2s_kd=zero,
        s2t_kd=zero,
        student_correct=own.correct,
        t2s_correct=zero,
        s2t_correct=zero,
        max_t2s_prob=zero,
        kd=matched.detach(),
    )
    return finish(terms, reduction=reduction)


def binary_kl(log_p: Float[Tensor, " chunk"], log_q: Float[Tensor, " chunk"]) -> Float[Tensor, " chunk"]:
    """KL between two coins, p log(p/q) + (1 − p) log((1 − p)/(1 − q)), of their log-probabilities, less LEAST each."""
    log_p, log_q = log_p - LEAST, log_q - LEAST
    return log_p.exp() * (log_p - log_q) - torch.expm1(log_p) * (_log1mexp(log_p) - _log1mexp(log_q))


def _log1mexp(log_p: Tensor) -> Tensor:
    """log(1 − e^x) for x < 0."""
    return torch.log(-torch.expm1(log_p))
