"""`python -m tests.bench` (`make bench`): speed and memory, one table of ratios, targets and how they were measured.

The other side of the ratios is `tests/support/reference.py`, the equations written densely over padded batches as the
public code does. Each measurement runs in processes of its own, one after the other; ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.curves import curves
from tests.bench.dashboard import dashboard
from tests.bench.extraction import extract_process, extraction
from tests.bench.frame import Row, skipped
from tests.bench.pages import demo, export
from tests.bench.report import intervals, report
from tests.bench.steps import steps
from tests.bench.store import map_store, scoring
from tests.bench.tokenization import tokenization

MEASUREMENTS: Mapping[str, Callable[[bool], Iterator[Row]]] = {
    "extraction": extraction,
    "extract": extract_process,
    "tokenization": tokenization,
    "step": steps,
    "curves": curves,
    "store": map_store,
    "export": export,
    "report": report,
    "intervals": intervals,
    "demo": demo,
    "dashboard": dashboard,
    "scoring": scoring,
}
WIDTHS = (52, 14, 12, 7)
HOW = 100


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs; its numbers say nothing")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    return parser


def measure(name: str, quick: bool) -> list[Row]:
    """The rows of one measurement; one that breaks is a row that says so, and the others still run."""
    rows: list[Row] = []
    try:
        for row in MEASUREMENTS[name](quick):
            rows.append(row)
    except Exception as error:
        traceback.print_exc()
        rows.append(skipped(name, "it runs", f"{type(error).__name__}: {error}"))
    return rows


def lines(row: Row) -> str:
    """A row for people: the numbers, and under them how they were measured."""
    verdict = "-" if row.reached is None else "yes" if row.reached else "NO"
    how = textwrap.fill(row.how, HOW, initial_indent="    ", subsequent_indent="    ")
    return f"{cells(row.point, row.measured, row.target, verdict)}\n{how}"


def cells(*texts: str) -> str:
    return "  ".join(f"{text:<{width}}" for text, width in zip(texts, WIDTHS, strict=True)).rstrip()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 1 if a measurement broke (a number that falls short is no error)."""
    args = build_parser().parse_args(argv)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {os.getloadavg()[0]:.1f} at the start")
    if args.quick:
        print("--quick: tiny sizes; the numbers say nothing about speed")
    print(cells("point", "measured", "target", "reached"))
    rows = []
    for name in args.only or MEASUREMENTS:
        for row in measure(name, args.quick):
            print(lines(row), flush=True)
            rows.append(row)
    short = [row.point for row in rows if row.reached is False]
    reached = sum(row.reached is True for row in rows)
    print(f"{reached} reached, {len(rows) - reached - len(short)} not measured, {len(short)} short: {'; '.join(short)}")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False), encoding="utf-8")
    return int(any(row.target == "it runs" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
