"""Attention maps from embeddings (and byte spans, or order): a look-up and one projection; no transformer is run.

Keys and queries depend on (input, target) token pairs only, and the query is affine. So every *distinct* token is
projected once per chunk of examples, into the narrower of the two embedding spaces, and a map is one small product:

    S_ij = q_i · k_j / sqrt(2 d_t),   q_i = W [E_s(x_i); E_s(y_i)] + b,   k_j = [E_t(x_j); E_t(z_j)] / σ_k
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probe.errors import DamagedError, NonFiniteError
from probe.extraction.key_sigmas import NormalisationKind, key_sigmas
from probe.maps.attention_map import AttentionMap, Direction
from probe.models.attention import CrossModelAttention
from probe.models.map_rule import MapRule, map_weights, rule_of
from probe.text.tokenization import PairedTokens, TokenizedSide

DirectionChoice = Literal["t2s", "s2t", "both"]
ORDERED_TOGETHER = 16  # examples whose paths are summed at once: each step of a diagonal costs as much as one
PROJECTION_ROWS = 256  # a fixed number of rows per product: a token's projection is the same whatever its company


@dataclass(frozen=True)
class MapSource:
    """All that the maps of one checkpoint are made of; nothing else has any influence on them.

    Attributes:
        checkpoint, method: names that the maps carry.
        student_table: input embeddings [student vocabulary, d_s].
        teacher_table: input embeddings [teacher vocabulary, d_t].
        weight, bias: the query projector P_query, [2 d_t, 2 d_s] and [2 d_t].
        sigma_k: the frozen standard deviation of the keys.
        rule: how scores become weights: the method's byte gap, or order.

    Raises:
        DamagedError: the projector does not fit the tables; gives both shapes.
        NonFiniteError: NaN or infinity in the projector or sigma.
    """

    checkpoint: str
    method: str
    student_table: Float[Tensor, "vocab_s d_s"]
    teacher_table: Float[Tensor, "vocab_t d_t"]
    weight: Float[Tensor, "2*d_t 2*d_s"]
    bias: Float[Tensor, " 2*d_t"]
    sigma_k: float
    rule: MapRule = MapRule()

    @classmethod
    def of(
        cls,
        checkpoint: str,
        method: str,
        tables: tuple[Float[Tensor, "vocab_s d_s"], Float[Tensor, "vocab_t d_t"]],
        attention: CrossModelAttention,
        sigma_k: float,
    ) -> MapSource:
        """The source of a method's projectors, detached, and both embedding ``tables``."""
        rule = rule_of(attention)
        if isinstance(rule.gap_rate, Tensor):
            rule = replace(rule, gap_rate=float(rule.gap_rate.detach()))
        query = attention.query
        return cls(checkpoint, method, *tables, query.weight.detach(), query.bias.detach(), sigma_k, rule)

    def __post_init__(self) -> None:
        d_s, d_t = self.student_table.shape[1], self.teacher_table.shape[1]
        if tuple(self.weight.shape) != (2 * d_t, 2 * d_s) or tuple(self.bias.shape) != (2 * d_t,):
            raise DamagedError(
                f"{self.checkpoint}: wanted a query projector of {2 * d_t} x {2 * d_s} (twice the teacher's {d_t} "
                f"by twice the student's {d_s}), found {' x '.join(map(str, self.weight.shape))}. "
                "It belongs to another pair of models."
            )
        for name, value in (("weight", self.weight), ("bias", self.bias)):
            if not torch.isfinite(value).all():
                raise NonFiniteError(f"{self.checkpoint}: {name} of the query projector is NaN or infinite.")
        if not 0 < self.sigma_k < math.inf:
            raise NonFiniteError(f"{self.checkpoint}: sigma_k must be a finite number above 0, found {self.sigma_k}.")


def untrained(source: MapSource, seed: int) -> MapSource:
    """The baseline: the same embeddings and sigma under a query projector at its (seeded) initial values.

    Its scores become weights as DSKD-CMA's do, without bytes or order, whatever the method of ``source``.
    """
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(source.weight.shape[1])  # the default of nn.Linear, for weight and bias
    weight = torch.empty_like(source.weight, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
    bias = torch.empty_like(source.bias, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
    return replace(source, checkpoint="untrained", method="untrained", weight=weight, bias=bias, rule=MapRule())


def maps_of_pairs(
    source: MapSource,
    pairs: Sequence[PairedTokens],
    *,
    direction: DirectionChoice = "both",
    normalisation: NormalisationKind = "frozen",
    batch_size: int = 8,
    padded_length: int | None = None,
) -> Iterator[AttentionMap]:
    """Yield the maps of ``pairs``, in order (t2s before s2t).

    Args:
        source: embeddings and projector.
        pairs: tokenized examples; one chunk, held in memory (a few hundred).
        direction: ``t2s`` (rows sum to one), ``s2t`` (columns sum to one) or ``both``.
        normalisation: which σ_k divides the keys, see :func:`key_sigmas`.
        batch_size, padded_length: how examples are grouped for ``batch`` and ``masked``.

    Raises:
        DamagedError: a token id that an embedding table does not have.
        NonFiniteError: an embedding or a score is NaN or infinite.
    """
    if not pairs:
        return
    student = _Distinct.of([pair.student for pair in pairs], source.student_table, f"{source.checkpoint}: student")
    teacher = _Distinct.of([pair.teacher for pair in pairs], source.teacher_table, f"{source.checkpoint}: teacher")
    sigmas = key_sigmas(source, pairs, normalisation, batch_size, padded_length)
    rows, columns, shifts = _factors(source, student, teacher)

    def score(number: int) -> Float[Tensor, "student teacher"]:
        left = rows.of(student.inputs[number], student.targets[number])
        right = columns.of(teacher.inputs[number], teacher.targets[number])
        scores = left @ right.T
        if shifts is not None:
            scores += shifts.of(teacher.inputs[number], teacher.targets[number])[:, 0]
        return scores.mul_(1 / (sigmas[number] * math.sqrt(2 * source.teacher_table.shape[1])))

    together = ORDERED_TOGETHER if source.rule.in_order else 1
    for start in range(0, len(pairs), together):
        part = range(start, min(start + together, len(pairs)))
        yield from _maps(source, [pairs[n] for n in part], [score(n) for n in part], direction, normalisation)


def _maps(
    source: MapSource,
    pairs: Sequence[PairedTokens],
    scores: Sequence[Float[Tensor, "_ _"]],
    choice: DirectionChoice,
    normalisation: str,
) -> Iterator[AttentionMap]:
    directions: tuple[Direction, ...] = ("t2s", "s2t") if choice == "both" else (choice,)
    spans = [(pair.student.axis.spans, pair.teacher.axis.spans) for pair in pairs]
    made = map_weights(source.rule, scores, spans, directions)
    for pair, score, weights in zip(pairs, scores, made, strict=True):
        for direction, one in zip(directions, weights, strict=True):
            yield _map(source, pair, score, direction, one, normalisation)


def _map(
    source: MapSource,
    pair: PairedTokens,
    scores: Float[Tensor, "student teacher"],
    direction: Direction,
    weights: Float[Tensor, "student teacher"],
    normalisation: str,
) -> AttentionMap:
    if not math.isfinite(weights.sum()):  # weights are NaN or finite, and NaN survives a sum
        raise NonFiniteError(
            f"{source.checkpoint}: the {direction} weights of example {pair.example_id} are NaN or infinite: "
            f"its scores reach {scores.abs().max():g}. The embeddings or the projector are broken; train again."
        )
    return AttentionMap(
        example_id=pair.example_id,
        category=pair.category,
        checkpoint=source.checkpoint,
        method=source.method,
        direction=direction,
        normalisation=normalisation,
        text=pair.text,
        student=pair.student.axis,
        teacher=pair.teacher.axis,
        weights=weights.numpy(),
        truncated=pair.truncated,
    )


@dataclass(frozen=True)
class _Distinct:
    """The distinct tokens of one side of a chunk, and where each example uses them.

    ``rows`` [distinct, d] are their embeddings; ``inputs[n]`` and ``targets[n]`` index ``rows`` for example n.
    """

    rows: Float[Tensor, "vocab width"]
    inputs: tuple[Int[Tensor, " _"], ...]
    targets: tuple[Int[Tensor, " _"], ...]

    @classmethod
    def of(cls, sides: Sequence[TokenizedSide], table: Float[Tensor, "vocab width"], who: str) -> _Distinct:
        # Inputs and targets of an example are one run of ids, read with an offset of one.
        runs = [np.asarray(side.ids[side.start :], dtype=np.int64) for side in sides]
        ids, where = np.unique(np.concatenate(runs), return_inverse=True)
        check_ids(ids, table, who)
        rows = table[torch.from_numpy(ids)].float()
        if not torch.isfinite(rows).all():
            bad = ids[int((~torch.isfinite(rows)).any(dim=1).nonzero()[0, 0])]
            raise NonFiniteError(f"{who} embedding of token {bad} is NaN or infinite; the model is damaged.")
        places = torch.from_numpy(where.reshape(-1)).split([len(run) for run in runs])
        return cls(rows, tuple(place[:-1] for place in places), tuple(place[1:] for place in places))


def check_ids(ids: np.ndarray, table: Float[Tensor, "vocab width"], who: str) -> None:
    """Refuse ids that ``table`` has no row for: the tokenizer and the weights are of different models."""
    if len(ids) and (ids.max() >= len(table) or ids.min() < 0):
        raise DamagedError(
            f"{who} tokenizer gives id {ids.max()}, the embedding table has {len(table)} rows. "
            "The tokenizer and the weights belong to different models."
        )


@dataclass(frozen=True)
class _Sum:
    """A vector for an (input, target) pair as the sum, or the concatenation, of one per token."""

    by_input: Float[Tensor, "vocab width"]
    by_target: Float[Tensor, "vocab width"]
    joined: bool = False

    def of(
        self, inputs: Int[Tensor, " position"], targets: Int[Tensor, " position"]
    ) -> Float[Tensor, "position other"]:
        first, second = self.by_input.index_select(0, inputs), self.by_target.index_select(0, targets)
        return torch.cat((first, second), dim=1) if self.joined else first.add_(second)


def _factors(source: MapSource, student: _Distinct, teacher: _Distinct) -> tuple[_Sum, _Sum, _Sum | None]:
    """Rows L, columns R and column shifts c with L_i · R_j + c_j = q_i · (σ_k k_j).

    The query is projected where the student is the wider side; else the keys go through Wᵀ, and the product
    runs over 2 d_s instead of 2 d_t. The choice looks at widths only, so that company changes no map.
    """
    d_s, d_t = source.student_table.shape[1], source.teacher_table.shape[1]
    weight, bias = source.weight.float(), source.bias.float()
    if d_s > d_t:
        rows = _Sum(_project(student.rows, weight[:, :d_s].T), _project(student.rows, weight[:, d_s:].T) + bias)
        return rows, _Sum(teacher.rows, teacher.rows, joined=True), None
    columns = _Sum(_project(teacher.rows, weight[:d_t]), _project(teacher.rows, weight[d_t:]))
    shifts = _Sum(_project(teacher.rows, bias[:d_t, None]), _project(teacher.rows, bias[d_t:, None]))
    return _Sum(student.rows, student.rows, joined=True), columns, shifts


def _project(rows: Float[Tensor, "vocab width"], matrix: Float[Tensor, "width other"]) -> Float[Tensor, "vocab other"]:
    """``rows @ matrix`` in blocks of a fixed height, so that a row's rounding does not depend on the others."""
    out = rows.new_empty(len(rows), matrix.shape[1])
    for start in range(0, len(rows), PROJECTION_ROWS):
        block = rows[start : start + PROJECTION_ROWS]
        padding = PROJECTION_ROWS - len(block)
        full = torch.nn.functional.pad(block, (0, 0, 0, padding)) if padding else block
        out[start : start + len(block)] = (full @ matrix)[: len(block)]
    return out
