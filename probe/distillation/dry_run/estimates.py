"""Memory and operations of a run, from the sizes of its models and texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from probe.distillation.config import TrainConfig
from probe.distillation.dataset import training_examples
from probe.distillation.dry_run.architectures import Architecture
from probe.distillation.losses.student_head import LEAST_ROWS, TILE_FLOATS
from probe.distillation.teacher_cache import TOKENS_PER_FORWARD
from probe.models.methods import METHODS, Method

FLOAT = 4
LOGITS = 4  # copies of a chunk of logits that a divergence makes, at most (on a CPU they are smaller)
# Dolly's 1,000 development examples under SmolLM2's tokenizer, cut at 512 tokens (November 2026): 151 tokens a text, 77
# of them response; 4.35 bytes a token. The training set of the papers has 357 batches of 32.
DOLLY_EXAMPLES, DOLLY_TOKENS, DOLLY_RESPONSE, BYTES_PER_TOKEN = 357 * 32, 151.0, 77.0, 4.35


@dataclass(frozen=True)
class Lengths:
    """``examples`` texts, held-out ones included, of ``tokens`` tokens on average, ``response`` of them response."""

    examples: int
    tokens: float
    response: float
    source: str


@dataclass(frozen=True)
class Trainable:
    """How many weights are trained: of the ``student``, and ``adapters``: projectors and discriminator.

    ``lora`` of the student's are low-rank updates: all or none; ``head``: whether its output head is trained.
    """

    student: int
    lora: int
    adapters: int
    head: bool


@dataclass(frozen=True)
class MemoryPart:
    """One line of the memory table; ``place`` is ``device`` (a GPU's memory, where there is one) or ``host``."""

    name: str
    size: int
    place: str = "device"


@dataclass(frozen=True)
class Work:
    """Floating-point operations of a whole run, multiplications and additions counted apart.

    ``student``: its forward and backward passes; ``vocabulary``: products with the output heads of both models;
    ``teacher``: its forward pass over every text, once.
    """

    student: float
    vocabulary: float
    teacher: float


def lengths_of(config: TrainConfig) -> Lengths:
    """The recipe's texts: counted, at 4.35 bytes a token, where all its files are there; else those of the papers."""
    limit = config.max_length
    if missing := [path for path in config.data if not Path(path).is_file()]:
        tokens = min(DOLLY_TOKENS, float(limit))
        source = f"{missing[0]} is not there: assumed are Dolly's {DOLLY_EXAMPLES + config.held_out:,} texts"
        return Lengths(DOLLY_EXAMPLES + config.held_out, tokens, min(DOLLY_RESPONSE, limit / 2), source)
    training, held_out = training_examples(config)
    prompts, responses = 0.0, 0.0
    for example in (examples := [*training, *held_out]):
        prompt = min(len(example.prompt.encode()) / BYTES_PER_TOKEN, limit)
        prompts += prompt
        responses += min(len(example.output.encode()) / BYTES_PER_TOKEN + 1, limit - prompt)
    count = len(examples)
    return Lengths(count, (prompts + responses) / count, responses / count, f"counted, {BYTES_PER_TOKEN} bytes a token")


def training_memory(
    config: TrainConfig, student: Architecture, teacher: Architecture, trained: Trainable, lengths: Lengths, passes: int
) -> list[MemoryPart]:
    """Memory while it trains, in one process; ``passes`` is what a forward and backward pass holds."""
    method = METHODS[config.method]
    learning = trained.student + trained.adapters
    chunk = max(LEAST_ROWS * student.vocabulary, TILE_FLOATS)
    parts = [
        MemoryPart("student: weights", FLOAT * (student.parameters + trained.lora)),
        MemoryPart("projectors and discriminator: weights", FLOAT * trained.adapters),
        MemoryPart("gradients", FLOAT * learning),
        MemoryPart("AdamW: two moments", 2 * FLOAT * learning),
        MemoryPart("student: held by a forward and backward pass", passes),
        MemoryPart("logits of a chunk, and what is made of them", LOGITS * FLOAT * chunk),
        MemoryPart("gradient of the student's head, made in the loss", FLOAT * student.table if trained.head else 0),
    ]
    if method.teacher:
        parts.append(MemoryPart("teacher: embeddings and head", 2 * FLOAT * teacher.table))
        parts += _teacher_texts(config, method, teacher, lengths)
    else:
        parts.append(MemoryPart("teacher: embeddings", FLOAT * teacher.table, "host"))
    return [part for part in parts if part.size]


def _teacher_texts(config: TrainConfig, method: Method, teacher: Architecture, lengths: Lengths) -> list[MemoryPart]:
    positions = round(lengths.examples * lengths.response)
    stored = 2 if config.teacher_dtype == "float16" else FLOAT
    met = round(min(lengths.examples, config.steps * config.batch_size) * lengths.response)
    summaries = FLOAT * met * (teacher.width + 1) if method.projectors else 0
    return [
        MemoryPart(f"teacher: states of all texts, {config.teacher_dtype}", stored * positions * teacher.width, "host"),
        MemoryPart("teacher: summaries of the texts met", summaries, "host"),
    ]


def filling_memory(student: Architecture, teacher: Architecture) -> list[MemoryPart]:
    """Memory while the teacher runs over its texts once, in float32, before training: loaded by the host, which also
    runs it where no accelerator holds it."""
    widest = 4 * teacher.width * FLOAT * TOKENS_PER_FORWARD
    return [
        MemoryPart("student: weights", FLOAT * student.parameters, "host"),
        MemoryPart("teacher: weights, float32", FLOAT * teacher.parameters, "host"),
        MemoryPart("teacher: a second table of embeddings", FLOAT * teacher.table, "host"),
        MemoryPart("teacher: activations, about", 4 * widest, "host"),
    ]


def forward_work(model: Architecture, tokens: float, length: float) -> float:
    """Two operations for each weight of a linear map and token; and scores and mixing of whole ``length`` x ``length``
    attention: 4 · width · length for each token and layer."""
    return tokens * (2 * model.linear + 4 * model.layers * model.width * length)


def student_factor(config: TrainConfig, trained: Trainable, student: Architecture) -> float:
    """Forward and backward passes, in forward passes: one, one to the inputs, one to all trained weights, and one more
    where layers are computed again. Under LoRA only its own weights count for the third, which adds to all passes."""
    again = 1.0 if config.gradient_checkpointing else 0.0
    if not config.lora_rank:
        return 3.0 + again
    return (2.0 + again) + (3.0 + again) * trained.lora / student.linear


def run_work(
    config: TrainConfig, student: Architecture, teacher: Architecture, trained: Trainable, lengths: Lengths
) -> Work:
    """Operations of all steps, and of the teacher's one pass over every text (none of a packed teacher)."""
    method, seen = METHODS[config.method], config.steps * config.batch_size
    forward = forward_work(student, seen * lengths.tokens, lengths.tokens)
    positions = seen * (lengths.tokens if config.loss_on == "text" else lengths.response)
    products = (3 if trained.head else 2) * 2 * student.table  # logits, to the states, to the head
    if method.projectors:  # t2s logits and their gradient; s2t logits and their expectation
        products += 2 * 2 * student.table + 2 * 2 * teacher.table
    elif method.teacher:
        products += 2 * teacher.table
    once = min(lengths.examples, seen) * lengths.response * 2 * 2 * teacher.table if method.projectors else 0.0
    teacher_pass = forward_work(teacher, lengths.examples * lengths.tokens, lengths.tokens) if method.teacher else 0.0
    return Work(forward * student_factor(config, trained, student), positions * products + once, teacher_pass)
