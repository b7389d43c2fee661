"""A training run: run a recipe, save as it goes, resume where it stopped, publish a checkpoint at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from probe.distillation.config import TrainConfig
from probe.distillation.dataset import batch_order
from probe.distillation.engine import Engine, start
from probe.distillation.held_out import HELD_OUT, bits_of, held_out_metrics, likelihoods, quality, write_held_out
from probe.distillation.losses.terms import LossTerms
from probe.distillation.measure import KeyQueryGap, key_query_gap, span_accuracy
from probe.distillation.model_card import model_card
from probe.distillation.optimisation import training_state
from probe.distillation.run_state import Curve, resume_state, save_state
from probe.distillation.setup import Announce, Setup, prepare
from probe.distillation.sharded import spread_again, whole_tensor
from probe.distillation.stopping import Stopping
from probe.distillation.students.delta import delta_student
from probe.distillation.students.lora import plain_student
from probe.distillation.watch import Watch
from probe.held import Seen, look_at
from probe.models.checkpoint import save_checkpoint


def train(
    config: TrainConfig, out: Path, *, resume: bool = False, report: Announce = lambda line: None
) -> dict[str, Any]:
    """Train by ``config`` and write the checkpoint ``out``; returns its metrics.

    The state of an unfinished run lies in ``<out>.training`` and is removed at the end. Started by `accelerate launch`,
    all processes call this, and the first one writes.

    Raises:
        NonFiniteError: a loss or gradient is NaN or infinite; names it, and nothing is written.
        DiskError: the disk refuses, or something else came to be at ``out`` meanwhile, which is not replaced.
    """
    accelerator, since = start(config), look_at(out)
    report = report if accelerator.is_main_process else lambda line: None
    with accelerator.main_process_first():  # which fills the teacher cache for all
        setup = prepare(config, report)
    engine = Engine.of(accelerator, setup)
    state_directory = out.with_name(out.name + ".training")
    first, curve = 0, Curve()
    before, gap, start_bits = measure(setup, engine.objective), measure_gap(setup), bits_of(setup, setup.held_out)
    if line := quality(setup, start_bits):
        report(line)
    if resume:
        first, curve = resume_state(setup, engine.optimiser, state_directory)
        report(f"resumed at step {first}")
    watch = Watch(setup, state_directory, report, accelerator)
    stopping = Stopping(setup, state_directory, report, accelerator)
    with watch.errors():
        watch.begin(first)
        stopping.begin(first)
        _run_steps(engine, watch, stopping, first, curve, state_directory, report)
        stopped = stopping.end()
        watch.end()
    texts = likelihoods(setup, bits_of(setup, setup.held_out))
    measured, files = held_out_metrics(start_bits, texts) | stopped, [*watch.files, *stopping.files]
    if accelerator.is_main_process and texts:
        write_held_out(state_directory / HELD_OUT, setup, start_bits, texts)
        files.append(state_directory / HELD_OUT)
    metrics = _publish(engine, out, since, before, gap, curve, measured, files)
    if accelerator.is_main_process:
        shutil.rmtree(state_directory, ignore_errors=True)
    accelerator.wait_for_everyone()
    return metrics


def _run_steps(
    engine: Engine,
    watch: Watch,
    stopping: Stopping,
    first: int,
    curve: Curve,
    state_directory: Path,
    report: Announce,
) -> None:
    """Every step from ``first`` on: train, log, measure, save."""
    setup, config, started = engine.setup, engine.setup.config, time.monotonic()
    lengths = [len(pair.student.ids) + len(pair.teacher.targets) for pair in setup.training]
    batches = batch_order(lengths, config.batch_size, config.steps, config.seed)
    for step, indices in enumerate(batches):
        if step < first:
            continue
        terms = engine.train_step([setup.training[i] for i in indices], step)
        saving = (step + 1) % config.save_every == 0 and step + 1 < config.steps
        if saving or step % config.log_every == 0 or step == config.steps - 1:
            curve.append(_log_entry(step, engine.total(terms)) | _gap_rate(setup))
            report(_log_line(curve[-1], config.steps, time.monotonic() - started))
            watch.logged(curve[-1])
        watch.stepped(step + 1)
        if stopping.stepped(step + 1):
            return
        if saving:
            if not config.stop_data:  # texts of their own are watched, so that the held-out ones stay out of it
                entry = measure(setup, engine.objective)
                curve[-1].update({f"held_out_{k}": v for k, v in entry.items()})
                report(f"step {step + 1}: held-out " + ", ".join(f"{k} {v:.4f}" for k, v in entry.items()))
            state = training_state(setup.trained, engine.optimiser)
            if engine.accelerator.is_main_process:
                save_state(setup, state, state_directory, step + 1, curve)
            stopping.saved()
            watch.saved(step + 1)


@torch.no_grad()
def _held_out_loss(setup: Setup, objective: torch.nn.Module) -> dict[str, float]:
    """Token means over the held-out examples, summed first and divided once."""
    objective.eval()
    size = setup.config.micro_batch or setup.config.batch_size
    all_terms = [objective(setup.held_out[i : i + size]) for i in range(0, len(setup.held_out), size)]
    spread_again(objective)
    targets = sum(terms.n_student for terms in all_terms)
    parts = [name for name in (all_terms[0].parts if all_terms else ()) if name != "ce"]
    names = ["ce", "student_correct", *parts, *(["t2s_correct"] if "t2s_ce" in parts else [])]
    sums = {name: float(sum(getattr(terms, name) for terms in all_terms)) for name in names}
    return {name.replace("_correct", "_accuracy"): value / targets for name, value in sums.items()}


def measure(setup: Setup, objective: torch.nn.Module) -> dict[str, float]:
    """Losses and accuracies on the held-out examples, and top-1 of their t2s maps by the span rule."""
    if not setup.held_out:
        return {}
    numbers = _held_out_loss(setup, objective)
    if setup.normalisation is not None and setup.attention is not None:
        spans = span_accuracy(setup.held_out, setup.tables, setup.attention, setup.normalisation.sigma_k)
        numbers |= {key: value for key, value in asdict(spans).items() if key != "rows"}
    return numbers


def _log_entry(step: int, terms: LossTerms) -> dict[str, float]:
    entry = {"step": float(step), "loss": float(terms.loss.detach())}
    entry |= {name: float(value) / terms.n_student for name, value in terms.parts.items()}
    if "t2s_ce" in terms.parts:
        entry["t2s_accuracy"] = terms.t2s_accuracy
    means = {"kq": terms.kq, "discriminator_accuracy": terms.discriminator_accuracy}
    return entry | {name: float(value) for name, value in means.items() if value is not None}


def _gap_rate(setup: Setup) -> dict[str, float]:
    """λ of the byte gap after the step, where the method has one: its path is read from the curve."""
    gap = getattr(setup.trained.attention, "gap", None)
    return {} if gap is None else {"gap_rate": float(torch.nn.functional.softplus(whole_tensor(gap.detach())))}


def _log_line(entry: dict[str, float], steps: int, seconds: float) -> str:
    numbers = ", ".join(f"{key} {value:.4f}" for key, value in entry.items() if key != "step")
    return f"step {entry['step']:.0f}/{steps}: {numbers} ({seconds:.0f} s)"


def _publish(
    engine: Engine,
    out: Path,
    since: Seen,
    before: dict[str, float],
    gap: KeyQueryGap | None,
    curve: Curve,
    measured: dict[str, float],
    extras: Sequence[Path] = (),
) -> dict[str, Any]:
    """Measure, write the model card, and save the checkpoint: by the first process."""
    setup = engine.setup
    metrics: dict[str, Any] = {f"held_out_{k}": value for k, value in measure(setup, engine.objective).items()}
    metrics |= measured
    metrics["before"] = before
    metrics["curve"] = curve
    after = measure_gap(setup)
    if gap is not None and after is not None:
        metrics["key_query"] = before_and_after(gap, after)
    student: Any = setup.trained.student
    if setup.config.save_as == "delta":
        student = delta_student(student, setup.config, out / "student")
    else:
        student = plain_student(student, setup.config)
    attention = setup.projectors
    critic = setup.trained.discriminator
    discriminator = None if critic is None else {name: whole_tensor(t) for name, t in critic.state_dict().items()}
    if not engine.accelerator.is_main_process:
        return metrics
    save_checkpoint(
        out,
        setup.checkpoint,
        student,
        setup.tokenizer,
        attention=attention,
        discriminator=discriminator,
        metrics=metrics,
        card=model_card(setup, metrics),
        extras=extras,
        dtype=torch.float16 if setup.config.save_dtype == "float16" else torch.float32,
        since=since,
    )
    return metrics


def before_and_after(before: KeyQueryGap, after: KeyQueryGap) -> dict[str, float]:
    """Both gaps, flat: ``classifier_accuracy_before``, ``classifier_accuracy_after``, …"""
    gaps = {"before": asdict(before), "after": asdict(after)}
    return {f"{name}_{when}": gap[name] for name in asdict(before) for when, gap in gaps.items()}


def measure_gap(setup: Setup) -> KeyQueryGap | None:
    """The key-query gap on the held-out examples as things are now; None without projectors or positions to measure.

    What is measured must be held out from what trains the classifier, so each side needs two positions.
    """
    attention, normalisation = setup.attention, setup.normalisation
    sides = zip(*((len(pair.student.targets), len(pair.teacher.targets)) for pair in setup.held_out), strict=True)
    if attention is None or normalisation is None or min(map(sum, sides), default=0) < 2:
        return None
    return key_query_gap(setup.held_out, setup.tables, attention, normalisation.sigma_k)
