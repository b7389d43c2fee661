"""Terms over the teacher's vocabulary from its frozen head, without ever holding the logits of all positions.

A head of V tokens makes V logits a position: 49,152 of them for SmolLM2, 400 MB for a batch of 4 x 512. Here logits
live for a slice of the vocabulary at a time, for all positions, with a running softmax, so that the head is read once.
The gradient is taken in the same pass, by hand; backward only scales it. All rests on
KL(p ‖ q) = e·(h_p − h_q)/τ − logsumexp_p + logsumexp_q with e = Σ_v p(v) W[v].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_FLOATS = 1 << 19  # 2 MiB of logits: stays in a core's cache between the two products


@dataclass(frozen=True)
class TeacherSummary:
    """All that L_s2t_kd needs of the frozen teacher's distribution p = softmax((W h + b)/τ), per teacher position.

    `expected_head` [teacher, d_t] is e = Σ_v p(v) W[v]; `negentropy` [teacher] is Σ_v p(v) log p(v), less Σ_v p(v)
    b(v)/τ where the head has a bias. Both depend on the temperature only besides: compute once, keep with the cached
    states.
    """

    expected_head: Float[Tensor, "teacher d_t"]
    negentropy: Float[Tensor, " teacher"]


@dataclass(frozen=True)
class HeadPass:
    """logsumexp of (W h + b)/τ, e = Σ_v softmax(v) W[v] if asked for, and whether the given target is the argmax."""

    logsumexp: Float[Tensor, " position"]
    expected_head: Float[Tensor, "position d"] | None
    correct: Bool[Tensor, " position"] | None


@torch.no_grad()
def head_pass(
    hidden: Float[Tensor, "position d"],
    head: Float[Tensor, "vocab d"],
    temperature: float,
    bias: Float[Tensor, " vocab"] | None = None,
    targets: Int[Tensor, " position"] | None = None,
    *,
    expectation: bool = True,
) -> HeadPass:
    """One pass over the vocabulary in slices with a running maximum; holds one slice of logits.

    Two products a slice, the second of which only `expectation` needs. Never tracked by autograd.
    """
    n, vocab = len(hidden), len(head)
    scaled = hidden / temperature
    maximum = scaled.new_full((n, 1), -torch.inf)
    total, expected = scaled.new_zeros(n, 1), torch.zeros_like(scaled)
    target_logit = scaled.new_full((n,), -torch.inf)
    width = min(vocab, max(64, TILE_FLOATS // max(n, 1)))
    buffer = scaled.new_empty(n * width)
    for start in range(0, vocab, width):
        rows = head[start : start + width]
        logits = torch.mm(scaled, rows.T, out=buffer[: n * len(rows)].view(n, len(rows)))
        if bias is not None:
            logits.add_(bias[start : start + width], alpha=1 / temperature)
        if targets is not None:
            inside = ((targets >= start) & (targets < start + len(rows))).nonzero().squeeze(1)
            target_logit[inside] = logits[inside, targets[inside] - start]
        new_maximum = torch.maximum(maximum, logits.amax(dim=1, keepdim=True))
        shrink = (maximum - new_maximum).exp_()
        logits.sub_(new_maximum).exp_()
        total.mul_(shrink).add_(logits.sum(dim=1, keepdim=True))
        if expectation:
            expected.mul_(shrink).addmm_(logits, rows)
        maximum = new_maximum
    correct = None if targets is None else target_logit >= maximum.squeeze(1)
    return HeadPass((maximum + total.log()).squeeze(1), expected.div_(total) if expectation else None, correct)


def teacher_summary(
    hidden: Float[Tensor, "teacher d_t"],
    head: Float[Tensor, "vocab_t d_t"],
    temperature: float,
    bias: Float[Tensor, " vocab_t"] | None = None,
) -> TeacherSummary:
    """The summary of teacher positions; `temperature` must be the one the loss is taken at."""
    done = head_pass(hidden, head, temperature, bias)
    assert done.expected_head is not None
    return TeacherSummary(done.expected_head, (done.expected_head * hidden).sum(1) / temperature - done.logsumexp)


class _SummaryKL(torch.autograd.Function):
    """Σ_j KL(teacher_j ‖ softmax((W h_j + b)/τ)) from teacher summaries; the head is a constant."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        bias: Tensor | None,
        e: Tensor,
        negentropy: Tensor,
        targets: Tensor,
        tau: float,
    ) -> tuple[Tensor, Tensor]:
        done = head_pass(hidden, head, tau, bias, targets, expectation=ctx.needs_input_grad[0])
        loss = negentropy - (e * hidden).sum(1) / tau + done.logsumexp
        if done.expected_head is not None:
            ctx.save_for_backward(done.expected_head.sub_(e).div_(tau))
        assert done.correct is not None
        correct = done.correct.sum().to(loss)
        ctx.mark_non_differentiable(correct)
        return loss.sum(), correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return grad * grad_loss, None, None, None, None, None, None


def summary_kl(
    hidden: Float[Tensor, "teacher d_t"],
    head: Float[Tensor, "vocab_t d_t"],
    summary: TeacherSummary,
    targets: Int[Tensor, " teacher"],
    temperature: float,
    bias: Float[Tensor, " vocab_t"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Σ_j KL(teacher_j ‖ softmax((W h_j + b)/τ)), and at how many positions the target is the argmax of W h_j + b.

    Only `hidden` gets a gradient: (Σ_v softmax(v) W[v] − e_j)/τ. Not multiplied by τ², not divided.
    """
    if not torch.is_grad_enabled():
        hidden = hidden.detach()  # evaluation skips the product that only the gradient needs
    return _SummaryKL.apply(hidden, head, bias, summary.expected_head, summary.negentropy, targets, temperature)
