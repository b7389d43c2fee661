"""What goes into an objective and what comes out: states laid flat, terms as sums, divided once at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from probe.distillation.losses.fused_head import TeacherSummary, summary_kl, teacher_summary
from probe.distillation.losses.key_query import KeyQueryTerm
from probe.distillation.losses.student_head import StudentSums, StudentTerms
from probe.errors import NonFiniteError


@dataclass(frozen=True)
class Whole:
    """The targets of the whole batch that this one is a part of: sums are divided by these, so that parts add up."""

    n_student: int
    n_teacher: int


Reduction = Literal["mean", "sum"] | Whole


@dataclass(frozen=True)
class PairedStates:
    """Both models' states at the valid response positions of a batch, example after example (`*_lengths` each).

    Only `student_hidden` (last hidden states, after the final norm) carries a gradient; embeddings and all that is the
    teacher's are detached by whoever fills this. `*_targets` are token ids of y and z.
    """

    student_hidden: Float[Tensor, "student d_s"]
    student_input_emb: Float[Tensor, "student d_s"]
    student_target_emb: Float[Tensor, "student d_s"]
    student_targets: Int[Tensor, " student"]
    student_lengths: Sequence[int]
    teacher_hidden: Float[Tensor, "teacher d_t"]
    teacher_input_emb: Float[Tensor, "teacher d_t"]
    teacher_target_emb: Float[Tensor, "teacher d_t"]
    teacher_targets: Int[Tensor, " teacher"]
    teacher_lengths: Sequence[int]

    def __post_init__(self) -> None:
        for side, lengths in (("student", self.student_lengths), ("teacher", self.teacher_lengths)):
            if not lengths or min(lengths) < 1:
                raise ValueError(f"every example needs a {side} position, got lengths {list(lengths)}; drop empty ones")
            for name in ("hidden", "input_emb", "target_emb", "targets"):
                rows = len(getattr(self, f"{side}_{name}"))
                if rows != sum(lengths):
                    raise ValueError(f"{side}_{name} must have {sum(lengths)} rows, the sum of the lengths; got {rows}")
        if len(self.student_lengths) != len(self.teacher_lengths):
            raise ValueError(
                f"both sides must hold the same examples, got {len(self.student_lengths)} student and "
                f"{len(self.teacher_lengths)} teacher lengths"
            )


@dataclass(frozen=True)
class Heads:
    """The output heads of both models, with their biases where they have them; the teacher's are constants."""

    student: Float[Tensor, "vocab_s d_s"]
    teacher: Float[Tensor, "vocab_t d_t"]
    student_bias: Float[Tensor, " vocab_s"] | None = None
    teacher_bias: Float[Tensor, " vocab_t"] | None = None


@dataclass(frozen=True)
class LossTerms:
    """`loss` has the gradient. The other tensors are detached *sums* over positions, so that they add up over batches.

    `kq` (a mean, unweighted) and `discriminator_accuracy` are None without key-query matching, `kd` without a teacher's
    logits that guide the student's own; the t2s and s2t sums are zeros without projectors. Properties divide once.
    """

    loss: Float[Tensor, ""]
    n_student: int
    n_teacher: int
    ce: Float[Tensor, ""]
    t2s_ce: Float[Tensor, ""]
    t2s_kd: Float[Tensor, ""]
    s2t_kd: Float[Tensor, ""]
    student_correct: Float[Tensor, ""]
    t2s_correct: Float[Tensor, ""]
    s2t_correct: Float[Tensor, ""]
    max_t2s_prob: Float[Tensor, ""]
    kq: Float[Tensor, ""] | None = None
    discriminator_accuracy: Float[Tensor, ""] | None = None
    kd: Float[Tensor, ""] | None = None

    @property
    def parts(self) -> dict[str, Float[Tensor, ""]]:
        """The terms that the method has, as sums over positions, by name."""
        if self.kd is not None:
            return {"ce": self.ce, "kd": self.kd}
        guided = {"t2s_ce": self.t2s_ce, "t2s_kd": self.t2s_kd, "s2t_kd": self.s2t_kd} if self.n_teacher else {}
        return {"ce": self.ce, **guided}

    @property
    def accuracy(self) -> float:
        """Share of student positions where the student's argmax is the target."""
        return float(self.student_correct) / self.n_student

    @property
    def t2s_accuracy(self) -> float:
        """Share of student positions where the argmax of the t2s logits is the target."""
        return float(self.t2s_correct) / self.n_student


def projected_terms(
    states: PairedStates, student: StudentSums, s2t_hidden: Float[Tensor, "position d_t"], heads: Heads,
    terms: StudentTerms, summary: TeacherSummary | None, columns: Tensor | slice = slice(None),
) -> LossTerms:  # fmt: skip
    """The sums of a method with projectors: the student's side, and λ · KL(teacher ‖ s2t; τ), λ = `terms.t2s_weight`.

    `columns` are the teacher positions that `s2t_hidden` is at; `summary` is of all, and computed if missing.
    """
    tau, bias, targets = terms.temperature, heads.teacher_bias, states.teacher_targets[columns]
    if summary is None:
        summary = teacher_summary(states.teacher_hidden, heads.teacher, tau, bias)
    here = TeacherSummary(summary.expected_head[columns], summary.negentropy[columns])
    s2t_kd, s2t_correct = summary_kl(s2t_hidden, heads.teacher.detach(), here, targets, tau, bias)
    return LossTerms(
        loss=student.total + terms.t2s_weight * s2t_kd,
        n_student=len(states.student_targets),
        n_teacher=len(targets),
        ce=student.ce,
        t2s_ce=student.t2s_ce,
        t2s_kd=student.t2s_kd,
        s2t_kd=s2t_kd.detach(),
        student_correct=student.correct,
        t2s_correct=student.t2s_correct,
        s2t_correct=s2t_correct,
        max_t2s_prob=student.max_t2s_prob,
    )


def finish(
    terms: LossTerms, matched: KeyQueryTerm | None = None, kappa: float = 0.0, reduction: Reduction = "mean"
) -> LossTerms:
    """Divides by the number of student targets, adds the matching term, and refuses numbers that are not finite.

    "mean": the targets of `terms`; "sum": nothing is divided (κ · L_kq is added as it is); `Whole`: its targets, so
    that the losses of all parts add up to the mean of the whole, if `matched` is already this part's share.
    """
    if not isinstance(reduction, Whole) and reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean', 'sum' or a Whole, got {reduction!r}")
    whole = reduction.n_student if isinstance(reduction, Whole) else terms.n_student
    loss, divisor = terms.loss, 1 if reduction == "sum" else whole
    if matched is None:
        done = replace(terms, loss=loss / divisor)
    else:
        kq = kappa * matched.loss
        loss = (loss + kq) / divisor if matched.per_target else loss / divisor + kq
        done = replace(terms, loss=loss, kq=matched.loss.detach(), discriminator_accuracy=matched.accuracy)
    if not bool(torch.isfinite(done.loss)):
        names = ("ce", "kd", "t2s_ce", "t2s_kd", "s2t_kd", "kq")
        values = {name: float(value) for name in names if (value := getattr(done, name)) is not None}
        broken = ", ".join(f"{name} = {value}" for name, value in values.items() if not _finite(value)) or "the total"
        raise NonFiniteError(
            f"the loss must be finite, got {done.loss.item()} ({broken}); lower the learning rate or look at the states"
        )
    return done


def add_terms(parts: Sequence[LossTerms], weight: int = 1) -> LossTerms:
    """The terms of a whole batch, detached, from its parts' (whose losses are shares of the whole): a sum of each."""
    names = [field.name for field in fields(LossTerms) if getattr(parts[0], field.name) is not None]
    return replace(parts[0], **{name: sum(weight * _number(part, name) for part in parts) for name in names})


def _number(terms: LossTerms, name: str) -> Any:
    value = getattr(terms, name)
    return value.detach() if isinstance(value, Tensor) else value


def _finite(value: float) -> bool:
    return value - value == 0
