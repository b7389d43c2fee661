"""What a LoRA run changed of its base, to be stored as a delta: updates, and tables where they are its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.distillation.config import TrainConfig
from probe.distillation.sharded import whole_tensor
from probe.errors import UsageError
from probe.files import sha256_of
from probe.models.delta import DELTA, Base, Delta, is_delta, table_names, weights_digest
from probe.models.loading import load_causal_lm, resolve_model


def delta_student(student: Any, config: TrainConfig, place: Path) -> Delta:
    """The difference of a trained student from the model that it began with; all processes must ask.

    Args:
        place: the ``student/`` directory that it will be written to; the base's path counts from there.
    """
    adapter: dict[str, Tensor] = {}
    scale = 1.0
    for name, module in student.named_modules():
        if "default" in getattr(module, "lora_A", {}):
            adapter[f"{name}.A"] = _whole(module.lora_A["default"].weight)
            adapter[f"{name}.B"] = _whole(module.lora_B["default"].weight)
            scale = float(module.scaling["default"])
    tables = {name: _whole(tensor) for name, tensor in table_names(student).items()}
    base_name = config.teacher if config.student == "transplant" else config.student
    directory = resolve_model(base_name)
    model = load_causal_lm(directory)
    before = table_names(model)
    if before.keys() != tables.keys():
        raise UsageError(
            f"save_as: delta wants LoRA beside the layers alone, found it on {sorted(tables.keys() - before.keys())}. "
            "Leave the output head out of lora_targets, or set save_as to full."
        )
    own = any(not torch.equal(before[name], tables[name]) for name in tables)
    digest = sha256_of(directory / DELTA) if is_delta(directory) else weights_digest(model)
    return Delta(
        config=student.config,
        base=Base.of(base_name, directory, digest, place),
        scale=scale,
        adapter=adapter,
        tables=tables if own else {},
        embeddings=_whole(student.get_input_embeddings().weight),
    )


def _whole(tensor: Tensor) -> Tensor:
    return whole_tensor(tensor.detach()).float().cpu()
