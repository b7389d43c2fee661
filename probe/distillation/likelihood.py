"""Bits per byte of responses, comparable across tokenizers, and how far a student's chunks are from the teacher's.

For a text with response targets y_1 … y_n (EOS among them, but where the text was cut) and B UTF-8 bytes of response:
bits = Σ_i −log2 p(y_i | prompt, y_<i), and bits per byte = bits / B; over several texts Σ bits / Σ B. EOS costs bits
and has no byte. Only the tokenizer's own segmentation is counted, as usual: an upper bound of the text's own bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from probe.distillation.dataset import side_batch
from probe.distillation.frozen_teacher import FrozenTeacher
from probe.distillation.unpadded import response_states
from probe.scoring.alignment import chunks
from probe.text.tokenization import PairedTokens, TokenizedSide

ROWS = 256  # positions whose logits exist at once
LEAST_GAP = 1e-3  # bits per byte; the teacher's stored states are float16, some 1e-4 off
SURE = 1e-12  # probabilities are kept this far from 0 and 1, so that no chunk counts without end


@dataclass(frozen=True)
class TextLikelihood:
    """One response under the student and, where it was asked, the teacher (else NaN).

    ``bits`` and ``teacher_bits`` are sums over the response; ``chunk_kl`` and ``chunk_difference`` are sums over its
    ``chunks`` (see :func:`chunk_distances`).
    """

    example_id: str
    category: str
    bytes: int
    student_tokens: int
    teacher_tokens: int
    truncated: bool
    bits: float
    teacher_bits: float = math.nan
    chunks: int = 0
    chunk_kl: float = math.nan
    chunk_difference: float = math.nan


@torch.no_grad()
def target_bits(
    hidden: Float[Tensor, "position d"],
    targets: Int[Tensor, " position"],
    head: Float[Tensor, "vocab d"],
    bias: Float[Tensor, " vocab"] | None = None,
) -> Float[Tensor, " position"]:
    """−log2 softmax(head · h_i + bias)[y_i] of each position, in float64 on the CPU (logits as precise as the head)."""
    parts = []
    for rows, wanted in zip(hidden.split(ROWS), targets.split(ROWS), strict=True):
        logits = nn.functional.linear(rows.to(head.dtype), head, bias).float()
        parts.append(nn.functional.cross_entropy(logits, wanted, reduction="none").double().cpu())
    return torch.cat(parts) / math.log(2)


@torch.no_grad()
def student_bits(model: nn.Module, sides: Sequence[TokenizedSide], size: int) -> list[Tensor]:
    """Bits of the response targets of each of ``sides`` under ``model``, ``size`` at a time; it is left evaluating."""
    model.eval()
    head = model.get_output_embeddings()  # type: ignore[operator]
    found: list[Tensor] = []
    for start in range(0, len(sides), size):
        batch = side_batch(sides[start : start + size]).to(head.weight.device)
        bits = target_bits(response_states(model, batch), batch.targets, head.weight, head.bias)
        found += bits.split(list(batch.lengths))
    return found


def teacher_bits(teacher: FrozenTeacher, pairs: Sequence[PairedTokens]) -> list[Tensor]:
    """The same of the teacher, from its stored states (in float16 by default: some 1e-3 of a bit a target)."""
    device = teacher.head.device
    return [
        target_bits(
            teacher.hidden([pair]), torch.tensor(pair.teacher.targets, device=device), teacher.head, teacher.head_bias
        )
        for pair in pairs
    ]


def text_likelihood(
    pair: PairedTokens, student: Float[Tensor, " student"], teacher: Float[Tensor, " teacher"] | None = None
) -> TextLikelihood:
    """One text's sums from the bits of its targets."""
    shared = {
        "example_id": pair.example_id,
        "category": pair.category,
        "bytes": len(pair.text.encode()),
        "student_tokens": len(pair.student.targets),
        "teacher_tokens": len(pair.teacher.targets),
        "truncated": pair.truncated,
        "bits": float(student.sum()),
    }
    if teacher is None:
        return TextLikelihood(**shared)  # type: ignore[arg-type]
    kl, difference = chunk_distances(pair, student.numpy(), teacher.numpy())
    return TextLikelihood(
        **shared,  # type: ignore[arg-type]
        teacher_bits=float(teacher.sum()),
        chunks=len(kl),
        chunk_kl=float(kl.sum()),
        chunk_difference=float(difference.sum()),
    )


def chunk_distances(
    pair: PairedTokens, student: Float[np.ndarray, " student"], teacher: Float[np.ndarray, " teacher"]
) -> tuple[Float[np.ndarray, " chunk"], Float[np.ndarray, " chunk"]]:
    """How far the two models' probabilities of each chunk are apart, in bits: (KL, |difference|).

    A chunk c is a smallest stretch on whose ends both tokenizations have a boundary; EOS is one. With p(c) the product
    of its targets' probabilities, KL is that of the two-way question "does this chunk come next?",
    p_t log2(p_t / p_s) + (1 − p_t) log2((1 − p_t) / (1 − p_s)): 0 where both agree, and never more than the KL of the
    full distributions over what comes next, which two tokenizers do not share (cf. ALM, arXiv 2503.20083). The
    difference is |log2 p_t − log2 p_s|. Chunks that one side does not cover are left out.
    """
    both = [c for c in chunks(pair.student.axis.spans, pair.teacher.axis.spans) if c.student and c.teacher]
    own = np.array([student[c.student.start : c.student.stop].sum() for c in both])
    guide = np.array([teacher[c.teacher.start : c.teacher.stop].sum() for c in both])
    p_s, p_t = (np.clip(np.exp2(-bits), SURE, 1 - SURE) for bits in (own, guide))
    kl = p_t * np.log2(p_t / p_s) + (1 - p_t) * (np.log1p(-p_t) - np.log1p(-p_s)) / math.log(2)
    return np.maximum(kl, 0.0), np.abs(guide - own)  # rounding may leave −1e-17


def bits_per_byte(bits: Sequence[Tensor], pairs: Sequence[PairedTokens]) -> float:
    """Σ bits / Σ bytes over texts; NaN without any byte."""
    size = sum(len(pair.text.encode()) for pair in pairs)
    return float(sum(float(one.sum()) for one in bits)) / size if size else math.nan


def gap_closed(start: float, now: float, teacher: float) -> float:
    """(start − now) / (start − teacher) in bits per byte: 1 at the teacher's; NaN where there is no gap."""
    return (start - now) / (start - teacher) if abs(start - teacher) >= LEAST_GAP else math.nan
