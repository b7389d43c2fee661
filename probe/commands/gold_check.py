"""``python -m probe gold check``: does gold fit these tokens, and where does it first differ?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from probe import cli
from probe.commands.gold_inputs import add_tokens, tokens_of
from probe.errors import DataError
from probe.gold.reading import check_same_tokens, read_gold
from probe.gold.record import Gold

DESCRIPTION = """Does gold fit these tokens? Texts, tokens, tokenizer fingerprints and bounds are compared; gold that
does not fit is refused with the first difference (exit code 3)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``gold check``."""
    parser.add_argument("gold", metavar="GOLD", type=Path, help="the gold to check, in any format that has ids")
    add_tokens(parser)


def run(args: argparse.Namespace) -> None:
    """Hold every example against its tokens; refuse the gold with the first difference."""
    golds = read_gold(args.gold)
    source = tokens_of(args)
    texts = source.templates()
    known = [gold for gold in golds.values() if gold.id in texts]
    if not known:
        raise DataError(
            f"{args.gold}: none of its {len(golds)} ids, like {next(iter(golds))!r}, is in {source.name}, which has "
            f"ids like {next(iter(texts), 'none')!r}. Give the texts that the gold is about."
        )
    if faults := [fault for gold in known if (fault := fault_of(gold, texts, source.name))]:
        raise DataError(f"{args.gold}: {faults[0]} ({len(faults)} of {len(known)} examples do not fit.)")
    bare = sum(not gold.student_tokens for gold in known)
    without, unused = len(texts) - len(known), len(golds) - len(known)
    lines = [f"{args.gold} fits {source.name}: {len(known)} examples"]
    lines += [f"  {bare} of them name no tokens: only the bounds of their links were checked"] if bare else []
    lines += [f"  {without} texts have no gold"] if without else []
    lines += [f"  {unused} examples of the gold are not there"] if unused else []
    values = {"fits": len(known), "bounds_only": bare, "texts_without_gold": without, "gold_without_text": unused}
    cli.report(values, lines, as_json=args.json)


def fault_of(gold: Gold, texts: Mapping[str, Gold], place: str) -> str:
    """The first difference between gold and its text; "" where it fits."""
    try:
        check_same_tokens(gold, texts[gold.id], place)
    except DataError as error:
        return str(error)
    return ""
