"""A run's student on its held-out responses: bits per byte, gap closed, chunk KL, and a row a text to pair runs by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from probe.distillation.likelihood import TextLikelihood, bits_per_byte, gap_closed, student_bits, text_likelihood
from probe.distillation.setup import Setup
from probe.distillation.sharded import is_spread
from probe.distillation.students.lora import plain_student
from probe.files import sha256_of
from probe.scoring.tables import SCHEMA_VERSION, write_csv
from probe.text.tokenization import PairedTokens
from probe.version import __version__

HELD_OUT = "held_out.csv"
TEXT_COLUMNS = ("example_id", "category", "bytes", "student_tokens", "teacher_tokens", "truncated", "start_bits",
                "bits", "teacher_bits", "chunks", "chunk_kl", "chunk_difference")  # fmt: skip


def bits_of(setup: Setup, pairs: Sequence[PairedTokens]) -> list[Tensor]:
    """Bits of every response target of ``pairs`` under the student as it is now, in float32. All processes must ask."""
    student: Any = setup.trained.student
    model = plain_student(student, setup.config) if is_spread(student) else student
    size = setup.config.micro_batch or setup.config.batch_size
    return student_bits(model, [pair.student for pair in pairs], size)


def quality(setup: Setup, start: Sequence[Tensor]) -> str:
    """The line that a run begins with; empty without held-out examples."""
    if not setup.held_out:
        return ""
    numbers = {"student": bits_per_byte(start, setup.held_out)}
    if setup.teacher_bits is not None:
        numbers["teacher"] = bits_per_byte(setup.teacher_bits, setup.held_out)
    found = ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())
    return f"bits per byte of {len(setup.held_out)} held-out responses before training: {found}"


def likelihoods(setup: Setup, bits: Sequence[Tensor]) -> list[TextLikelihood]:
    """Each held-out text's sums; without the teacher's where it was not measured."""
    guides: Sequence[Tensor | None] = setup.teacher_bits or [None] * len(setup.held_out)
    return [text_likelihood(*one) for one in zip(setup.held_out, bits, guides, strict=True)]


def held_out_metrics(start: Sequence[Tensor], texts: Sequence[TextLikelihood]) -> dict[str, float]:
    """The numbers of ``metrics.json``: sums first, divided once. What has no value (no teacher) is left out."""
    size, chunks = sum(text.bytes for text in texts), sum(text.chunks for text in texts)
    if not size:
        return {}
    first = sum(float(one.sum()) for one in start) / size
    now, teacher = (sum(values) / size for values in ([t.bits for t in texts], [t.teacher_bits for t in texts]))
    found = {"bits_per_byte": now, "start_bits_per_byte": first, "teacher_bits_per_byte": teacher}
    found["gap_closed"] = gap_closed(first, now, teacher)
    if chunks:
        found["chunk_kl"] = sum(text.chunk_kl for text in texts) / chunks
        found["chunk_difference"] = sum(text.chunk_difference for text in texts) / chunks
    return {name: value for name, value in found.items() if math.isfinite(value)}


def write_held_out(path: Path, setup: Setup, start: Sequence[Tensor], texts: Sequence[TextLikelihood]) -> None:
    """``held_out.csv``: a row a text, in order, with sums and what they are divided by."""
    rows = [
        {**_labels(setup), **asdict(text), "start_bits": float(first.sum())}
        for text, first in zip(texts, start, strict=True)
    ]
    write_csv(pd.DataFrame(rows, columns=["schema_version", "signature", *TEXT_COLUMNS]), path)


def _labels(setup: Setup) -> Mapping[str, Any]:
    config = setup.config
    data = sha256_of(config.data[0])[:8]
    signature = (
        f"bits:response+eos|method:{config.method}|seed:{config.seed}|max_length:{config.max_length}|"
        f"teacher:{setup.checkpoint.teacher_embeddings[:8]}|version:{__version__}|data:{data}+last-{config.held_out}"
    )
    return {"schema_version": SCHEMA_VERSION, "signature": signature}
