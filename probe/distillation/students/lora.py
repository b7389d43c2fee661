"""Which weights of a student are trained: all, or LoRA's (arXiv 2106.09685, by peft), which are merged at the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from probe.distillation.config import TrainConfig
from probe.distillation.sharded import is_spread, whole_tensor
from probe.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose_trained(student: PreTrainedModel, config: TrainConfig) -> None:
    """Leave trainable what the recipe trains: all weights, or LoRA's alone; of the embeddings what it says itself.

    By default (``train_embeddings: null``) the embedding table is trained with all weights, and frozen beside LoRA. A
    tied head is the same table; one of its own is trained beside LoRA where the embeddings are.
    """
    if config.lora_rank:
        add_lora(student, config)
    tables: list[Any] = [student.get_input_embeddings()]
    if config.lora_rank:
        tables.append(student.get_output_embeddings())
    for table in tables if config.train_embeddings is not None else ():
        for parameter in table.parameters():
            parameter.requires_grad_(config.train_embeddings)


def add_lora(student: PreTrainedModel, config: TrainConfig) -> Any:
    """Freeze ``student`` and put trainable low-rank updates beside its linear layers, in place; returns peft's wrapper.

    Raises:
        UsageError: a name in ``lora_targets`` that no module of the student has, more ``lora_layers`` than it has.
    """
    from peft import LoraConfig, get_peft_model

    targets = _in_last_layers(student, config) if config.lora_layers else config.lora_targets
    settings: Any = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=config.lora_dropout,
        target_modules=targets[0] if targets == ("all-linear",) else list(targets),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(config.seed)
    try:
        return get_peft_model(student, settings)
    except ValueError as error:
        raise UsageError(
            f"lora_targets: wanted names of linear layers of {config.student}, or all-linear, found "
            f"{list(config.lora_targets)} ({error})."
        ) from error


def _in_last_layers(student: PreTrainedModel, config: TrainConfig) -> tuple[str, ...]:
    """Full names of the linear layers that ``lora_targets`` means, in the last ``lora_layers`` layers.

    Whatever lies below has nothing to train, so autograd keeps nothing of it and the backward pass ends there.
    """
    from transformers.pytorch_utils import Conv1D

    layers, everything = student.config.num_hidden_layers, config.lora_targets == ("all-linear",)
    if config.lora_layers > layers:
        raise UsageError(f"lora_layers: wanted at most the student's {layers} layers, found {config.lora_layers}.")
    found = []
    for name, module in student.named_modules():
        place = re.search(r"\.(\d+)\.", name)
        wanted = everything or name.endswith(tuple(f".{target}" for target in config.lora_targets))
        linear = isinstance(module, nn.Linear | Conv1D)
        if linear and wanted and place is not None and int(place[1]) >= layers - config.lora_layers:
            found.append(name)
    return tuple(found) or config.lora_targets


def plain_student(student: torch.nn.Module, config: TrainConfig) -> PreTrainedModel:
    """The student as transformers made it, with what was trained: LoRA merged, and gathered where it is spread.

    With either it is a copy; all processes must ask.
    """
    original: Any = student
    if not config.lora_rank and not is_spread(student):
        return original
    state = {name: whole_tensor(tensor).cpu() for name, tensor in student.state_dict().items()}
    copy = type(original)(type(original.config).from_dict(original.config.to_dict()))
    wrapper = add_lora(copy, config) if config.lora_rank else None
    copy.load_state_dict(state)
    return copy if wrapper is None else wrapper.merge_and_unload()
