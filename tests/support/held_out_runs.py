"""Support for tests that train: texts, a short recipe on a room of tiny models, and what a run left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from probe.distillation.config import TrainConfig

TEXTS = tuple((f"Say {word}:", f"{word} the {word}.") for word in ("fox", "dog", "box", "jug", "lazy", "quick", "tall"))


def config(room: Path, method: str = "dskd-cma", **values: Any) -> TrainConfig:
    """Four steps of two texts each; two texts are held out."""
    settings: dict[str, Any] = {
        "name": "toy", "method": method, "student": str(room / "student-gpt2"), "teacher": str(room / "teacher-llama"),
        "data": (str(room / "data.jsonl"),), "held_out": 2, "steps": 4, "batch_size": 2, "max_length": 64,
        "discriminator_width": 8, "log_every": 1, "save_every": 100, "teacher_dtype": "float32",
    }  # fmt: skip
    return TrainConfig(**{**settings, **values})


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint by file and name."""
    return {f"{f.name}/{n}": t for f in sorted(directory.rglob("*.safetensors")) for n, t in load_file(f).items()}
