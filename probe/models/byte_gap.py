"""Bytes in cross-model attention: the gap between two targets, and where in its teacher token a student token lies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Span = tuple[int, int]
Spans = tuple[Sequence[Span], Sequence[Span]]  # of the student's targets, and of the teacher's
FEATURES = 8  # sines and cosines of `offset_features`
HALF_TURN = math.pi / 2


def byte_gaps(spans: Spans, like: Tensor) -> Float[Tensor, "student teacher"]:
    """g_ij = max(0, a_i − d_j + 1, c_j − b_i + 1): 0 where student target [a, b) and teacher target [c, d) share a
    byte, 1 where they touch, one more for each byte between them.

    An empty span counts as the byte behind it: a marker without text belongs to what starts there, and EOS, behind all
    text, shares a byte with the other EOS alone. ``like`` gives dtype and device.
    """
    (a, b), (c, d) = (_ends(side, like) for side in spans)
    before, behind = a[:, None] - d + 1, c - b[:, None] + 1
    return torch.maximum(before, behind).clamp_min(0)


def offset_features(weights: Float[Tensor, "student teacher"], spans: Spans) -> Float[Tensor, "student feature"]:
    """φ(o_i, r_i): where in its teacher token a student token begins, and how long it is beside it.

        o_i = Σ_j A_ij (a_i − c_j) / max(1, d_j − c_j)          0 at the token's first byte, 1 behind its last
        r_i = (b_i − a_i) / Σ_j A_ij max(1, d_j − c_j)          ρ_i = r_i / (1 + r_i), in [0, 1)
        φ   = sin and cos of  π/2 o,  π o,  π/2 ρ,  π ρ         the four sines first

    ``weights`` is A_t2s, rows summing to 1; the gradient reaches it. Several pieces of one teacher token get one state
    from attention and have several targets to predict: o says which piece one is.
    """
    (a, b), (c, d) = (torch.tensor(side, dtype=weights.dtype, device=weights.device).T for side in spans)
    length = (d - c).clamp_min(1)
    offset = a * (weights @ (1 / length)) - weights @ (c / length)
    ratio = (b - a) / (weights @ length)
    share = ratio / (1 + ratio)
    angles = HALF_TURN * torch.stack([offset, 2 * offset, share, 2 * share], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _ends(side: Sequence[Span], like: Tensor) -> tuple[Tensor, Tensor]:
    start, end = torch.tensor(side, dtype=torch.long).T
    return start.to(like), torch.maximum(end, start + 1).to(like)
