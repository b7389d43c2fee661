"""A student under its own head, guided at each of its positions by logits of a teacher, a chunk of rows at a time.

Like the student's side of :mod:`probe.distillation.losses.student_head`: the teacher's logits too live for one chunk
only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from probe.distillation.losses.divergence_gradients import divergence_with_gradient
from probe.distillation.losses.student_head import (
    StudentTerms,
    add_gradients,
    cross_entropy_,
    find_peaks,
    gradients_for,
    in_cache,
    row_chunks,
    scaled,
)

# rows of the student -> the teacher's logits there [rows, vocab]: constants, and new ones, for they are overwritten
Guide = Callable[[slice], Tensor]


@dataclass(frozen=True)
class GuidedSums:
    """Sums over student positions, all detached but `total` = w_ce · CE + w_kd · D."""

    total: Float[Tensor, ""]
    ce: Float[Tensor, ""]
    kd: Float[Tensor, ""]
    correct: Float[Tensor, ""]


class _GuidedSide(torch.autograd.Function):
    """Forward computes the loss and all its gradients chunk by chunk; backward scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        guide: Guide,
        terms: StudentTerms,
    ) -> tuple[Tensor, Tensor]:
        grads = gradients_for((hidden, head, bias), ctx.needs_input_grad)
        sums = hidden.new_zeros(3)
        for rows, logits in row_chunks(hidden, head, bias, None):
            for part, target, teacher in in_cache(logits, targets[rows], guide(rows)):
                _differentiate_(part, target, teacher, terms, sums)
            add_gradients(logits, rows, hidden, head, grads)
        ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(sums)
        return terms.ce_weight * sums[0] + terms.t2s_weight * sums[1], sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled(ctx.saved_tensors, grad_total), None, None, None


def _differentiate_(logits: Tensor, targets: Tensor, teacher: Tensor, terms: StudentTerms, sums: Tensor) -> None:
    """Adds some rows to `sums`; their logits [1, row, vocab] become the gradient of `total` at them."""
    assert terms.divergence is not None
    peaks = find_peaks(logits, targets)
    kd, kd_grad = divergence_with_gradient(terms.divergence, logits[0].clone(), teacher, terms.temperature)
    ce, _ = cross_entropy_(logits, targets, peaks, [terms.ce_weight])
    sums += torch.stack([ce[0], kd.sum(), peaks.right.sum()])
    logits[0].add_(kd_grad, alpha=terms.t2s_weight)


def guided_side(
    hidden: Float[Tensor, "student d_s"],
    head: Float[Tensor, "vocab_s d_s"],
    targets: Int[Tensor, " student"],
    guide: Guide,
    terms: StudentTerms,
    bias: Float[Tensor, " vocab_s"] | None = None,
) -> GuidedSums:
    """CE of the student, and D(student, guide) at every position; `terms.t2s_weight` weighs D.

    Reached by the gradient: `hidden`, `head`, `bias`, from both terms; what `guide` gives is a constant. Sums, not
    means. Holds the logits of one chunk of rows of either model.
    """
    if not torch.is_grad_enabled():
        hidden, head, bias = hidden.detach(), head.detach(), None if bias is None else bias.detach()
    total, sums = _GuidedSide.apply(hidden, head, bias, targets, guide, terms)
    return GuidedSums(total, *sums.unbind())
