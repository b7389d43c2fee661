"""Alignment report: all stored checkpoints against gold, beside their baselines, as CSV files, figures and HTML."""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from pathlib import Path

from analysis.report.key_query import KeyQuery, folder_of, read_key_query
from probe import cli
from probe.commands.score import add_report_arguments, report_on
from probe.gold.reading import read_gold
from probe.maps.store import MapStore
from probe.scoring.report import Report

EXAMPLES = """
  python -m analysis.alignment_report out/demo/maps --gold analysis/gold/gold.jsonl --out out/demo/report
  python -m analysis.alignment_report maps-a maps-b --gold gold.jsonl --out report --json"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.alignment_report")
    cli.dress(
        parser,
        "Score stored maps against gold and write report.html (one file, no network), tokens.csv, examples.csv, "
        "runs.csv, breakdowns.csv, comparisons.csv, extractions.csv (links taken in every way) and, per direction, "
        "breakdowns-t2s.png and breakdowns-s2t.png: where each checkpoint is right, and where not.",
        EXAMPLES,
    )
    parser.add_argument("maps", metavar="MAPS", nargs="+", type=Path, help="map stores, written by probe extract")
    parser.add_argument("--out", required=True, type=Path, help="directory for the CSV files and the figures")
    parser.add_argument("--no-figures", action="store_true", help="write the CSV files only, without report.html")
    parser.add_argument(
        "--key-query", type=Path, metavar="DIR",
        help="for report.html: what analysis.key_query wrote (default: key_query/ beside the maps, if it is there)",
    )  # fmt: skip
    add_report_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Score, write, draw, print."""
    if args.no_figures:
        return report_on(args.maps, args)
    folder = folder_of(args.key_query, args.maps)
    found = read_key_query(folder) if folder else None  # before the scoring, which takes longer
    return report_on(args.maps, args, draw=functools.partial(draw, args=args, key_query=found))


def draw(report: Report, out: Path, *, args: argparse.Namespace, key_query: KeyQuery | None) -> list[Path]:
    """Write ``breakdowns-<direction>.png`` of top-1 accuracy for each direction that has maps, and ``report.html``."""
    from analysis.report.page import Origin, write_html  # here, so that --help and --no-figures do without matplotlib
    from probe.plotting import save_figure
    from probe.plotting.breakdowns import breakdown_figure

    directions = report.examples["direction"].unique()
    written = [save_figure(breakdown_figure(report, direction=d), out / f"breakdowns-{d}.png") for d in directions]
    stores = [MapStore.open(path, verify=False) for path in args.maps]  # verified when they were scored
    origin = Origin(args.gold, args.resamples, _command(args))
    page = write_html(report, stores, read_gold(args.gold), origin, out / "report.html", key_query=key_query)
    return [*written, page]


def _command(args: argparse.Namespace) -> str:
    """The command that makes this report again."""
    parts = ["python", "-m", "analysis.alignment_report", *map(str, args.maps)]
    for name in ("gold", "out", "links", "threshold", "resamples", "seed"):
        parts += [f"--{name}", str(getattr(args, name))]
    parts += ["--key-query", str(args.key_query)] if args.key_query else []
    return shlex.join(parts)


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
