"""The normalisation of an imported checkpoint: measured once, beside what the public code divided by in training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from probe.distillation.dataset import side_batch
from probe.distillation.teacher_cache import last_hidden_states
from probe.models.attention import Normalisation, batch_key_sigma, measure_sigmas
from probe.reference.models import embedding_table
from probe.text.tokenization import PairedTokens, TokenizedSide

PUBLISHED_BATCH = 8  # examples a device in the published recipes
TEACHER_BATCH = 4


@dataclass(frozen=True)
class Measured:
    """The normalisation to store, and σ_k of batches padded as in training (mean, least, most) for the record."""

    normalisation: Normalisation
    examples: int
    published: tuple[float, float, float]

    def numbers(self) -> dict[str, int | float]:
        """Name -> number, for metrics.json: the examples, and σ_k as published."""
        names = ("published_sigma_k", "published_sigma_k_least", "published_sigma_k_most")
        return {"examples": self.examples, **dict(zip(names, self.published, strict=True))}


def measure(
    pairs: Sequence[PairedTokens],
    teacher: PreTrainedModel,
    padded_length: int,
    *,
    watched: Callable[..., Iterable[Any]] | None = None,
) -> Measured:
    """The frozen normalisation over the valid response positions of ``pairs``, and the published one beside it.

    Args:
        teacher: runs once over the texts, for σ_h.
        padded_length: of the published batches, which have PUBLISHED_BATCH examples in the order of ``pairs``.
        watched: is handed the batches of teacher states, ``total`` and ``label``, and hands them on.
    """
    table = embedding_table(teacher)
    sides = sorted((pair.teacher for pair in pairs), key=lambda side: len(side.ids))
    groups = [sides[first : first + TEACHER_BATCH] for first in range(0, len(sides), TEACHER_BATCH)]
    hidden: list[Tensor] = []
    for group in watched(groups, total=len(groups), label="teacher states, batch") if watched else groups:
        hidden += last_hidden_states(teacher, group)
    inputs = [number for side in sides for number in side.inputs]
    targets = [number for side in sides for number in side.targets]
    normalisation = measure_sigmas(table[inputs], table[targets], torch.cat(hidden).float())
    batches = [pairs[first : first + PUBLISHED_BATCH] for first in range(0, len(pairs), PUBLISHED_BATCH)]
    sigmas = [_published_sigma([pair.teacher for pair in batch], table, padded_length) for batch in batches]
    return Measured(normalisation, len(pairs), (sum(sigmas) / len(sigmas), min(sigmas), max(sigmas)))


def _published_sigma(sides: Sequence[TokenizedSide], table: Float[Tensor, "vocab_t d_t"], padded_length: int) -> float:
    """σ_k of one batch, padded to ``padded_length``, as the public code measures it."""
    batch = side_batch(sides)
    shape = (len(batch.lengths), max(padded_length, batch.ids.shape[1]))
    inputs, targets = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    response = torch.zeros(shape, dtype=torch.bool)
    inputs[batch.rows, batch.places], targets[batch.rows, batch.places] = batch.inputs, batch.targets
    response[batch.rows, batch.places] = True
    return batch_key_sigma(table[inputs], table[targets], response, table[0])
