"""One directory <-> everything needed to rebuild a run: student, projectors, discriminator, settings, metrics, card."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from probe.errors import DamagedError, NonFiniteError
from probe.files import MANIFEST, atomic_directory, read_manifest, refuse_outside, write_json, write_manifest
from probe.held import Seen
from probe.models.attention import CrossModelAttention, Normalisation, SpaceProjectors, new_projectors
from probe.models.delta import Delta
from probe.models.methods import METHODS, has_discriminator
from probe.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

KIND = "checkpoint"
SCHEMA = 1
SIZES = ("student_dim", "teacher_dim", "student_vocabulary", "teacher_vocabulary")
PROJECTORS = "projectors.safetensors"
DISCRIMINATOR = "discriminator.safetensors"
IMPORTED = "imported"  # a setting of what `probe import-reference` made; the public code never saves a discriminator


@dataclass(frozen=True)
class CheckpointConfig:
    """``config.json`` of a checkpoint. ``normalisation`` is None for a method that scales nothing by σ (sft, kd).

    ``teacher_embeddings`` is the first 16 digits of the sha256 over the teacher's embedding table in float32.
    """

    name: str
    method: str
    teacher: str
    student_dim: int
    teacher_dim: int
    student_vocabulary: int
    teacher_vocabulary: int
    student_tokenizer: str
    teacher_tokenizer: str
    teacher_embeddings: str
    normalisation: Normalisation | None
    settings: dict[str, Any]
    version: str = __version__


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint. ``attention`` is None without projectors, and gives maps only where it has a query."""

    directory: Path
    config: CheckpointConfig
    attention: CrossModelAttention | SpaceProjectors | None
    discriminator: dict[str, Tensor] | None
    metrics: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def student_directory(self) -> Path:
        """The student: a plain Hugging Face directory, or a delta, which :mod:`probe.models.loading` loads alike."""
        return self.directory / "student"

    def require_attention(self) -> CrossModelAttention:
        """The projectors, or an error that says why there are none."""
        if not isinstance(self.attention, CrossModelAttention):
            with_maps = ", ".join(name for name, method in METHODS.items() if method.query)
            raise DamagedError(
                f"{self.directory} was trained with {self.config.method!r}, which has no query projector, so it has no "
                f"cross-model attention map. Give a checkpoint of {with_maps}."
            )
        return self.attention


def embeddings_fingerprint(table: Tensor) -> str:
    """The first 16 digits of the sha256 over an embedding table [vocabulary, width] in float32."""
    return hashlib.sha256(table.float().contiguous().numpy().data).hexdigest()[:16]


def save_checkpoint(
    directory: Path | str,
    config: CheckpointConfig,
    student: PreTrainedModel | Delta,
    tokenizer: PreTrainedTokenizerFast,
    *,
    attention: CrossModelAttention | SpaceProjectors | None = None,
    discriminator: dict[str, Tensor] | None = None,
    metrics: dict[str, Any] | None = None,
    card: str = "",
    extras: Sequence[Path] = (),
    dtype: torch.dtype = torch.float32,
    since: Seen | None = None,
) -> None:
    """Write a whole checkpoint or nothing; non-finite tensors are refused (NonFiniteError).

    A student given as a :class:`probe.models.delta.Delta` is written as one: ``student/`` then needs its base.
    ``extras`` are files and directories that are copied into it, under their own names. ``since`` is what lay at
    ``directory`` when the run began: nothing else is replaced (DiskError).
    """
    others = dtype if isinstance(student, Delta) else torch.float32  # beside a delta they are the larger part
    projectors = {} if attention is None else _detached(attention.state_dict(), others)
    critic = _detached(discriminator or {}, others)
    stored = student.tensors(dtype) if isinstance(student, Delta) else _stored(student, dtype)
    for name, tensor in {**stored, **projectors, **critic}.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NonFiniteError(f"{name} holds NaN or infinity as {tensor.dtype}; no checkpoint was written.")
    with atomic_directory(directory, since=since) as part:
        write_json(part / "config.json", dataclasses.asdict(config))
        if isinstance(student, Delta):
            student.write(part / "student", dtype)
        else:
            _copy_as(student, dtype).save_pretrained(part / "student")
        tokenizer.save_pretrained(part / "student")
        if attention is not None:
            save_file(projectors, part / PROJECTORS)
        if discriminator is not None:
            save_file(critic, part / DISCRIMINATOR)
        write_json(part / "metrics.json", metrics or {})
        (part / "README.md").write_text(card, encoding="utf-8")
        for extra in extras:
            (shutil.copytree if extra.is_dir() else shutil.copyfile)(extra, part / extra.name)
        write_manifest(part, KIND, SCHEMA, {"name": config.name, "method": config.method, "version": __version__})


def _stored(student: PreTrainedModel, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in student.state_dict().items()}


def _detached(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: tensor.detach().to(dtype).cpu().contiguous().clone() for name, tensor in state.items()}


def _copy_as(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A copy in the storage type, so that the model in training keeps its precision."""
    copy: Any = type(model)(type(model.config).from_dict(model.config.to_dict()))
    copy.load_state_dict(model.state_dict())
    return copy.to(dtype=dtype)  # type: ignore[call-overload, arg-type]


def load_checkpoint(directory: Path | str, *, verify: bool = True) -> Checkpoint:
    """Read and check a checkpoint: manifest, settings, and every projector's shape.

    Raises:
        DamagedError: a missing, altered or mismatching piece; the message gives both numbers.
        NonFiniteError: NaN or infinity in a projector.
    """
    directory = Path(directory)
    manifest = read_manifest(directory, KIND, SCHEMA, verify=verify)
    _refuse_unlisted(directory, manifest)
    config = _read_config(directory / "config.json")
    if config.method not in METHODS:
        raise DamagedError(f"{directory}/config.json names the method {config.method!r}; known: {', '.join(METHODS)}.")
    method = METHODS[config.method]
    if config.normalisation is None and method.scaled:
        raise DamagedError(f"{directory}/config.json lacks the normalisation, which the method {config.method} has.")
    offset_values = bool(config.settings.get("offset_values", True))
    attention = new_projectors(method, config.student_dim, config.teacher_dim, offset_values=offset_values)
    if attention is not None:
        load_exactly(attention, _read_tensors(directory / PROJECTORS), directory / PROJECTORS)
    discriminator = _read_tensors(directory / DISCRIMINATOR) if (directory / DISCRIMINATOR).is_file() else None
    needed = has_discriminator(config.method, config.settings.get("matching", ""))
    if discriminator is None and needed and IMPORTED not in config.settings:
        raise DamagedError(f"{directory} lacks {DISCRIMINATOR}, which the method {config.method} has.")
    if not (directory / "student" / "config.json").is_file():
        raise DamagedError(f"{directory} lacks student/config.json; the checkpoint has no student.")
    metrics = _read_metrics(directory / "metrics.json")
    return Checkpoint(directory, config, attention, discriminator, metrics, manifest)


def _refuse_unlisted(directory: Path, manifest: dict[str, Any]) -> None:
    """What is loaded must be in the manifest: a file that was put beside it is nobody's."""
    for place in (directory, directory / "student"):
        for file in sorted([*place.glob("*.safetensors"), *place.glob("*.json")]):
            name = file.relative_to(directory).as_posix()
            refuse_outside(directory, name, KIND)
            if name not in manifest["files"] and name != MANIFEST:
                raise DamagedError(f"{file} is not in the manifest of its {KIND}; remove it, or make the {KIND} again.")


def _read_config(path: Path) -> CheckpointConfig:
    if not path.is_file():
        raise DamagedError(f"{path.parent} lacks config.json; it is not a complete checkpoint.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        normalisation = values.pop("normalisation")
        for name in SIZES:
            if not isinstance(values[name], int) or values[name] < 1:
                raise TypeError(f"{name} is {values[name]!r}, wanted 1 or more")
        if not isinstance(values["settings"], dict):
            raise TypeError(f"settings are {type(values['settings']).__name__}, not key: value")
        return CheckpointConfig(
            normalisation=None if normalisation is None else Normalisation(**normalisation), **values
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path}: not the settings of a checkpoint ({error}); it is damaged.") from error


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path}: not the metrics of a checkpoint ({error}); it is missing or damaged.") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DamagedError(f"{path.parent} lacks {path.name}; without it the maps would come from random numbers.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{path} is not a readable safetensors file ({error}); it is damaged.") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise NonFiniteError(f"{path}: the tensor {name} holds NaN or infinity; no map can come from it.")
    return tensors


def load_exactly(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load every tensor of ``module`` from ``tensors``; a missing, extra or misshapen one is an error."""
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise DamagedError(
                f"{path}: {name}: wanted shape {wanted.get(name, 'no such tensor')}, "
                f"found {found.get(name, 'no such tensor')}. It belongs to another pair of models."
            )
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
