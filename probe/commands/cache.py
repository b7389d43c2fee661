"""``python -m probe cache``: run a recipe's teacher over its texts once, and pack all that training needs of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from probe import cli
from probe.distillation.config import read_recipe
from probe.errors import UsageError
from probe.files import one_writer

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
    with one_writer(args.out):
        _cache(args)


def _cache(args: argparse.Namespace) -> None:
    from probe.distillation.packed_teacher import is_packed, pack_teacher  # torch: seconds, so not for --help
    from probe.distillation.setup import prepare
    from probe.models.loading import resolve_model

    config = read_recipe(args.recipe, args.set)
    if args.out.exists() and not (args.overwrite and is_packed(args.out)):
        raise UsageError(f"{args.out} exists; choose another --out, or --overwrite to replace a packed teacher.")
    setup = prepare(config, cli.note)
    if setup.teacher is None:
        raise UsageError(f"method {config.method} needs no teacher, so there is nothing to cache.")
    sides = [pair.teacher for pair in (*setup.training, *setup.held_out)]
    pack_teacher(args.out, setup.teacher, resolve_model(config.teacher), sides, config.teacher_dtype)
    size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file()) / 2**20
    values = {"teacher": config.teacher, "texts": len(sides), "mebibytes": round(size, 1), "out": str(args.out)}
    cli.report(values, [f"wrote {args.out}: {len(sides)} texts, {size:.0f} MiB"], as_json=args.json)
