"""The places where a number can stop being one: in files that a run reads, and in the middle of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from probe.distillation import objectives
from probe.distillation.losses import attended as losses
from probe.distillation.optimisation import Trained
from probe.files import MANIFEST, SEAL, cache_directory, sealed, sha256_of, write_json, write_manifest
from probe.models import attention
from tests.faults.room import Room

STEP, LAST = 4, 7  # steps counted from 0; with a state saved every two of eight, four are safe at STEP
Plant = Callable[[float], None]
Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Place:
    """One place: ``named`` must be in the message; ``plant`` patches the process, ``directory`` is damaged on disk.

    ``tensor`` is the name of the one to damage below the directory ("" for the first of all). ``step``: the run stops
    at this step or the next. ``packed``: the run's teacher is the packed one; ``saved``: it goes on from a saved state.
    """

    name: str
    named: str
    step: int | None = None
    plant: Plant | None = None
    directory: Callable[[Room, Path], Path] | None = None
    tensor: str = ""
    packed: bool = False
    saved: bool = False


def damage(directory: Path, name: str, value: float) -> None:
    """Set the last number of a tensor, and make every digest of its file anew: only the value is wrong."""
    for file in sorted(directory.rglob("*.safetensors")):
        tensors = load_file(file)
        if not name or name in tensors:
            tensors[name or min(tensors)].view(-1)[-1] = value
            save_file(tensors, file, {"format": "pt"})
            return _seal_again(directory, file)
    raise LookupError(f"no tensor {name} below {directory}")


def _seal_again(directory: Path, file: Path) -> None:
    for entry in (file.with_suffix(".json"), directory / "state.json"):
        if entry.is_file():
            value = {**json.loads(entry.read_text(encoding="utf-8")), "sha256": sha256_of(file)}
            value.pop(SEAL, None)
            write_json(entry, sealed(value))
    if (directory / MANIFEST).is_file():
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        write_manifest(directory, manifest["kind"], manifest["schema_version"], manifest["provenance"])


def _at(
    step: int, plant: Callable[[Parameters, Optimizer], None], register: Any = register_optimizer_step_post_hook
) -> None:
    """In this process, call ``plant`` when the run's optimiser has taken step ``step`` (or, registered so, before)."""
    runs: list[Trained] = []
    made, taken = Trained.__init__, iter(range(10**6))

    def noted(self: Trained, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        runs.append(self)

    def hook(optimiser: Optimizer, arguments: Any, named: Any) -> None:
        if next(taken) == step:
            plant(runs[-1].named_parameters(), optimiser)

    Trained.__init__ = noted  # type: ignore[method-assign]
    register(hook)


def _weight(name: str, step: int = STEP) -> Plant:
    def plant(value: float) -> None:
        _at(step, lambda parameters, _: _set(parameters[name].data, value))

    return plant


def _moment(key: str, name: str, step: int = STEP) -> Plant:
    def plant(value: float) -> None:
        _at(step, lambda parameters, optimiser: _set(optimiser.state[parameters[name]][key], value))

    return plant


def _gradient(name: str) -> Plant:
    def plant(value: float) -> None:
        def spoilt(gradient: Tensor) -> Tensor:
            return _set(gradient.clone(), value)

        _at(STEP - 1, lambda parameters, _: parameters[name].register_hook(spoilt))

    return plant


def _rate(value: float) -> None:
    def plant(_: Parameters, optimiser: Optimizer) -> None:
        optimiser.param_groups[0]["lr"] = value

    _at(STEP, plant, register_optimizer_step_pre_hook)


def _set(tensor: Tensor, value: float) -> Tensor:
    tensor.view(-1)[-1] = value
    return tensor


def _result(module: Any, function: str, spoil: Callable[[Any, float], Any], *, at: int = STEP) -> Plant:
    """Replace what a function of ``module`` returns in its call number ``at`` (one call a step)."""

    def plant(value: float) -> None:
        real, calls = getattr(module, function), iter(range(10**6))

        def planted(*arguments: Any, **named: Any) -> Any:
            found = real(*arguments, **named)
            return spoil(found, value) if next(calls) == at else found

        setattr(module, function, planted)

    return plant


def _student_term(name: str) -> Callable[[Any, float], Any]:
    return lambda sums, value: replace(sums, **{key: getattr(sums, key) + value for key in ("total", name)})


def _matching(real: Any, value: float) -> Any:
    def matching(queries: Tensor, keys: Tensor) -> Any:
        term = real(queries, keys)
        return replace(term, loss=term.loss + value)

    return matching


def _files(name: str) -> Callable[[Room, Path], Path]:
    return lambda room, runs: room.root / name


WTE, ATTENTION, NORM = "transformer.wte.weight", "transformer.h.0.attn.c_attn.weight", "transformer.ln_f.bias"
STUDENT = (
    WTE,
    "transformer.wpe.weight",
    ATTENTION,
    "transformer.h.0.mlp.c_fc.bias",
    "transformer.h.0.ln_1.weight",
    NORM,
)
TEACHER = (
    "lm_head.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight",
    "model.norm.weight",
)  # fmt: skip
TRAINED = (
    *(f"student.{name}" for name in STUDENT), "attention.query.weight", "attention.t2s.weight", "attention.s2t.bias",
    "discriminator.output.bias",
)  # fmt: skip
MOMENTS = ("student." + ATTENTION, "attention.query.weight")

PLACES = (
    *(Place(f"file of the student: {n}", n, directory=_files("student"), tensor=n) for n in STUDENT),
    Place(
        "file of the teacher: embedding table", "embed", directory=_files("teacher"), tensor="model.embed_tokens.weight"
    ),
    *(Place(f"file of the teacher: {n}", n, directory=_files("teacher"), tensor=n) for n in TEACHER),
    Place("cached teacher states", ".safetensors", directory=lambda room, runs: cache_directory() / "teacher-states"),
    Place(
        "packed teacher: embedding table",
        "embed",
        directory=_files("packed"),
        tensor="model.embed_tokens.weight",
        packed=True,
    ),
    Place("packed teacher: head", "head", directory=_files("packed"), tensor="weight", packed=True),
    Place(
        "packed teacher: states", ".safetensors", directory=lambda room, runs: room.root / "packed/states", packed=True
    ),
    *(Place(f"weight in training: {n}", f"weight/{n}", STEP, _weight(n)) for n in TRAINED),
    Place("weight in the last step", f"weight/student.{WTE}", LAST, _weight("student." + WTE, LAST)),
    *(Place(f"gradient: {n}", f"gradient of {n}", STEP, _gradient(n)) for n in TRAINED),
    *(Place(f"{key}: {n}", f"{key}/{n}", STEP, _moment(key, n)) for key in ("exp_avg", "exp_avg_sq") for n in MOMENTS),
    Place("moment in the last step", f"exp_avg_sq/student.{WTE}", LAST, _moment("exp_avg_sq", "student." + WTE, LAST)),
    Place("learning rate", "a learning rate is", STEP, _rate),
    Place("sigma", "sigma_k", plant=_result(attention, "_std", lambda real, value: value, at=0)),
    *(
        Place(f"loss term {n}", f"{n} = ", STEP, _result(losses, "student_side", _student_term(n)))
        for n in ("ce", "t2s_ce", "t2s_kd")
    ),
    Place(
        "loss term s2t_kd",
        "s2t_kd = ",
        STEP,
        _result(losses, "summary_kl", lambda real, value: (real[0] + value, real[1])),
    ),
    Place("loss term kq", "kq = ", STEP, _result(objectives, "gan_matching", _matching)),
    *(
        Place(
            f"saved state: {key}",
            f"{key}/{MOMENTS[0]}",
            directory=lambda room, runs: runs / "out.training",
            tensor=f"{key}/{MOMENTS[0]}",
            saved=True,
        )
        for key in ("weight", "exp_avg", "exp_avg_sq")
    ),
)
