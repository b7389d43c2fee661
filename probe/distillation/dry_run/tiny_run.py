"""Two optimiser steps of a recipe on tiny random models of its architectures, through the trainer itself."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from probe.distillation.config import TrainConfig
from probe.distillation.dry_run.architectures import resized
from probe.distillation.students.new import train_tokenizer
from probe.distillation.trainer import train
from probe.models.checkpoint import load_checkpoint
from probe.models.methods import METHODS

if TYPE_CHECKING:
    from transformers import PretrainedConfig

STEPS = 2
LENGTH = 96
TEXTS = tuple(
    (f"Name {number} {thing} and say why:", f"{thing.title()}, {number} times: they are {word} and {word}er.")
    for number, thing, word in (
        ("one", "rivers", "long"), ("two", "mountains", "high"), ("three", "lamps", "bright"), ("four", "dogs", "fast"),
        ("five", "roads", "wide"), ("six", "clouds", "soft"), ("seven", "stones", "hard"), ("eight", "birds", "light"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class TinyRun:
    """What two steps showed: the losses, and how many tensors were trained, had a gradient, and moved."""

    losses: tuple[float, ...]
    precision: str
    tensors: int
    with_gradient: int
    moved: int

    @property
    def well(self) -> bool:
        """Whether everything that is trained had a gradient and moved."""
        return len(self.losses) == STEPS and self.tensors == self.with_gradient == self.moved > 0


def tiny_run(config: TrainConfig, student: PretrainedConfig, teacher: PretrainedConfig) -> TinyRun:
    """Train ``STEPS`` steps in a temporary directory, with the recipe's method, precision, LoRA and checkpointing.

    What is left of it is what this returns. fp16 wants a GPU; without one it is fp32. The checkpoint that it writes is
    read again.
    """
    with tempfile.TemporaryDirectory(prefix="probe-dry-run-") as name, _cache_in(Path(name) / "cache"):
        room = Path(name)
        small = _small_recipe(config, room)
        _write_texts(room / "data.jsonl")
        same = METHODS[config.method].same_tokenizer
        if config.student != "new":
            _write_model(room / "student", student, 300, seed=1)
        _write_model(room / "teacher", teacher, 300 if same else 340, seed=2)
        with _watched() as seen:
            metrics = train(small, room / "out")
        load_checkpoint(room / "out")
    losses = tuple(entry["loss"] for entry in metrics["curve"])
    return TinyRun(losses, small.precision, len(seen.before), len(seen.with_gradient), len(seen.moved()))


def _small_recipe(config: TrainConfig, room: Path) -> TrainConfig:
    no_gpu = config.precision == "fp16" and not torch.accelerator.is_available()
    return dataclasses.replace(
        config,
        student="new" if config.student == "new" else str(room / "student"),
        transplant_tokenizer="",
        transplant_vocabulary=0,
        teacher=str(room / "teacher"),
        data=(str(room / "data.jsonl"),),
        data_limits=(),
        held_out=0,
        steps=STEPS,
        batch_size=4,
        micro_batch=2 if config.micro_batch else 0,
        max_length=LENGTH,
        precision="fp32" if no_gpu else config.precision,
        gold="",
        probe_every=0,
        probe_data="",
        probe_gold="",
        lora_layers=min(1, config.lora_layers),
        save_as="full",
        stop_on="",
        stop_data="",
        save_every=1000,
        log_every=1,
        discriminator_width=8,
        new_vocabulary=300,
        new_width=16,
        new_layers=2,
        new_heads=2,
        new_positions=LENGTH,
    )


def _write_texts(path: Path) -> None:
    lines = [json.dumps({"id": f"t{i}", "prompt": p, "output": o}) for i, (p, o) in enumerate(TEXTS)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_model(path: Path, config: PretrainedConfig, vocabulary: int, seed: int) -> None:
    """Two layers, four heads, 32 wide, random; with a byte-level BPE of about ``vocabulary`` pieces."""
    from transformers import AutoModelForCausalLM

    tokenizer = train_tokenizer([text for pair in TEXTS for text in pair], vocabulary, LENGTH)
    torch.manual_seed(seed)
    small = small_config(config, len(tokenizer), tokenizer.eos_token_id)
    model = AutoModelForCausalLM.from_config(small, dtype=torch.float32)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def small_config(config: PretrainedConfig, vocabulary: int, end: int) -> PretrainedConfig:
    """The same architecture, two layers of 32 with four heads; queries share keys where they do in the real one."""
    real: Any = config
    shared = real.num_attention_heads // (getattr(real, "num_key_value_heads", None) or real.num_attention_heads)
    sizes: dict[str, Any] = {
        "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": max(1, 4 // shared),
        "intermediate_size": 64, "head_dim": 8, "vocab_size": vocabulary, "max_position_embeddings": LENGTH,
        "bos_token_id": end, "eos_token_id": end, "pad_token_id": end,
    }  # fmt: skip
    return resized(config, **{key: value for key, value in sizes.items() if hasattr(config, key)})


@contextlib.contextmanager
def _cache_in(directory: Path) -> Iterator[None]:
    """Caches go to ``directory``; the user's own is not touched."""
    before = os.environ.get("PROBE_CACHE")
    os.environ["PROBE_CACHE"] = str(directory)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PROBE_CACHE"]
        else:
            os.environ["PROBE_CACHE"] = before


@dataclass
class _Seen:
    """Parameters of the optimiser by identity: their values before the first step, and which ever had a gradient."""

    parameters: dict[int, torch.Tensor] = field(default_factory=dict)
    before: dict[int, torch.Tensor] = field(default_factory=dict)
    with_gradient: set[int] = field(default_factory=set)

    def step(self, optimiser: torch.optim.Optimizer, *_: Any) -> None:
        for parameter in (p for group in optimiser.param_groups for p in group["params"]):
            key = id(parameter)
            if key not in self.before:
                self.parameters[key], self.before[key] = parameter, parameter.detach().clone()
            if parameter.grad is not None and bool(parameter.grad.abs().sum() > 0):
                self.with_gradient.add(key)

    def moved(self) -> list[int]:
        return [key for key, old in self.before.items() if not torch.equal(old, self.parameters[key])]


@contextlib.contextmanager
def _watched() -> Iterator[_Seen]:
    """Look at every optimiser's parameters before each of its steps."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    seen = _Seen()
    handle = register_optimizer_step_pre_hook(seen.step)
    try:
        yield seen
    finally:
        handle.remove()
