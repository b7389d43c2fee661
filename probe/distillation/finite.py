"""Whether all numbers of a run are numbers: names the first tensor that holds NaN or infinity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from probe.distillation.sharded import whole_tensor
from probe.errors import NonFiniteError


@torch.no_grad()
def first_broken(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity, None where all are finite; integers are passed over.

    One norm over everything tells (135 million numbers: 0.03 s, where `isfinite` takes 1 s; one thread, November 2026).
    Only where it is not finite is each tensor looked at, so large numbers whose squares overflow do no harm.
    """
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if bool(torch.isfinite(whole_tensor(get_total_norm(list(floating.values()))))):
        return None
    broken = (name for name, tensor in floating.items() if not bool(torch.isfinite(whole_tensor(tensor)).all()))
    return next(broken, None)


def check_finite(tensors: Mapping[str, Tensor], where: str, way_out: str) -> None:
    """Refuse tensors that hold NaN or infinity.

    Args:
        where: what the tensors are, such as a file; begins the message.
        way_out: what to do, a sentence; ends it.

    Raises:
        NonFiniteError: names the first such tensor.
    """
    if broken := first_broken(tensors):
        raise NonFiniteError(f"{where}: {broken} holds NaN or infinity. {way_out}")


def run_tensors(parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What a step leaves behind, by the names of the saved state: AdamW's moments, then the weights that they moved."""
    moments = {
        f"{key}/{name}": value
        for name, parameter in parameters.items()
        for key, value in optimiser.state.get(parameter, {}).items()
        if key != "step"  # a count; one that is not finite breaks the weights at once
    }
    return moments | {f"weight/{name}": parameter for name, parameter in parameters.items()}


def check_step(parameters: Mapping[str, Tensor], optimiser: torch.optim.Optimizer, step: int) -> None:
    """After the optimiser's step: its rates, its moments and all weights must be finite.

    Three reads of the parameters' memory, where AdamW alone makes seven; so nothing is saved or published that is not
    finite, and a moment that stops a weight without breaking it (exp_avg_sq of infinity) is seen too.

    Raises:
        NonFiniteError: names the step, and the rate, moment or weight.
    """
    for rate in {float(group["lr"]) for group in optimiser.param_groups}:
        if rate - rate != 0:
            raise NonFiniteError(f"step {step}: a learning rate is {rate}; look at the rates and steps of the recipe.")
    check_finite(
        run_tensors(parameters, optimiser),
        f"step {step}",
        "Nothing of this step was saved; --resume goes on from the last saved state, or lower the learning rate and "
        "start again.",
    )
