"""What the student's forward pass keeps for its backward pass: traced on one and two layers of it, without memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from probe.config import TrainConfig
from probe.distillation.architectures import meta_model, resized
from probe.distillation.lora import add_lora
from probe.distillation.steps import AUTOCAST

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def kept_bytes(config: PretrainedConfig, train: TrainConfig, rows: int, length: int, device: str = "cpu") -> int:
    """Bytes that autograd holds at the end of a forward pass of ``rows`` texts of ``length`` tokens, at most.

    Counted are the tensors that are saved, each storage once, the parameters not; with autocast, the weights' copies
    too. With gradient checkpointing it is each layer's input, and all of the one layer that is computed again. Layers
    are alike, so two are enough to know all. ``device``: of the attention kernel, which may hold the scores or not.
    """
    layers: int = config.num_hidden_layers

    def of(count: int, checkpointing: bool) -> int:
        return _traced(resized(config, num_hidden_layers=count), train, checkpointing, rows, length, device)

    first, second = of(1, False), of(2, False)
    if not train.gradient_checkpointing:
        return first + (layers - 1) * (second - first)
    input_alone, inputs = of(1, True), of(2, True)
    return input_alone + (layers - 1) * (inputs - input_alone) + second - first


def _traced(
    config: PretrainedConfig, train: TrainConfig, checkpointing: bool, rows: int, length: int, device: str
) -> int:
    from torch._subclasses import FakeTensorMode

    model = meta_model(config)
    if train.lora_rank:
        add_lora(model, train)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    saved: dict[int, torch.Tensor] = {}  # by storage; the tensors are kept, so that no two storages share an identity

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        return saved.setdefault(_storage(tensor), tensor)

    with FakeTensorMode(allow_non_fake_inputs=True):
        _without_memory(model, device)
        ids = torch.zeros(rows, length, dtype=torch.long, device=device)
        cast = torch.autocast(device, AUTOCAST.get(train.precision), enabled=train.precision in AUTOCAST)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), cast:
            hidden: Any = model.train().base_model(input_ids=ids, use_cache=False).last_hidden_state
        for parameter in model.parameters():
            saved.pop(_storage(parameter), None)
        del hidden
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _without_memory(model: PreTrainedModel, device: str) -> None:
    """Put fake tensors on ``device`` in the place of a meta model's parameters and buffers; autocast knows no meta."""
    new: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, old in module._parameters.items():
            if old is not None:
                fake = torch.empty(old.shape, dtype=old.dtype, device=device)
                new.setdefault(id(old), nn.Parameter(fake, requires_grad=old.requires_grad))
                module._parameters[name] = new[id(old)]  # type: ignore[assignment]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
