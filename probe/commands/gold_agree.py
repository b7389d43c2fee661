"""``python -m probe gold agree``: how far two annotators agree, as a table, JSON or CSV."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe import cli
from probe.commands.gold_inputs import add_two, read_two, refuse_out
from probe.gold.agreement import Agreement, Compared, compare

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = """How far two annotators agree: Cohen's kappa over all cells and the levels none, possible, sure;
precision, recall and F1 of B's links against A's; the examples with most differences first."""
AGREEMENT_SCORES = (
    "cells", "differing", "kappa", "precision_sure", "recall_sure", "f1_sure",
    "precision_possible", "recall_possible", "f1_possible",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``gold agree``."""
    add_two(parser)
    parser.add_argument("--out", metavar="CSV", type=Path, help="write a row an example, and a last one of all, as CSV")
    parser.add_argument("--show", type=cli.positive, default=10, metavar="N", help="examples to print (default: 10)")


def run(args: argparse.Namespace) -> None:
    """Compare, write, report."""
    if args.out:
        refuse_out(args.out, args.first, args.second, args.texts)
    first, second = read_two(args)
    compared = compare(first, second)
    lines = agreement_lines(compared, args.show)
    only_a, only_b = (len(golds) - len(compared.examples) for golds in (first, second))
    if only_a or only_b:
        lines.append(f"left out: {only_a} examples that only A has, {only_b} that only B has")
    if args.out:
        from probe.scoring.tables import write_csv

        write_csv(agreement_frame(compared), args.out)
        lines.append(f"written: {args.out}")
    values = {**agreement_values(compared), "only_a": only_a, "only_b": only_b}
    cli.report(values, lines, as_json=args.json)


def agreement_values(compared: Compared) -> dict[str, Any]:
    """Everything as one JSON object: the scores of all examples, and of each under ``by_example``."""
    rows = [{"id": name, **_scores(one)} for name, one in compared.examples]
    together = {"examples": len(rows), **_scores(compared.all)}
    return {"signature": compared.signature, **together, "by_example": rows}


def _scores(one: Agreement) -> dict[str, float]:
    return {name: getattr(one, name) for name in AGREEMENT_SCORES}


def agreement_frame(compared: Compared) -> pd.DataFrame:
    """A row an example (``scope`` "example"), most differences first, and a last one of all ("all")."""
    import pandas as pd

    from probe.scoring.tables import SCHEMA_VERSION

    labels = {"schema_version": SCHEMA_VERSION, "signature": compared.signature}
    rows = [{**labels, "scope": "example", "example_id": name, **_scores(one)} for name, one in compared.examples]
    return pd.DataFrame([*rows, {**labels, "scope": "all", "example_id": "", **_scores(compared.all)}])


def agreement_lines(compared: Compared, show: int) -> list[str]:
    """The table for people; ``show`` examples at most, of those on which the two differ."""
    one = compared.all
    lines = [
        f"{len(compared.examples)} examples, {one.cells} cells, {one.differing} of them differ; kappa {one.kappa:.3f}",
        f"{'B against A':<12} {'precision':>9} {'recall':>9} {'F1':>9}",
        f"{'sure':<12} {one.precision_sure:9.3f} {one.recall_sure:9.3f} {one.f1_sure:9.3f}",
        f"{'possible':<12} {one.precision_possible:9.3f} {one.recall_possible:9.3f} {one.f1_possible:9.3f}",
    ]
    apart = [(name, each) for name, each in compared.examples if each.differing]
    if apart:
        shown = apart[:show]
        width = max(12, *(len(name) for name, _ in shown))
        lines.append(f"{len(apart)} examples with differences, most first:")
        lines.append(f"{'example':<{width}} {'differing':>9} {'kappa':>9} {'F1 sure':>9} {'F1 possible':>11}")
        lines += [
            f"{name:<{width}} {each.differing:9d} {each.kappa:9.3f} {each.f1_sure:9.3f} {each.f1_possible:11.3f}"
            for name, each in shown
        ]
    return [*lines, compared.signature]
