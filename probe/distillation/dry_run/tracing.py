"""What the student's passes hold at most: traced on two and three layers of it, without their memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from probe.distillation.activations import fuse_activations
from probe.distillation.config import TrainConfig
from probe.distillation.dry_run.architectures import meta_model, resized
from probe.distillation.steps import AUTOCAST
from probe.distillation.students.lora import choose_trained
from probe.models.private_torch import TorchDispatchMode, fake_tensors

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

VOCABULARY = 8  # tables are counted elsewhere


def passes_bytes(config: PretrainedConfig, train: TrainConfig, rows: int, length: int, device: str = "cpu") -> int:
    """Bytes that one forward and backward pass of the student over ``rows`` x ``length`` tokens holds at most, beside
    weights, their gradients and the loss.

    That is what autograd keeps, autocast's copies of the weights, and what a layer needs while it is at work; with
    gradient checkpointing, of all layers but one their inputs alone. Layers are alike, so two and three of them are
    enough to know all. ``device``: of the attention kernel, which may hold all scores or none.
    """
    layers: int = config.num_hidden_layers
    two, three = (_traced(resized(config, num_hidden_layers=n), train, rows, length, device) for n in (2, 3))
    return two + (layers - 2) * (three - two)


def _traced(config: PretrainedConfig, train: TrainConfig, rows: int, length: int, device: str) -> int:
    model = meta_model(resized(config, vocab_size=VOCABULARY))
    choose_trained(model, replace(train, lora_layers=0))  # an upper bound: what lies below the last layers is not kept
    fuse_activations(model)  # as the trainer does
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with fake_tensors():
        _without_memory(model, device)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_forget)
        ids = torch.zeros(rows, length, dtype=torch.long, device=device)
        with _Live([*model.parameters(), *model.buffers()]) as live:
            with torch.autocast(device, AUTOCAST.get(train.precision), enabled=train.precision in AUTOCAST):
                hidden: Any = model.train().base_model(input_ids=ids, use_cache=False).last_hidden_state
            hidden.backward(torch.ones_like(hidden))
    return live.most


def _forget(parameter: torch.Tensor) -> None:
    parameter.grad = None


class _Live(TorchDispatchMode):
    """Adds up the storages that operations make, while they live; not those that ``were`` there, which views share."""

    def __init__(self, were: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, weakref.ref[Any]] = {}
        for tensor in were:
            self._known[id(tensor.untyped_storage())] = weakref.ref(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._made(tensor)
        return result

    def _made(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()  # torch keeps a storage's object as long as the storage
        if key in self._known:
            return

        def freed(_: Any) -> None:
            self.now -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, freed)
        self.now += size
        self.most = max(self.most, self.now)


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    """The tensors of an operation's result: one, or a sequence that may hold others."""
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, tuple | list):
        for part in result:
            yield from _tensors(part)


def _without_memory(model: PreTrainedModel, device: str) -> None:
    """Put fake tensors on ``device`` in the place of a meta model's parameters and buffers; autocast knows no meta."""
    new: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, old in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            fake = torch.empty(old.shape, dtype=old.dtype, device=device)
            new.setdefault(id(old), nn.Parameter(fake, requires_grad=old.requires_grad))
            setattr(module, name, new[id(old)])
        for name, buffer in list(module.named_buffers(recurse=False, remove_duplicate=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))
