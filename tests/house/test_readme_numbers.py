"""README's numbers are those that the shipped checkpoints give here, now, by the project's own commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import alignment_report
from probe import cli
from probe.__main__ import main as probe
from probe.errors import DamagedError
from probe.models.loading import resolve_model
from tests.house.readme_numbers import readme_table, table
from tests.support import ROOT


def test_readme_says_what_the_shipped_checkpoints_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        resolve_model("smollm2-135m")
    except DamagedError as error:
        pytest.skip(f"needs the packaged teacher: {error}")
    checkpoints = [str(ROOT / "checkpoints" / name) for name in ("dskd-cma", "dskd-cma-ga")]
    gold = ROOT / "analysis/gold"
    maps, report = str(tmp_path / "maps"), tmp_path / "report"
    arguments = ["--untrained-baseline", "--data", str(gold / "probe_set.jsonl"), "--out", maps]
    assert probe(["extract", "--checkpoint", *checkpoints, *arguments]) == 0
    arguments = [maps, "--gold", str(gold / "gold.jsonl"), "--out", str(report)]
    assert cli.main(alignment_report.build_parser, alignment_report.run, arguments) == 0
    assert table(report) == readme_table((ROOT / "README.md").read_text(encoding="utf-8")), capsys.readouterr().err
