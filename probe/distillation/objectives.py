"""Each method's objective on a batch: its loss function, its alignment, and the settings of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probe.distillation.config import TrainConfig
from probe.distillation.dataset import PairedBatch
from probe.distillation.frozen_teacher import FrozenTeacher
from probe.distillation.imposed import (
    ImposedMap,
    chunk_index,
    chunk_mask,
    corrupted,
    exact_pairs,
    imposed_map,
    linked_cells,
)
from probe.distillation.losses.aligned import dskd, kd, mined, uld
from probe.distillation.losses.alm import alm
from probe.distillation.losses.attended import dskd_cma
from probe.distillation.losses.contrastive import contrastive_matching
from probe.distillation.losses.divergences import DIVERGENCES, Divergence
from probe.distillation.losses.key_query import (
    Matching,
    ReplayPadding,
    gan_matching,
    released_matching,
    shared_matching,
)
from probe.distillation.losses.terms import Heads, LossTerms, PairedStates
from probe.distillation.losses.transport import ct_matching
from probe.distillation.optimisation import Trained
from probe.distillation.token_match import aligned_positions
from probe.gold.reading import Gold, read_gold
from probe.models.attention import CrossModelAttention, Normalisation, SpaceProjectors


@dataclass(frozen=True)
class LossContext:
    """What an objective may need besides the batch. ``normalisation`` is there for methods that scale the teacher."""

    trained: Trained
    config: TrainConfig
    teacher: FrozenTeacher
    normalisation: Normalisation | None

    @property
    def heads(self) -> Heads:
        """The heads of student and teacher."""
        own: Any = self.trained.student.get_output_embeddings()  # type: ignore[operator]
        return Heads(own.weight, self.teacher.head, own.bias, self.teacher.head_bias)

    def options(self, batch: PairedBatch) -> dict[str, Any]:
        """The settings that every loss with a teacher takes."""
        return {
            "reduction": batch.whole,
            "kd_rate": self.config.kd_rate,
            "temperature": self.config.temperature,
        }

    @property
    def divergence(self) -> Divergence:
        return DIVERGENCES[self.config.divergence]

    @cached_property
    def gold(self) -> Mapping[str, Gold]:
        """Gold by example id; empty without a gold file."""
        return read_gold(self.config.gold) if self.config.gold else {}


BatchLoss = Callable[[LossContext, PairedBatch, PairedStates], LossTerms]


def _kd(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    return kd(states, run.heads, divergence=run.divergence, **run.options(batch))


def _uld(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    return uld(states, run.heads, **run.options(batch))


def _alm(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    heads, options = run.heads, {"student_bias": run.heads.student_bias, **run.options(batch)}
    return alm(states, heads.student, run.teacher.log_likelihoods(batch.pairs), chunk_index(batch.pairs), **options)


def _mined(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    assert run.teacher.token_map is not None
    mapping, parts, first = run.teacher.token_map.cpu().numpy(), [], 0
    for pair in batch.pairs:
        aligned = aligned_positions(pair, mapping)
        parts.append(np.where(aligned < 0, -1, aligned + first))
        first += len(pair.teacher.targets)
    device = states.student_targets.device
    flat, token_map = torch.from_numpy(np.concatenate(parts)).to(device), run.teacher.token_map.to(device)
    return mined(states, run.heads, flat, token_map, divergence=run.divergence, **run.options(batch))


def _dskd(run: LossContext, batch: PairedBatch, states: PairedStates, pairs: Tensor | None = None) -> LossTerms:
    projectors: SpaceProjectors = run.trained.attention  # type: ignore[assignment]
    summary = run.teacher.summary(batch.pairs)
    return dskd(states, projectors, run.heads, pairs, divergence=run.divergence, summary=summary, **run.options(batch))


def _eta(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    links, first_i, first_j = [], 0, 0
    for pair in batch.pairs:
        links += [(first_i + i, first_j + j) for i, j in exact_pairs(pair)]
        first_i, first_j = first_i + len(pair.student.targets), first_j + len(pair.teacher.targets)
    pairs = torch.tensor(links, dtype=torch.long, device=states.student_targets.device).reshape(-1, 2).T
    return _dskd(run, batch, states, pairs)


def _cma(run: LossContext, batch: PairedBatch, states: PairedStates, **alignment: Any) -> LossTerms:
    attention: CrossModelAttention | SpaceProjectors = run.trained.attention  # type: ignore[assignment]
    assert run.normalisation is not None
    settings = {
        **run.options(batch),
        **alignment,
        "divergence": run.divergence,
        "summary": run.teacher.summary(batch.pairs),
    }
    matching = _matching(run, batch)
    return dskd_cma(
        states, attention, run.heads, run.normalisation, matching=matching, kappa=run.config.kappa, **settings
    )


def _cma_b(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    return _cma(run, batch, states, spans=[(pair.student.axis.spans, pair.teacher.axis.spans) for pair in batch.pairs])


def _cla(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    return _cma(run, batch, states, masks=[chunk_mask(pair) for pair in batch.pairs])


def _clp(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    return _given(run, batch, states, [imposed_map(pair, "chunk") for pair in batch.pairs])


def _imposed(run: LossContext, batch: PairedBatch, states: PairedStates) -> LossTerms:
    kind, seed, rate = run.config.imposed, run.config.seed, run.config.imposed_corruption
    maps = [imposed_map(pair, kind, seed, run.gold.get(pair.example_id)) for pair in batch.pairs]
    if rate:
        maps = [corrupted(one, pair, rate, seed) for one, pair in zip(maps, batch.pairs, strict=True)]
    return _given(run, batch, states, maps)


def _given(run: LossContext, batch: PairedBatch, states: PairedStates, maps: list[ImposedMap]) -> LossTerms:
    return _cma(run, batch, states, maps=[one.t2s for one in maps], s2t_maps=[one.s2t for one in maps])


OBJECTIVES: dict[str, BatchLoss] = {
    "kd": _kd,
    "dskd": _dskd,
    "dskd-cma": _cma,
    "dskd-cma-ga": _cma,
    "dskd-cma-b": _cma_b,
    "dskd-cma-m": _cma,
    "dskd-cla": _cla,
    "dskd-clp": _clp,
    "dskd-imposed": _imposed,
    "dskd-eta": _eta,
    "uld": _uld,
    "mined": _mined,
    "alm": _alm,
}


def _matching(run: LossContext, batch: PairedBatch) -> Matching | None:
    if run.config.method == "dskd-cma-ga" and run.config.matching == "contrastive":
        lengths, whole = (batch.student.lengths, batch.teacher.lengths), (batch.whole.n_student, batch.whole.n_teacher)
        positives = [linked_cells(pair) for pair in batch.pairs]
        return contrastive_matching(positives, lengths, whole, run.config.contrastive_temperature)
    critic: Any = run.trained.discriminator
    if critic is None:
        return None
    if run.config.matching == "gan":
        return gan_matching(critic, batch.shares)
    if run.config.matching == "ct":
        matching = ct_matching(critic, batch.student.lengths, batch.teacher.lengths)
        return shared_matching(matching, batch.shares[0])
    # Padding, constant discriminator and weight are as published; σ_k stays the run's frozen one (parity: `batch`).
    table = run.trained.student.get_input_embeddings().weight.detach()  # type: ignore[operator, union-attr]
    padding = ReplayPadding(
        student_emb=table[0],
        teacher_emb=run.teacher.embeddings[0],
        student_positions=batch.student.ids.numel() - len(batch.student.targets),
        teacher_positions=batch.teacher.ids.numel() - len(batch.teacher.targets),
    )
    attention: Any = run.trained.attention
    assert run.normalisation is not None
    matching = released_matching(critic, padding, attention.query, run.normalisation.sigma_k)
    return shared_matching(matching, batch.shares[0])
