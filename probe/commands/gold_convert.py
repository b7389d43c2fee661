"""``python -m probe gold convert``: gold from one format into another, and what the other cannot hold."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

from probe import cli
from probe.commands.gold_inputs import add_texts, refuse_out
from probe.errors import UsageError
from probe.gold.corpora import BASES, HOLD_WORDS
from probe.gold.formats import FORMATS, SUFFIXES, WRITERS, Nulls, read_links
from probe.gold.reading import gold_format, read_on_texts, write_gold
from probe.gold.record import Gold
from probe.gold.sources import read_texts

DESCRIPTION = """Rewrite gold in another format: jsonl (this project's), pharaoh (0-based; i-j sure, ipj possible;
Talp is the same), naacl (WPT: 1-based, S or P), simalign (links only, one sentence a line). Word alignments of
published corpora are read: xlwa (TSV), wa (CzEnAli), clear and pud (JSON). What is left behind is said."""
NUMBERED = ("naacl", "pud")  # formats whose ids may be sentence numbers
WRITTEN = ("jsonl", *WRITERS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``gold convert``."""
    parser.add_argument("gold", metavar="IN", type=Path, help="gold; the suffix names its format, or --from does")
    parser.add_argument("--from", dest="form", choices=FORMATS, help="the format of IN (default: by its suffix)")
    parser.add_argument("--to", required=True, choices=WRITTEN, help="the format to write")
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="the file to write")
    parser.add_argument(
        "--base", type=int, choices=(0, 1), help="what IN counts positions from, if not what its format says "
        f"(0: pharaoh, simalign, xlwa; 1: naacl, {', '.join(name for name, base in BASES.items() if base)})",
    )  # fmt: skip
    parser.add_argument(
        "--nulls", choices=[name for name in get_args(Nulls) if name != "counted"], default="refused",
        help="links to NULL (position 0 of naacl): an error, or left out",
    )  # fmt: skip
    add_texts(parser)
    parser.add_argument(
        "--numbered", action="store_true", help="naacl: sentence numbers in place of ids, counting the texts from 1"
    )
    parser.add_argument("--annotator", default="", metavar="NAME", help="whose links these are")


def run(args: argparse.Namespace) -> None:
    """Read in one format, write in another, and say what is not in the file."""
    form = args.form or gold_format(args.gold)
    _check_options(args, form)
    texts = read_texts(args.texts) if args.texts else None
    golds = read_on_texts(args.gold, form, texts, numbered=args.numbered and form in NUMBERED,
                          base=args.base, nulls=args.nulls)  # fmt: skip
    if args.annotator:
        golds = {name: replace(gold, annotator=args.annotator) for name, gold in golds.items()}
    written = to_write(golds, args.to, texts, numbered=args.numbered)
    write_gold(args.out, written, args.to)
    notes = [*_left_out(args, form), *left_behind(golds, args.to), *_texts_without(golds, texts)]
    if SUFFIXES.get(args.out.suffix.lower()) != args.to:
        notes.append(f"the suffix {args.out.suffix!r} is not one of {args.to}, by which other commands would know it.")
    links, sure = (sum(len(getattr(gold, kind)) for gold in golds.values()) for kind in ("possible", "sure"))
    line = f"{args.out}: {len(written)} examples, {links} links, {sure} of them sure, as {args.to}"
    values = {"out": str(args.out), "examples": len(written), "links": links, "sure": sure, "notes": notes}
    cli.report(values, [line, *(f"  {note}" for note in notes)], as_json=args.json)


def _check_options(args: argparse.Namespace, form: str) -> None:
    refuse_out(args.out, args.gold, args.texts)
    if args.numbered and (args.texts is None or not {form, args.to} & set(NUMBERED)):
        raise UsageError(
            f"--numbered is about the sentence numbers of {' and '.join(NUMBERED)}, which count the --texts; give both."
        )
    if args.base is not None and form == "jsonl":
        raise UsageError("--base is about files of links; jsonl counts from 0 and nothing else.")
    if args.to == "jsonl" and form not in ("jsonl", *HOLD_WORDS) and args.texts is None:
        raise UsageError(f"{form} holds no tokens, which jsonl needs. Give the texts: --texts GOLD_OR_MAPS.")


def to_write(golds: Mapping[str, Gold], form: str, texts: Mapping[str, Gold] | None, *, numbered: bool) -> list[Gold]:
    """The golds as a file of ``form`` has them.

    Lines of simalign are one for each text, an empty one where it has no gold: only so does their order tell ids.
    ``numbered`` naacl has the numbers of the texts, from 1, as ids.
    """
    if form == "simalign" and texts is not None:
        return [golds.get(name, replace(text, sure=frozenset(), possible=frozenset())) for name, text in texts.items()]
    if form == "naacl" and numbered:
        numbers = {name: str(number) for number, name in enumerate(texts or (), 1)}
        return [replace(gold, id=numbers[gold.id]) for gold in golds.values()]
    return list(golds.values())


def left_behind(golds: Mapping[str, Gold], form: str) -> list[str]:
    """What ``form`` cannot hold of these golds, one sentence each."""
    if form == "jsonl":
        return []
    notes = []
    if any(gold.text or gold.student_tokens for gold in golds.values()):
        notes.append(f"{form} holds no texts, tokens and fingerprints; --texts brings them back.")
    if any(gold.annotator or gold.note for gold in golds.values()):
        notes.append(f"{form} holds no annotator and no notes; they are left behind.")
    empty = [gold.id for gold in golds.values() if not gold.possible]
    if form == "naacl" and empty:
        notes.append(f"naacl holds links alone; {len(empty)} examples without any are left behind, {empty[0]!r} first.")
    if form == "simalign":
        notes.append("simalign holds no ids; the order of the lines is that of the texts.")
        levels = sum(len(gold.possible - gold.sure) for gold in golds.values())
        notes += [f"simalign holds no levels; {levels} possible links look like sure ones."] if levels else []
    return notes


def _left_out(args: argparse.Namespace, form: str) -> list[str]:
    """What reading left out, one sentence each."""
    if form == "jsonl":
        return []
    lines = read_links(args.gold, form, base=args.base, nulls=args.nulls)
    confidences, links = sum(line.confidence for line in lines), sum(line.left_out for line in lines)
    what = "between two verses" if form == "clear" else "to NULL"
    notes = [f"gold holds no confidences; {confidences} are left behind."] if confidences else []
    return notes + ([f"{links} links {what} are left out."] if links else [])


def _texts_without(golds: Mapping[str, Gold], texts: Mapping[str, Gold] | None) -> list[str]:
    count = len(set(texts or ()) - set(golds))
    return [f"{count} of {len(texts or ())} texts have no gold here."] if count else []
