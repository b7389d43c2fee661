"""From a recipe to everything a run needs in memory: models, tokens, cached teacher states, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probe.distillation.config import TrainConfig
from probe.distillation.dataset import training_examples
from probe.distillation.finite import check_finite
from probe.distillation.frozen_teacher import FrozenTeacher
from probe.distillation.imposed import check_covered
from probe.distillation.likelihood import teacher_bits
from probe.distillation.losses.key_query import Discriminator
from probe.distillation.losses.transport import ConditionalTransport
from probe.distillation.measure import Tables
from probe.distillation.optimisation import Trained
from probe.distillation.packed_teacher import check_packed, is_packed, read_packed
from probe.distillation.plain_head import check_plain_head
from probe.distillation.run_inputs import input_digests
from probe.distillation.sharded import on_cpu, whole_tensor
from probe.distillation.students.lora import choose_trained
from probe.distillation.students.new import new_student, principal_components, teacher_means, texts_of, train_tokenizer
from probe.distillation.students.transplant import transplant
from probe.distillation.students.transplant_tokenizer import read_tokenizer
from probe.distillation.teacher_cache import TeacherCache, model_fingerprint, state_key
from probe.distillation.token_match import token_map
from probe.errors import DamagedError, UsageError
from probe.files import cache_directory
from probe.gold.reading import read_gold
from probe.models.attention import CrossModelAttention, Normalisation, SpaceProjectors, measure_sigmas, new_projectors
from probe.models.checkpoint import CheckpointConfig, embeddings_fingerprint
from probe.models.loading import (
    best_device,
    input_embeddings,
    load_causal_lm,
    load_tokenizer,
    resolve_model,
)
from probe.models.methods import METHODS, has_discriminator
from probe.text.examples import Example
from probe.text.tokenization import PairedTokens, PairTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Announce = Callable[[str], None]
NO_RUN = "No run can start from it; get the model again, or take another."


@dataclass(frozen=True)
class Setup:
    """A run, ready to train. ``teacher`` is None for sft, ``normalisation`` for methods that do not scale by σ.

    ``inputs`` are the digests of what it begins with, by name (see :mod:`probe.distillation.run_inputs`).
    ``teacher_bits`` are the teacher's bits of each held-out target, None where it was not asked.
    """

    config: TrainConfig
    trained: Trained
    tokenizer: PreTrainedTokenizerFast
    training: Sequence[PairedTokens]
    held_out: Sequence[PairedTokens]
    teacher_embeddings: Tensor
    teacher: FrozenTeacher | None
    normalisation: Normalisation | None
    checkpoint: CheckpointConfig
    inputs: Mapping[str, str]
    teacher_bits: Sequence[Tensor] | None = None

    # What is measured, is measured on the CPU: with several processes or a GPU these are copies, and all must ask.
    @property
    def projectors(self) -> CrossModelAttention | SpaceProjectors | None:
        """The method's projectors as they are now."""
        module: Any = self.trained.attention
        if module is None:
            return None
        widths, offset_values = (self.checkpoint.student_dim, self.checkpoint.teacher_dim), self.config.offset_values
        new: Any = partial(new_projectors, METHODS[self.config.method], *widths, offset_values=offset_values)
        return on_cpu(module, new)  # type: ignore[return-value]

    @property
    def attention(self) -> CrossModelAttention | None:
        """The projectors that attention maps come from; None where the method trains no query."""
        projectors = self.projectors
        return projectors if isinstance(projectors, CrossModelAttention) else None

    @property
    def tables(self) -> Tables:
        """Both embedding tables as they are now."""
        student = self.trained.student.get_input_embeddings().weight.detach()  # type: ignore[operator, union-attr]
        return Tables(whole_tensor(student).cpu(), self.teacher_embeddings)


def prepare(config: TrainConfig, report: Announce = lambda line: None) -> Setup:
    """Load, tokenize, fill the teacher cache and calibrate; all that is random is fixed by ``config.seed``."""
    training, held_out = training_examples(config)
    teacher_directory = resolve_model(config.teacher)
    if is_packed(teacher_directory):
        check_packed(teacher_directory)
    teacher_tokenizer = load_tokenizer(teacher_directory)
    teacher_embeddings = input_embeddings(teacher_directory)
    check_finite({"its input embedding table": teacher_embeddings}, f"the teacher {config.teacher}", NO_RUN)
    if config.student == "transplant":
        tokenizer = read_tokenizer(config.transplant_tokenizer, config.transplant_vocabulary)
        student = transplant(teacher_directory, teacher_tokenizer, tokenizer)
        check_plain_head(student, "the transplanted student")
    else:
        student, tokenizer = _student(config, [*training, *held_out], teacher_tokenizer, teacher_embeddings)
    _check_positions(config.max_length, "student", student.config)
    pairer = PairTokenizer(tokenizer, teacher_tokenizer, max_length=config.max_length)
    pairs = [list(pairer.encode(part)) for part in (training, held_out)]
    _check_pair(config, pairer, [*pairs[0], *pairs[1]])
    report(f"{len(training)} training and {len(held_out)} held-out examples")
    teacher = normalisation = None
    student_table: Tensor = student.get_input_embeddings().weight  # type: ignore[assignment]
    student_dim, teacher_dim = student_table.shape[1], teacher_embeddings.shape[1]
    if METHODS[config.method].teacher:
        teacher = _frozen_teacher(config, teacher_directory, teacher_embeddings, [*pairs[0], *pairs[1]], report)
        if config.method == "mined":
            teacher.token_map = torch.from_numpy(token_map(*pairer.displays))
        if METHODS[config.method].scaled:
            normalisation = calibrate(pairs[0][: config.calibration], teacher)
    guide = teacher or _measured_teacher(config, teacher_directory, teacher_embeddings, pairs[1], report)
    checkpoint = CheckpointConfig(
        name=config.name,
        method=config.method,
        teacher=config.teacher,
        student_dim=student_dim,
        teacher_dim=teacher_dim,
        student_vocabulary=len(student_table),
        teacher_vocabulary=len(teacher_embeddings),
        student_tokenizer=pairer.student_fingerprint,
        teacher_tokenizer=pairer.teacher_fingerprint,
        teacher_embeddings=embeddings_fingerprint(teacher_embeddings),
        normalisation=normalisation,
        settings=config.as_dict(),
    )
    inputs = input_digests(config, student, pairs[0], pairs[1], _fingerprints(checkpoint, teacher))
    choose_trained(student, config)
    if config.gradient_checkpointing:
        student.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    trained = Trained(student, *_adapters(config, student_dim, teacher_dim))
    return Setup(
        config, trained, tokenizer, pairs[0], pairs[1], teacher_embeddings, teacher, normalisation, checkpoint, inputs,
        None if guide is None else teacher_bits(guide, pairs[1]),
    )  # fmt: skip


def _fingerprints(checkpoint: CheckpointConfig, teacher: FrozenTeacher | None) -> dict[str, str]:
    """Of the teacher, by what errors call it."""
    table = {"embeddings of the teacher": checkpoint.teacher_embeddings}
    return table if teacher is None else {**table, "weights of the teacher": teacher.fingerprint}


def _check_pair(config: TrainConfig, pairer: PairTokenizer, pairs: Sequence[PairedTokens]) -> None:
    """What a method asks of the pair of tokenizers and of gold, before anything is computed."""
    student, teacher = pairer.student_fingerprint, pairer.teacher_fingerprint
    if METHODS[config.method].same_tokenizer and student != teacher:
        raise UsageError(
            f"method {config.method} pairs position i with position i: wanted one tokenizer for both models, found "
            f"{student} (student {config.student}) and {teacher} (teacher {config.teacher}). Choose a teacher with the "
            "student's tokenizer, or a method for two tokenizers, such as dskd-cma or dskd-eta."
        )
    if config.gold:
        check_covered(read_gold(config.gold), pairs)


def _adapters(
    config: TrainConfig, student_dim: int, teacher_dim: int
) -> tuple[SpaceProjectors | CrossModelAttention | None, torch.nn.Module | None]:
    """The method's projectors and its discriminator, new, by ``config.seed``."""
    method = METHODS[config.method]
    torch.manual_seed(config.seed)
    projectors = new_projectors(method, student_dim, teacher_dim, offset_values=config.offset_values)
    if not has_discriminator(config.method, config.matching):
        return projectors, None
    kind = ConditionalTransport if config.matching == "ct" else Discriminator
    return projectors, kind(2 * teacher_dim, config.discriminator_width, config.discriminator_dropout)


def _student(
    config: TrainConfig, examples: Sequence[Example], teacher_tokenizer: PreTrainedTokenizerFast, table: Tensor
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    if config.student == "new":
        tokenizer = train_tokenizer(texts_of(examples), config.new_vocabulary, config.new_positions)
        start = None
        if config.new_embeddings == "teacher-pca":
            start = principal_components(teacher_means(tokenizer, teacher_tokenizer, table), config.new_width)
        return new_student(config, tokenizer, start), tokenizer
    directory = Path(config.student)
    if (directory / "student").is_dir():
        directory = directory / "student"
    directory = resolve_model(directory if directory.exists() else config.student)
    student = load_causal_lm(directory)
    check_finite(student.state_dict(), f"the student {directory}", NO_RUN)
    check_plain_head(student, f"the student {config.student}")
    return student, load_tokenizer(directory)


def _check_positions(max_length: int, role: str, config: Any) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_length > positions:
        raise UsageError(f"max_length: wanted at most the {role}'s {positions} positions, found {max_length}.")


def _frozen_teacher(
    config: TrainConfig, directory: Path, table: Tensor, pairs: Sequence[PairedTokens], report: Announce
) -> FrozenTeacher:
    """States from the cache; the teacher is loaded only for its head, and run only for texts not seen before."""
    sides = [pair.teacher for pair in pairs]
    if is_packed(directory):
        return read_packed(directory, table, sides, config.temperature)
    fingerprint = model_fingerprint(directory)
    cache = TeacherCache(cache_directory() / "teacher-states", fingerprint, config.teacher_dtype)
    model = load_causal_lm(directory)
    _check_positions(config.max_length, "teacher", model.config)
    check_finite(dict(model.named_parameters()), f"the teacher {config.teacher}", NO_RUN)
    check_plain_head(model, f"the teacher {config.teacher}")
    head: Any = model.get_output_embeddings()
    if missing := len(cache.missing(sides)):
        report(f"teacher states: {missing} texts to compute, once")
    where = partial(_where_it_fits, model, report)
    cache.fill(sides, where, lambda done, total: report(f"teacher states {done}/{total}"))
    weight = head.weight.detach().float().cpu()
    bias = None if head.bias is None else head.bias.detach().float().cpu()
    return FrozenTeacher(table, weight, bias, cache.load(sides), config.temperature, fingerprint)


def _measured_teacher(
    config: TrainConfig, directory: Path, table: Tensor, held_out: Sequence[PairedTokens], report: Announce
) -> FrozenTeacher | None:
    """The teacher of a method that needs none, for its bits per byte; None where it cannot be had: sft goes on."""
    if not config.measure_teacher or not held_out:
        return None
    try:
        return _frozen_teacher(config, directory, table, held_out, report)
    except (UsageError, DamagedError) as error:
        report(f"the teacher is not measured: {error}")
        return None


def _where_it_fits(model: PreTrainedModel, report: Announce) -> PreTrainedModel:
    """The teacher on the accelerator if there is one that holds it; states do not depend on where, but for rounding."""
    try:
        return model.to(best_device())  # type: ignore[arg-type]
    except torch.OutOfMemoryError:
        report("the teacher does not fit on the accelerator; its states are computed on the CPU")
        return model.to("cpu")  # type: ignore[arg-type]


def calibrate(pairs: Sequence[PairedTokens], teacher: FrozenTeacher) -> Normalisation:
    """The frozen normalisation: σ over the valid response positions of a calibration sample (docs/methods.md)."""
    inputs = [i for pair in pairs for i in pair.teacher.inputs]
    targets = [i for pair in pairs for i in pair.teacher.targets]
    hidden = torch.cat([teacher.states[state_key(pair.teacher)].float() for pair in pairs])
    return measure_sigmas(teacher.embeddings[inputs], teacher.embeddings[targets], hidden)
