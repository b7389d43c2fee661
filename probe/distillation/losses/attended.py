"""The objectives over the valid response positions of a batch, laid flat: no term ever sees padding.

DSKD-CMA (arXiv 2406.17328) is `dskd_cma`; DSKD-CMA-GA (arXiv 2603.22056) is the same call with a `matching`, CLA with
`masks`, CLP with `maps`; SFT is `sft`. Position to position: :mod:`probe.distillation.losses.aligned`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probe.distillation.losses.divergences import Divergence, forward_kl
from probe.distillation.losses.fused_head import TeacherSummary
from probe.distillation.losses.key_query import Matching
from probe.distillation.losses.student_head import StudentTerms, student_side
from probe.distillation.losses.terms import Heads, LossTerms, PairedStates, Reduction, finish, projected_terms
from probe.models.attention import (
    CrossModelAttention,
    Normalisation,
    SpaceProjectors,
    attention_scores,
    keys,
    queries,
    s2t_weights,
    t2s_weights,
    values_t2s,
)
from probe.models.byte_gap import Spans
from probe.models.map_rule import map_weights, rule_of, with_offsets


@dataclass(frozen=True)
class _Attended:
    """What cross-model attention hands to the losses, flat again."""

    t2s_hidden: Float[Tensor, "student d_s"]
    s2t_hidden: Float[Tensor, "teacher d_t"]
    queries: Float[Tensor, "student d_key"] | None
    keys: Float[Tensor, "teacher d_key"]


def dskd_cma(
    states: PairedStates,
    attention: CrossModelAttention | SpaceProjectors,
    heads: Heads,
    normalisation: Normalisation | Sequence[Normalisation],
    *,
    kd_rate: float = 0.5,
    temperature: float = 2.0,
    divergence: Divergence = forward_kl,
    summary: TeacherSummary | None = None,
    matching: Matching | None = None,
    kappa: float = 1.0,
    masks: Sequence[Bool[Tensor, "_ _"]] | None = None,
    maps: Sequence[Float[Tensor, "_ _"]] | None = None,
    s2t_maps: Sequence[Float[Tensor, "_ _"]] | None = None,
    spans: Sequence[Spans] | None = None,
    reduction: Reduction = "mean",
) -> LossTerms:
    """L = (1 − λ) L_ce + λ (L_t2s_ce + L_t2s_kd + L_s2t_kd) [+ κ L_kq], λ = `kd_rate` (docs/methods.md).

    `mean` divides the token sums by the number of student targets; `sum` leaves them (κ L_kq is a mean in both).
    Reached by the gradient: `student_hidden`, the student's head (by L_ce and L_t2s_kd only), the three projectors,
    and what `matching` holds. Constants: embeddings, the teacher, both heads inside t2s and s2t logits, t2s logits in
    L_t2s_kd. `normalisation` may be one per example. `summary` is the teacher's, at this `temperature`; it is
    computed if missing. `masks` (CLA) says per example which cells [student, teacher] may carry weight; a row (t2s) or
    column (s2t) without any may use all its example's. `maps` (CLP, gold, uniform) imposes the t2s weights, rows
    summing to 1; no query is then computed, and the s2t weights are `s2t_maps`, or else the same cells with columns
    rescaled to sum to 1. `attention` says how scores become weights (see probe.models.map_rule): a `MonotoneAttention`
    by paths, a `ByteAttention` by the byte gap of `spans`, each example's; it may add U φ to the t2s states. Raises
    NonFiniteError naming the terms that are not finite.
    """
    attended = _attend(states, attention, normalisation, masks, maps, s2t_maps, spans)
    terms = StudentTerms(1 - kd_rate, kd_rate, temperature, divergence)
    hidden, targets = states.student_hidden, states.student_targets
    student = student_side(hidden, heads.student, attended.t2s_hidden, targets, terms, heads.student_bias)
    if matching is not None and attended.queries is None:
        raise ValueError("imposed maps have no queries to match with keys; give maps or matching, not both")
    matched = None if matching is None else matching(attended.queries, attended.keys)  # type: ignore[arg-type]
    done = projected_terms(states, student, attended.s2t_hidden, heads, terms, summary)
    return finish(done, matched, kappa, reduction)


def sft(
    hidden: Float[Tensor, "student d_s"],
    targets: Int[Tensor, " student"],
    head: Float[Tensor, "vocab_s d_s"],
    *,
    bias: Float[Tensor, " vocab_s"] | None = None,
    reduction: Reduction = "mean",
) -> LossTerms:
    """Cross-entropy of the student alone over valid positions; reaches `hidden`, `head` and `bias`."""
    student = student_side(hidden, head, None, targets, StudentTerms(1.0, 0.0, 1.0, None), bias)
    zero = torch.zeros_like(student.ce)
    terms = LossTerms(student.total, len(targets), 0, student.ce, zero, zero, zero, student.correct, zero, zero, zero)
    return finish(terms, reduction=reduction)


def _attend(
    states: PairedStates,
    attention: CrossModelAttention | SpaceProjectors,
    normalisation: Normalisation | Sequence[Normalisation],
    masks: Sequence[Tensor] | None,
    maps: Sequence[Tensor] | None,
    s2t_maps: Sequence[Tensor] | None,
    spans: Sequence[Spans] | None,
) -> _Attended:
    """Projects flat, attends within each example: no example ever meets another's positions."""
    sigma_k, sigma_h, sigma_e = _sigmas(normalisation, states)
    key = keys(states.teacher_input_emb, states.teacher_target_emb, sigma_k)
    lengths = list(states.student_lengths), list(states.teacher_lengths)
    weights: Sequence[tuple[Tensor, ...]]
    if maps is not None:
        query, weights = None, [*_given_weights(maps, s2t_maps)]
    else:
        assert isinstance(attention, CrossModelAttention)
        query = queries(states.student_input_emb, states.student_target_emb, attention.query)
        scores = [attention_scores(*both) for both in zip(query.split(lengths[0]), key.split(lengths[1]), strict=True)]
        weights = _attention_weights(attention, scores, masks, spans)
    value_t2s = values_t2s(states.teacher_hidden, states.teacher_target_emb, sigma_h, sigma_e, attention.t2s)
    value_s2t = attention.s2t(states.student_hidden)
    t2s_hidden, s2t_hidden = [], []
    values = value_t2s.split(lengths[1]), value_s2t.split(lengths[0])
    places = [None] * len(weights) if spans is None else spans
    for (a_t2s, a_s2t), u, w, place in zip(weights, *values, places, strict=True):
        t2s_hidden.append(with_offsets(a_t2s.to(u) @ u, attention, a_t2s, place))
        s2t_hidden.append(a_s2t.to(w).T @ w)
    return _Attended(torch.cat(t2s_hidden), torch.cat(s2t_hidden), query, key)


def _attention_weights(
    attention: CrossModelAttention,
    scores: Sequence[Tensor],
    masks: Sequence[Tensor] | None,
    spans: Sequence[Spans] | None,
) -> Sequence[tuple[Tensor, ...]]:
    """A_t2s and A_s2t of each example; a row or column that its mask leaves nothing may use everything."""
    if masks is None:
        return map_weights(rule_of(attention), scores, spans)
    weights = []
    for one, mask in zip(scores, masks, strict=True):
        mask = mask.to(one.device)
        rows, columns = mask.any(dim=1, keepdim=True), mask.any(dim=0, keepdim=True)
        weights.append((t2s_weights(one, mask | ~rows), s2t_weights(one, mask | ~columns)))
    return weights


def _given_weights(maps: Sequence[Tensor], s2t_maps: Sequence[Tensor] | None) -> Iterator[tuple[Tensor, Tensor]]:
    if s2t_maps is not None:
        yield from zip(maps, s2t_maps, strict=True)
        return
    for a_t2s in maps:
        yield a_t2s, a_t2s / a_t2s.sum(dim=0, keepdim=True).clamp_min(torch.finfo(a_t2s.dtype).tiny)


def _sigmas(
    normalisation: Normalisation | Sequence[Normalisation], states: PairedStates
) -> tuple[float | Tensor, float | Tensor, float | Tensor]:
    """σ_k, σ_h, σ_e: one number each, or a column [teacher, 1] where every example has its own."""
    if isinstance(normalisation, Normalisation):
        return normalisation.sigma_k, normalisation.sigma_h, normalisation.sigma_e
    if len(normalisation) != len(states.teacher_lengths):
        raise ValueError(
            f"{len(states.teacher_lengths)} examples need as many normalisations, got {len(normalisation)}"
        )
    table = states.teacher_hidden.new_tensor([(one.sigma_k, one.sigma_h, one.sigma_e) for one in normalisation])
    repeats = torch.tensor(list(states.teacher_lengths), device=table.device)
    sigma_k, sigma_h, sigma_e = table.repeat_interleave(repeats, dim=0).split(1, dim=1)
    return sigma_k, sigma_h, sigma_e
