"""Rebuild gold.jsonl and CHANGES.md: probe set + tokenizers -> prefill -> corrections -> gold.

python -m analysis.gold.build [--check] [--stored] [--student DIR] [--teacher NAME] [--renew-prefill]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from analysis.gold.changes import changes_page
from analysis.gold.corrections import apply_corrections, read_corrections
from analysis.gold.prefill import (
    ANNOTATOR,
    CHANGES,
    CORRECTIONS,
    GOLD,
    PREFILL,
    PROBE_SET,
    STUDENT,
    TEACHER,
    check_unchanged,
    encode_probe_set,
    load_pair,
    prefill,
)  # fmt: skip
from probe import cli
from probe.errors import DataError
from probe.files import atomic_file
from probe.gold.reading import Gold, read_gold, write_gold
from probe.text.examples import read_examples


def build(prefilled: Mapping[str, Gold]) -> tuple[dict[str, Gold], str]:
    """Gold by example id and the text of CHANGES.md, from the prefill and the stored corrections.

    Raises:
        DataError: a correction is stale, contradicts another one, or names an example that is not there.
    """
    corrections = read_corrections(CORRECTIONS)
    if unknown := corrections.keys() - prefilled.keys():
        raise DataError(f"{CORRECTIONS}: corrections for {sorted(unknown)}, which the probe set does not have.")
    gold = {i: apply_corrections(g, corrections.get(i, ()), ANNOTATOR) for i, g in prefilled.items()}
    return gold, changes_page(read_examples(PROBE_SET), prefilled, gold, corrections)


def build_parser() -> argparse.ArgumentParser:
    examples = "  python -m analysis.gold.build\n  python -m analysis.gold.build --stored --check"
    parser = cli.make_parser("python -m analysis.gold.build", "Rebuild the manual gold from its sources.", examples)
    parser.add_argument("--student", default=STUDENT, type=Path, metavar="DIR", help="the student's tokenizer")
    parser.add_argument("--teacher", default=TEACHER, metavar="NAME", help="teacher: directory, alias or hub name")
    parser.add_argument("--stored", action="store_true", help="trust prefill.jsonl; no tokenizer is loaded")
    parser.add_argument("--renew-prefill", action="store_true", help="accept new texts or tokens and prefill again")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    return parser


def run(args: argparse.Namespace) -> None:
    if args.stored:
        prefilled = read_gold(PREFILL)
    else:
        pair = load_pair(args.student, args.teacher)
        prefilled = prefill(pair, encode_probe_set(pair))
        if PREFILL.is_file() and not args.renew_prefill:
            check_unchanged(read_gold(PREFILL), prefilled)
    gold, page = build(prefilled)
    if args.check:
        _check(prefilled, gold, page)
    else:
        write_gold(PREFILL, prefilled)
        write_gold(GOLD, gold)
        with atomic_file(CHANGES) as part:
            part.write_text(page, encoding="utf-8")
    links = sum(len(g.possible) for g in gold.values())
    print(f"{len(gold)} examples, {links} links: {'up to date' if args.check else GOLD}")


def _check(prefilled: Mapping[str, Gold], gold: Mapping[str, Gold], page: str) -> None:
    stale = [path for path, fresh in ((PREFILL, prefilled), (GOLD, gold)) if read_gold(path) != fresh]
    if CHANGES.read_text(encoding="utf-8") != page:
        stale.append(CHANGES)
    if stale:
        raise DataError(f"{', '.join(p.name for p in stale)}: not what the sources give. Run this without --check.")


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
