"""σ_k, by which keys are divided: the standard deviation over sets of keys, from token counts alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probe.errors import NonFiniteError, UsageError
from probe.text.tokenization import PairedTokens

if TYPE_CHECKING:
    from probe.extraction.embedding_maps import MapSource

NormalisationKind = Literal["frozen", "batch", "masked", "example"]


def key_sigmas(
    source: MapSource,
    pairs: Sequence[PairedTokens],
    kind: NormalisationKind,
    batch_size: int = 8,
    padded_length: int | None = None,
) -> list[float]:
    """σ_k for each pair: the standard deviation (n - 1) over all elements of a set of keys [E_t(x_j); E_t(z_j)].

    ``frozen``: the checkpoint's own. ``example``: this example's response positions. ``masked``: the response
    positions of its batch. ``batch`` (as published): all padded positions of its batch, where every prompt and padding
    position holds the embedding of token 0 twice; ``padded_length`` is the number of positions (default: the longest
    teacher sequence of the batch).

    Raises:
        UsageError: another kind, or a padded length that is too short.
        NonFiniteError: the keys do not vary, or are not finite.
    """
    if kind not in get_args(NormalisationKind):
        raise UsageError(f"wanted a normalisation of {', '.join(get_args(NormalisationKind))}, got {kind!r}.")
    if kind == "frozen":
        return [source.sigma_k] * len(pairs)
    if kind == "example":
        return [_spread(source.teacher_table, [pair], 0) for pair in pairs]
    sigmas: list[float] = []
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        zeros = _zero_positions(batch, padded_length) if kind == "batch" else 0
        sigmas += [_spread(source.teacher_table, batch, zeros)] * len(batch)
    return sigmas


def _zero_positions(batch: Sequence[PairedTokens], padded_length: int | None) -> int:
    """How many positions of the padded batch are prompt or padding."""
    longest = max(len(pair.teacher.ids) - 1 for pair in batch)
    length = longest if padded_length is None else padded_length
    if length < longest:
        raise UsageError(f"wanted a padded length of at least {longest} (the longest example), got {length}.")
    return len(batch) * length - sum(len(pair.teacher.axis) for pair in batch)


def _spread(table: Float[Tensor, "vocab width"], batch: Sequence[PairedTokens], zeros: int) -> float:
    """Standard deviation over the keys of ``batch`` and ``zeros`` further positions of token 0, from token counts."""
    used = [ids for pair in batch for ids in (pair.teacher.inputs, pair.teacher.targets)]
    ids, counts = np.unique(np.concatenate([np.asarray(run, dtype=np.int64) for run in used]), return_counts=True)
    if zeros:
        ids, counts = np.append(ids, 0), np.append(counts, 2 * zeros)
    rows = table[torch.from_numpy(ids)].double()
    weights = torch.from_numpy(counts).double()
    total = weights.sum() * table.shape[1]
    mean = (weights @ rows.sum(dim=1)) / total
    sigma = math.sqrt((weights @ (rows - mean).square().sum(dim=1)) / (total - 1))
    if not 0 < sigma < math.inf:
        raise NonFiniteError(f"the keys of {batch[0].example_id} and its batch have the standard deviation {sigma}.")
    return sigma
