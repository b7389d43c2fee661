"""The export: what its process puts into the zip, an export that runs, is stopped or fails, and the page."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
import zipfile
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import page_export
from app.server import export_job, export_worker
from app.server.export_job import ExportJob
from app.server.export_worker import Job, job_text
from probe import cli
from probe.maps.store import MapStore
from tests.support.dashboard.app_pages import make_files, marked, open_page, shown


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("export"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, store):
    def open_export(**query: str) -> AppTest:
        return open_page(monkeypatch, "export", "--maps", store[0], "--gold", store[1], **query)

    return open_export


def draw(folder: Path, maps: Path, gold: Path | None, rows: list[int], formats: list[str]) -> int:
    folder.mkdir(exist_ok=True)
    job = Job(str(maps), str(gold) if gold else None, rows, formats, str(folder / "export.zip"), {"search": "x"})
    (folder / "job.json").write_text(job_text(job), encoding="utf-8")
    return cli.main(export_worker.build_parser, export_worker.run, [str(folder / "job.json")])


def manifest(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode("utf-8-sig"))))


def wait(job: ExportJob, seconds: float = 60) -> ExportJob:
    end = time.monotonic() + seconds
    while job.state == "running" and time.monotonic() < end:
        time.sleep(0.05)
    return job


# --- the process ---


def test_the_zip_holds_each_map_in_each_format_and_a_manifest_that_is_true(store, tmp_path):
    opened = MapStore.open(store[0])
    rows = opened.select(example_id=["example-000", "hostile"], checkpoint="dskd-cma", direction="t2s")
    assert draw(tmp_path / "job", *store, rows, ["png", "svg", "csv"]) == 0
    with zipfile.ZipFile(tmp_path / "job/export.zip") as archive:
        assert archive.testzip() is None
        lines = manifest(archive)
        assert {line["file"] for line in lines} | {"manifest.csv", "manifest.json"} == set(archive.namelist())
        assert len(lines) == 6
        for line in lines:
            assert hashlib.sha256(archive.read(line["file"])).hexdigest() == line["sha256"]
        assert archive.read("png/example-000_dskd-cma_t2s.png").startswith(b"\x89PNG")
        assert b"<svg" in archive.read("svg/example-000_dskd-cma_t2s.svg")
        cells = list(csv.DictReader(io.StringIO(archive.read("csv/hostile_dskd-cma_t2s.csv").decode("utf-8-sig"))))
        amap = opened.read(rows[1])
        assert len(cells) == amap.weights.size
        assert float(cells[1]["weight"]) == pytest.approx(float(amap.weights[0, 1]))
        formulas = [cell["student_token"] for cell in cells if "HYPERLINK" in cell["student_token"]]
        assert formulas and all(token.startswith("'=") for token in formulas)
        facts = json.loads(archive.read("manifest.json"))
        assert facts["files"] == 6 and facts["gold"] == "gold.jsonl" and facts["chosen"] == {"search": "x"}
        assert str(tmp_path) not in archive.read("manifest.json").decode()


def test_names_that_would_be_one_are_told_apart(tmp_path):
    from tests.support.dashboard import app_maps

    app_maps.make_store(tmp_path / "maps", [("a/b", "", "One two."), ("a b", "", "Two one."), ("A-B", "", "Three.")])
    opened = MapStore.open(tmp_path / "maps")
    rows = opened.select(checkpoint="dskd-cma", direction="t2s")
    names = export_worker.stems(opened, rows)
    assert len({name.casefold() for name in names}) == 3 and not any("/" in name for name in names)


def test_a_damaged_store_ends_with_its_exit_code_and_no_zip(tmp_path, capsys):
    from tests.support.dashboard import app_maps

    app_maps.make_store(tmp_path / "maps", app_maps.example_texts(1))
    shard = tmp_path / "maps/maps-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert draw(tmp_path / "job", tmp_path / "maps", None, [0], ["csv"]) == 4
    assert "maps-00000.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "job/export.zip").exists()


# --- in the background ---


def test_an_export_runs_in_a_process_of_its_own_and_can_be_stopped(store, monkeypatch):
    monkeypatch.setattr(export_job, "AT_ONCE", 1)
    job = ExportJob.start(*store, list(range(8)), ["png"], {})
    assert job.state == "running"
    assert ExportJob.start(*store, [0], ["csv"], {}) is None  # its turn has not come
    folder = job.archive.parent
    job.cancel()
    assert job.state == "cancelled" and not folder.exists() and job._process.exit_code is not None
    again = wait(ExportJob.start(*store, [0, 2], ["csv"], {}))
    assert again.state == "finished" and again.done == again.total == 2 and again.name == "maps-2-maps.zip"
    folder = again.archive.parent
    del again
    assert not folder.exists()  # goes with the visitor


def test_an_export_that_fails_says_why(store, tmp_path):
    job = wait(ExportJob.start(store[0], tmp_path / "absent.jsonl", [0], ["csv"], {}))
    assert job.state == "failed" and "absent.jsonl" in job.problem and "Traceback" not in job.problem


# --- the page ---


def test_the_filters_decide_what_is_exported(page, store):
    test = page(category="names", formats="csv")
    assert not test.exception and "2 examples, 2 maps, 2 files and a manifest" in shown(test)
    test.button(key="make zip").click().run()
    job = wait(test.session_state[page_export.JOB])
    test.run()
    assert job.state == "finished" and "Download the zip (2 maps" in test.get("download_button")[0].proto.label
    with zipfile.ZipFile(job.archive) as archive:
        lines = manifest(archive)
        assert {line["category"] for line in lines} == {"names"} and {line["direction"] for line in lines} == {"t2s"}
        assert json.loads(archive.read("manifest.json"))["chosen"]["category"] == "names"


def test_what_is_taken_follows_another_run(page):
    test = page(formats="csv")
    test.selectbox(key="checkpoint").select("dskd-cma-ga").run()
    test.segmented_control(key="direction").set_value("s2t").run()
    assert test.pills(key="checkpoints").value == ["dskd-cma-ga"] and test.pills(key="directions").value == ["s2t"]
    test.pills(key="checkpoints").set_value(["dskd-cma", "dskd-cma-ga"]).run()
    assert not test.exception and "7 examples, 14 maps" in shown(test)
    assert "filtered by scores of: dskd-cma-ga, s2t" in shown(test)  # the foot of the page


def test_cancelling_is_said(page):
    test = page()
    test.button(key="make zip").click().run()
    test.session_state[page_export.JOB].cancel()
    test.run()
    assert not test.exception and "cancelled" in test.info[0].value
    assert not test.button(key="make zip").disabled


def test_too_many_maps_name_the_command_and_no_match_says_so(page, monkeypatch):
    monkeypatch.setattr(page_export, "MOST_MAPS", 3)
    test = page()
    assert test.button(key="make zip").disabled and "python -m analysis.export_heatmaps" in shown(test)
    test = page(q="no such word at all")
    assert not test.exception and test.subheader[0].value == "No example matches"


def test_bad_values_of_the_link_fall_back_with_a_note(page):
    test = page(formats="<b>exe</b>", direction="up")
    assert not test.exception and "formats = <b>exe</b>" in shown(test) and "direction = up" in shown(test)
    assert "<b>" not in marked(test)
    test = page(score="nan", length="99999", differ="1,5")
    for note in ("score = nan", "length = 99999", "differ = 1,5"):
        assert not test.exception and note in shown(test)


def test_no_maps_name_the_next_command(monkeypatch, tmp_path):
    test = open_page(monkeypatch, "export", "--maps", tmp_path / "absent")
    assert not test.exception and test.subheader[0].value == "No attention maps here yet"
