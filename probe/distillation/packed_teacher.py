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
from probe.errors import UsageError
from probe.files import MANIFEST, atomic_directory, check_file, read_manifest, write_manifest
from probe.models.loading import embedding_name
from probe.text.tokenization import TokenizedSide

KIND = "packed teacher"
SCHEMA_VERSION = 1
HEAD = "head.safetensors"
STATES = "states"


def is_packed(directory: Path) -> bool:
    """Whether a model directory is a packed teacher."""
    return (directory / MANIFEST).is_file() and (directory / HEAD).is_file()


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
            if file.suffix in (".json", ".txt", ".model") and not file.name.endswith((".index.json", MANIFEST)):
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
    manifest = read_manifest(directory, KIND, SCHEMA_VERSION, verify=False)
    provenance = manifest["provenance"]
    for name in (HEAD, "model.safetensors"):
        check_file(directory, name, manifest["files"].get(name, ""), KIND)
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
