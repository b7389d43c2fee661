"""Where a run runs: its device, its processes and its precision, through accelerate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from probe.distillation.config import TrainConfig
from probe.distillation.dataset import parts_of_batch, whole_of
from probe.distillation.finite import check_step
from probe.distillation.losses.terms import LossTerms, add_terms
from probe.distillation.optimisation import parameter_groups, set_rates
from probe.distillation.setup import Setup
from probe.distillation.sharded import whole_tensor
from probe.distillation.steps import Objective, step_loss
from probe.errors import NonFiniteError, UsageError
from probe.text.tokenization import PairedTokens

if TYPE_CHECKING:
    from accelerate import Accelerator

LEAST_SCALE = 2.0**-10  # fp16: gradients that overflow even so are not finite for another reason


def start(config: TrainConfig) -> Accelerator:
    """The processes of this run: one, or those that `accelerate launch` or `torchrun` started.

    The recipe's ``precision`` counts, not the launcher's, so it is not accelerate that casts.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),  # else accelerate does not join processes that torchrun started
        mixed_precision="no",
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True),  # a batch may have no pair for a projector
            InitProcessGroupKwargs(timeout=timedelta(days=1)),  # the first process may fill a teacher cache for hours
        ],
    )
    wanted, found = int(os.environ.get("WORLD_SIZE", "1")), accelerator.num_processes
    if wanted != found:
        raise UsageError(f"wanted the launcher's {wanted} processes to work together, found {found} that do.")
    if config.precision == "fp16" and accelerator.device.type == "cpu":
        raise UsageError("precision: fp16 wants a GPU, found a CPU. Set precision to bf16 or fp32.")
    return accelerator


def is_first_process() -> bool:
    """Whether this is the process that writes and prints."""
    from accelerate import PartialState

    return PartialState().is_main_process


@dataclass(frozen=True)
class Engine:
    """A run on its device: ``objective`` gives LossTerms of a batch, wrapped where several processes share it."""

    setup: Setup
    accelerator: Accelerator
    objective: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    @classmethod
    def of(cls, accelerator: Accelerator, setup: Setup) -> Engine:
        """Move a run to its device, and wrap it for its processes (DDP, or FSDP by the launcher's settings)."""
        config, device = setup.config, accelerator.device
        teacher = None if setup.teacher is None else setup.teacher.to(device)
        setup = replace(setup, teacher=teacher)
        objective: nn.Module = Objective(
            setup.trained, step_loss(setup.trained, config, teacher, setup.normalisation)
        ).to(device)
        optimiser: Any = torch.optim.AdamW(parameter_groups(setup.trained, config))
        if accelerator.num_processes > 1:
            objective, optimiser = accelerator.prepare(objective, optimiser)
        scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        return cls(setup, accelerator, objective, optimiser, scaler)

    def train_step(self, pairs: Sequence[PairedTokens], step: int) -> LossTerms:
        """One optimiser step over ``pairs``: this process's share of them, in passes of ``micro_batch`` examples.

        Returns this process's part of the terms. What is random (dropout) depends on seed, step and process.

        Raises:
            NonFiniteError: a loss, gradient, rate, moment or weight is not finite; names it.
        """
        self.objective.train()
        set_rates(self.optimiser, step, self.setup.config)
        self.optimiser.zero_grad(set_to_none=True)
        torch.manual_seed((self.setup.config.seed * 1_000_003 + step) * 4096 + self.accelerator.process_index)
        try:
            terms = self._backward(pairs)
        except NonFiniteError as error:
            raise NonFiniteError(f"step {step}: {error}") from error
        self._update(step)
        return terms

    def _backward(self, pairs: Sequence[PairedTokens]) -> LossTerms:
        """The gradients of the whole batch's loss; those of several processes are added up in the last pass."""
        processes, config = self.accelerator.num_processes, self.setup.config
        whole = whole_of(pairs, whole_text=config.loss_on == "text")
        parts = parts_of_batch(range(len(pairs)), processes, config.micro_batch)[self.accelerator.process_index]
        found = []
        for number, part in enumerate(parts, start=1):
            wait = number < len(parts) and processes > 1
            with self.accelerator.no_sync(self.objective) if wait else nullcontext():
                # A pass of no examples keeps the processes in step: it runs one example, and weighs nothing.
                terms = self.objective([pairs[index] for index in part or [0]], whole)
                weight = float(processes) if part else 0.0  # gradients are averaged over the processes
                self.scaler.scale(terms.loss * weight).backward()
            found.append(terms if part else add_terms([terms], weight=0))
        return add_terms(found)

    def _update(self, step: int) -> None:
        """Clip all gradients together and take the optimiser's step; gradients that are not finite end the run."""
        self.scaler.unscale_(self.optimiser)
        parameters = self.setup.trained.named_parameters()
        gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
        norm = whole_tensor(torch.nn.utils.get_total_norm(list(gradients.values())))
        overflows = self.scaler.is_enabled() and self.scaler.get_scale() > LEAST_SCALE  # then the step is skipped
        if not torch.isfinite(norm) and not overflows:  # before clipping, which would spread NaN to every gradient
            broken = [name for name, gradient in gradients.items() if not whole_tensor(gradient).isfinite().all()]
            raise NonFiniteError(f"step {step}: the gradient of {broken[0] if broken else 'the loss'} is not finite.")
        torch.nn.utils.clip_grads_with_norm_(parameters.values(), self.setup.config.clip, norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        check_step(parameters, self.optimiser, step)

    def total(self, terms: LossTerms) -> LossTerms:
        """The terms of the whole batch from all processes' parts."""
        if self.accelerator.num_processes == 1:
            return terms
        names = [field.name for field in fields(LossTerms) if getattr(terms, field.name) is not None]
        numbers = torch.stack([torch.as_tensor(getattr(terms, name)).detach().double() for name in names])
        sums: Any = self.accelerator.reduce(numbers.to(self.accelerator.device), "sum")
        values: dict[str, Any] = dict(zip(names, sums.cpu(), strict=True))
        counts: dict[str, Any] = {name: int(values[name]) for name in ("n_student", "n_teacher")}
        return replace(terms, **{**values, **counts})
