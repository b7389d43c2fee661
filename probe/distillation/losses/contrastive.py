"""Contrastive key-query matching: queries are drawn to the keys that the span rule links them with (InfoNCE).

The opponent of the adversary: it uses the text that both models share, where a discriminator only sees two clouds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probe.distillation.losses.key_query import KeyQueryTerm, Matching
from probe.models.attention import attention_scores

Positives = tuple[Bool[Tensor, "_ _"], Bool[Tensor, "_ _"]]  # for each student row, for each teacher column


def info_nce(
    query: Float[Tensor, "student d_key"],
    key: Float[Tensor, "teacher d_key"],
    positives: Positives,
    temperature: float = 1.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sums over rows and over columns of one example, S_ij = q_i · k_j / √(2 d_t), as in attention:

        rows     Σ_i −log Σ_{j ∈ links(i)} exp(S_ij / τ) / Σ_j exp(S_ij / τ)
        columns  Σ_j −log Σ_{i ∈ links(j)} exp(S_ij / τ) / Σ_i exp(S_ij / τ)

    The keys of the same response are the negatives. A pair of tokens that comes twice has one key, which is then a
    positive and a negative: the term cannot reach 0 there. Keys are constants.
    """
    scores = attention_scores(query, key.detach()) / temperature
    sums = []
    for dim, cells in zip((1, 0), positives, strict=True):
        linked = scores.masked_fill(~cells.to(scores.device), -torch.inf)
        sums.append((scores.logsumexp(dim) - linked.logsumexp(dim)).sum())
    return sums[0], sums[1]


def contrastive_matching(
    positives: Sequence[Positives],
    lengths: tuple[Sequence[int], Sequence[int]],
    whole: tuple[int, int],
    temperature: float = 1.0,
) -> Matching:
    """The `matching` to pass to `dskd_cma`: L_kq = ½ (mean over rows + mean over columns) of :func:`info_nce`.

    ``lengths`` are each example's student and teacher positions; ``whole`` says how many of both the whole batch has,
    by which the sums are divided, so that the terms of its parts add up. There is no discriminator, so no accuracy.
    """

    def matching(queries: Tensor, keys: Tensor) -> KeyQueryTerm:
        sides = zip(queries.split(list(lengths[0])), keys.split(list(lengths[1])), positives, strict=True)
        sums = [info_nce(query, key, cells, temperature) for query, key, cells in sides]
        rows, columns = (torch.stack(part).sum() for part in zip(*sums, strict=True))
        return KeyQueryTerm(0.5 * (rows / whole[0] + columns / whole[1]), None)

    return matching
