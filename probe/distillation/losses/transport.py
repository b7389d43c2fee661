"""Key-query matching by conditional transport (alignment attention, arXiv 2110.12567, section 3.2; arXiv 2012.14100).

What it costs to carry queries to keys and back, over tokens and over features. A critic says what a move costs, a
navigator where mass goes:

    cost_ij = ‖f(q_i) − f(k_j)‖      plan_ij ∝ exp(g(q_i) · g(k_j))      f, g: networks with outputs of norm 1
    C = ½ mean_i Σ_j plan_{j|i} cost_ij + ½ mean_j Σ_i plan_{i|j} cost_ij

Over features the same, with the columns of an example's f and g (one value a token) in place of the rows. As published,
features meet token by token in order, the shorter side going on with zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from probe.distillation.losses.key_query import KeyQueryTerm, Matching, highway, reverse


class Critic(nn.Module):
    """f: [..., d_key] -> [..., width] of norm 1; highway layer, dropout, linear, LeakyReLU 0.1, linear."""

    def __init__(self, key_dim: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.highway = nn.Linear(key_dim, key_dim)
        self.hidden = nn.Linear(key_dim, width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Float[Tensor, "*position d_key"]) -> Float[Tensor, "*position width"]:
        mixed = self.dropout(highway(vectors, self.highway))
        return _unit(self.output(F.leaky_relu(self.hidden(mixed), 0.1)))


class Navigator(nn.Module):
    """g: [..., d_key] -> [..., width] of norm 1; linear, LeakyReLU 0.1, linear."""

    def __init__(self, key_dim: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(key_dim, width)
        self.output = nn.Linear(width, width)

    def forward(self, vectors: Float[Tensor, "*position d_key"]) -> Float[Tensor, "*position width"]:
        return _unit(self.output(F.leaky_relu(self.hidden(vectors), 0.1)))


class ConditionalTransport(nn.Module):
    """The four networks: a critic and a navigator over tokens, and the same over features."""

    def __init__(self, key_dim: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.critic_token = Critic(key_dim, width, dropout)
        self.critic_feature = Critic(key_dim, width, dropout)
        self.navigator_token = Navigator(key_dim, width)
        self.navigator_feature = Navigator(key_dim, width)


def transport_cost(
    query: Float[Tensor, "*batch x d"],
    key: Float[Tensor, "*batch y d"],
    query_way: Float[Tensor, "*batch x d"],
    key_way: Float[Tensor, "*batch y d"],
    way: Callable[[Tensor], Tensor] = lambda values: values,
) -> Float[Tensor, "*batch"]:
    """C of critic outputs (`query`, `key`) and navigator outputs (`*_way`); `way` is applied to g(q) · g(k)."""
    cost = torch.cdist(query, key, compute_mode="donot_use_mm_for_euclid_dist")  # a product loses digits near 0
    plan = way(query_way @ key_way.transpose(-1, -2))
    there = (cost * plan.softmax(dim=-1)).sum(dim=-1).mean(dim=-1)
    back = (cost * plan.softmax(dim=-2)).sum(dim=-2).mean(dim=-1)
    return 0.5 * (there + back)


def transport_loss(
    networks: ConditionalTransport,
    queries: Float[Tensor, "student d_key"],
    keys: Float[Tensor, "teacher d_key"],
    student_lengths: Sequence[int],
    teacher_lengths: Sequence[int],
) -> KeyQueryTerm:
    """`matching: ct`. L_kq = −(C_token + C_feature), each example's own, mean over examples; lengths may differ.

    Pass valid positions only: no padding takes part. As in the theory, critics make transport dear (they minimise
    L_kq), while P_query and the navigators make it cheap: theirs is the reversed gradient. Keys are constants. L_kq
    lies in [−2 − 2 √length, 0]; it has no accuracy.
    """
    reversed_queries, keys = reverse(queries), keys.detach()
    critics = [(f(reversed_queries), f(keys)) for f in (networks.critic_token, networks.critic_feature)]
    ways = [(g(queries), g(keys)) for g in (networks.navigator_token, networks.navigator_feature)]
    costs = []
    lengths = list(student_lengths), list(teacher_lengths)
    parts = [zip(q.split(lengths[0]), k.split(lengths[1]), strict=True) for q, k in (*critics, *ways)]
    for (f_q, f_k), features, (g_q, g_k), feature_ways in zip(*parts, strict=True):
        sides = _as_features(*features), _as_features(*feature_ways)
        costs.append(transport_cost(f_q, f_k, g_q, g_k, reverse) + transport_cost(*sides[0], *sides[1], reverse))
    return KeyQueryTerm(-torch.stack(costs).mean(), None)


def ct_matching(
    networks: ConditionalTransport, student_lengths: Sequence[int], teacher_lengths: Sequence[int]
) -> Matching:
    """The `matching` to pass to `dskd_cma` for DSKD-CMA-GA by conditional transport; lengths are of the examples."""
    return lambda queries, keys: transport_loss(networks, queries, keys, student_lengths, teacher_lengths)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-6)


def _as_features(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """[tokens, width] of both sides to [width, tokens] of one length, zeros where a side has ended."""
    length = max(len(query), len(key))
    return F.pad(query.T, (0, length - len(query))), F.pad(key.T, (0, length - len(key)))
