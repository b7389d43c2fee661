"""`torchrun … tests/support/fsdp_on_cpu.py ARGUMENTS`: `probe` with FSDP on CPUs; accelerate has it for GPUs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.optim import Optimizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from probe.__main__ import main  # noqa: E402


def prepare(self: Accelerator, objective: Any, optimiser: Optimizer) -> tuple[nn.Module, Optimizer]:
    """What accelerate does with FSDP 2: blocks first, then the rest, and the optimiser follows."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    for block in objective.student.base_model.h:
        fully_shard(block)
    fully_shard(objective)
    spread = dict(objective.named_parameters())
    for group in optimiser.param_groups:
        group["params"] = [spread[names[id(parameter)]] for parameter in group["params"]]
    return objective, optimiser


if __name__ == "__main__":
    Accelerator.prepare = prepare  # type: ignore[method-assign, assignment]
    sys.exit(main(sys.argv[1:]))
