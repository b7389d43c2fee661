"""docs/study/results.md says what results/study/*.csv say, and its tables come out of planted results as they must."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.study import results
from analysis.study.cells import Sampling
from analysis.study.command import write_tables
from analysis.study.plan import read_plan, shipped_pairs
from analysis.study.results import MARK, read_study, rendered
from analysis.study.tables import build_study
from probe import cli
from probe.errors import DamagedError, DataError
from tests.support import ROOT
from tests.support.study_runs import doses, planted

PAGE = ROOT / "docs/study/results.md"
PLANS = {pair: read_plan(pair) for pair in shipped_pairs()}


def page_of(folder: Path, name: str, pair: str = "small") -> list[str]:
    """The lines that a mark's table has."""
    text = rendered(f"<!-- study: {name} {pair} -->\n<!-- study: end -->", read_study(folder), PLANS)
    return text.split("\n")[2:-2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of Stage 0 of the small pair with three of its five seeds, and of one arm that Stage 1 compares."""
    runs = [*doses(0.2), *(planted("dskd-cma", seed, bits=1.5, top1=0.55, kind="position-free") for seed in range(3))]
    study = build_study(runs, PLANS, sampling=Sampling(resamples=100))
    folder = tmp_path_factory.mktemp("results")
    write_tables(study, folder)
    return folder


def test_the_page_says_what_the_results_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert {(name, pair) for _, name, pair, _ in MARK.findall(text)} == {
        (name, pair) for name in results.MAKERS for pair in PLANS
    }
    assert rendered(text, read_study(ROOT / "results/study"), PLANS) == text, "run analysis.study.results --write"


def test_the_dose_table_by_hand(folder: Path) -> None:
    lines = page_of(folder, "dose")
    slope = read_study(folder).dose.set_index("row").loc["slope"]
    assert lines[0].startswith("small: a wholly wrong map costs 0.") and f"{slope['value']:+.4f}" in lines[0]
    assert lines[2] == "| dose | bits per byte | change from the right map | seeds | texts |"
    assert [line.split(" | ")[0] for line in lines[4:]] == [
        "| 0", "| 0.25", "| 0.5", "| 0.75", "| 1", "| slope", *(f"| slope, seed {seed} alone" for seed in range(3))
    ]  # fmt: skip
    assert lines[4].split(" | ")[2:] == ["–", "3", "40 |"]


def test_what_was_not_run_is_said_to_be_not_run(folder: Path) -> None:
    arms = {line.split(" | ")[0][2:]: line for line in page_of(folder, "arms")[2:]}
    assert list(arms) == list(PLANS["small"].arms)
    assert "not run" in arms["uld"] and "not run" not in arms["dskd-cma"] and "0.55" in arms["dskd-cma"]
    runs = page_of(folder, "runs")
    assert runs[0] == f"18 of {16 * 5} planned runs were run." and "`span-s3`" in runs[2] and "`span-s2`" not in runs[2]
    planned = page_of(folder, "confirmatory")
    assert sum("not run" in line for line in planned) == 11  # only the slope could be made
    assert "Not run." in page_of(folder, "dose", "transplant")[-1]


def test_a_page_can_be_made_before_anything_is_run(tmp_path: Path) -> None:
    assert page_of(tmp_path, "dose") == ["Not run."] and page_of(tmp_path, "exploratory") == ["Not run."]
    assert page_of(tmp_path, "runs")[0] == f"0 of {16 * 5} planned runs were run."


def test_the_command_checks_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- study: dose small -->\n<!-- study: end -->\nafter\n", encoding="utf-8")
    options = ["--results", str(folder), "--page", str(page)]
    assert cli.main(results.build_parser, results.run, options) == 3
    assert "Add --write" in capsys.readouterr().err
    assert cli.main(results.build_parser, results.run, [*options, "--write"]) == 0
    assert cli.main(results.build_parser, results.run, options) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "slope" in text


def test_a_mark_of_no_table_and_a_table_of_nothing_are_refused(tmp_path: Path) -> None:
    for mark in ("<!-- study: doses small -->", "<!-- study: dose large -->"):
        with pytest.raises(DataError, match="names no table"):
            rendered(f"{mark}\n<!-- study: end -->", read_study(tmp_path), PLANS)
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DamagedError, match="column pair"):
        read_study(tmp_path)
