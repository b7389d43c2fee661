"""Log-likelihood of each target under a head, with its gradient, a chunk of rows at a time: no logits are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from probe.distillation.losses.student_head import add_gradients, find_peaks, gradients_for, row_chunks


@dataclass(frozen=True)
class TargetLikelihoods:
    """log p(target) at each position, with gradient, and the number of positions whose argmax the target is."""

    log_p: Float[Tensor, " position"]
    correct: Float[Tensor, ""]


class _TargetLikelihood(torch.autograd.Function):
    """Backward makes the logits again: what each row weighs is known only then."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, bias: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
        log_total, at_target = hidden.new_empty(len(hidden)), hidden.new_empty(len(hidden))
        correct = hidden.new_zeros(())
        for rows, logits in row_chunks(hidden, head, bias, None):
            peaks = find_peaks(logits, targets[rows])
            at_target[rows] = peaks.at_target[0, :, 0]
            correct += peaks.right.sum()
            log_total[rows] = logits[0].logsumexp(dim=1)
        ctx.save_for_backward(hidden, head, bias, targets, log_total)
        ctx.mark_non_differentiable(correct)
        return at_target - log_total, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head, bias, targets, log_total = ctx.saved_tensors
        grads = gradients_for((hidden, head, bias), ctx.needs_input_grad)
        for rows, logits in row_chunks(hidden, head, bias, None):
            logits.sub_(log_total[rows][:, None]).exp_().mul_(-grad[rows][:, None])
            logits[0].scatter_add_(1, targets[rows][:, None], grad[rows][:, None])
            add_gradients(logits, rows, hidden, head, grads)
        return *grads, None


def target_likelihoods(
    hidden: Float[Tensor, "position d"],
    head: Float[Tensor, "vocab d"],
    targets: Int[Tensor, " position"],
    bias: Float[Tensor, " vocab"] | None = None,
) -> TargetLikelihoods:
    """log softmax(W h + b)[target] at each position. Reached by the gradient: `hidden`, `head`, `bias`.

    Two products with the head forwards and back again, as logits are made twice.
    """
    return TargetLikelihoods(*_TargetLikelihood.apply(hidden, head, bias, targets))
