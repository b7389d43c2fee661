"""AdamW groups, the learning-rate schedule, and optimiser state as plain tensors (no pickle)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from probe.distillation.config import TrainConfig
from probe.distillation.sharded import spread_like, whole_tensor
from probe.errors import DamagedError

SCORING = ("attention.query.", "attention.gap")  # what the scores are made of: it has the query's rate


@dataclass(frozen=True)
class Trained:
    """Everything that a run trains: ``attention`` holds the projectors, None for methods that have none (sft, kd, uld,
    mined); ``discriminator`` the network of key-query matching, None for all but dskd-cma-ga."""

    student: nn.Module
    attention: nn.Module | None
    discriminator: nn.Module | None

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Every trainable parameter by a unique name; a tied table appears once."""
        parts = {"student": self.student, "attention": self.attention, "discriminator": self.discriminator}
        return {
            f"{prefix}.{name}": parameter
            for prefix, module in parts.items()
            if module is not None
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }


def parameter_groups(trained: Trained, config: TrainConfig) -> list[dict[str, Any]]:
    """AdamW groups with a peak ``rate`` each; weights of rank 2 and more decay, biases, norms and the token
    embedding do not.

    With ``matching: released`` the discriminator stays out, as in the published code (docs/methods.md).
    """
    embedding = {id(p) for p in trained.student.get_input_embeddings().parameters()}  # type: ignore[operator]
    rates = {
        "student": config.student_rate,
        "attention": config.projector_rate,
        "discriminator": config.discriminator_rate,
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained.named_parameters().items():
        kind = name.split(".", 1)[0]
        if kind == "discriminator" and config.matching == "released":
            continue
        is_embedding = id(parameter) in embedding
        rate = config.embedding_rate if is_embedding else rates[kind]
        rate = config.query_rate if name.startswith(SCORING) else rate
        decay = config.weight_decay if parameter.ndim >= 2 and not is_embedding else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "rate": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]


def rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up over ``warmup`` of the steps, then a cosine from 1 down to ``final_rate``."""
    warm = max(1, round(config.warmup * config.steps))
    if step < warm:
        return (step + 1) / warm
    progress = (step - warm) / max(1, config.steps - warm)
    return config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_rates(optimiser: torch.optim.Optimizer, step: int, config: TrainConfig) -> None:
    """Set every group's learning rate for ``step``."""
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * rate_factor(step, config)


def training_state(trained: Trained, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and AdamW moments as named tensors, whole, on the CPU: enough to go on bit for bit, for what is random
    depends on the seed and the step alone. All processes must ask.
    """
    state: dict[str, Tensor] = {}
    for name, parameter in trained.named_parameters().items():
        state[f"weight/{name}"] = parameter.detach()
        for key, value in optimiser.state.get(parameter, {}).items():
            state[f"{key}/{name}"] = value
    return {name: whole_tensor(tensor.detach()).cpu().clone().contiguous() for name, tensor in state.items()}


def restore_training_state(trained: Trained, optimiser: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Put back what :func:`training_state` gave.

    Raises:
        DamagedError: a tensor is missing or has another shape.
    """
    for name, parameter in trained.named_parameters().items():
        saved = state.get(f"weight/{name}")
        if saved is None or saved.shape != parameter.shape:
            found = "none" if saved is None else tuple(saved.shape)
            raise DamagedError(f"training state: {name}: wanted shape {tuple(parameter.shape)}, found {found}.")
        with torch.no_grad():
            parameter.copy_(spread_like(saved, parameter))
        moments = {key: state.get(f"{key}/{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
        if moments["step"] is not None:
            optimiser.state[parameter] = {
                key: (value if key == "step" else spread_like(value, parameter)).clone()
                for key, value in moments.items()
                if value is not None
            }
