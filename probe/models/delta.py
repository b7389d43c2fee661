"""A student stored as its difference from a base model: low-rank updates, and embeddings where they are its own.

``student/`` of such a checkpoint holds the tokenizer, ``config.json`` of the whole model, ``adapter.safetensors``,
perhaps ``embeddings.safetensors``, and ``delta.json``, which names the base and the digest of every piece. The base is
a plain model or another delta (a run that began from one): its embeddings are then stored once, there.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from probe.errors import DamagedError, NonFiniteError
from probe.files import check_file, check_seal, sealed, sha256_of, write_json

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

DELTA, ADAPTER, TABLES = "delta.json", "adapter.safetensors", "embeddings.safetensors"
ROLES = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class Base:
    """What a delta is added to: a ``model`` by its name, or a ``path`` from the directory of the delta.

    ``digest`` is :func:`weights_digest` of a plain model, the sha256 of ``delta.json`` of one that is a delta itself.
    """

    digest: str
    model: str = ""
    path: str = ""

    @classmethod
    def of(cls, name: str, found: Path, digest: str, place: Path) -> Base:
        """The base that a recipe calls ``name``, ``found`` in a directory, for a delta that will be at ``place``."""
        if not Path(name).exists():
            return cls(digest, model=name)
        return cls(digest, path=Path(os.path.relpath(found.resolve(), place.resolve())).as_posix())

    def name(self, directory: Path) -> str:
        """What to resolve: a name, or the place that ``path`` means from the delta in ``directory``.

        Raises:
            DamagedError: nothing is there.
        """
        if self.model:
            return self.model
        place = Path(os.path.normpath(directory.resolve() / self.path))
        if not place.is_dir():
            raise DamagedError(
                f"{directory} is stored as its difference from {self.path}, and there is nothing at {place}. Put the "
                "checkpoint that it began from there; they travel together. What `probe export` writes stands alone."
            )
        return str(place)


@dataclass(frozen=True)
class Delta:
    """A student as a difference. ``adapter`` maps a linear module's name + ``.A`` [rank, in] or ``.B`` [out, rank];
    its weight is the base's + ``scale`` · B A. ``tables`` replace those of the base, by their names in the state dict.
    """

    config: PretrainedConfig
    base: Base
    scale: float
    adapter: Mapping[str, Tensor]
    tables: Mapping[str, Tensor]
    embeddings: Tensor  # [vocabulary, width], in the type that is stored

    def tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """All that is stored, in ``dtype``."""
        return {name: tensor.to(dtype) for name, tensor in {**self.adapter, **self.tables}.items()}

    def write(self, directory: Path, dtype: torch.dtype) -> None:
        """Write the pieces and, last, ``delta.json``."""
        directory.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(directory)
        files = {}
        for file, tensors in ((ADAPTER, self.adapter), (TABLES, self.tables)):
            if tensors:
                stored = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in tensors.items()}
                save_file(stored, directory / file)
                files[file] = sha256_of(directory / file)
        table = self.embeddings.to(dtype) if self.tables else self.embeddings
        described = {
            "base": {key: value for key, value in asdict(self.base).items() if value},
            "scale": self.scale,
            "files": files,
            "embeddings": table_digest(table),
        }
        write_json(directory / DELTA, sealed(described))


@dataclass(frozen=True)
class StoredDelta:
    """``delta.json`` as it was read: ``files`` by name with their sha256, ``embeddings`` the digest of the table."""

    directory: Path
    base: Base
    scale: float
    files: Mapping[str, str]
    embeddings: str

    @property
    def has_tables(self) -> bool:
        """Whether it has embeddings of its own."""
        return TABLES in self.files

    def tensors(self, file: str) -> dict[str, Tensor]:
        """The tensors of one of its files, in float32; none where it has no such file.

        Raises:
            DamagedError: missing or altered. NonFiniteError: NaN or infinity.
        """
        if file not in self.files:
            return {}
        path = check_file(self.directory, file, self.files[file], "checkpoint")
        try:
            found = {name: tensor.float() for name, tensor in load_file(path).items()}
        except SafetensorError as error:
            raise DamagedError(f"{path} is not a readable safetensors file ({error}); it is damaged.") from error
        for name, tensor in found.items():
            if not torch.isfinite(tensor).all():
                raise NonFiniteError(f"{path}: the tensor {name} holds NaN or infinity.")
        return found

    def check_base(self, directory: Path, found: str) -> None:
        """Raise DamagedError where the base has another digest than the delta was made on."""
        if found != self.base.digest:
            raise DamagedError(
                f"{self.directory} is a difference from a model of digest {self.base.digest}, found {found} at "
                f"{directory}. Put back the model that it was made on, or take the checkpoint that belongs to this one."
            )


def is_delta(directory: Path) -> bool:
    """Whether a model directory is a delta."""
    return (directory / DELTA).is_file()


def read_delta(directory: Path) -> StoredDelta:
    """Read and check ``delta.json``; its files are read when they are asked for."""
    path = directory / DELTA
    keys = ("base", "scale", "files", "embeddings")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        check_seal(values, keys, path)
        base, scale, files, embeddings = (values[key] for key in keys)
        if Path(base.get("path", "")).is_absolute():
            raise DamagedError(f"{path}: wanted the base by a relative path, found {base['path']}; it is damaged.")
        return StoredDelta(directory, Base(**base), float(scale), dict(files), str(embeddings))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read ({error}); the checkpoint is damaged.") from error


def assembled(delta: StoredDelta, base: Path, load: Callable[[Path], PreTrainedModel]) -> PreTrainedModel:
    """The whole model in float32: the base, its tables replaced, its updates merged.

    Args:
        load: reads the base, be it a plain model or a delta, in float32.

    Raises:
        DamagedError: another base than the delta was made on, or a tensor that does not fit; gives both numbers.
    """
    chained = is_delta(base)
    if chained:  # before it is loaded: its own digest covers all that it is made of
        delta.check_base(base, sha256_of(base / DELTA))
    model = load(base)
    if not chained:
        delta.check_base(base, weights_digest(model))
    with torch.no_grad():
        _replace_tables(model, delta.tensors(TABLES), delta.directory)
        _merge(model, delta.tensors(ADAPTER), delta.scale, delta.directory)
    settings = json.loads((delta.directory / "config.json").read_text(encoding="utf-8"))
    for part in (model.config, getattr(model, "generation_config", None)):
        for role in ROLES if part is not None else ():
            setattr(part, role, settings.get(role))
    return model.eval()


def table_names(model: PreTrainedModel) -> dict[str, Tensor]:
    """The input embedding, the output head where it is another table, and the head's bias: by state-dict name."""
    parts: tuple[Any, Any] = (model.get_input_embeddings(), model.get_output_embeddings())
    wanted = {id(parameter) for part in parts for parameter in part.parameters()}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in wanted}


def _replace_tables(model: PreTrainedModel, tables: Mapping[str, Tensor], place: Path) -> None:
    if not tables:
        return
    rows = {len(tensor) for tensor in tables.values()}
    if len(rows) == 1 and rows != {len(model.get_input_embeddings().weight)}:  # type: ignore[union-attr, arg-type]
        model.resize_token_embeddings(rows.pop(), mean_resizing=False)
    for name, parameter in _matched(table_names(model), tables, place):
        parameter.copy_(tables[name])


def _merge(model: PreTrainedModel, adapter: Mapping[str, Tensor], scale: float, place: Path) -> None:
    from transformers.pytorch_utils import Conv1D

    modules = dict(model.named_modules())
    for name in sorted({key.rsplit(".", 1)[0] for key in adapter}):
        module: Any = modules.get(name)
        first, second = adapter.get(f"{name}.A"), adapter.get(f"{name}.B")
        if first is None or second is None or getattr(module, "weight", None) is None:
            raise DamagedError(f"{place / ADAPTER}: {name}: wanted A and B of a layer of the base, found a part of it.")
        update = second @ first if second.shape[1] == first.shape[0] else second
        update = update.T if isinstance(module, Conv1D) else update
        if update.shape != module.weight.shape:
            raise DamagedError(
                f"{place / ADAPTER}: {name}: wanted an update of {tuple(module.weight.shape)}, found "
                f"{tuple(first.shape)} and {tuple(second.shape)}. It belongs to another model."
            )
        module.weight += scale * update


def _matched(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], place: Path) -> Iterator[tuple[str, Tensor]]:
    for name in sorted(wanted.keys() | found.keys()):
        shapes = [tuple(side[name].shape) if name in side else "no such tensor" for side in (wanted, found)]
        if shapes[0] != shapes[1]:
            raise DamagedError(f"{place / TABLES}: {name}: wanted {shapes[0]}, found {shapes[1]}.")
        yield name, wanted[name]


def delta_embeddings(delta: StoredDelta, base: Path, name: str, load: Callable[[Path], Tensor]) -> Tensor:
    """The input embedding table of a delta in float32, without its body: its own, or the base's.

    Args:
        name: of the table in the state dict. load: reads the table of the base.
    """
    tables = delta.tensors(TABLES)
    if tables and name not in tables:
        raise DamagedError(f"{delta.directory / TABLES}: wanted the tensor {name}, found {', '.join(tables)}.")
    if not tables and is_delta(base):
        delta.check_base(base, sha256_of(base / DELTA))
    table = tables[name] if tables else load(base)
    if (found := table_digest(table)) != delta.embeddings:
        raise DamagedError(
            f"{delta.directory}: wanted the embeddings of digest {delta.embeddings}, found {found}. The base at {base} "
            "is another than the checkpoint was made on."
        )
    return table


@torch.no_grad()
def weights_digest(model: nn.Module) -> str:
    """16 hexadecimal digits over the names, types, shapes and bytes of a model's parameters."""
    return digest_of(part for name, tensor in model.named_parameters() for part in _parts(name, tensor))


def table_digest(table: Tensor) -> str:
    """16 hexadecimal digits over a table's shape and its numbers in float32."""
    return digest_of(_parts("", table.float()))


def _parts(name: str, tensor: Tensor) -> Iterable[Any]:
    yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
    yield tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def digest_of(parts: Iterable[Any]) -> str:
    """16 hexadecimal digits over byte strings, each with its length."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(struct.pack("<q", memoryview(part).nbytes))
        digest.update(part)
    return digest.hexdigest()[:16]
