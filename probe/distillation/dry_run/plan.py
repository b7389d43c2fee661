"""A dry run: a recipe resolved, its memory and time, and two steps of it on tiny models."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from probe.distillation.config import TrainConfig
from probe.distillation.dry_run import estimates
from probe.distillation.dry_run.architectures import Architecture, architecture, find_config, meta_model, student_config
from probe.distillation.dry_run.estimates import Lengths, MemoryPart, Trainable, Work
from probe.distillation.dry_run.tiny_run import TinyRun, tiny_run
from probe.distillation.dry_run.tracing import passes_bytes
from probe.distillation.losses.key_query import Discriminator
from probe.distillation.losses.transport import ConditionalTransport
from probe.distillation.packed_teacher import is_packed
from probe.distillation.steps import AUTOCAST
from probe.distillation.students.lora import choose_trained
from probe.errors import UsageError
from probe.models.attention import new_projectors
from probe.models.methods import METHODS, has_discriminator

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MATMUL = 1024  # rows and columns of the product that the rate is measured on


@dataclass(frozen=True)
class Models:
    """Both sides of a recipe. ``packed``: the teacher is there as states, without its layers."""

    student: Architecture
    teacher: Architecture
    trained: Trainable
    packed: bool


@dataclass(frozen=True)
class Rates:
    """Operations a second: ``low`` in the recipe's precision, ``full`` in float32; ``source`` says whose."""

    low: float
    full: float
    source: str


@dataclass(frozen=True)
class DryRun:
    """All that a dry run finds."""

    config: TrainConfig
    models: Models
    lengths: Lengths
    training: list[MemoryPart]
    filling: list[MemoryPart]
    work: Work
    rates: Rates
    tiny: TinyRun


def dry_run(config: TrainConfig, flops: float | None = None) -> DryRun:
    """Resolve, estimate and try ``config`` without its models, its data or the network.

    Args:
        flops: operations a second of the machine that the time is wanted for; measured here by default.

    Raises:
        UsageError: an architecture that is not known, or a setting that the real models do not allow.
    """
    if flops is not None and not 0 < flops < math.inf:
        raise UsageError(f"--flops: wanted a number above 0, found {flops}.")
    (student, student_source), (teacher, teacher_source) = student_config(config), find_config(config.teacher)
    known = architecture(config.student, student, student_source)
    guide = architecture(config.teacher, teacher, teacher_source)
    for role, model in (("student", known), ("teacher", guide)):
        needed = role == "student" or METHODS[config.method].teacher
        if needed and model.positions is not None and config.max_length > model.positions:
            raise UsageError(
                f"max_length: wanted at most the {role}'s {model.positions} positions, found {config.max_length}."
            )
    models = Models(known, guide, trainable(config, student, guide), is_packed(Path(config.teacher)))
    lengths = estimates.lengths_of(config)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = config.micro_batch or config.batch_size
    passes = passes_bytes(student, config, rows, config.max_length, device)
    filled = METHODS[config.method].teacher and not models.packed
    work = estimates.run_work(config, known, guide, models.trained, lengths)
    return DryRun(
        config,
        models,
        lengths,
        estimates.training_memory(config, known, guide, models.trained, lengths, passes),
        estimates.filling_memory(known, guide) if filled else [],
        work if filled else dataclasses.replace(work, teacher=0.0),
        Rates(flops, flops, "--flops") if flops else measured_rates(device, config.precision),
        tiny_run(config, student, teacher),
    )


def trainable(config: TrainConfig, student: PretrainedConfig, teacher: Architecture) -> Trainable:
    """Count what the recipe trains, on modules without memory."""
    model, method = meta_model(student), METHODS[config.method]
    choose_trained(model, config)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    head = model.get_output_embeddings()
    modules: list[torch.nn.Module] = []
    with torch.device("meta"):
        width: int = student.hidden_size
        projectors = new_projectors(method, width, teacher.width, offset_values=config.offset_values)
        modules += [] if projectors is None else [projectors]
        if has_discriminator(config.method, config.matching):
            kind = ConditionalTransport if config.matching == "ct" else Discriminator
            modules.append(kind(2 * teacher.width, config.discriminator_width, config.discriminator_dropout))
    adapters = sum(p.numel() for module in modules for p in module.parameters())
    trains_head = head is not None and bool(head.weight.requires_grad)  # type: ignore[union-attr]
    return Trainable(learning, learning if config.lora_rank else 0, adapters, trains_head)


def measured_rates(device: str, precision: str) -> Rates:
    """Rates of a square product on this machine, in the recipe's precision and in float32."""
    full = matmul_rate(device, torch.float32)
    low = matmul_rate(device, AUTOCAST[precision]) if precision in AUTOCAST else full
    return Rates(low, full, f"measured here, {device}, {MATMUL} x {MATMUL} product")


def matmul_rate(device: str, dtype: torch.dtype, seconds: float = 0.2) -> float:
    """Operations a second of a square product: the best of as many as fit into ``seconds``."""
    matrix = torch.ones(MATMUL, MATMUL, dtype=dtype, device=device)
    best, end = math.inf, time.perf_counter() + seconds
    while math.isinf(best) or time.perf_counter() < end:
        start = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * MATMUL**3 / best
