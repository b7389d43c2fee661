"""The student under its own head, without ever holding the logits of all positions: some rows at a time, all tokens.

Argmax and divergences want whole rows. Logits live for one chunk of rows, and the gradient is taken in the same pass,
by hand; backward only scales it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from probe.distillation.losses.divergence_gradients import divergence_with_gradient
from probe.distillation.losses.divergences import Divergence
from probe.models.private_torch import graph_is_kept

TILE_FLOATS = 1 << 19  # 2 MiB of logits: what is done to them between the products is done in a core's cache
LEAST_ROWS = 240  # of logits in a chunk, own and t2s together: the head is read anew for each chunk


@dataclass(frozen=True)
class StudentTerms:
    """Weights of the student side: total = w_ce · CE(student) + w_t2s · (CE(t2s) + D(student, t2s)).

    D counts where the argmax of the t2s logits is the target; with `everywhere`, at every position.
    """

    ce_weight: float
    t2s_weight: float
    temperature: float
    divergence: Divergence | None
    everywhere: bool = False


@dataclass(frozen=True)
class StudentSums:
    """Sums over student positions, all detached but `total`; see `StudentTerms` for what `total` weighs."""

    total: Float[Tensor, ""]
    ce: Float[Tensor, ""]
    t2s_ce: Float[Tensor, ""]
    t2s_kd: Float[Tensor, ""]
    correct: Float[Tensor, ""]
    t2s_correct: Float[Tensor, ""]
    max_t2s_prob: Float[Tensor, ""]


class _StudentSide(torch.autograd.Function):
    """Forward computes the loss and all its gradients chunk by chunk; backward scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        bias: Tensor | None,
        t2s: Tensor | None,
        targets: Tensor,
        terms: StudentTerms,
    ) -> tuple[Tensor, Tensor]:
        grads = gradients_for((hidden, head, bias, t2s), ctx.needs_input_grad)
        sums = hidden.new_zeros(6)
        for rows, logits in row_chunks(hidden, head, bias, t2s):
            for part, target in in_cache(logits, targets[rows]):
                _differentiate_(part, target, terms, sums)
            add_gradients(logits, rows, hidden, head, grads)
        ctx.save_for_backward(*grads)
        ctx.mark_non_differentiable(sums)
        total = terms.ce_weight * sums[0]
        return (total if t2s is None else total + terms.t2s_weight * (sums[1] + sums[2])), sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled(ctx.saved_tensors, grad_total), None, None


def student_side(
    hidden: Float[Tensor, "student d_s"],
    head: Float[Tensor, "vocab_s d_s"],
    t2s_hidden: Float[Tensor, "student d_s"] | None,
    targets: Int[Tensor, " student"],
    terms: StudentTerms,
    bias: Float[Tensor, " vocab_s"] | None = None,
) -> StudentSums:
    """CE of the student, CE of the t2s states under the same head, and D(student, t2s) where argmax t2s = target.

    The head and bias get their gradient from the student's own CE and D alone: in t2s logits they are constants, and
    t2s logits are constants in D. Without `t2s_hidden` it is the plain cross-entropy. Sums, not means.
    """
    if not torch.is_grad_enabled():
        hidden, head = hidden.detach(), head.detach()
        bias = None if bias is None else bias.detach()
        t2s_hidden = None if t2s_hidden is None else t2s_hidden.detach()
    total, sums = _StudentSide.apply(hidden, head, bias, t2s_hidden, targets, terms)
    return StudentSums(total, *sums.unbind())


def row_chunks(hidden: Tensor, head: Tensor, bias: Tensor | None, t2s: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """Logits [side, row, vocab] of some rows at a time, own and t2s, in a buffer that every chunk uses again."""
    n, vocab = len(hidden), len(head)
    sides = [hidden] if t2s is None else [hidden, t2s]
    most = max(1, max(LEAST_ROWS, TILE_FLOATS // vocab) // len(sides))
    size = max(1, math.ceil(n / max(1, math.ceil(n / most))))  # as few chunks as can be, of like size
    buffer = hidden.new_empty(len(sides) * size, vocab)
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        states = torch.cat([side[rows] for side in sides])  # one product, so that the head is read once for both
        logits = torch.mm(states, head.T, out=buffer[: len(states)])
        if bias is not None:
            logits.add_(bias)
        yield rows, logits.view(len(sides), -1, vocab)


def in_cache(logits: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """A chunk [side, row, vocab] by so few rows that a core's cache holds them, with the same rows of `others`."""
    sides, n, vocab = logits.shape
    size = max(1, TILE_FLOATS // (sides * vocab)) if logits.device.type == "cpu" else n
    for start in range(0, n, size):
        rows = slice(start, start + size)
        yield logits[:, rows], *(other[rows] for other in others)


def _differentiate_(logits: Tensor, targets: Tensor, terms: StudentTerms, sums: Tensor) -> None:
    """Adds some rows to `sums`; their logits [side, row, vocab] become the gradient of `total` at them."""
    sides, own = len(logits), logits[0]
    peaks = find_peaks(logits, targets)
    sums[3 : 3 + sides] += peaks.right.sum(1)
    kd_rows = kd_grad = None
    if sides == 2 and terms.divergence is not None:
        counts = torch.ones_like(peaks.right[1]) if terms.everywhere else peaks.right[1]
        kd_rows = counts.nonzero().squeeze(1)
        kd, kd_grad = divergence_with_gradient(terms.divergence, own[kd_rows], logits[1, kd_rows], terms.temperature)
        sums[2] += kd.sum()
    ce, best = cross_entropy_(logits, targets, peaks, (terms.ce_weight, terms.t2s_weight))
    sums[:sides] += ce
    if sides == 2:
        sums[5] += best[1]
    if kd_rows is not None and kd_grad is not None:
        own.index_add_(0, kd_rows, kd_grad, alpha=terms.t2s_weight)


@dataclass(frozen=True)
class Peaks:
    """Of each row of logits [side, row, vocab]: the largest, the target's, and whether the target's is the largest."""

    largest: Float[Tensor, "side row 1"]
    at_target: Float[Tensor, "side row 1"]
    right: Bool[Tensor, "side row"]


def find_peaks(logits: Tensor, targets: Tensor) -> Peaks:
    """The peaks of each row. float32 logits that tie at the top are a rare accident, those of 16 bits are not: only
    there the target must be the argmax, which takes eight times as long as the maximum."""
    largest, at_target = logits.amax(dim=2, keepdim=True), logits.gather(2, _index(logits, targets))
    right = (at_target == largest).squeeze(2)
    if logits.dtype in (torch.float16, torch.bfloat16):
        right = logits.argmax(dim=2) == targets
    return Peaks(largest, at_target, right)


def cross_entropy_(
    logits: Tensor, targets: Tensor, peaks: Peaks, weights: Sequence[float]
) -> tuple[Float[Tensor, " side"], Float[Tensor, " side"]]:
    """Σ CE and Σ of the rows' largest probabilities of each side; logits become `weights` · d CE / d logits."""
    weight = logits.new_tensor(weights[: len(logits)]).view(-1, 1, 1)
    logits.sub_(peaks.largest).exp_()
    total = logits.sum(dim=2, keepdim=True)
    logits.mul_(weight / total)
    logits.scatter_add_(2, _index(logits, targets), (-weight).expand(-1, len(targets), 1))
    return (total.log() + peaks.largest - peaks.at_target).sum((1, 2)), total.reciprocal().sum((1, 2))


def _index(logits: Tensor, targets: Tensor) -> Tensor:
    return targets.view(1, -1, 1).expand(len(logits), -1, 1)


def gradients_for(tensors: Sequence[Tensor | None], needed: Sequence[bool]) -> list[Tensor | None]:
    """Room for the gradient of each tensor that needs one; hidden, the first of `tensors`, says whether rows follow."""
    assert tensors[0] is not None
    make = torch.empty_like if len(tensors[0]) else torch.zeros_like
    return [make(one) if one is not None and need else None for one, need in zip(tensors, needed, strict=False)]


def add_gradients(logits: Tensor, rows: slice, hidden: Tensor, head: Tensor, grads: Sequence[Tensor | None]) -> None:
    """From a chunk's gradient at its logits [side, row, vocab] to `grads`: of hidden, head, bias, and t2s if there."""
    grad_hidden, grad_head, grad_bias = grads[:3]
    own = logits[0]
    at_states = [grad_hidden, *grads[3:]]
    if any(grad is not None for grad in at_states):
        parts = torch.mm(logits.flatten(0, 1), head).split(len(own))
        for grad, part in zip(at_states, parts, strict=False):
            if grad is not None:
                grad[rows] = part
    kept = int(rows.start > 0)  # the first chunk writes, so that nothing has to be filled with zeros
    if grad_head is not None:
        grad_head.addmm_(own.T, hidden[rows], beta=kept)
    if grad_bias is not None:
        grad_bias.copy_(grad_bias + own.sum(0) if kept else own.sum(0))


def scaled(grads: Sequence[Tensor | None], factor: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients times `factor`: in place, as a second one of a head's size costs as much as a chunk's products,
    unless the graph is kept for another backward."""
    keep = graph_is_kept()
    return tuple(None if grad is None else grad * factor if keep else grad.mul_(factor) for grad in grads)
