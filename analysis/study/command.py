"""`python -m analysis.study RUNS … --out DIR`: runs, by pair, arm and seed, to tables with intervals and figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from probe import cli
from probe.scoring.hierarchical import RESAMPLES
from probe.scoring.statistics import MOST_RESAMPLES

DESCRIPTION = """Compare training runs over seeds and texts. RUNS are checkpoints, run records, folders of either (the
--out of analysis.study.run), or what this command wrote before. Runs are grouped by pair and name, and paired by seed
and by held-out text. Writes runs.csv, arms.csv, comparisons.csv, dose.csv, texts.csv, aligned.csv, gap_rate.csv
(λ of dskd-cma-b by step), study.html and figures (PNG, PDF)."""
EXAMPLES = """
  python -m analysis.study out/study --out results/study
  python -m analysis.study my/sft-s0 my/sft-s1 my/cma-s0 my/cma-s1 --reference sft --out out/mine"""
TABLES = ("runs", "arms", "comparisons", "dose", "texts", "aligned", "gap_rate")


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.study")
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="checkpoints, records, or folders of them")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="directory for the files")
    parser.add_argument("--reference", default="sft", metavar="ARM", help="what arms are compared with (default: sft)")
    parser.add_argument("--plan", nargs="+", type=Path, default=[], metavar="FILE", help="other plans (YAML)")
    parser.add_argument("--resamples", type=cli.at_most(MOST_RESAMPLES), default=RESAMPLES,
        help="bootstrap draws (default: 10000)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    cli.add_common(parser, json_report=True)
    return parser


def run(args: argparse.Namespace) -> None:
    """Read, compare, write, print."""
    from analysis.study import wording
    from analysis.study.cells import Sampling
    from analysis.study.page import write_page
    from analysis.study.plan import read_plan, shipped_pairs
    from analysis.study.records import read_runs
    from analysis.study.tables import build_study

    plans = {plan.pair: plan for plan in map(read_plan, [*shipped_pairs(), *args.plan])}
    sampling = Sampling(args.resamples, args.seed)
    study = build_study(read_runs(args.runs), plans, reference=args.reference, sampling=sampling)
    written = [*write_tables(study, args.out), *draw(study, args.out)]
    written.append(write_page(study, plans, sampling, args.out / "study.html"))
    pairs = wording.pairs_of(study)
    lines = [f"{len(study.runs)} runs, {len(study.arms['arm'].unique()) if len(study.arms) else 0} arms with numbers"]
    lines += [wording.dose_finding(study.dose, pair) for pair in pairs]
    lines += [wording.comparison_finding(study.comparisons, pair) for pair in pairs]
    values = {"runs": len(study.runs), "findings": lines[1:], "written": [str(path) for path in written]}
    cli.report(values, [*lines, f"wrote {len(written)} files to {args.out}"], as_json=args.json)


def write_tables(study, out: Path) -> list[Path]:  # type: ignore[no-untyped-def]
    """Every table as CSV."""
    from probe.scoring.tables import write_csv

    written = []
    for name in TABLES:
        frame = getattr(study, name)
        if len(frame.columns):
            write_csv(frame, out / f"{name}.csv")
            written.append(out / f"{name}.csv")
    return written


def draw(study, out: Path) -> list[Path]:  # type: ignore[no-untyped-def]
    """The dose curve, and the arms of each pair, as PNG and PDF."""
    from probe.plotting import save_figure
    from probe.plotting.study import arms_figure, dose_figure

    figures = {"dose": dose_figure(study.dose, study.runs)} if len(study.dose) else {}
    if len(study.arms):
        pairs = study.arms["pair"].unique()
        figures |= {f"arms-{pair}": arms_figure(study.arms, study.comparisons, pair) for pair in pairs}
    return [save_figure(figure, out / f"{name}.{form}") for name, figure in figures.items() for form in ("png", "pdf")]
