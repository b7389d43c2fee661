"""`python -m app.server.report_worker MAPS GOLD --out PLACE`: the overview's numbers, in a process of its own."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from app.data.source import digest_of
from app.server import kept
from app.server.scores import SMALL
from probe import cli
from probe.errors import UsageError
from probe.files import MANIFEST
from probe.gold.reading import read_gold
from probe.maps.store import MapStore
from probe.scoring import report as scoring


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.server.report_worker")
    cli.dress(parser, "Score all maps beside their baselines and keep the report. The page Overview starts this.")
    parser.add_argument("maps", type=Path)
    parser.add_argument("gold", type=Path)
    parser.add_argument("--digest", required=True, help="of the maps and the gold, as the page has opened them")
    parser.add_argument("--out", type=Path, required=True)
    cli.add_common(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the report; one that takes minutes (of 10,000 maps) goes behind everything that a visitor waits for."""
    store = MapStore.open(args.maps)
    if len(store) > SMALL:
        os.nice(10)
    report = scoring.build_report([store], read_gold(args.gold))
    if digest_of(args.maps / MANIFEST) + digest_of(args.gold) != args.digest:
        raise UsageError("the maps or the gold are no longer those that the page has opened. Reload the page.")
    kept.write_report(report, args.out)


if __name__ == "__main__":
    raise SystemExit(cli.main(build_parser, run))
