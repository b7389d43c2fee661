"""In a trainer of others: a callback of ``transformers.Trainer`` (and TRL's, through it) that watches an alignment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from probe.aligners.making import CutText, maps_of_texts
from probe.aligners.registry import aligner_named
from probe.distillation.probe_curve import ProbeSet, map_row, step_name, write_probe
from probe.errors import DataError, UsageError
from probe.extraction.embedding_maps import MapSource, maps_of_pairs
from probe.gold.reading import check_gold
from probe.maps.attention_map import AttentionMap, Direction
from probe.models.attention import CrossModelAttention
from probe.plotting.boards import show_map
from probe.text.tokenization import PairedTokens

# The maps of texts as training has left the models, one a text. Of a function of one text: lambda pairs: map(f, pairs).
MapsNow = Callable[[Sequence[PairedTokens]], Iterable[AttentionMap]]


class AlignmentCallback(TrainerCallback):
    """Scores the maps of a probe set before the first step, every ``every`` steps, and after the last.

    The scores go through ``Trainer.log`` to whatever ``report_to`` names, as ``alignment/…``, and the first map as a
    picture to TensorBoard, W&B and trackio. ``out`` gets ``probe_curve.csv`` and ``probe_maps/``, as a run of
    ``probe train`` has them. Loss, weights and random state of the run stay as they would be without it; of several
    processes all make the maps (weights may be shared out among them), and the first one writes.

    Args:
        trainer: the trainer that it is added to: ``trainer.add_callback(AlignmentCallback(trainer, …))``.
        maps: makes the maps; :func:`aligner_maps` and :func:`attention_maps` are two ways.
        probes: texts and gold, see :meth:`probe.distillation.probe_curve.ProbeSet.on`.
        out: a directory for curve and maps. What it holds of later steps goes, as where a run resumes.
        every: steps between two probes.

    Raises:
        UsageError: ``every`` below 1, or no text. DataError (at a probe): not one map a text, or of other tokens.
    """

    def __init__(self, trainer: Trainer, maps: MapsNow, probes: ProbeSet, *, out: Path | str, every: int = 50) -> None:
        if every < 1 or not probes.pairs:
            raise UsageError(
                f"wanted `every` of at least 1 and one text or more, got {every} and {len(probes.pairs)} texts."
            )
        self._trainer, self._maps, self._probes, self._out, self._every = trainer, maps, probes, Path(out), every
        self._last: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Probe before the first step, or where a run resumes."""
        self._probe(state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Probe where it is time."""
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            self._probe(state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Probe after a last step that was not planned to be the last."""
        if state.global_step != self._last:
            self._probe(state, control)

    def _probe(self, state: Any, control: Any) -> None:
        step = self._last = state.global_step
        maps = self._made(step)
        row = map_row(self._probes, maps, step)
        if state.is_world_process_zero:
            self._out.mkdir(parents=True, exist_ok=True)
            write_probe(self._out, row, maps, self._probes)
        scores = {f"alignment/{name}": value for name, value in row.items() if isinstance(value, float)}
        # The base class's own: TRL's trainers log (and forget) the means of their metrics with whatever they log.
        # Logging takes back that the trainer itself wants to log this step.
        wanted = control.should_log
        Trainer.log(self._trainer, scores)
        control.should_log = wanted
        if state.is_world_process_zero:
            show_map(self._trainer.callback_handler.callbacks, maps[0], self._probes.golds[maps[0].example_id], step)

    def _made(self, step: int) -> list[AttentionMap]:
        with torch.no_grad(), torch.random.fork_rng(_devices()):
            found = [replace(amap, checkpoint=step_name(step)) for amap in self._maps(self._probes.pairs)]
        wanted = [pair.example_id for pair in self._probes.pairs]
        if [amap.example_id for amap in found] != wanted:
            raise DataError(
                f"wanted a map of each of {len(wanted)} texts in their order, {wanted[0]!r} first, got {len(found)} "
                "maps. Give `maps` a function of all texts; of one text: lambda pairs: map(f, pairs)."
            )
        for amap in found:
            gold = self._probes.golds[amap.example_id]
            check_gold(gold, amap.student, amap.teacher, self._probes.tokenizers, text=amap.text)
        return found


def _devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []


def map_of(
    pair: PairedTokens,
    weights: Float[Tensor, "student teacher"],
    *,
    direction: Direction = "t2s",
    method: str = "given",
) -> AttentionMap:
    """The map of one text from weights of your own; t2s rows, or s2t columns, sum to 1."""
    cells = weights.detach().float().cpu().numpy()
    return AttentionMap(
        pair.example_id, pair.category, method, method, direction, "none", pair.text, pair.student.axis,
        pair.teacher.axis, cells, pair.truncated,
    )  # fmt: skip


def aligner_maps(name: str, direction: Direction = "t2s") -> MapsNow:
    """The maps of an aligner of :mod:`probe.aligners` (``gold-bytes``, ``eta``, …): the same at every step.

    Raises:
        UsageError: no such aligner, or one that reads stored maps.
    """
    aligner = aligner_named(name)
    if aligner.align is None:
        raise UsageError(f"the aligner {name!r} reads stored maps, which a training run has none of. Choose another.")

    def maps(pairs: Sequence[PairedTokens]) -> Iterator[AttentionMap]:
        return maps_of_texts(aligner, map(_cut_text, pairs), direction)

    return maps


def _cut_text(pair: PairedTokens) -> CutText:
    axes = pair.student.axis, pair.teacher.axis
    return CutText(pair.example_id, pair.category, pair.text, *axes, pair.truncated)


def attention_maps(
    attention: CrossModelAttention,
    student_embeddings: nn.Embedding,
    teacher_table: Float[Tensor, "vocab_t d_t"],
    *,
    sigma_k: float,
    method: str = "dskd-cma",
    direction: Direction = "t2s",
) -> MapsNow:
    """The maps of cross-model attention as it is now; no model is run.

    Args:
        attention: the projectors that are being trained; only ``query`` and the method's own parts are read.
        student_embeddings: ``model.get_input_embeddings()``.
        teacher_table: the teacher's input embeddings.
        sigma_k: what the keys are divided by, see :func:`probe.models.attention.key_sigma`.
        method: the name that the maps carry.
    """
    table = teacher_table.detach().float().cpu()

    def maps(pairs: Sequence[PairedTokens]) -> Iterator[AttentionMap]:
        tables = student_embeddings.weight.detach().float().cpu(), table
        source = MapSource.of("now", method, tables, attention, sigma_k)
        on_cpu = replace(source, weight=source.weight.float().cpu(), bias=source.bias.float().cpu())
        return maps_of_pairs(on_cpu, pairs, direction=direction)

    return maps
