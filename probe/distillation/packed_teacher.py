"""A packed teacher: its tables, tokenizer and cached states in one directory, enough to train without the teacher.

`probe cache RECIPE --out DIR` makes it where the teacher fits into memory; `--set teacher=DIR` trains from it anywhere.
To everything that needs the input embeddings alone (extraction, scoring) it is a model directory like any other.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from probe import cli
from probe.distillation.config import read_recipe
from probe.distillation.finite import check_finite
from probe.distillation.frozen_teacher import FrozenTeacher
from probe.distillation.teacher_cache import SHARD_EXAMPLES, TeacherCache, model_fingerprint, state_key
from probe.errors import UsageError
from probe.files import MANIFEST, atomic_directory, check_file, read_manifest, write_manifest
from probe.models.loading import embedding_name, resolve_model
from probe.text.tokenization import TokenizedSide

KIND = "packed teacher"
SCHEMA_VERSION = 1
HEAD = "head.safetensors"
STATES = "states"

EXAMPLES = """
  python -m probe cache probe/recipes/dskd-cma.yaml --set data=dolly.jsonl teacher=my/llama-72b --out llama-72b.packed
  python -m probe train probe/recipes/dskd-cma.yaml --set data=dolly.jsonl teacher=llama-72b.packed --out out/mine"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``probe cache``."""
    cli.dress(parser, "Run a recipe's teacher over its texts, and pack all that training needs of it.", EXAMPLES)
    parser.add_argument("recipe", help="the YAML recipe of the training to come: data, tokenizers, lengths count")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="override settings of the recipe")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the packed teacher to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a packed teacher at --out")
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """``python -m probe cache``."""
    from probe.distillation.setup import prepare

    config = read_recipe(args.recipe, args.set)
    if args.out.exists() and not (args.overwrite and is_packed(args.out)):
        raise UsageError(f"{args.out} exists; choose another --out, or --overwrite to replace a packed teacher.")
    setup = prepare(config, lambda line: print(line, file=sys.stderr, flush=True))
    if setup.teacher is None:
        raise UsageError(f"method {config.method} needs no teacher, so there is nothing to cache.")
    sides = [pair.teacher for pair in (*setup.training, *setup.held_out)]
    pack_teacher(args.out, setup.teacher, resolve_model(config.teacher), sides, config.teacher_dtype)
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file()) / 2**20
    values = {"teacher": config.teacher, "texts": len(sides), "mebibytes": round(size, 1), "out": str(args.out)}
    cli.report(values, [f"wrote {args.out}: {len(sides)} texts, {size:.0f} MiB"], as_json=args.json)


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
