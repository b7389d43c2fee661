"""What the subcommands of ``probe gold`` share: options for texts and tokens, two annotators, what not to overwrite."""

from __future__ import annotations

import argparse
from pathlib import Path

from probe import cli
from probe.errors import UsageError
from probe.gold import gold_format, read_on_texts
from probe.gold_record import Gold
from probe.gold_sources import (
    MAX_LENGTH,
    TokenSource,
    from_store,
    from_tokenizers,
    load_pair,
    pair_of_checkpoint,
    read_texts,
)


def add_texts(parser: argparse.ArgumentParser) -> None:
    """``--texts``: where gold without tokens gets them from."""
    parser.add_argument(
        "--texts", metavar="GOLD_OR_MAPS", type=Path,
        help="texts and tokens for gold that has none: gold in JSONL or a map store; lines without ids follow it",
    )  # fmt: skip


def add_two(parser: argparse.ArgumentParser) -> None:
    """The gold of two annotators, and ``--texts``."""
    parser.add_argument("first", metavar="A", type=Path, help="gold of the first annotator, the reference")
    parser.add_argument("second", metavar="B", type=Path, help="gold of the second annotator, on the same tokens")
    add_texts(parser)


def read_two(args: argparse.Namespace) -> tuple[dict[str, Gold], dict[str, Gold]]:
    """The gold of both annotators. Raises UsageError where both are one file."""
    if args.first.resolve() == args.second.resolve():
        raise UsageError(f"A and B are the same file, {args.first}. Give the gold of two annotators.")
    texts = read_texts(args.texts) if args.texts else None
    first, second = (read_on_texts(path, gold_format(path), texts) for path in (args.first, args.second))
    return first, second


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
    if args.checkpoint is not None:
        pair, name = pair_of_checkpoint(args.checkpoint, args.teacher, args.max_length), str(args.checkpoint)
    else:
        pair, name = load_pair(args.student, args.teacher, args.max_length), f"{args.student} with {args.teacher}"
    return from_tokenizers(pair, args.data, name)


def refuse_out(out: Path, *inputs: Path | None) -> None:
    """Raise UsageError where ``out`` is a directory or one of the files that are read."""
    if out.is_dir():
        raise UsageError(f"--out {out} is a directory; wanted a file to write.")
    for path in inputs:
        if path is not None and path.resolve() == out.resolve():
            raise UsageError(f"{out} would be read and overwritten; nothing was written. Choose another file.")
