"""What the dashboard keeps on disk: read back as it was, made anew where it is damaged or for other maps."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.data.source import digest_of
from app.server import cache, kept, reports
from probe.gold.reading import read_gold
from probe.maps.store import MapStore
from probe.scoring.report import Report, build_report
from tests.support.dashboard.app_pages import make_files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def report(files: tuple[Path, Path]) -> Report:
    return build_report([MapStore.open(files[0])], read_gold(files[1]))


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reports, "_JOBS", {})


def assert_same(one: Report, two: Report) -> None:
    for field in dataclasses.fields(Report):
        first, second = getattr(one, field.name), getattr(two, field.name)
        if isinstance(first, pd.DataFrame):
            pd.testing.assert_frame_equal(first, second)
        else:
            assert first == second


def test_a_report_is_read_as_it_was_written(report, tmp_path):
    kept.write_report(report, tmp_path / "report-1")
    found = kept.read_report(tmp_path / "report-1")
    assert found is not None
    assert_same(report, found)


def test_a_damaged_report_is_none(report, tmp_path):
    assert kept.read_report(tmp_path / "report-1") is None
    kept.write_report(report, tmp_path / "report-1")
    file = tmp_path / "report-1" / "runs.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert kept.read_report(tmp_path / "report-1") is None


def exit_code(job: reports.ReportJob) -> int | None:
    """Of the process, when it has ended; None after a minute."""
    end = time.monotonic() + 60
    while job.running and time.monotonic() < end:
        time.sleep(0.05)
    return job._process.exit_code


def test_the_process_in_the_background_makes_the_report_once(files, report):
    source = cache.open_source(*files)
    job = reports.start(source, files[1])
    assert job is not None and reports.start(source, files[1]) is job
    assert exit_code(job) == 0
    found = job.report()
    assert found is not None
    assert_same(report, found)
    reports._JOBS.clear()  # as after a new start
    assert reports.start(source, files[1]) is None
    assert_same(report, reports.read(source))


def test_a_report_of_other_maps_than_the_page_has_opened_is_not_kept(files):
    source = dataclasses.replace(cache.open_source(*files), store_digest="of another store")
    job = reports.start(source, files[1])
    assert job is not None and exit_code(job) == 2 and job.report() is None


def test_scores_are_read_back_if_they_are_for_so_many_maps(tmp_path):
    values = np.array([[0.5, np.nan], [1.0, 0.25]])
    kept.write_scores(values, tmp_path / "scores-1")
    np.testing.assert_array_equal(kept.read_scores(tmp_path / "scores-1", (2, 2)), values)
    assert kept.read_scores(tmp_path / "scores-1", (3, 2)) is None
    (tmp_path / "scores-1").write_bytes(b"\x93NUMPY nonsense")
    assert kept.read_scores(tmp_path / "scores-1", (2, 2)) is None
    assert kept.read_scores(tmp_path / "absent", (2, 2)) is None


def test_the_oldest_goes(tmp_path):
    for number in range(kept.MOST + 2):
        kept.write_scores(np.zeros((1, 1)), tmp_path / f"scores-{number}")
        os.utime(tmp_path / f"scores-{number}", (number, number))
    kept.write_scores(np.zeros((1, 1)), tmp_path / "scores-last")
    left = {path.name for path in tmp_path.iterdir()} - {"cache"}
    assert len(left) == kept.MOST and "scores-last" in left and "scores-0" not in left


def test_a_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path, monkeypatch):
    assert kept.folder() == tmp_path / "cache" / "dashboard"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "file"))
    assert kept.folder().is_dir() and tmp_path not in kept.folder().parents


def test_a_file_that_was_written_again_has_another_digest(tmp_path):
    file = tmp_path / "gold.jsonl"
    absent = digest_of(file)
    file.write_text("one")
    os.utime(file, ns=(1, 1))
    first = digest_of(file)
    assert first != absent and digest_of(file) == first
    file.write_text("two")  # as long as the first, and the same file
    assert digest_of(file) != first
