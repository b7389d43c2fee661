"""``python -m probe align``: any aligner's alignment as a map store, so that every report and picture works on it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from probe import __version__, cli
from probe.aligners import ALIGNERS, MAP_ALIGNERS, Aligner, aligner_named
from probe.aligners.making import CutText, Dropped, maps_of_texts, reread_map
from probe.errors import UsageError
from probe.text.tokenization import MAX_LENGTH

DESCRIPTION = """Write the alignment of one or more aligners as a map store.

Aligners of tokens read two tokenizers (--student, --teacher, --data) or the tokens of a map store (--maps); monotone,
soft-dtw and sinkhorn read the weights of a map store (--maps). A hard link weighs the same as the others of its row; a
position that the aligner drops is uniform, and counted. 'all' is every aligner that can read what was given."""
EXAMPLES = """
  python -m probe align --aligner gold-bytes eta --student gpt2 --teacher Qwen/Qwen3-0.6B --data texts.jsonl --out out/a
  python -m probe align --aligner monotone --maps out/maps --out out/monotone
  python -m probe align --list"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``probe align``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("--aligner", nargs="+", metavar="NAME", help=f"all, or {', '.join(ALIGNERS | MAP_ALIGNERS)}")
    parser.add_argument("--list", action="store_true", help="list the aligners: what each knows, source, licence")
    parser.add_argument("--student", metavar="TOKENIZER", help="directory, tokenizer.json, GGUF, alias or hub name")
    parser.add_argument("--teacher", metavar="TOKENIZER", help="the same for the teacher")
    parser.add_argument("--data", metavar="FILE.jsonl", type=Path, help="prompts and outputs, with the tokenizers")
    parser.add_argument("--maps", metavar="MAPS", type=Path, help="a map store, instead of tokenizers and texts")
    parser.add_argument("--out", metavar="MAPS", type=Path, help="the map store to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the store at --out")
    parser.add_argument("--direction", choices=("both", "t2s", "s2t"), default="both", help="of maps from tokens")
    parser.add_argument("--limit", type=cli.positive, metavar="N", help="only the first N examples of --data")
    parser.add_argument(
        "--max-length",
        type=cli.positive,
        default=MAX_LENGTH,
        metavar="N",
        help=f"tokens a side (default: {MAX_LENGTH})",
    )
    cli.add_chat_template(parser)
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """List, or read, align, write and report."""
    if args.list:
        cli.report({"aligners": _listing()}, _listing_lines(), as_json=args.json)
        return
    if not args.aligner or args.out is None:
        raise UsageError("wanted --aligner NAME and --out MAPS (or --list); see --help for the names.")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"{args.out} exists already. Add --overwrite to replace it, or choose another --out.")
    tokens, maps = _chosen(args)
    counts = _write(tokens, maps, args)
    values = {"out": str(args.out), "aligners": {name: asdict(one) for name, one in counts.items()}}
    cli.report(values, [f"{args.out}: written", *_count_lines(counts)], as_json=args.json)


def _chosen(args: argparse.Namespace) -> tuple[list[Aligner], list[Aligner]]:
    """The aligners of tokens and those of maps that were asked for, after checking that both have what they read."""
    if (args.maps is None) == (args.student is None and args.teacher is None and args.data is None):
        raise UsageError("wanted either --maps MAPS, or --student, --teacher and --data FILE.jsonl.")
    if args.maps is None and None in (args.student, args.teacher, args.data):
        raise UsageError("two tokenizers need texts: give --student, --teacher and --data FILE.jsonl.")
    names = list(ALIGNERS | (MAP_ALIGNERS if args.maps else {})) if args.aligner == ["all"] else args.aligner
    found = [aligner_named(name) for name in dict.fromkeys(names)]
    if args.maps is None and (wrong := [one.name for one in found if one.reread]):
        raise UsageError(f"{', '.join(wrong)} reads the weights of stored maps: give --maps MAPS.")
    return [one for one in found if one.align], [one for one in found if one.reread]


def _write(tokens: Sequence[Aligner], rereads: Sequence[Aligner], args: argparse.Namespace) -> dict[str, Dropped]:
    from probe.maps.store import MapStore, MapStoreWriter

    store = MapStore.open(args.maps) if args.maps else None
    texts, fingerprints = _texts_of_store(store) if store else _texts_of_tokenizers(args)
    counts = {one.name: Dropped() for one in tokens}
    with MapStoreWriter(args.out, provenance=_provenance([*tokens, *rereads], fingerprints, args)) as writer:
        for one in tokens:
            for amap in maps_of_texts(one, cli.progress(texts, total=len(texts), label=one.name), args.direction,
                                      counts[one.name]):  # fmt: skip
                writer.add(amap)
        for one in rereads:
            assert store is not None  # _chosen saw to it
            for amap in cli.progress(store, total=len(store), label=one.name):
                writer.add(reread_map(one, amap))
    return counts


def _texts_of_store(store: Any) -> tuple[list[CutText], tuple[str, str]]:
    """One text an example: that of its first map."""
    seen: dict[str, CutText] = {}
    for row, example_id in enumerate(store.column("example_id")):
        if example_id not in seen:
            one = store.read(row)
            seen[example_id] = CutText(example_id, one.category, one.text, one.student, one.teacher, one.truncated)
    return list(seen.values()), (store.student_fingerprint, store.teacher_fingerprint)


def _texts_of_tokenizers(args: argparse.Namespace) -> tuple[list[CutText], tuple[str, str]]:
    from probe.pairing.sources import load_any_tokenizer
    from probe.text.examples import read_examples
    from probe.text.tokenization import PairTokenizer

    examples = read_examples(args.data, limit=args.limit)
    pair = PairTokenizer(*map(load_any_tokenizer, (args.student, args.teacher)), max_length=args.max_length,
                         chat_template=args.chat_template or "own")  # fmt: skip
    return list(cut_texts(pair, examples)), (pair.student_fingerprint, pair.teacher_fingerprint)


def cut_texts(pair: Any, examples: Sequence[Any]) -> Iterator[CutText]:
    """The responses of ``examples`` as the two tokenizers cut them."""
    for one in pair.encode(examples):
        yield CutText(one.example_id, one.category, one.text, one.student.axis, one.teacher.axis, one.truncated)


def _provenance(aligners: Sequence[Aligner], prints: tuple[str, str], args: argparse.Namespace) -> dict[str, Any]:
    from probe.files import sha256_of

    made_of = {"maps": str(args.maps)} if args.maps else {"student": args.student, "teacher": args.teacher}
    if args.data:
        made_of["data"] = args.data.name
        made_of["data_sha256"] = sha256_of(args.data)
    return {
        "student_tokenizer": prints[0],
        "teacher_tokenizer": prints[1],
        "made_of": made_of,
        "aligners": {one.name: _described(one) for one in aligners},
        "version": __version__,
    }


def _described(one: Aligner) -> dict[str, str]:
    return {name: getattr(one, name) for name in ("knows", "source", "version", "licence", "ours")}


def _listing() -> dict[str, dict[str, str]]:
    return {name: _described(one) for name, one in (ALIGNERS | MAP_ALIGNERS).items()}


def _listing_lines() -> list[str]:
    from probe.scoring.report_text import aligned

    rows = [["aligner", "knows", "source", "version", "licence"]]
    rows += [[name, *(one[key] for key in rows[0][1:])] for name, one in _listing().items()]
    return aligned(rows)


def _count_lines(counts: dict[str, Dropped]) -> list[str]:
    sides = "dropped {} of {} student, {} of {} teacher positions"
    return [
        f"{name}: " + sides.format(one.student, one.of_student, one.teacher, one.of_teacher)
        for name, one in counts.items()
    ]
