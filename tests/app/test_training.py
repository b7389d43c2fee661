"""Training: runs and curves as they are found and read, and the page with its slider over the steps."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.data import training_runs
from app.data.training_runs import TrainingRun, find_runs, read_curve, step_of
from app.draw import curves as draw_curves
from app.draw import palette
from probe.errors import DataError
from tests.support.dashboard.app_files import make_run
from tests.support.dashboard.app_pages import charts, open_page, shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    make_run(root / "cma")
    make_run(root / "more" / "ga", maps=False, top=0.5)
    return root


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path):
    def open_training(folder: Path, **query: str) -> AppTest:
        return open_page(monkeypatch, "training", "--maps", tmp_path / "no", "--training", folder, **query)

    return open_training


def test_runs_are_found_in_the_folder_and_two_below_and_not_outside(folder, tmp_path):
    assert [run.name for run in find_runs(folder)] == ["cma", "more/ga"]
    assert [run.name for run in find_runs(folder / "cma")] == ["cma"]
    (tmp_path / "here").mkdir()
    (tmp_path / "here/out").symlink_to(folder)
    assert find_runs(tmp_path / "here") == []


def test_a_curve_is_sorted_and_keeps_its_numbers(tmp_path):
    text = "step,top1_sure,note,empty,n_examples\n500,0.4,x,,1\n0,0.1,y,,1\n500,0.6,x,,1\nend,0.9,z,,1\n"
    (tmp_path / training_runs.CURVE).write_text(text)
    curve = read_curve(TrainingRun("r", tmp_path))
    assert list(curve.columns) == ["step", "top1_sure"]
    assert curve.values.tolist() == [[0, 0.1], [500, 0.5]]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "step\n1\n", "step,x\n", 'step,x\n1,"'])
def test_a_curve_that_cannot_be_used_is_named(tmp_path, content):
    (tmp_path / training_runs.CURVE).write_text(content)
    with pytest.raises(DataError, match=training_runs.CURVE):
        read_curve(TrainingRun("r", tmp_path))


def test_steps_are_read_from_names():
    assert [step_of(name) for name in ("step-000250", "step-0", "step-", "dskd-cma", "step-1x")] == [
        250,
        0,
        *[None] * 3,
    ]


def test_curves_tell_runs_apart_by_more_than_colour_and_say_where_they_end(folder):
    curves = {run.name: read_curve(run) for run in find_runs(folder)}
    spec = draw_curves.curve_chart(curves, "top1_sure", palette.LIGHT, 250)
    line, point = spec["layer"][0]["layer"]
    for scale in (spec["layer"][0]["encoding"]["color"], line["encoding"]["strokeDash"], point["encoding"]["shape"]):
        assert len({str(value) for value in scale["scale"]["range"]}) == 2
    assert spec["layer"][1]["data"]["values"] == [{"at": 250}]
    assert "cma: 0.05 at step 0, 0.6 at 500; more/ga: 0.05 at step 0, 0.5 at 500" in draw_curves.said(
        curves, "top1_sure"
    )


def test_the_page_shows_curves_and_the_map_of_the_step_in_the_link(page, folder):
    test = page(folder, step="250", example="example-001", direction="s2t")
    assert not test.exception and not test.info
    *curves, shown_map = (json.loads(spec) for spec in charts(test))
    assert [spec["title"]["text"] for spec in curves] == ["top-1, sure", "energy distance of queries and keys"]
    assert shown_map["title"]["text"] == "step-000250 · s2t"
    slider = test.select_slider(key="step cma")
    slider.set_value(500).run()
    assert json.loads(charts(test)[-1])["title"]["text"] == "step-000500 · s2t"
    assert test.query_params["step"] == ["500"] or test.query_params["step"] == "500"
    assert json.loads(charts(test)[0])["layer"][1]["data"]["values"] == [{"at": 500}]


def test_a_run_without_maps_shows_its_curves(page, folder):
    test = page(folder, run="more/ga")
    assert not test.exception and len(charts(test)) == 2 and "kept no maps" in shown(test)


def test_bad_values_of_the_link_fall_back_with_a_note(page, folder):
    test = page(folder, run="../x", step="7", example="<b>", direction="up")
    assert not test.exception and len(charts(test)) == 3
    for note in ("run = ../x", "step = 7", "example = <b>", "direction = up"):
        assert note in shown(test)


def test_nothing_there_names_the_command(page, tmp_path):
    test = page(tmp_path / "absent")
    assert not test.exception and "--set data=FILE.jsonl probe_every=250" in shown(test)


def test_a_broken_curve_and_broken_maps_are_explained(page, tmp_path):
    make_run(tmp_path / "t/good")
    bad = make_run(tmp_path / "t/bad", maps=False)
    (bad / training_runs.CURVE).write_text("nothing")
    shard = tmp_path / "t/good/probe_maps/maps-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    test = page(tmp_path / "t")
    assert not test.exception and "cannot be shown" in test.warning[0].value
    assert "Exit code of the commands for this: 4" in test.error[0].value and len(charts(test)) == 2


def test_the_foot_names_curves_settings_and_whose_links_are_outlined(page, tmp_path):
    run = make_run(tmp_path / "t/cma")
    assert "settings: none: the run has no config.json yet" in shown(page(tmp_path / "t"))
    settings = {
        "method": "dskd-cma",
        "matching": "gan",
        "student": "/secret/sft",
        "seed": 0,
        "data": ["a/x.jsonl", "y"],
    }
    (run / training_runs.CONFIG).write_text(json.dumps({"settings": settings}))
    test = page(tmp_path / "t", runs="cma", step="250")
    digest = hashlib.sha256((run / training_runs.CURVE).read_bytes()).hexdigest()[:8]
    assert f"curve of cma: probe_curve.csv, sha256 {digest}" in shown(test)
    assert "map: cma, step 250; probe_maps, sha256 " in shown(test) and "outlined: links of the span rule" in shown(
        test
    )
    assert "settings: method dskd-cma, student sft, data x.jsonl + y, seed 0\n" in shown(test)
    assert "/secret" not in shown(test)  # names of files and models, not their places


def test_runs_and_measures_of_the_link_are_drawn_and_misfits_noted(page, folder):
    test = page(folder, runs="more/ga", measures="energy distance of queries and keys", run="cma")
    curves = [json.loads(spec) for spec in charts(test)[:-1]]
    assert [spec["title"]["text"] for spec in curves] == ["energy distance of queries and keys"]
    assert curves[0]["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["more/ga"]
    test = page(folder, runs="<i>", measures="energy", unit="letter")
    for note in ("runs = <i>", "measures = energy", "unit = letter"):
        assert note in shown(test)
    assert len(charts(test)) == 3


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"settings": 1}', '{"settings": {"seed": {"a": 1}}}', "[" * 9999]
)
def test_settings_that_cannot_be_read_are_left_out(tmp_path, text):
    (tmp_path / training_runs.CONFIG).write_text(text)
    assert training_runs.settings_line(tmp_path) in ("", "seed {'a': 1}")
