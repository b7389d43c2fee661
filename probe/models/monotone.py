"""Attention that keeps to the order of both texts: how likely it is that a monotone path passes a cell.

A path begins at the first targets of both sides, ends at the last ones, and goes on by one on the student's side, on
the teacher's, or on both. It weighs exp Σ S over its cells. The sums over all paths run in log space, all cells of an
anti-diagonal at once, forwards and backwards; the gradient is the second derivative of log Z, in closed form
(soft-DTW, arXiv 1703.01541), by one more pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Sizes = Sequence[tuple[int, int]]


def path_posteriors(scores: Sequence[Float[Tensor, "_ _"]]) -> list[Float[Tensor, "_ _"]]:
    """P [student, teacher] of each example's scores S: the share of paths, by weight, that pass a cell.

        F_ij = S_ij + log(e^F(i−1,j) + e^F(i,j−1) + e^F(i−1,j−1))        B_ij: the same from the end, without S_ij
        P = exp(F + B − F_nm) = ∂ log Z / ∂ S

    Each row and column of P sums to at least 1, as every path passes each: dividing by the sum is safe. The gradient
    reaches the scores. Examples are padded to one another's size, which changes none of them. In double precision
    inside: F reaches thousands, and P is a difference.
    """
    sizes = [(len(one), one.shape[1]) for one in scores]
    n, m = (max(side) for side in zip(*sizes, strict=True))
    padded = torch.stack([
        torch.nn.functional.pad(one, (0, m - one.shape[1], 0, n - len(one))) for one in scores
    ])  # fmt: skip
    posteriors = _PathPosteriors.apply(padded, sizes)
    return [one[:rows, :columns] for one, (rows, columns) in zip(posteriors, sizes, strict=True)]


class _PathPosteriors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, sizes: Sizes) -> Tensor:
        valid = _valid(scores, sizes)
        both = _both_ways(scores.double().masked_fill(~valid, -math.inf), sizes)
        steps = _diagonals(both, -math.inf)
        sums = _path_sums(steps)
        forwards, backwards = _join(sums[:, 2:, 1:], sizes, scores.shape[2])
        total = _at_end(forwards, sizes)
        log_p = forwards + backwards - scores.double() - total
        posteriors = torch.where(valid, log_p, -math.inf).exp()
        ctx.sizes = sizes
        ctx.save_for_backward(steps, sums, posteriors, valid)
        return posteriors.to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """(∂² log Z / ∂S²) · grad: P times what grad adds up to on the paths through a cell, less that on all paths."""
        steps, sums, posteriors, valid = ctx.saved_tensors
        asked = grad.double().masked_fill(~valid, 0.0)
        means = _path_means(steps, sums, _diagonals(_both_ways(asked, ctx.sizes), 0.0))
        forwards, backwards = _join(means, ctx.sizes, grad.shape[2])
        through = forwards + backwards - asked
        return (posteriors * (through - _at_end(forwards, ctx.sizes))).to(grad.dtype), None


def _path_sums(steps: Float[Tensor, "both diagonal student"]) -> Float[Tensor, "both diagonal+2 student+1"]:
    """F on anti-diagonals; two more in front and one row more above, so that each cell has its three predecessors."""
    count, diagonals, n = steps.shape
    sums = steps.new_full((count, diagonals + 2, n + 1), -math.inf)
    sums[:, 0, 0] = 0.0  # the empty path, diagonally before the first cell
    for d in range(diagonals):
        up, left, both = sums[:, d + 1, :-1], sums[:, d + 1, 1:], sums[:, d, :-1]
        sums[:, d + 2, 1:] = steps[:, d] + torch.logaddexp(torch.logaddexp(up, left), both)
    return sums


def _path_means(steps: Tensor, sums: Tensor, asked: Tensor) -> Float[Tensor, "both diagonal student"]:
    """The mean, over the paths that end in a cell, of what ``asked`` adds up to on them: the derivative of F."""
    outside = steps == -math.inf
    before = (sums[:, 2:, 1:] - steps).masked_fill(outside, 0.0)
    up, left, both = (
        (part - before).exp().masked_fill(outside, 0.0)
        for part in (sums[:, 1:-1, :-1], sums[:, 1:-1, 1:], sums[:, :-2, :-1])
    )
    means = torch.zeros_like(sums)
    for d in range(steps.shape[1]):
        means[:, d + 2, 1:] = (
            asked[:, d]
            + up[:, d] * means[:, d + 1, :-1]
            + left[:, d] * means[:, d + 1, 1:]
            + both[:, d] * means[:, d, :-1]
        )
    return means[:, 2:, 1:]


def _both_ways(cells: Float[Tensor, "batch student teacher"], sizes: Sizes) -> Float[Tensor, "both student teacher"]:
    """Each example as it is, and then each read from its end."""
    return torch.cat([cells, _turned(cells, sizes)])


def _turned(cells: Tensor, sizes: Sizes) -> Tensor:
    """Each example [:n, :m] turned round; padding stays where it is."""
    turned = cells.clone()
    for number, (n, m) in enumerate(sizes):
        turned[number, :n, :m] = cells[number, :n, :m].flip((0, 1))
    return turned


def _diagonals(cells: Float[Tensor, "both student teacher"], outside: float) -> Float[Tensor, "both diagonal student"]:
    """Cell (i, j) at [i + j, i]."""
    count, n, m = cells.shape
    made = cells.new_full((count, n + m - 1, n), outside)
    rows = torch.arange(n, device=cells.device)[:, None]
    made[:, rows + torch.arange(m, device=cells.device), rows] = cells
    return made


def _join(made: Float[Tensor, "both diagonal student"], sizes: Sizes, m: int) -> tuple[Tensor, Tensor]:
    """Forward and backward parts [batch, student, teacher] of what :func:`_diagonals` laid out."""
    rows = torch.arange(made.shape[2], device=made.device)[:, None]
    forwards, backwards = made[:, rows + torch.arange(m, device=made.device), rows].chunk(2)
    return forwards, _turned(backwards, sizes)


def _at_end(cells: Tensor, sizes: Sizes) -> Float[Tensor, "batch 1 1"]:
    return torch.stack([cells[number, n - 1, m - 1] for number, (n, m) in enumerate(sizes)])[:, None, None]


def _valid(scores: Tensor, sizes: Sizes) -> Bool[Tensor, "batch student teacher"]:
    valid = torch.zeros_like(scores, dtype=torch.bool)
    for number, (n, m) in enumerate(sizes):
        valid[number, :n, :m] = True
    return valid
