"""Objectives that pair positions one to one: DSKD at equal tokens, and teachers whose logits guide the student's own.

Of a teacher's logits only those of positions that are paired are ever made, a chunk of rows at a time.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from probe.distillation.losses.divergences import Divergence, forward_kl, same_vocabulary, sorted_l1
from probe.distillation.losses.fused_head import TeacherSummary
from probe.distillation.losses.guided_head import Guide, GuidedSums, guided_side
from probe.distillation.losses.student_head import StudentTerms, student_side
from probe.distillation.losses.terms import Heads, LossTerms, PairedStates, Reduction, finish, projected_terms
from probe.models.attention import CrossModelAttention, SpaceProjectors

ABSENT = -1e5  # the logit of a student token that no teacher token maps to: finite, and without probability
Pairs = Int[Tensor, "2 pair"]  # rows: student positions, teacher positions; flat over the batch, each at most once


def same_positions(states: PairedStates) -> Pairs:
    """Position i with position i. Raises ValueError where the two sides do not have the same targets."""
    if list(states.student_lengths) != list(states.teacher_lengths) or not torch.equal(
        states.student_targets, states.teacher_targets
    ):
        raise ValueError("position-to-position distillation needs the same targets on both sides: one tokenizer")
    return torch.arange(len(states.student_targets), device=states.student_targets.device).expand(2, -1)


def shared_beginnings(states: PairedStates) -> Pairs:
    """Position i of an example with its position i, as far as both sides reach: how published ULD pairs them."""
    student: list[int] = []
    teacher: list[int] = []
    first_i = first_j = 0
    for n, m in zip(states.student_lengths, states.teacher_lengths, strict=True):
        student += range(first_i, first_i + min(n, m))
        teacher += range(first_j, first_j + min(n, m))
        first_i, first_j = first_i + n, first_j + m
    return torch.tensor([student, teacher], device=states.student_targets.device)


def dskd(
    states: PairedStates,
    projectors: SpaceProjectors | CrossModelAttention,
    heads: Heads,
    pairs: Pairs | None = None,
    *,
    kd_rate: float = 0.5,
    temperature: float = 2.0,
    divergence: Divergence = forward_kl,
    summary: TeacherSummary | None = None,
    reduction: Reduction = "mean",
) -> LossTerms:
    """DSKD (arXiv 2406.17328, section 3), its positions paired: i with i, or the `pairs` of ETA (arXiv 2504.11426).

    L = (1 − λ) L_ce + λ (L_t2s_ce + L_t2s_kd + L_s2t_kd), λ = `kd_rate`. For a pair (i, j): t2s logits are
    P_t2s(H_t,j) W_sᵀ with target y_i, L_t2s_kd is D(student_i, t2s_i; τ) at every pair, s2t logits are
    P_s2t(H_s,i) W_tᵀ and L_s2t_kd is KL(teacher_j ‖ s2t_j; τ). L_ce counts every position. No σ, no embeddings.
    `mean` divides all of it by the number of student targets; `n_teacher` is the number of pairs.

    Reached by the gradient: `student_hidden`, the student's head (through L_ce and L_t2s_kd only) and both projectors.
    Constants: the teacher, both heads inside t2s and s2t logits, t2s logits in L_t2s_kd. `summary` holds all teacher
    positions. Raises ValueError without `pairs` where the targets of the two sides differ.
    """
    rows, columns = same_positions(states) if pairs is None else pairs
    terms = StudentTerms(1 - kd_rate, kd_rate, temperature, divergence, everywhere=True)
    hidden, targets = states.student_hidden, states.student_targets
    t2s_hidden = projectors.t2s(states.teacher_hidden[columns])
    guided = student_side(hidden[rows], heads.student, t2s_hidden, targets[rows], terms, heads.student_bias)
    alone = _unpaired(states, heads, rows, terms)
    student = replace(
        guided, total=guided.total + alone.total, ce=guided.ce + alone.ce, correct=guided.correct + alone.correct
    )
    done = projected_terms(states, student, projectors.s2t(hidden[rows]), heads, terms, summary, columns)
    return finish(done, reduction=reduction)


def kd(
    states: PairedStates,
    heads: Heads,
    *,
    kd_rate: float = 0.5,
    temperature: float = 2.0,
    divergence: Divergence = forward_kl,
    reduction: Reduction = "mean",
) -> LossTerms:
    """Vanilla KD (arXiv 1503.02531) at one tokenizer: L = (1 − λ) L_ce + λ Σ_i D(student_i, teacher_i; τ).

    Not multiplied by τ². Heads of unequal height (rows padded for speed) are compared over the ids that both have.
    `mean` divides by the number of student targets. Reached by the gradient: `student_hidden` and the
    student's head and bias, from both terms; the teacher is a constant. Raises ValueError where the targets differ.
    """
    pairs = same_positions(states)
    one_size = len(heads.student) == len(heads.teacher)  # a padded table is cut, which has no gradient written out
    terms = StudentTerms(1 - kd_rate, kd_rate, temperature, divergence if one_size else same_vocabulary(divergence))
    guide = _logits_at(pairs[1], states.teacher_hidden, heads)
    return _guided(states, heads, pairs[0], guide, terms, reduction)


def uld(
    states: PairedStates,
    heads: Heads,
    *,
    kd_rate: float = 0.5,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> LossTerms:
    """ULD (arXiv 2402.12030, equation 5): L = (1 − λ) L_ce + λ Σ_i Σ_v |p_i(v) − q_i(v)|, both sorted downwards.

    The v-th likeliest token of the student is held against the v-th likeliest of the teacher, the shorter vocabulary
    followed by zeros. Position i goes with position i of the same example as far as both reach; later positions have
    L_ce alone, and no logits of the teacher. `mean` divides by the number of student targets. Reached by the gradient:
    `student_hidden`, the student's head and its bias; the teacher is a constant. The papers' temperature is 1.
    """
    rows, columns = shared_beginnings(states)
    terms = StudentTerms(1 - kd_rate, kd_rate, temperature, sorted_l1)
    guide = _logits_at(columns, states.teacher_hidden, heads)
    return _guided(states, heads, rows, guide, terms, reduction)


def mined(
    states: PairedStates,
    heads: Heads,
    aligned: Int[Tensor, " student"],
    token_map: Int[Tensor, " vocab_t"],
    *,
    kd_rate: float = 0.5,
    temperature: float = 2.0,
    divergence: Divergence = forward_kl,
    reduction: Reduction = "mean",
) -> LossTerms:
    """MinED (arXiv 2401.10491, section 3.3): L = (1 − λ) L_ce + λ Σ_i D(student_i, mapped teacher_i; τ).

    `aligned` is each student position's teacher position (flat), or −1: see `token_match.aligned_positions`.
    `token_map` is each teacher token's student token: see `token_match.token_map`; of the teacher tokens that share
    one the largest logit counts, student tokens without any have none. Where `aligned` is −1 the guide is the target
    alone (one-hot), so the term is the cross-entropy at temperature τ. `mean` divides by the number of student targets.
    Reached by the gradient: `student_hidden`, the student's head and its bias; the teacher is a constant.
    """
    vocab = len(heads.student)
    targets = states.student_targets
    teacher_logits = _logits_at(aligned.clamp_min(0), states.teacher_hidden, heads)

    def guide(rows: slice) -> Tensor:
        logits = teacher_logits(rows)
        index = token_map.expand(len(logits), -1)
        mapped = logits.new_full((len(logits), vocab), ABSENT)
        mapped.scatter_reduce_(1, index, logits, "amax")
        lost = (aligned[rows] < 0).nonzero().squeeze(1)
        mapped[lost] = ABSENT
        mapped[lost, targets[rows][lost]] = 0.0
        return mapped

    everything = torch.arange(len(targets), device=targets.device)
    terms = StudentTerms(1 - kd_rate, kd_rate, temperature, divergence)
    return _guided(states, heads, everything, guide, terms, reduction)


def _logits_at(columns: Tensor, hidden: Tensor, heads: Heads) -> Guide:
    """The teacher's logits at `columns`, made for the rows that are asked for."""

    def guide(rows: slice) -> Tensor:
        logits = hidden[columns[rows]] @ heads.teacher.detach().T
        return logits if heads.teacher_bias is None else logits + heads.teacher_bias

    return guide


def _guided(
    states: PairedStates, heads: Heads, rows: Tensor, guide: Guide, terms: StudentTerms, reduction: Reduction
) -> LossTerms:
    """The guide at the student positions `rows`, the cross-entropy everywhere."""
    guided = guided_side(
        states.student_hidden[rows], heads.student, states.student_targets[rows], guide, terms, heads.student_bias
    )
    alone = _unpaired(states, heads, rows, terms)
    zero = torch.zeros_like(guided.ce)
    done = LossTerms(
        loss=guided.total + alone.total,
        n_student=len(states.student_targets),
        n_teacher=len(states.teacher_targets),
        ce=guided.ce + alone.ce,
        t2s_ce=zero,
        t2s_kd=zero,
        s2t_kd=zero,
        student_correct=guided.correct + alone.correct,
        t2s_correct=zero,
        s2t_correct=zero,
        max_t2s_prob=zero,
        kd=guided.kd,
    )
    return finish(done, reduction=reduction)


def _unpaired(states: PairedStates, heads: Heads, rows: Tensor, terms: StudentTerms) -> GuidedSums:
    """The weighted cross-entropy of the student positions that are not among `rows`."""
    rest = torch.ones(len(states.student_targets), dtype=torch.bool, device=rows.device)
    rest[rows] = False
    if len(rows) == len(rest):  # the usual case at one tokenizer: no gradient of head's size for nothing
        zero = states.student_hidden.new_zeros(())
        return GuidedSums(zero, zero, zero, zero)
    alone = student_side(
        states.student_hidden[rest], heads.student, None, states.student_targets[rest], terms, heads.student_bias
    )
    return GuidedSums(alone.total, alone.ce, torch.zeros_like(alone.ce), alone.correct)
