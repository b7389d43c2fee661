"""What the subcommands of ``probe gold`` share: options for texts and tokens, two annotators, what not to overwrite."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from probe import cli
from probe.errors import DataError, UsageError
from probe.gold.reading import gold_format, read_on_texts
from probe.gold.record import Gold
from probe.gold.sources import TokenSource, from_store, from_tokenizers, read_texts
from probe.text.tokenization import MAX_LENGTH


def add_texts(parser: argparse.ArgumentParser) -> None:
    """``--texts``: where gold without tokens gets them from."""
    parser.add_argument(
        "--texts", metavar="GOLD_OR_MAPS", type=Path,
        help="texts and tokens for gold that has none: gold in JSONL or a map store; lines without ids follow it",
    )  # fmt: skip


def add_two(parser: argparse.ArgumentParser) -> None:
    """The gold of two annotators, and ``--texts``."""
    parser.add_argument(
        "first", metavar="A", type=Path, help="gold of the first annotator: a file, or her folder of the dashboard"
    )
    parser.add_argument("second", metavar="B", type=Path, help="gold of the second annotator, on the same tokens")
    add_texts(parser)


def read_two(args: argparse.Namespace) -> tuple[dict[str, Gold], dict[str, Gold]]:
    """The gold of both annotators. Raises UsageError where both are one file."""
    if args.first.resolve() == args.second.resolve():
        raise UsageError(f"A and B are the same, {args.first}. Give the gold of two annotators.")
    texts = read_texts(args.texts) if args.texts else None
    return _read_annotator(args.first, texts), _read_annotator(args.second, texts)


def _read_annotator(path: Path, texts: Mapping[str, Gold] | None) -> dict[str, Gold]:
    """The gold of a file, or of all JSONL files of a folder, as the dashboard keeps them: one an example."""
    if not path.is_dir():
        return read_on_texts(path, gold_format(path), texts)
    golds: dict[str, Gold] = {}
    for file in sorted(path.glob("*.jsonl")):
        found = read_on_texts(file, "jsonl", texts)
        if twice := sorted(golds.keys() & found.keys()):
            raise DataError(f"{file}: the id {twice[0]!r} is in another file of {path} too. Keep one.")
        golds |= found
    if not golds:
        raise DataError(f"{path}: no *.jsonl in it; wanted gold, or the folder of one annotator of the dashboard.")
    return golds


def add_tokens(parser: argparse.ArgumentParser) -> None:
    """Where tokens come from: a map store, a checkpoint with texts, or two tokenizers with texts."""
    parser.add_argument("--maps", metavar="MAPS", type=Path, help="the tokens of a map store")
    parser.add_argument("--checkpoint", metavar="DIR", type=Path, help="the tokenizers of a checkpoint, with --data")
    parser.add_argument("--student", metavar="NAME_OR_DIR", help="the student's tokenizer, with --teacher and --data")
    parser.add_argument("--teacher", metavar="NAME_OR_DIR", help="the teacher's tokenizer: directory, alias, hub name")
    parser.add_argument("--data", metavar="FILE.jsonl", type=Path, help="prompts and outputs that the gold is about")
    parser.add_argument(
        "--max-length", type=cli.positive, default=MAX_LENGTH, metavar="N",
        help=f"tokens a side, as in extract; a longer text is cut (default: {MAX_LENGTH})",
    )  # fmt: skip


def tokens_of(args: argparse.Namespace) -> TokenSource:
    """The tokens that the options of :func:`add_tokens` name. Raises UsageError for none or several ways."""
    ways = [args.maps is not None, args.checkpoint is not None, args.student is not None]
    if sum(ways) != 1:
        raise UsageError(
            "wanted one place of tokens: --maps MAPS, or --checkpoint DIR --data FILE.jsonl, or --student, --teacher "
            f"and --data; got {sum(ways) or 'none'}."
        )
    if args.maps is not None:
        if args.data or args.teacher:
            raise UsageError("--maps has texts and tokens of its own; leave --data and --teacher out.")
        return from_store(args.maps)
    if args.data is None or (args.student is not None and args.teacher is None):
        raise UsageError("tokenizers cut texts into tokens: give --data FILE.jsonl, and --teacher beside --student.")
    from probe.models.pairs import load_pair, pair_of_checkpoint  # torch: seconds, so only when the rest is readable

    if args.checkpoint is not None:
        pair, name = pair_of_checkpoint(args.checkpoint, args.teacher, args.max_length), str(args.checkpoint)
    else:
        pair, name = load_pair(args.student, args.teacher, args.max_length), f"{args.student} with {args.teacher}"
    return from_tokenizers(pair, args.data, name)


def refuse_out(out: Path, *inputs: Path | None) -> None:
    """Raise UsageError where ``out`` is a directory, one of the files that are read, or in a folder that is read."""
    if out.is_dir():
        raise UsageError(f"--out {out} is a directory; wanted a file to write.")
    for path in inputs:
        if path is not None and out.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"{out} would be read and overwritten; nothing was written. Choose another file.")
