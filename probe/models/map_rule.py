"""How scores become the two attention maps, by method: as they are, with the byte gap, or in the order of the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from probe.models.attention import ByteAttention, MonotoneAttention, s2t_weights, t2s_weights
from probe.models.byte_gap import Spans, byte_gaps, offset_features
from probe.models.monotone import path_posteriors


@dataclass(frozen=True)
class MapRule:
    """``gap_rate`` is the λ of the byte gap (dskd-cma-b), 0 without; ``in_order``: by monotone paths (dskd-cma-m)."""

    gap_rate: float | Float[Tensor, " 1"] = 0.0
    in_order: bool = False

    @property
    def reads_bytes(self) -> bool:
        """Whether maps depend on the targets' spans."""
        return isinstance(self.gap_rate, Tensor) or self.gap_rate != 0.0


def rule_of(attention: nn.Module) -> MapRule:
    """The rule of a method's projectors; λ is a tensor with gradient."""
    if isinstance(attention, ByteAttention):
        return MapRule(gap_rate=attention.gap_rate)
    return MapRule(in_order=isinstance(attention, MonotoneAttention))


def map_weights(
    rule: MapRule,
    scores: Sequence[Float[Tensor, "_ _"]],
    spans: Sequence[Spans] | None,
    directions: Sequence[str] = ("t2s", "s2t"),
) -> list[tuple[Float[Tensor, "_ _"], ...]]:
    """Of each example its weights [student, teacher] in each of ``directions``.

    S is made S − λ g (:func:`probe.models.byte_gap.byte_gaps`) where the rule has a λ. Then A_t2s is its softmax over j
    and A_s2t over i; or, in order, the path posteriors P with rows (t2s) or columns (s2t) divided by their sums.
    ``spans`` is read for bytes alone: ValueError where they are missing then.
    """
    if rule.reads_bytes:
        if spans is None:
            raise ValueError("attention with a byte gap needs the spans of each example's targets")
        scores = [one - rule.gap_rate * byte_gaps(where, one) for one, where in zip(scores, spans, strict=True)]
    if not rule.in_order:
        make = {"t2s": t2s_weights, "s2t": s2t_weights}
        return [tuple(make[name](one) for name in directions) for one in scores]
    dims = {"t2s": 1, "s2t": 0}
    return [
        tuple(one / one.sum(dim=dims[name], keepdim=True) for name in directions) for one in path_posteriors(scores)
    ]


def with_offsets(
    states: Float[Tensor, "student d_s"],
    attention: nn.Module,
    weights: Float[Tensor, "student teacher"],
    spans: Spans | None,
) -> Float[Tensor, "student d_s"]:
    """The t2s states of an example, plus U φ where ``attention`` has offset values; ``weights`` are its A_t2s."""
    if spans is None or not isinstance(attention, ByteAttention) or attention.offset is None:
        return states
    return states + attention.offset(offset_features(weights.to(states), spans))
