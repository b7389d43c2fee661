"""LoRA of a student through peft (arXiv 2106.09685): added before training, merged into plain weights at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from probe.distillation.config import TrainConfig
from probe.distillation.sharded import is_spread, whole_tensor
from probe.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def add_lora(student: PreTrainedModel, config: TrainConfig) -> Any:
    """Freeze ``student`` and put trainable low-rank updates beside its linear layers, in place; returns peft's wrapper.

    Raises:
        UsageError: a name in ``lora_targets`` that no module of the student has.
    """
    from peft import LoraConfig, get_peft_model

    targets = config.lora_targets
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
            f"lora_targets: wanted names of linear layers of {config.student}, or all-linear, found {list(targets)} "
            f"({error})."
        ) from error


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
