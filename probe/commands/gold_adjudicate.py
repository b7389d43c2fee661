"""``python -m probe gold adjudicate``: one gold from two annotators, with a file of decisions or by a rule."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from probe import cli
from probe.commands.gold_inputs import add_two, read_two, refuse_out
from probe.errors import DataError, UsageError
from probe.gold.adjudication import (
    RULES,
    Difference,
    adjudicate,
    decide_by_rule,
    differences,
    read_decisions,
    still_open,
    write_decisions,
)  # fmt: skip
from probe.gold.reading import write_gold
from probe.gold.record import Gold

DESCRIPTION = """One gold from two annotators. What both say stays. Cells on which they differ are written to a
decisions file (JSONL); fill in each "decision" (none, possible or sure), then run the same command again. Or decide by
a rule: union takes the higher level, intersection the lower, a or b one annotator's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``gold adjudicate``."""
    add_two(parser)
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="the gold to write")
    parser.add_argument(
        "--decisions",
        metavar="FILE.jsonl",
        type=Path,
        help="the decisions (default: beside OUT, .decisions.jsonl)",
    )
    parser.add_argument("--rule", choices=RULES, help="decide every differing cell by a rule, without a file")
    parser.add_argument(
        "--renew", action="store_true", help="rewrite the file after A or B changed; decisions that still fit stay"
    )


def run(args: argparse.Namespace) -> None:
    """Write the differing cells, or the gold once they are decided."""
    if args.rule and (args.decisions or args.renew):
        raise UsageError("--rule decides every cell, so no decisions file is read. Give one of the two.")
    path = args.decisions or args.out.with_name(f"{args.out.stem}.decisions.jsonl")
    refuse_out(args.out, args.first, args.second, args.texts, path)
    refuse_out(path, args.first, args.second, args.texts)
    first, second = read_two(args)
    found = differences(first, second)
    if found and not args.rule and (args.renew or not path.exists()):
        _ask(path, still_open(path, found) if path.exists() else found, args.json)
        return
    by = f"the rule {args.rule}" if args.rule else "hand"
    names = (_annotator(first, args.first), _annotator(second, args.second))
    decided = decide_by_rule(found, args.rule) if args.rule else read_decisions(path, found) if found else []
    try:
        golds = adjudicate(first, second, decided, names, by)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    write_gold(args.out, golds)
    lines = [f"{args.out}: {len(golds)} examples; {len(found)} cells on which A and B differ, decided by {by}"]
    only_a, only_b = len(first) - len(golds), len(second) - len(golds)
    if only_a or only_b:
        lines.append(f"  left out: {only_a} examples that only A has, {only_b} that only B has")
    values = {"out": str(args.out), "examples": len(golds), "differing": len(found), "undecided": 0, "by": by}
    cli.report({**values, "only_a": only_a, "only_b": only_b}, lines, as_json=args.json)


def _ask(path: Path, found: Sequence[Difference], as_json: bool) -> None:
    """Write the decisions file and say what to do with it."""
    write_decisions(path, found)
    todo = sum(not one.decision for one in found)
    values = {"out": None, "decisions": str(path), "differing": len(found), "undecided": todo}
    lines = [
        f"{path}: {len(found)} cells on which A and B differ, {todo} of them to be decided",
        '  fill in each "decision": none, possible or sure; then run the same command again to write the gold',
    ]
    cli.report(values, lines, as_json=as_json)


def _annotator(golds: Mapping[str, Gold], path: Path) -> str:
    """The one name under which all of it was annotated, else the file's."""
    names = {gold.annotator for gold in golds.values()}
    return names.pop() if len(names) == 1 and "" not in names else path.stem
