"""One training step's loss for each method: a batch of pairs in, LossTerms out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from probe.distillation.activations import fuse_activations
from probe.distillation.config import TrainConfig
from probe.distillation.dataset import SideBatch, paired_batch, side_batch, whole_of
from probe.distillation.frozen_teacher import FrozenTeacher
from probe.distillation.losses.attended import sft
from probe.distillation.losses.terms import LossTerms, PairedStates, Whole
from probe.distillation.objectives import OBJECTIVES, LossContext
from probe.distillation.optimisation import Trained
from probe.distillation.unpadded import response_states
from probe.models.attention import Normalisation
from probe.text.tokenization import PairedTokens

StepLoss = Callable[..., LossTerms]  # (pairs, whole=None), see `step_loss`
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Objective(nn.Module):
    """Everything that a run trains, with the loss as its forward: DDP and FSDP see all parameters used in one call."""

    def __init__(self, trained: Trained, loss: StepLoss) -> None:
        super().__init__()
        self.student, self.attention, self.discriminator = trained.student, trained.attention, trained.discriminator
        self._loss = loss

    def forward(self, pairs: Sequence[PairedTokens], whole: Whole | None = None) -> LossTerms:
        return self._loss(pairs, whole)


def student_hidden(student: nn.Module, side: SideBatch, precision: str = "fp32") -> Tensor:
    """Last hidden states (after the final norm) of the positions that count, flat, float32, with gradient."""
    cast = torch.autocast(side.ids.device.type, AUTOCAST[precision]) if precision in AUTOCAST else nullcontext()
    with cast:
        return response_states(student, side).float()


def step_loss(
    trained: Trained, config: TrainConfig, teacher: FrozenTeacher | None, normalisation: Normalisation | None
) -> StepLoss:
    """The loss of the recipe's method on a batch of pairs; of SFT, on the response or on the whole text.

    It is divided by the targets of ``whole``, of which the pairs are a part; without it they are the whole.
    """
    fuse_activations(trained.student)

    def student_alone(pairs: Sequence[PairedTokens], whole: Whole | None = None) -> LossTerms:
        head = trained.student.get_output_embeddings()  # type: ignore[operator]
        whole_text = config.loss_on == "text"
        side = side_batch([pair.student for pair in pairs], whole_text=whole_text).to(head.weight.device)
        hidden = student_hidden(trained.student, side, config.precision)
        reduction = whole or whole_of(pairs, whole_text=whole_text)
        return sft(hidden, side.targets, head.weight, bias=head.bias, reduction=reduction)

    if teacher is None:
        return student_alone
    run, objective = LossContext(trained, config, teacher, normalisation), OBJECTIVES[config.method]

    def guided(pairs: Sequence[PairedTokens], whole: Whole | None = None) -> LossTerms:
        batch = paired_batch(pairs, whole=whole, device=teacher.head.device)
        hidden = teacher.hidden(pairs)
        states = paired_states(
            trained.student, batch.student, batch.teacher, teacher.embeddings, hidden, config.precision
        )
        return objective(run, batch, states)

    return guided


def paired_states(
    student: nn.Module,
    side: SideBatch,
    teacher_side: SideBatch,
    teacher_embeddings: Tensor,
    hidden: Tensor,
    precision: str = "fp32",
) -> PairedStates:
    """Run the student, look the constants up, and lay both sides flat."""
    table = student.get_input_embeddings().weight.detach()  # type: ignore[operator, union-attr]
    return PairedStates(
        student_hidden=student_hidden(student, side, precision),
        student_input_emb=table[side.inputs],
        student_target_emb=table[side.targets],
        student_targets=side.targets,
        student_lengths=side.lengths,
        teacher_hidden=hidden,
        teacher_input_emb=teacher_embeddings[teacher_side.inputs],
        teacher_target_emb=teacher_embeddings[teacher_side.targets],
        teacher_targets=teacher_side.targets,
        teacher_lengths=teacher_side.lengths,
    )
