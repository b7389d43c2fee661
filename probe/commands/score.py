"""``python -m probe score``: stored maps and gold in, scores beside their baselines out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

from probe import cli
from probe.errors import UsageError
from probe.gold.formats import Nulls
from probe.gold.reading import read_gold
from probe.maps.store import MapStore
from probe.scoring import statistics
from probe.scoring.alignment import LinkMethod
from probe.scoring.metrics import MapMetric
from probe.scoring.report import Report, build_report, write_report
from probe.scoring.report_text import report_lines, report_values

EXAMPLES = """
  python -m probe score out/maps --gold analysis/gold/gold.jsonl
  python -m probe score out/maps --gold gold.jsonl --out report --links mutual"""


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that ``probe score`` and ``analysis.alignment_report`` share."""
    parser.add_argument(
        "--gold", required=True, type=Path, help="gold alignments (.jsonl, .pharaoh, .talp, .naacl, .wpt)"
    )
    parser.add_argument(
        "--links", default="argmax", choices=get_args(LinkMethod), help="how links are taken from a map"
    )
    parser.add_argument(
        "--nulls", default="refused", choices=get_args(Nulls),
        help="links to NULL of NAACL gold: refused; dropped; counted, with NULL for every token without a link (WPT's "
        "NULL-align). The signature says it",
    )  # fmt: skip
    parser.add_argument("--threshold", default=0.1, type=float, help="for threshold and both-directions (default 0.1)")
    parser.add_argument("--resamples", default=statistics.RESAMPLES, type=cli.at_most(statistics.MOST_RESAMPLES),
        help="bootstrap resamples")  # fmt: skip
    parser.add_argument("--seed", default=0, type=int, help="of the resampling (default 0)")
    cli.add_common(parser, json_report=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``probe score``."""
    cli.dress(parser, "Score stored maps against gold alignments, beside the baselines.", EXAMPLES)
    parser.add_argument("maps", metavar="MAPS", type=Path, help="a map store, written by probe extract")
    parser.add_argument("--out", type=Path, help="write the CSV files there too")
    add_report_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """``probe score MAPS --gold GOLD [--out DIR] [--json]``."""
    return report_on([args.maps], args)


def report_on(
    paths: Sequence[Path], args: argparse.Namespace, *, draw: Callable[[Report, Path], list[Path]] | None = None
) -> int:
    """Read, score, write (with ``args.out``) and print; ``draw`` writes more files there and returns their paths."""
    if not 0 <= args.threshold < 1:
        raise UsageError(f"--threshold must be in [0, 1), got {args.threshold}.")
    if args.seed < 0:
        raise UsageError(f"--seed must not be negative, got {args.seed}.")
    golds = read_gold(args.gold, nulls=args.nulls)
    stores = [MapStore.open(path) for path in paths]
    metric = MapMetric(links=args.links, threshold=args.threshold, nulls=args.nulls)
    report = build_report(
        stores, golds, metric, resamples=args.resamples, seed=args.seed, watched=_counted
    )
    written = write_report(report, args.out) if args.out else []
    written += draw(report, args.out) if args.out and draw else []
    cli.report(report_values(report, written), report_lines(report, written), as_json=args.json)
    return 0


def _counted(ids: Sequence[str]) -> Iterable[str]:
    return cli.progress(ids, total=len(ids), label="scored maps")
