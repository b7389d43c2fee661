"""``python -m probe extract``: the attention maps of checkpoints, for a file of examples, into one store."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from probe import cli
from probe.errors import ProbeError, UsageError
from probe.files import MANIFEST, one_writer, read_manifest, sha256_of
from probe.text.examples import read_examples
from probe.text.tokenization import MAX_LENGTH
from probe.version import __version__

DESCRIPTION = """Write attention maps into a map store. A map is made of embeddings alone: no transformer is run.
All checkpoints of one store share both tokenizers; the `checkpoint` column of the store is the directory's name."""
EXAMPLES = """
  python -m probe extract --checkpoint checkpoints/dskd-cma checkpoints/dskd-cma-ga --untrained-baseline \\
      --data analysis/gold/probe_set.jsonl --out out/maps
  python -m probe extract --checkpoint my/run --teacher my/teacher --data mine.jsonl --direction t2s --out out/mine"""
# what the store's provenance repeats: all that changes a map
RECORDED = ("checkpoint", "data", "out", "direction", "normalisation", "batch_size", "padded_length", "teacher",
            "dtype", "max_length", "chat_template", "limit", "untrained_baseline")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``extract``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("--checkpoint", nargs="+", required=True, metavar="DIR", type=Path, help="trained by probe")
    parser.add_argument("--data", required=True, metavar="FILE.jsonl", type=Path, help="prompts and outputs")
    parser.add_argument("--out", required=True, metavar="MAPS", type=Path, help="the map store to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier map store at --out")
    parser.add_argument("--direction", choices=("t2s", "s2t", "both"), default="both", help="(default: both)")
    parser.add_argument(
        "--normalisation", choices=("frozen", "batch", "masked", "example"), default="frozen",
        help="what the keys' standard deviation is measured on: stored with the checkpoint (frozen, the default), "
        "all padded positions of a batch (batch, as published), its response positions (masked), one example (example)",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=cli.positive, default=8, metavar="N", help="of batch, masked (default: 8)")
    parser.add_argument(
        "--padded-length", type=cli.positive, metavar="N", help="for batch: positions (default: the batch's longest)"
    )
    parser.add_argument("--teacher", metavar="NAME_OR_DIR", help="where the teacher is, if not where training found it")
    parser.add_argument("--untrained-baseline", action="store_true", help="add maps of an untrained query projector")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="stored (default: float16)")
    parser.add_argument(
        "--max-length", type=cli.positive, default=MAX_LENGTH, metavar="N",
        help=f"tokens a side; a longer text is cut at one byte for both and flagged (default: {MAX_LENGTH})",
    )  # fmt: skip
    cli.add_chat_template(parser)
    parser.add_argument("--limit", type=cli.positive, metavar="N", help="only the first N examples")
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """Read, extract, write; report what was written and how fast."""
    with one_writer(args.out):
        _extract(args)


def _extract(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.overwrite:
        if not is_finished(args):
            raise UsageError(f"{args.out} exists already. Add --overwrite to replace it, or choose another --out.")
        line = f"{args.out} is there already, made by this command of the same checkpoints and texts. Nothing to do; "
        return cli.report(
            {"out": str(args.out), "made_before": True}, [f"{line}--overwrite makes it again"], as_json=args.json
        )
    examples = read_examples(args.data, limit=args.limit)
    import torch  # torch and the tokenizers: seconds, so only when the input is readable

    from probe.extraction.extractor import Extractor
    from probe.extraction.writing import ExtractionOptions, write_maps

    # The products are small: a second thread saves nothing, and on a busy machine the two wait for each other (500
    # examples on 2 cores beside a training run, 2026: 7 s of CPU with one thread, 26 s with two).
    torch.set_num_threads(1)
    extractor = Extractor.load(
        args.checkpoint,
        teacher=args.teacher,
        untrained_baseline=args.untrained_baseline,
        max_length=args.max_length,
        chat_template=args.chat_template or "own",
    )
    started = time.perf_counter()
    count = write_maps(
        extractor,
        examples,
        args.out,
        cli.options_of(ExtractionOptions, args),
        data={"name": args.data.name, "sha256": sha256_of(args.data)},
        command=cli.command_line("extract", args, RECORDED),
        watched=cli.progress,
    )
    seconds = time.perf_counter() - started
    names = [source.checkpoint for source in extractor.sources]
    line = f"{args.out}: {count} maps of {len(examples)} examples ({', '.join(names)}; {args.normalisation})"
    values = {"maps": count, "examples": len(examples), "checkpoints": names, "out": str(args.out)}
    cli.report({**values, "seconds": round(seconds, 3)}, [f"{line} in {seconds:.1f} s"], as_json=args.json)


def is_finished(args: argparse.Namespace) -> bool:
    """Whether --out is whole, and what this command would make: by the same options and version, of the same bytes."""
    try:
        known = read_manifest(args.out, "map store", 1)["provenance"]
        made = {name: one.get("manifest_sha256") for name, one in known["checkpoints"].items() if name != "untrained"}
        wanted = {path.resolve().name: sha256_of(path / MANIFEST) for path in args.checkpoint}
        same = (known["command"], known["version"], known["data"]["sha256"])
        now = (cli.command_line("extract", args, RECORDED), __version__, sha256_of(args.data))
        return made == wanted and same == now
    except (ProbeError, OSError, KeyError, TypeError, AttributeError):
        return False
