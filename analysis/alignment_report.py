"""Alignment report: all stored checkpoints against gold, beside their baselines, as CSV files and a table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from probe import cli, scoring

EXAMPLES = """
  python -m analysis.alignment_report out/demo/maps --gold analysis/gold/gold.jsonl --out out/demo/report
  python -m analysis.alignment_report maps-a maps-b --gold gold.jsonl --out report --json"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.alignment_report")
    cli.dress(
        parser,
        "Score stored maps against gold and write tokens.csv, examples.csv, runs.csv, breakdowns.csv, comparisons.csv.",
        EXAMPLES,
    )
    parser.add_argument("maps", metavar="MAPS", nargs="+", type=Path, help="map stores, written by probe extract")
    parser.add_argument("--out", required=True, type=Path, help="directory for the CSV files")
    scoring.add_report_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Score, write, print."""
    return scoring.report_on(args.maps, args)


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
