"""What a dry run found, as lines for people and as values for --json."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from probe.distillation.config import TrainConfig
from probe.distillation.dry_run.estimates import MemoryPart, Work

if TYPE_CHECKING:
    from probe.distillation.dry_run.plan import DryRun, Rates

GIB = 2**30


def seconds_of(work: Work, rates: Rates) -> dict[str, float]:
    """Time of each kind of work, at the rates."""
    return {
        "student": work.student / rates.low,
        "vocabulary": work.vocabulary / rates.full,
        "teacher": work.teacher / rates.full,
    }


def as_values(found: DryRun, sources: Mapping[str, str]) -> dict[str, object]:
    """For ``--json``; ``sources`` says where each setting comes from."""
    models = found.models
    return {
        "settings": found.config.as_dict(),
        "sources": dict(sources),
        "student": asdict(models.student),
        "teacher": asdict(models.teacher),
        "trained": asdict(models.trained),
        "texts": asdict(found.lengths),
        "training_memory": [asdict(part) for part in found.training],
        "filling_memory": [asdict(part) for part in found.filling],
        "operations": asdict(found.work),
        "rates": asdict(found.rates),
        "seconds": seconds_of(found.work, found.rates),
        "tiny_run": asdict(found.tiny),
    }


def lines(found: DryRun, sources: Mapping[str, str]) -> Iterator[str]:
    """For people; ``sources`` says where each setting comes from."""
    yield from _setting_lines(found.config, sources)
    yield from _model_lines(found)
    yield from _memory_lines(found)
    yield from _work_lines(found)
    yield from _tiny_lines(found)


def _setting_lines(config: TrainConfig, sources: Mapping[str, str]) -> Iterator[str]:
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    yield "settings (* not the default), and where they come from"
    for name, value in config.as_dict().items():
        mark = " " if getattr(config, name) == defaults[name] else "*"
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        yield f"{mark} {name:<24}{sources[name]:<9}{shown}"


def _model_lines(found: DryRun) -> Iterator[str]:
    models, trained, lengths = found.models, found.models.trained, found.lengths
    yield "\nmodels"
    for role, model in (("student", models.student), ("teacher", models.teacher)):
        shape = f"{model.layers} layers x {model.width}, {model.heads} heads ({model.kv_heads} of keys)"
        tied = ", tied head" if model.tied else ""
        yield f"  {role}: {model.name} ({model.model_type}; {model.source})"
        yield f"    {model.parameters:,} parameters: {shape}, vocabulary {model.vocabulary:,}{tied}"
    lora = f" (LoRA {trained.lora:,})" if trained.lora else ""
    yield f"  trained: {trained.student:,} of the student{lora}, {trained.adapters:,} of projectors and discriminator"
    yield f"  texts: {lengths.examples:,} of {lengths.tokens:.0f} tokens, {lengths.response:.0f} of them response"
    yield f"    ({lengths.source})"


def _memory_lines(found: DryRun) -> Iterator[str]:
    config = found.config
    shape = f"passes of {config.micro_batch or config.batch_size} x {config.max_length} tokens, {config.precision}"
    again = ", layers computed again" if config.gradient_checkpointing else ""
    yield from _table(f"memory while it trains, at most ({shape}{again})", found.training)
    if found.filling:
        yield from _table("memory before, while the teacher runs once over the texts", found.filling)


def _table(title: str, parts: Sequence[MemoryPart]) -> Iterator[str]:
    yield f"\n{title:<88}GiB"
    for part in parts:
        yield f"  {part.name:<52}{part.place:<8}{part.size / GIB:>29.2f}"
    for place in sorted({part.place for part in parts}):
        yield f"  {'together':<52}{place:<8}{sum(p.size for p in parts if p.place == place) / GIB:>29.2f}"


def _work_lines(found: DryRun) -> Iterator[str]:
    seconds, rates = seconds_of(found.work, found.rates), found.rates
    yield f"\n{f'work of {found.config.steps:,} steps':<46}{'operations':>14}{'time':>19}"
    names = ("student, forward and backward", "products with the vocabularies", "teacher, once over the texts")
    for name, work, seconds_here in zip(names, asdict(found.work).values(), seconds.values(), strict=True):
        yield f"  {name:<44}{work:>14.3g}{_duration(seconds_here):>19}"
    yield f"  {'together':<44}{sum(asdict(found.work).values()):>14.3g}{_duration(sum(seconds.values())):>19}"
    shown = f"{rates.full / 1e9:,.0f} Gop/s" + ("" if rates.low == rates.full else f", student {rates.low / 1e9:,.0f}")
    yield f"  at {shown} ({rates.source}); a real step reaches only a part of it"


def _tiny_lines(found: DryRun) -> Iterator[str]:
    tiny, config = found.tiny, found.config
    yield f"\ntwo steps on tiny random models of these architectures, {tiny.precision}" + (
        "" if tiny.precision == config.precision else f" ({config.precision} wants a GPU, and there is none)"
    )
    yield f"  losses {', '.join(f'{loss:.4f}' for loss in tiny.losses)}"
    yield f"  {tiny.tensors} tensors are trained: {tiny.with_gradient} had a gradient, {tiny.moved} moved"


def _duration(seconds: float) -> str:
    for name, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.1f} seconds"
