"""``python -m probe train``: train a student by a recipe, or look at what that would take (``--dry-run``)."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

from probe import cli
from probe.distillation.config import TrainConfig, origins, read_recipe
from probe.errors import ProbeError, UsageError
from probe.files import one_writer

MOST_THREADS = 1024  # ten times that many end the process without a word (2 cores, 2026)
EXAMPLES = """
  python -m probe train probe/recipes/sft.yaml --set data=dolly.jsonl student=my/gpt2 --out out/train/sft
  python -m probe train probe/recipes/dskd-cma.yaml --set steps=200 seed=1 --out runs/short --resume
  python -m probe train probe/recipes/paper-qwen-gpt2-dskd-cma.yaml --dry-run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``probe train``."""
    cli.dress(parser, "Train a student by a recipe (YAML) and write a checkpoint directory.", EXAMPLES)
    parser.add_argument("recipe", help="a YAML recipe; the shipped ones are in probe/recipes/")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="override settings of the recipe")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the checkpoint directory to write")
    parser.add_argument("--dry-run", action="store_true", help="settings, memory, time, and two steps on tiny models")
    parser.add_argument("--flops", type=float, metavar="N", help="with --dry-run: operations a second, for the time")
    parser.add_argument("--resume", action="store_true", help="go on from an interrupted run with the same --out")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing checkpoint at --out")
    parser.add_argument("--threads", type=cli.at_most(MOST_THREADS), help="CPU threads (PyTorch's choice by default)")
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """``python -m probe train``."""
    config = read_recipe(args.recipe, args.set)
    if args.dry_run:
        _use_threads(args.threads)
        return _dry_run(config, origins(args.recipe, args.set), args.flops, as_json=args.json)
    if args.out is None:
        raise UsageError("--out is missing: wanted the checkpoint directory to write, or --dry-run.")
    alone = os.environ.get("RANK", "0") == "0"  # of the processes of `accelerate launch` the first one writes
    with one_writer(args.out) if alone else contextlib.nullcontext():
        _check_out(args.out, overwrite=args.overwrite)
        _train(config, args)


def _use_threads(threads: int | None) -> None:
    import torch  # seconds, so not for --help, nor before the recipe is known to be one

    if threads:
        torch.set_num_threads(threads)


def _train(config: TrainConfig, args: argparse.Namespace) -> None:
    _use_threads(args.threads)
    from probe.distillation.engine import is_first_process
    from probe.distillation.trainer import train

    metrics = train(config, args.out, resume=args.resume, report=cli.note)
    if is_first_process():
        cli.report(metrics, [f"wrote {args.out}\n{_summary(metrics)}"], as_json=args.json)


def _check_out(out: Path, *, overwrite: bool) -> None:
    """--overwrite deletes what is there, so it must be a checkpoint (perhaps a damaged one), or empty."""
    if not out.exists():
        return
    if not overwrite:
        raise UsageError(f"{out} exists; choose another --out, or --overwrite to replace it.")
    inside = {file.name for file in out.iterdir()} if out.is_dir() else {out.name}
    if inside and not inside & {"student", "projectors.safetensors"}:
        raise UsageError(f"{out} is not a checkpoint, so --overwrite does not replace it; choose another --out.")


def _summary(metrics: dict[str, Any]) -> str:
    plain = {key: value for key, value in metrics.items() if isinstance(value, (int, float, str))}
    return "\n".join(f"  {k}: {v:.4g}" if isinstance(v, float) else f"  {k}: {v}" for k, v in plain.items())


def _dry_run(config: TrainConfig, sources: dict[str, str], flops: float | None, *, as_json: bool) -> None:
    """Print all that a dry run finds; raises ProbeError if the tiny run leaves a parameter alone."""
    from transformers.utils.logging import disable_progress_bar

    from probe.distillation.dry_run.plan import dry_run
    from probe.distillation.dry_run.report import as_values, lines

    disable_progress_bar()
    found = dry_run(config, flops)
    cli.report(as_values(found, sources), lines(found, sources), as_json=as_json)
    if not found.tiny.well:
        raise ProbeError(
            f"two steps on tiny models: of {found.tiny.tensors} trained tensors {found.tiny.with_gradient} had a "
            f"gradient and {found.tiny.moved} moved; wanted all. The recipe trains less than it says."
        )
