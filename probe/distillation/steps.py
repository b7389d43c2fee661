"""One training step's loss for each method: a batch of pairs in, LossTerms out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from probe.attention import Normalisation
from probe.config import TrainConfig
from probe.distillation import divergences
from probe.distillation.dataset import SideBatch, paired_batch
from probe.distillation.fused_head import TeacherSummary, teacher_summary
from probe.distillation.key_query import Matching, ReplayPadding, gan_matching, released_matching
from probe.distillation.losses import LossTerms, PairedStates, dskd_cma, sft
from probe.distillation.optimisation import Trained
from probe.distillation.teacher_cache import state_key
from probe.tokenization import PairedTokens

StepLoss = Callable[[Sequence[PairedTokens]], LossTerms]


@dataclass
class FrozenTeacher:
    """The teacher as a run sees it: tables, cached states, and the summaries that are made once per text."""

    embeddings: Tensor  # [vocab_t, d_t]
    head: Tensor  # [vocab_t, d_t]
    head_bias: Tensor | None
    states: Mapping[str, Tensor]  # state_key -> [teacher, d_t]
    temperature: float
    summaries: dict[str, TeacherSummary] = field(default_factory=dict)

    def hidden(self, pairs: Sequence[PairedTokens]) -> Tensor:
        """Last hidden states of all pairs' response positions, flat, float32."""
        return torch.cat([self.states[state_key(pair.teacher)].float() for pair in pairs])

    def summary(self, pairs: Sequence[PairedTokens]) -> TeacherSummary:
        """The s2t term's constants for all pairs, computed the first time a text is met."""
        for pair in pairs:
            key = state_key(pair.teacher)
            if key not in self.summaries:
                hidden = self.states[key].float()
                self.summaries[key] = teacher_summary(hidden, self.head, self.temperature, self.head_bias)
        parts = [self.summaries[state_key(pair.teacher)] for pair in pairs]
        return TeacherSummary(torch.cat([p.expected_head for p in parts]), torch.cat([p.negentropy for p in parts]))


def student_hidden(student: torch.nn.Module, side: SideBatch) -> Tensor:
    """Last hidden states (after the final norm) of the positions that count, flat, with gradient."""
    output = student.base_model(input_ids=side.ids, attention_mask=side.attention_mask, use_cache=False)  # type: ignore
    return output.last_hidden_state[side.rows, side.places]


def sft_loss(trained: Trained, config: TrainConfig) -> StepLoss:
    """Cross-entropy on the response, or on the whole text."""

    def loss(pairs: Sequence[PairedTokens]) -> LossTerms:
        side = paired_batch(pairs, whole_text=config.loss_on == "text").student
        head = trained.student.get_output_embeddings()  # type: ignore[operator]
        return sft(student_hidden(trained.student, side), side.targets, head.weight, bias=head.bias)

    return loss


def cma_loss(trained: Trained, config: TrainConfig, teacher: FrozenTeacher, normalisation: Normalisation) -> StepLoss:
    """DSKD-CMA, and with a discriminator DSKD-CMA-GA."""
    divergence = getattr(divergences, config.divergence)

    def loss(pairs: Sequence[PairedTokens]) -> LossTerms:
        batch = paired_batch(pairs)
        states = paired_states(trained.student, batch.student, batch.teacher, teacher.embeddings, teacher.hidden(pairs))
        head = trained.student.get_output_embeddings()  # type: ignore[operator]
        return dskd_cma(
            states,
            trained.attention,  # type: ignore[arg-type]
            head.weight,
            teacher.head,
            normalisation,
            kd_rate=config.kd_rate,
            temperature=config.temperature,
            divergence=divergence,
            student_bias=head.bias,
            teacher_bias=teacher.head_bias,
            summary=teacher.summary(pairs),
            matching=_matching(trained, config, batch.student, batch.teacher, teacher, normalisation),
            kappa=config.kappa,
        )

    return loss


def paired_states(
    student: torch.nn.Module, side: SideBatch, teacher_side: SideBatch, teacher_embeddings: Tensor, hidden: Tensor
) -> PairedStates:
    """Run the student, look the constants up, and lay both sides flat."""
    table = student.get_input_embeddings().weight.detach()  # type: ignore[operator, union-attr]
    return PairedStates(
        student_hidden=student_hidden(student, side),
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


def _matching(
    trained: Trained,
    config: TrainConfig,
    student: SideBatch,
    teacher: SideBatch,
    frozen: FrozenTeacher,
    normalisation: Normalisation,
) -> Matching | None:
    if trained.discriminator is None or trained.attention is None:
        return None
    if config.matching == "gan":
        return gan_matching(trained.discriminator)  # type: ignore[arg-type]
    # Padding, constant discriminator and weight are as published; σ_k stays the run's frozen one (parity: `batch`).
    table = trained.student.get_input_embeddings().weight.detach()  # type: ignore[operator, union-attr]
    padding = ReplayPadding(
        student_emb=table[0],
        teacher_emb=frozen.embeddings[0],
        student_positions=student.ids.numel() - len(student.targets),
        teacher_positions=teacher.ids.numel() - len(teacher.targets),
    )
    query: Callable[[Tensor], Tensor] = trained.attention.query  # type: ignore[assignment]
    return released_matching(trained.discriminator, padding, query, normalisation.sigma_k)  # type: ignore[arg-type]
