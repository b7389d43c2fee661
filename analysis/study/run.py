"""`python -m analysis.study.run`: a stage of the study, run after run, resumable; each run's numbers go to a record."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.study.execute import Command, Outcome, run_jobs
from analysis.study.plan import Plan, PlannedRun, read_plan, shipped_pairs
from analysis.study.prepare import Places, check_all, is_finished, missing_starts, train_command, write_texts
from probe import cli
from probe.errors import ProbeError, UsageError

DESCRIPTION = """Run a stage of the study: --jobs runs at a time, one thread each. What is finished is passed over,
what was cut goes on from its last saved state, what failed is tried again: the command is simply given once more.
Nothing is removed. OUT/PAIR/ then holds runs/ (checkpoints), records/ (each run's numbers), maps/, logs/ and
status-STAGE.json (what failed, what is still to do). Exit code 1: a run failed."""
EXAMPLES = """
  python -m analysis.study.run --stage 0 --pair small --data-dir data --out out/study
  python -m analysis.study.run --stage 1 --pair transplant --data-dir data --out out/study --settings short.yaml
  python -m analysis.study.run --stage 0 --pair small --data-dir data --out out/study --list
  python -m analysis.study out/study --out results/study"""


class RunsFailed(ProbeError):
    """Some runs of the stage failed; the others are finished."""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.study.run")
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("--stage", required=True, metavar="NAME", help="teacher, start, 0 or 1, as the pair has them")
    parser.add_argument(
        "--pair", default="small", metavar="NAME", help=f"{', '.join(shipped_pairs())} (default: small), or a YAML file"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where all runs go")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), metavar="DIR", help="its texts (default: data)")
    parser.add_argument("--jobs", type=cli.positive, default=2, metavar="N", help="runs at a time (default: 2)")
    parser.add_argument(
        "--settings", type=Path, metavar="FILE", help="YAML that changes the plan: seeds, settings (of all), arms"
    )
    parser.add_argument("--arms", nargs="+", default=[], metavar="ARM", help="only these arms")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="only these seeds")
    parser.add_argument("--list", action="store_true", help="print the runs and where they stand; run nothing")
    cli.add_common(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Check everything, run what is left, collect, say what is still to do."""
    plan = read_plan(args.pair, args.settings)
    places = Places((args.out / plan.pair).resolve(), args.data_dir.resolve())
    runs = chosen(plan, args)
    check_all(runs, places)
    done = [one for one in runs if is_finished(one, places)]
    if args.list:
        print("\n".join(f"{one.name:24} {'finished' if one in done else 'to do'}" for one in runs))
        return
    for name, note in write_texts(plan, places).items():
        _say(f"note: {name}: {note}")
    outcomes = run_stage(args.stage, plan, runs, done, places, args.jobs)
    failed = {name: one for name, one in outcomes.items() if one.state == "failed"}
    print(f"{plan.pair}, stage {args.stage}: {len(runs) - len(failed)} of {len(runs)} runs are finished")
    if failed:
        lines = [f"  {name} (exit code {one.code}): {one.said}" for name, one in failed.items()]
        raise RunsFailed("\n".join([f"{len(failed)} runs failed; give the command again to try them again.", *lines]))


def chosen(plan: Plan, args: argparse.Namespace) -> list[PlannedRun]:
    """The stage's runs, those of --arms and --seeds alone. Raises UsageError where none is left."""
    runs = plan.runs(args.stage)
    if strange := sorted(set(args.arms) - {one.arm.name for one in runs}):
        raise UsageError(f"--arms: stage {args.stage} has no arm {strange[0]!r}.")
    kept = [
        one
        for one in runs
        if (not args.arms or one.arm.name in args.arms) and (not args.seeds or one.seed in args.seeds)
    ]
    if not kept:
        raise UsageError(f"--seeds: stage {args.stage} has no run of seed {', '.join(map(str, args.seeds))}.")
    return kept


def run_stage(
    stage: str, plan: Plan, runs: Sequence[PlannedRun], done: Sequence[PlannedRun], places: Places, at_once: int
) -> dict[str, Outcome]:
    """Train what is not finished and collect what has no record; returns where every run stands.

    Raises:
        UsageError: a run starts from another that is not there yet.
    """
    from analysis.study.collect import collect, is_collected  # pandas, pyarrow: not for --help

    left = [one for one in runs if one not in done]
    for one in left:
        if missing := missing_starts(one, places):
            raise UsageError(f"{one.name} starts from {missing[0]}, which is not there yet. Run that stage first.")
    places.folder("logs").mkdir(parents=True, exist_ok=True)
    for one in done:
        if not is_collected(one, places):
            collect(one, plan, places)
            _say(f"{one.name}: collected")
    jobs = [
        Command(
            one.name, tuple(train_command(one, places)), places.folder("logs") / f"{one.name}.log",
            functools.partial(collect, one, plan, places),
        )
        for one in left
    ]  # fmt: skip
    status = places.root / f"status-{stage}.json"
    return run_jobs(jobs, at_once=at_once, status=status, report=_say, finished=[one.name for one in done])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
