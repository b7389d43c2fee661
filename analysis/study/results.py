"""`python -m analysis.study.results`: the tables of docs/study/results.md, made from results/study/*.csv alone."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.study import wording
from analysis.study.plan import Plan, read_plan, shipped_pairs
from analysis.study.tables import Study
from probe import cli
from probe.errors import DamagedError, DataError
from probe.files import atomic_file

DESCRIPTION = """Write the study's numbers into a page: each table stands between <!-- study: NAME PAIR --> and
<!-- study: end -->; NAME is dose, arms, confirmatory, exploratory or runs. What was not run is said to be not run.
Without --write the page is only checked: exit code 3 where it does not say what the tables say."""
EXAMPLES = """
  python -m analysis.study out/study --out results/study
  python -m analysis.study.results --write"""
MARK = re.compile(r"(<!-- study: (\w+) (\w+) -->\n).*?(<!-- study: end -->)", flags=re.DOTALL)
TABLES = ("runs", "arms", "comparisons", "dose")
NOTHING = "Not run."


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.study.results")
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("--results", type=Path, default=Path("results/study"), metavar="DIR", help="the tables' folder")
    parser.add_argument("--page", type=Path, default=Path("docs/study/results.md"), metavar="FILE", help="the page")
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    cli.add_common(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the page's tables; write them, or say whether they stand there."""
    text = args.page.read_text(encoding="utf-8")
    made = rendered(text, read_study(args.results), {pair: read_plan(pair) for pair in shipped_pairs()})
    if args.write:
        with atomic_file(args.page) as part:
            part.write_text(made, encoding="utf-8")
    elif made != text:
        raise DataError(f"{args.page} does not say what {args.results} says. Add --write.")
    print(f"{args.page}: {len(MARK.findall(text))} tables {'written' if args.write else 'as in'} {args.results}")


def read_study(folder: Path) -> Study:
    """The tables of a folder; a table that is not there is empty, so that a page can be made before anything is run."""
    frames = {name: _read(folder / f"{name}.csv") for name in TABLES}
    return Study(**frames, texts=pd.DataFrame(), aligned=pd.DataFrame(), gap_rate=pd.DataFrame())


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame()
    frame = pd.read_csv(path)
    if "pair" not in frame:
        raise DamagedError(f"{path}: wanted a table of the study with the column pair. Make it by analysis.study.")
    return frame


def rendered(text: str, study: Study, plans: Mapping[str, Plan]) -> str:
    """The page with every marked table made anew.

    Raises:
        DataError: a mark names a table or a pair that does not exist.
    """

    def table(found: re.Match[str]) -> str:
        name, pair = found[2], found[3]
        if name not in MAKERS or pair not in plans:
            raise DataError(f"the mark {found[1].strip()} names no table: wanted {', '.join(MAKERS)}, and a pair.")
        return f"{found[1]}\n" + "\n".join(MAKERS[name](study, plans[pair])) + f"\n\n{found[4]}"

    return MARK.sub(table, text)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; :data:`NOTHING` without a row. A pipe in a cell is escaped."""
    if not rows:
        return [NOTHING]
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]


def _dose(study: Study, plan: Plan) -> list[str]:
    if not len(study.dose):
        return [NOTHING]
    rows = wording.dose_rows(study.dose, plan.pair)
    return [wording.dose_finding(study.dose, plan.pair) + ".", "", *markdown(wording.DOSE_HEADS, rows)]


def _arms(study: Study, plan: Plan) -> list[str]:
    return markdown(wording.ARM_HEADS, wording.arm_rows(study.arms, plan.pair, plan))


def _confirmatory(study: Study, plan: Plan) -> list[str]:
    """Every planned comparison, those that could not be made too."""
    made = wording.comparison_rows(study.comparisons, plan.pair, "confirmatory") if len(study.comparisons) else []
    done = {row[:2] for row in made}
    planned = [wording.planned_name(endpoint, names) for endpoint, names in plan.confirmatory]
    empty = [(*name, wording.NOT_RUN, *["–"] * (len(wording.COMPARISON_HEADS) - 3)) for name in planned]
    rows = [*made, *(row for row in empty if row[:2] not in done)]
    finding = [wording.comparison_finding(study.comparisons, plan.pair) + ".", ""] if made else []
    return [*finding, *markdown(wording.COMPARISON_HEADS, rows)]


def _exploratory(study: Study, plan: Plan) -> list[str]:
    made = wording.comparison_rows(study.comparisons, plan.pair, "exploratory") if len(study.comparisons) else []
    return markdown(wording.COMPARISON_HEADS, made)


def _runs(study: Study, plan: Plan) -> list[str]:
    return list(_counted(study.runs[study.runs["pair"] == plan.pair] if len(study.runs) else study.runs, plan))


def _counted(runs: pd.DataFrame, plan: Plan) -> Iterator[str]:
    """How many of the planned runs there are, and the names of those that are missing."""
    there = {f"{arm}-s{seed}" for arm, seed in runs[["arm", "seed"]].itertuples(index=False)} if len(runs) else set()
    wanted = list(dict.fromkeys(run.name for stage in plan.stages for run in plan.runs(stage)))
    missing = [name for name in wanted if name not in there]
    yield f"{len(wanted) - len(missing)} of {len(wanted)} planned runs were run" + ("." if missing else ": all.")
    if missing:
        yield ""
        yield f"Not run: {', '.join(f'`{name}`' for name in missing)}."


MAKERS = {"dose": _dose, "arms": _arms, "confirmatory": _confirmatory, "exploratory": _exploratory, "runs": _runs}

if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
