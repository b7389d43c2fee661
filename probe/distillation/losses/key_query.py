"""Key-query matching of DSKD-CMA-GA (arXiv 2603.22056): a discriminator tells queries from keys, P_query fools it.

    L_kq = BCE(C(reverse(q)), 1) + BCE(C(k), 0)           mean over valid positions of each side

One objective, minimised by everybody: gradient reversal turns it round for P_query, so no second optimiser is needed.
The form follows alignment attention (arXiv 2110.12567).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


@dataclass(frozen=True)
class KeyQueryTerm:
    """L_kq (with gradient), and the discriminator's accuracy (detached, in [0, 1], each side half) if it has one.

    `per_target`: add κ · loss to the token *sums* (so it weighs κ / number of targets), as the published code does;
    else to the token *mean*.
    """

    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""] | None
    per_target: bool = False


Matching = Callable[
    [Tensor, Tensor], KeyQueryTerm
]  # (queries [student, d_key], keys [teacher, d_key]) of valid positions


class Discriminator(nn.Module):
    """C: vectors [..., d_key] -> one logit each [...], > 0 for "a query".

    Highway layer g ∘ relu(a) + (1 − g) ∘ x with a = W x + b and g = sigmoid(a), dropout, linear, LeakyReLU 0.1, linear.
    """

    def __init__(self, key_dim: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.highway = nn.Linear(key_dim, key_dim)
        self.hidden = nn.Linear(key_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Float[Tensor, "*position d_key"]) -> Float[Tensor, "*position"]:
        mixed = self.dropout(highway(vectors, self.highway))
        return self.output(F.leaky_relu(self.hidden(mixed), 0.1)).squeeze(-1)


def highway(vectors: Tensor, layer: nn.Linear) -> Tensor:
    """g ∘ relu(a) + (1 − g) ∘ x: one linear map gives both the transform a and, through a sigmoid, its gate g."""
    transform = layer(vectors)
    gate = torch.sigmoid(transform)
    return gate * F.relu(transform) + (1 - gate) * vectors


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad


def reverse(values: Float[Tensor, "*position d_key"]) -> Float[Tensor, "*position d_key"]:
    """The identity whose gradient has the opposite sign."""
    return _Reverse.apply(values)


def key_query_loss(
    discriminator: Discriminator,
    queries: Float[Tensor, "student d_key"],
    keys: Float[Tensor, "teacher d_key"],
    shares: tuple[float, float] = (1.0, 1.0),
) -> KeyQueryTerm:
    """`matching: gan`. Pass valid positions only; each side is averaged over its own positions, keys are constants.

    The discriminator's parameters get d L_kq, whatever made `queries` gets −d L_kq.
    """
    return _adversarial(discriminator(reverse(queries)), discriminator(keys.detach()), shares=shares)


def gan_matching(discriminator: Discriminator, shares: tuple[float, float] = (1.0, 1.0)) -> Matching:
    """The `matching` to pass to `dskd_cma` for DSKD-CMA-GA.

    `shares` are this batch's parts of a larger one's student and teacher positions: each side's mean is weighed by its
    share, so that the terms of all parts add up to the means of the whole.
    """
    return lambda queries, keys: key_query_loss(discriminator, queries, keys, shares)


def shared_matching(matching: Matching, share: float) -> Matching:
    """`matching` weighed by `share`, for terms that cannot be split into sides: parts then add up to their mean."""

    def part(queries: Tensor, keys: Tensor) -> KeyQueryTerm:
        term = matching(queries, keys)
        accuracy = None if term.accuracy is None else share * term.accuracy
        return replace(term, loss=share * term.loss, accuracy=accuracy)

    return part


def _adversarial(
    query_logits: Tensor, key_logits: Tensor, per_target: bool = False, shares: tuple[float, float] = (1.0, 1.0)
) -> KeyQueryTerm:
    loss = shares[0] * F.softplus(-query_logits).mean() + shares[1] * F.softplus(key_logits).mean()
    with torch.no_grad():
        right = shares[0] * (query_logits > 0).float().mean() + shares[1] * (key_logits <= 0).float().mean()
    return KeyQueryTerm(loss, 0.5 * right, per_target)


@dataclass(frozen=True)
class ReplayPadding:
    """What the published code also counts: positions outside the response, all with the embedding of token id 0."""

    student_emb: Float[Tensor, " d_s"]
    teacher_emb: Float[Tensor, " d_t"]
    student_positions: int
    teacher_positions: int


def released_matching(
    discriminator: Discriminator, padding: ReplayPadding, query: Callable[[Tensor], Tensor], sigma_k: float
) -> Matching:
    """`matching: released`, the published code replayed: padded positions count, C is constant, the weight κ / targets.

    `query` is `CrossModelAttention.query`; `sigma_k` that of the `batch` normalisation.
    """

    def constant(vectors: Tensor) -> Tensor:
        frozen = {name: value.detach() for name, value in discriminator.named_parameters()}
        return torch.func.functional_call(discriminator, frozen, (vectors,))

    def matching(queries: Tensor, keys: Tensor) -> KeyQueryTerm:
        pad_query = query(torch.cat([padding.student_emb] * 2))
        pad_key = torch.cat([padding.teacher_emb] * 2) / sigma_k
        all_queries = torch.cat([queries, pad_query.expand(padding.student_positions, -1)])
        all_keys = torch.cat([keys.detach(), pad_key.expand(padding.teacher_positions, -1)])
        return _adversarial(constant(reverse(all_queries)), constant(all_keys), per_target=True)

    return matching
