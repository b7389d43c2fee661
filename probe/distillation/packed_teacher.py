"""A packed teacher: its tables, tokenizer and cached states in one directory, enough to train without the teacher.

`probe cache RECIPE --out DIR` makes it where the teacher fits into memory; `--set teacher=DIR` trains from it anywhere.
To everything that needs the input embeddings alone (extraction, scoring) it is a model directory like any other.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from probe.distillation.finite import check_finite
from probe.distillation.frozen_teacher import FrozenTeacher
from probe.distillation.teacher_cache import SHARD_EXAMPLES, TeacherCache, model_fingerprint, state_key
from probe.errors import DamagedError, UsageError
from probe.files import MANIFEST, atomic_directory, check_file, read_manifest, write_manifest
from probe.models.loading import embedding_name
from probe.text.tokenization import TokenizedSide

KIND = "packed teacher"
SCHEMA_VERSION = 1
HEAD = "head.safetensors"
STATES = "states"
# Of a teacher's directory: its configuration and tokenizer; notes that lie beside them are nobody's business.
COPIED = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja",
)  # fmt: skip


def is_packed(directory: Path) -> bool:
    """Whether a model directory is a packed teacher."""
    return (directory / MANIFEST).is_file() and (directory / HEAD).is_file()


def check_packed(directory: Path) -> None:
    """Check every file of a packed teacher but its states, which are checked when they are read.

    Raises:
        DamagedError: a file is missing or altered, or lies there without being in the manifest.
    """
    manifest = read_manifest(directory, KIND, SCHEMA_VERSION, verify=False)
    files = manifest["files"]
    for name in files:
        if not name.startswith(f"{STATES}/"):
            check_file(directory, name, files[name], KIND)
    for file in sorted(file for file in directory.rglob("*") if file.is_file() and file.name != MANIFEST):
        if (name := file.relative_to(directory).as_posix()) not in files:
            raise DamagedError(f"{file} is not in the manifest of its {KIND}; remove it, or make the {KIND} again.")


def pack_teacher(
    out: Path, teacher: FrozenTeacher, directory: Path, sides: Sequence[TokenizedSide], dtype: str
) -> None:
    """Write the packed teacher ``out``: tables as exact as they are, states [teacher, d_t] in ``dtype``.

    Args:
        directory: the teacher's own directory; its configuration and tokenizer are copied.
        sides: the texts whose states are packed; ``teacher.states`` must hold them all.
    """
    fingerprint = model_fingerprint(directory)
    with atomic_directory(out) as part:
        for file in directory.iterdir():
            if file.name in COPIED or file.suffix == ".model":
                shutil.copyfile(file, part / file.name)
        tables = {embedding_name(directory): _narrowest(teacher.embeddings)}
        save_file(tables, part / "model.safetensors", {"format": "pt"})
        head = {"weight": _narrowest(teacher.head)}
        if teacher.head_bias is not None:
            head["bias"] = _narrowest(teacher.head_bias)
        save_file(head, part / HEAD)
        cache = TeacherCache(part / STATES, fingerprint, dtype)
        todo = cache.missing(sides)
        for first in range(0, len(todo), SHARD_EXAMPLES):
            keys = map(state_key, todo[first : first + SHARD_EXAMPLES])
            cache.add({key: teacher.states[key] for key in keys})
        provenance = {"teacher": str(directory.name), "fingerprint": fingerprint, "dtype": dtype, "texts": len(todo)}
        write_manifest(part, KIND, SCHEMA_VERSION, provenance)


def read_packed(directory: Path, table: Tensor, sides: Sequence[TokenizedSide], temperature: float) -> FrozenTeacher:
    """The teacher of a run from its packed directory, without the teacher's model.

    Raises:
        DamagedError: a missing or altered file.
        NonFiniteError: NaN or infinity in its head or states.
        UsageError: texts that were not packed (other data, lengths or tokenizers).
    """
    check_packed(directory)
    provenance = read_manifest(directory, KIND, SCHEMA_VERSION, verify=False)["provenance"]
    head = load_file(directory / HEAD)
    check_finite(head, str(directory / HEAD), "Pack the teacher again: python -m probe cache RECIPE --out DIR.")
    cache = TeacherCache(directory / STATES, provenance["fingerprint"], provenance["dtype"])
    if missing := len(cache.missing(sides)):
        raise UsageError(
            f"{directory} lacks the states of {missing} of {len(sides)} texts. Pack it again with this recipe's data, "
            "tokenizers and max_length: python -m probe cache RECIPE --out DIR."
        )
    bias = head["bias"].float() if "bias" in head else None
    return FrozenTeacher(table, head["weight"].float(), bias, cache.load(sides), temperature, provenance["fingerprint"])


def _narrowest(table: Tensor) -> Tensor:
    """The table in the narrowest type that holds it exactly: weights that came as bfloat16 go as bfloat16."""
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(table.to(dtype).float(), table):
            return table.to(dtype).contiguous()
    return table.contiguous().clone()
