"""Alignment report: all stored checkpoints against gold, beside their baselines, as CSV files, figures and a table."""

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
        "Score stored maps against gold and write tokens.csv, examples.csv, runs.csv, breakdowns.csv, comparisons.csv "
        "and, per direction, breakdowns-t2s.png and breakdowns-s2t.png: where each checkpoint is right, and where not.",
        EXAMPLES,
    )
    parser.add_argument("maps", metavar="MAPS", nargs="+", type=Path, help="map stores, written by probe extract")
    parser.add_argument("--out", required=True, type=Path, help="directory for the CSV files and the figures")
    parser.add_argument("--no-figures", action="store_true", help="write the CSV files only")
    scoring.add_report_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Score, write, draw, print."""
    return scoring.report_on(args.maps, args, draw=None if args.no_figures else write_figures)


def write_figures(report: scoring.Report, out: Path) -> list[Path]:
    """Draw top-1 accuracy by kind of position, one ``breakdowns-<direction>.png`` for each direction that has maps."""
    from probe.plotting import save_figure  # here, so that --help and --no-figures do without matplotlib
    from probe.plotting.breakdowns import breakdown_figure

    directions = report.examples["direction"].unique()
    return [save_figure(breakdown_figure(report, direction=d), out / f"breakdowns-{d}.png") for d in directions]


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
