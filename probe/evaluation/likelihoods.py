"""Likelihood of people's answers under checkpoints: a row a text, to pair by, and a row a checkpoint and data set."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from probe.distillation.likelihood import TextLikelihood, gap_closed, student_bits, text_likelihood
from probe.models.loading import best_device, load_causal_lm, load_tokenizer, resolve_model
from probe.scoring.report_text import aligned
from probe.scoring.tables import SCHEMA_VERSION
from probe.text.examples import Example
from probe.text.tokenization import PairTokenizer, TokenizedSide
from probe.version import __version__

if TYPE_CHECKING:
    from probe.evaluation.evaluate import DataSet, Subject

LABELS = ("schema_version", "signature", "checkpoint", "method", "teacher", "dataset", "domain")
MEANS = ("n_examples", "bytes", "bits_per_byte", "teacher_bits_per_byte", "gap_closed", "chunk_kl", "chunk_difference")


class Guide:
    """A teacher that is run once for each text, whichever checkpoints ask."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self._size = name, size
        directory = resolve_model(name)
        self.tokenizer = load_tokenizer(directory)
        self._model: Any = load_causal_lm(directory).to(best_device())  # type: ignore[arg-type]
        self.positions = _positions(self._model)
        self._known: dict[tuple[int, tuple[int, ...]], Tensor] = {}

    def bits(self, sides: Sequence[TokenizedSide]) -> list[Tensor]:
        """Bits of each side's response targets."""
        keys = [(side.start, side.ids) for side in sides]
        todo = {key: side for key, side in zip(keys, sides, strict=True) if key not in self._known}
        found = student_bits(self._model, list(todo.values()), self._size)
        self._known.update(zip(todo, found, strict=True))
        return [self._known[key] for key in keys]


@dataclass(frozen=True)
class Likelihoods:
    """The texts of one data set under one checkpoint."""

    checkpoint: str
    method: str
    teacher: str
    dataset: str
    domain: str
    signature: str
    texts: tuple[TextLikelihood, ...]

    @property
    def labels(self) -> dict[str, Any]:
        """What every row begins with."""
        values = {name: getattr(self, name) for name in LABELS if name != "schema_version"}
        return {"schema_version": SCHEMA_VERSION, **values}


def likelihoods(
    subject: Subject, data: Sequence[DataSet], guide: Guide | None, *, max_length: int, size: int
) -> list[Likelihoods]:
    """Every text's bits under ``subject`` and, where there is one, its teacher: in float32, ``size`` texts at a time.

    A text longer than ``max_length`` tokens of either side, or than a model has positions, loses its end, at the same
    byte for both.
    """
    from probe.distillation.teacher_cache import model_fingerprint

    tokenizer = load_tokenizer(subject.directory)
    model: Any = load_causal_lm(subject.directory).to(best_device())  # type: ignore[arg-type]
    max_length = min(max_length, _positions(model), guide.positions if guide else max_length)
    pairer = PairTokenizer(tokenizer, guide.tokenizer if guide else tokenizer, max_length=max_length)
    digest = model_fingerprint(subject.directory)[:8]
    found = []
    for part in data:
        signature = (
            f"bits:response+eos|max_length:{max_length}|dtype:float32|model:{digest}|version:{__version__}|"
            f"data:{part.digest}+first-{len(part.examples)}"
        )
        texts = _texts(model, pairer, part.examples, guide, size)
        labels = (subject.name, subject.method, guide.name if guide else "", part.name, part.domain, signature)
        found.append(Likelihoods(*labels, tuple(texts)))
    return found


def _positions(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", None) or sys.maxsize)


def _texts(
    model: Any, pairer: PairTokenizer, examples: Sequence[Example], guide: Guide | None, size: int
) -> list[TextLikelihood]:
    pairs = pairer.encode(examples)
    own = student_bits(model, [pair.student for pair in pairs], size)
    if guide is None:
        return [text_likelihood(pair, bits) for pair, bits in zip(pairs, own, strict=True)]
    guides = guide.bits([pair.teacher for pair in pairs])
    return [text_likelihood(*one) for one in zip(pairs, own, guides, strict=True)]


def likelihood_frame(parts: Iterable[Likelihoods]) -> pd.DataFrame:
    """``likelihood.csv``: sums of each text, and what they are divided by."""
    names = list(TextLikelihood.__dataclass_fields__)
    rows = [{**part.labels, **asdict(text)} for part in parts for text in part.texts]
    return pd.DataFrame(rows, columns=[*LABELS, *names])


def means_frame(parts: Sequence[Likelihoods], against: str | None) -> pd.DataFrame:
    """``likelihood_means.csv``: sums over a data set, divided once.

    ``gap_closed`` (:func:`probe.distillation.likelihood.gap_closed`) takes ``against`` for the start.
    """
    starts = {part.dataset: _per_byte(part.texts, "bits") for part in parts if part.checkpoint == against}
    return pd.DataFrame(
        [{**part.labels, **_means(part.texts, starts.get(part.dataset, math.nan))} for part in parts],
        columns=[*LABELS, *MEANS],
    )


def _per_byte(texts: Sequence[TextLikelihood], name: str) -> float:
    size = sum(text.bytes for text in texts)
    return sum(getattr(text, name) for text in texts) / size if size else math.nan


def _means(texts: Sequence[TextLikelihood], start: float) -> dict[str, float | int]:
    own, teacher = _per_byte(texts, "bits"), _per_byte(texts, "teacher_bits")
    chunks = sum(text.chunks for text in texts) or math.nan
    return {
        "n_examples": len(texts),
        "bytes": sum(text.bytes for text in texts),
        "bits_per_byte": own,
        "teacher_bits_per_byte": teacher,
        "gap_closed": gap_closed(start, own, teacher),
        "chunk_kl": sum(text.chunk_kl for text in texts) / chunks,
        "chunk_difference": sum(text.chunk_difference for text in texts) / chunks,
    }


def likelihood_lines(frame: pd.DataFrame) -> Iterable[str]:
    """The table that people read."""
    names = ("bits_per_byte", "teacher_bits_per_byte", "gap_closed", "chunk_kl")
    rows = [["likelihood", "data set", "bits per byte", "of the teacher", "gap closed", "chunk KL"]]
    for _, row in frame.iterrows():
        cells = ["" if math.isnan(row[name]) else f"{row[name]:.4f}" for name in names]
        rows.append([str(row["checkpoint"]), str(row["dataset"]), *cells])
    yield from (*aligned(rows), "")
