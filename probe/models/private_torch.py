"""The private parts of torch that have no public counterpart, in one place; a test gives the reason of each."""

from __future__ import annotations

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["TorchDispatchMode", "fake_tensors", "graph_is_kept"]


def graph_is_kept() -> bool:
    """Inside a backward pass: whether it was asked to keep the graph, so that another may follow."""
    return torch._C._autograd._get_current_graph_task_keep_graph()


def fake_tensors() -> contextlib.AbstractContextManager[object]:
    """A mode in which tensors have shape, type and device, and no memory; those from outside may be used too."""
    from torch._subclasses import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)
