"""The tables in results/ are what their digests say; and a table that is not would be seen."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house import results


def test_results_are_what_their_digests_say() -> None:
    assert results.differences(results.RESULTS) == [], "python -m tests.house.results --write, if the change is meant"


def test_every_table_has_a_version(tmp_path: Path) -> None:
    assert results.without_version(results.RESULTS) == []
    (tmp_path / "told.csv").write_text('"schema_version","value"\n1,2\n', encoding="utf-8")
    (tmp_path / "untold.csv").write_text("value\n2\n", encoding="utf-8")
    assert results.without_version(tmp_path) == ["untold.csv"]


def test_new_lost_and_changed_tables_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (folder / "study").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "study/a.csv"):
        (folder / name).write_text("signature,value\nx,1\n", encoding="utf-8")
    assert results.differences(folder) == [f"results/{n} has no digest" for n in ("a.csv", "b.csv", "study/a.csv")]
    results.write(folder)
    assert results.differences(folder) == []
    (folder / "a.csv").unlink()
    (folder / "study/a.csv").write_text("signature,value\nx,2\n", encoding="utf-8")
    (folder / "c.csv").write_text("", encoding="utf-8")
    assert results.differences(folder) == [
        "results/a.csv is gone", "results/c.csv has no digest", "results/study/a.csv has changed",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum, of coreutils")
def test_anyone_can_check_without_this_project(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("signature\n", encoding="utf-8")
    results.write(tmp_path)
    command = ["sha256sum", "--check", "--strict", results.NAME]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
