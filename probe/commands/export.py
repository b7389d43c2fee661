"""``python -m probe export``: the student of a checkpoint as a plain Hugging Face directory that stands alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from probe import cli
from probe.errors import UsageError
from probe.files import atomic_directory, one_writer

DESCRIPTION = """Write the student of a checkpoint as a plain Hugging Face directory, which AutoModelForCausalLM loads
without this library. A checkpoint that is stored as its difference from a base model is put together and merged."""
EXAMPLES = """
  python -m probe export checkpoints/dskd-cma --out out/student
  python -m probe export out/arm --out out/arm-plain --dtype float16"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``export``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint directory")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the model directory to write")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32",
        help="of the weights (default: float32)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier model directory at --out")
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """Load, put together, write."""
    with one_writer(args.out):
        _check_out(args.out, overwrite=args.overwrite)
        size = export(args.checkpoint, args.out, args.dtype)
    line = f"wrote {args.out}: {size / 1e6:.1f} MB, {args.dtype}"
    cli.report({"out": str(args.out), "bytes": size, "dtype": args.dtype}, [line], as_json=args.json)


def _check_out(out: Path, *, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists already. Add --overwrite to replace it, or choose another --out.")
    if out.exists() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise UsageError(f"{out} is not a model directory, so --overwrite does not replace it.")


def export(checkpoint: Path, out: Path, dtype: str = "float32") -> int:
    """Write the student of ``checkpoint`` to ``out``, whole or not at all; returns its bytes.

    Raises:
        DamagedError: a piece of the checkpoint or of its base is missing or altered.
    """
    import torch

    from probe.models.checkpoint import load_checkpoint
    from probe.models.loading import load_causal_lm, load_tokenizer

    directory = load_checkpoint(checkpoint).student_directory
    model = load_causal_lm(directory).to(getattr(torch, dtype))
    with atomic_directory(out) as part:
        model.save_pretrained(part)
        load_tokenizer(directory).save_pretrained(part)
    return sum(file.stat().st_size for file in out.iterdir())
