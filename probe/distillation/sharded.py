"""Tensors that FSDP spreads over the processes: gathered, and spread again."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor


def whole_tensor(tensor: Tensor) -> Tensor:
    """A tensor that is spread over the processes, gathered (all of them must ask); any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread_like(tensor: Tensor, like: Tensor) -> Tensor:
    """``tensor``, which every process holds whole, placed as ``like`` is: on its device, or spread as it is."""
    moved = tensor.to(like.device)
    return distribute_tensor(moved, like.device_mesh, like.placements) if isinstance(like, DTensor) else moved


def is_spread(module: nn.Module) -> bool:
    """Whether any parameter of a module is spread over the processes."""
    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def spread_again(module: nn.Module) -> None:
    """Give back what a forward pass gathered, where no backward pass will: the parameters are the optimiser's again."""
    from torch.distributed.fsdp import FSDPModule

    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def on_cpu(module: nn.Module, new: Callable[[], nn.Module]) -> nn.Module:
    """``module`` if it is whole and on the CPU, else a ``new`` one with its weights (all processes must ask)."""
    if not is_spread(module) and all(parameter.device.type == "cpu" for parameter in module.parameters()):
        return module
    copy = new()
    copy.load_state_dict({name: whole_tensor(tensor).cpu() for name, tensor in module.state_dict().items()})
    return copy
