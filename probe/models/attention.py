"""Cross-model attention: the three projectors, and the pure functions that make maps of embeddings (arXiv 2406.17328).

Rows are student positions, columns teacher positions, always. Keys and queries are made of the embeddings of input and
target tokens alone (and of bytes or order, see :mod:`probe.models.map_rule`), so a map needs no transformer forward;
docs/methods.md gives the equations that the docstrings repeat.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from probe.errors import NonFiniteError, UsageError
from probe.models.byte_gap import FEATURES
from probe.models.methods import Method

NORMALISATIONS = ("frozen", "batch", "masked", "example")
FIRST_GAP_RATE = 0.05  # λ_0 of dskd-cma-b: a byte of distance costs a twentieth of a nat


@dataclass(frozen=True)
class Normalisation:
    """The standard deviations by which teacher embeddings and hidden states are divided, and how they were measured.

    `sigma_k` is that of the key parts [E_t(x); E_t(z)], `sigma_h` of the last hidden states, `sigma_e` of E_t(z).
    `kind` says over what: `frozen`, once over a calibration sample's valid response positions; `masked`, the batch's
    valid response positions; `example`, those of one example; `batch`, the whole padded batch as the published code
    does.
    """

    kind: str
    sigma_k: float
    sigma_h: float
    sigma_e: float

    def __post_init__(self) -> None:
        if self.kind not in NORMALISATIONS:
            raise UsageError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, got {self.kind!r}")
        for name in ("sigma_k", "sigma_h", "sigma_e"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise NonFiniteError(
                    f"{name} of the {self.kind} normalisation must be a finite number above 0, got {value}; "
                    "look for NaN or constant teacher embeddings or hidden states, or measure it on more positions"
                )


class SpaceProjectors(nn.Module):
    """t2s d_t -> d_s and s2t d_s -> d_t, affine, for methods whose alignment is given: there is no query to train."""

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.t2s = nn.Linear(teacher_dim, student_dim)
        self.s2t = nn.Linear(student_dim, teacher_dim)


class CrossModelAttention(nn.Module):
    """The trainable projectors: query 2 d_s -> 2 d_t, t2s d_t -> d_s, s2t d_s -> d_t; all affine."""

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.query = nn.Linear(2 * student_dim, 2 * teacher_dim)
        self.t2s = nn.Linear(teacher_dim, student_dim)
        self.s2t = nn.Linear(student_dim, teacher_dim)


class ByteAttention(CrossModelAttention):
    """The projectors of DSKD-CMA-B: besides, λ = softplus(ℓ) of the byte gap and, where asked for, U of offset values.

    ``gap`` is ℓ [1]; ``offset`` is U: FEATURES -> d_s, linear, 0 at first, or None. With λ = 0 and U = 0 all is as in
    DSKD-CMA, to the bit.
    """

    def __init__(self, student_dim: int, teacher_dim: int, offset_values: bool = True) -> None:
        super().__init__(student_dim, teacher_dim)
        self.gap = nn.Parameter(torch.tensor([math.log(math.expm1(FIRST_GAP_RATE))]))
        self.offset = nn.Linear(FEATURES, student_dim, bias=False) if offset_values else None
        if self.offset is not None:
            nn.init.zeros_(self.offset.weight)

    @property
    def gap_rate(self) -> Float[Tensor, " 1"]:
        """λ, with gradient."""
        return nn.functional.softplus(self.gap)


class MonotoneAttention(CrossModelAttention):
    """The projectors of DSKD-CMA-M, the same as DSKD-CMA's: its maps are what is made of the scores in another way."""


def new_projectors(
    method: Method, student_dim: int, teacher_dim: int, *, offset_values: bool = True
) -> SpaceProjectors | CrossModelAttention | None:
    """The projectors that a method has, as initialised; ``offset_values`` counts where it reads bytes."""
    if not method.projectors:
        return None
    if method.reads_bytes:
        return ByteAttention(student_dim, teacher_dim, offset_values)
    kind = MonotoneAttention if method.in_order else CrossModelAttention if method.query else SpaceProjectors
    return kind(student_dim, teacher_dim)


def keys(
    input_emb: Float[Tensor, "*teacher d_t"],
    target_emb: Float[Tensor, "*teacher d_t"],
    sigma_k: float | Float[Tensor, "*teacher 1"],
) -> Float[Tensor, "*teacher d_key"]:
    """k_j = [E_t(x_j); E_t(z_j)] / σ_k, with d_key = 2 d_t."""
    return torch.cat([input_emb, target_emb], dim=-1) / sigma_k


def queries(
    input_emb: Float[Tensor, "*student d_s"],
    target_emb: Float[Tensor, "*student d_s"],
    project: Callable[[Tensor], Tensor],
) -> Float[Tensor, "*student d_key"]:
    """q_i = P_query([E_s(x_i); E_s(y_i)]); `project` is `CrossModelAttention.query`."""
    return project(torch.cat([input_emb, target_emb], dim=-1))


def values_t2s(
    hidden: Float[Tensor, "*teacher d_t"],
    target_emb: Float[Tensor, "*teacher d_t"],
    sigma_h: float | Float[Tensor, "*teacher 1"],
    sigma_e: float | Float[Tensor, "*teacher 1"],
    project: Callable[[Tensor], Tensor],
) -> Float[Tensor, "*teacher d_s"]:
    """u_j = P_t2s(H_t,j / σ_h + E_t(z_j) / σ_e); `project` is `CrossModelAttention.t2s`."""
    return project(hidden / sigma_h + target_emb / sigma_e)


def attention_scores(
    query: Float[Tensor, "*batch student d_key"], key: Float[Tensor, "*batch teacher d_key"]
) -> Float[Tensor, "*batch student teacher"]:
    """S_ij = q_i · k_j / sqrt(2 d_t), where d_key = 2 d_t."""
    return query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])


def t2s_weights(
    scores: Float[Tensor, "*batch student teacher"], teacher_mask: Bool[Tensor, "*mask teacher"] | None = None
) -> Float[Tensor, "*batch student teacher"]:
    """A_t2s: softmax of each student row over the valid teacher positions; rows sum to 1.

    `teacher_mask` (broadcast against `scores`) is true where a cell may carry weight: `[teacher]` for padding,
    `[student, teacher]` to impose chunks. Raises ValueError where a row has no valid cell.
    """
    return _masked_softmax(scores, teacher_mask, dim=-1)


def s2t_weights(
    scores: Float[Tensor, "*batch student teacher"], student_mask: Bool[Tensor, "*mask"] | None = None
) -> Float[Tensor, "*batch student teacher"]:
    """A_s2t: softmax of each teacher column over the valid student positions; columns sum to 1.

    The axes stay [student, teacher]. `student_mask` is `[student]` for padding, or `[student, teacher]`. Raises
    ValueError where a column has no valid cell.
    """
    if student_mask is not None and student_mask.ndim == 1:
        student_mask = student_mask.unsqueeze(-1)
    return _masked_softmax(scores, student_mask, dim=-2)


def _masked_softmax(scores: Tensor, mask: Tensor | None, dim: int) -> Tensor:
    if mask is None:
        return torch.softmax(scores, dim=dim)
    mask = mask.broadcast_to(scores.shape)
    if not bool(mask.any(dim=dim).all()):
        raise ValueError("every row (t2s) or column (s2t) needs a valid cell; drop positions that are padding first")
    return torch.softmax(scores.masked_fill(~mask, -math.inf), dim=dim)


def key_sigma(input_emb: Float[Tensor, "teacher d_t"], target_emb: Float[Tensor, "teacher d_t"]) -> float:
    """Unbiased standard deviation over all elements of [E_t(x); E_t(z)], in double precision."""
    return _std(torch.cat([input_emb, target_emb]), "teacher embeddings")


def measure_sigmas(
    input_emb: Float[Tensor, "teacher d_t"],
    target_emb: Float[Tensor, "teacher d_t"],
    hidden: Float[Tensor, "teacher d_t"],
    *,
    kind: str = "frozen",
) -> Normalisation:
    """One standard deviation each, unbiased, over all elements of the given (valid response) positions.

    `frozen`: pass the positions of a calibration sample; `masked`: of a batch; `example`: of one example.
    Raises NonFiniteError where the positions hold NaN or infinity, or do not vary.
    """
    return Normalisation(
        kind,
        sigma_k=key_sigma(input_emb, target_emb),
        sigma_h=_std(hidden, "teacher hidden states"),
        sigma_e=_std(target_emb, "teacher target embeddings"),
    )


def batch_key_sigma(
    input_emb: Float[Tensor, "batch teacher d_t"],
    target_emb: Float[Tensor, "batch teacher d_t"],
    response: Bool[Tensor, "batch teacher"],
    zero_emb: Float[Tensor, " d_t"],
) -> float:
    """σ_k of the published code: over the whole padded batch, the embedding of token id 0 outside the response."""
    outside = ~response.unsqueeze(-1)
    return key_sigma(
        torch.where(outside, zero_emb, input_emb).flatten(0, 1),
        torch.where(outside, zero_emb, target_emb).flatten(0, 1),
    )


def _std(values: Tensor, what: str) -> float:
    values = values.detach()
    if values.numel() < 2:
        raise NonFiniteError(f"{what} must be at least two numbers to have a standard deviation, got {values.numel()}")
    if not bool(torch.isfinite(values).all()):
        raise NonFiniteError(f"{what} must be finite to measure their standard deviation, but hold NaN or infinity")
    return values.double().std().item()
