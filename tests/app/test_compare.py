"""The dashboard's page Compare through AppTest: maps on one scale, their difference, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.draw import scores as draw_scores
from app.server.scores import SCORES
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import charts, listed, make_files, marked, open_page, shown


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("compare"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    def open_compare(*arguments: object, **query: str) -> AppTest:
        return open_page(monkeypatch, "compare", *arguments, **query)

    return open_compare


def test_opens_on_the_example_that_differs_most(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    rows = listed(test)
    assert not test.exception and rows["difference"].abs().is_monotonic_decreasing
    assert f"{rows['example_id'].iloc[0]}   ·" in shown(test)
    assert test.metric[0].value == f"{rows['top1_sure'].iloc[0]:.2f}"
    assert float(test.metric[0].delta) == pytest.approx(rows["difference"].iloc[0], abs=0.006)


def test_reference_run_and_difference_are_on_scales_that_are_said(page, store):
    reference, run, difference = (json.loads(spec) for spec in charts(page("--maps", store[0], "--gold", store[1])))
    domains = [_scale(spec)["domain"] for spec in (reference, run, difference)]
    assert domains == [[0, 1], [0, 1], [-1, 1]]
    colours = _scale(difference)["range"]
    assert len(colours) % 2 == 1  # so that one of them, the middle one, is no difference
    test = page("--maps", store[0], "--gold", store[1], scale="max")
    reference, run, difference = (json.loads(spec) for spec in charts(test))
    assert _scale(reference)["domain"] == _scale(run)["domain"]
    low, high = _scale(difference)["domain"]
    assert low == -high < 0


def _scale(spec: dict) -> dict:
    return spec["layer"][0]["layer"][0]["encoding"]["color"]["scale"]


def test_more_runs_each_with_a_difference(page, tmp_path):
    names = ("a", "b", "c")
    app_maps.make_store(tmp_path / "maps", app_maps.example_texts(3), checkpoints=names)
    test = page("--maps", tmp_path / "maps", reference="b")
    test.pills(key="runs").set_value(["c", "a"]).run()
    assert not test.exception and len(charts(test)) == 5
    titles = [json.loads(spec)["title"]["text"] for spec in charts(test)]
    assert titles == ["b · t2s", "c · t2s", "a · t2s", "c − b", "a − b"]  # maps beside each other, then differences


def test_without_gold_the_list_goes_by_the_maps_themselves(page, store):
    test = page("--maps", store[0])
    rows = listed(test)
    assert not test.exception and not test.metric
    assert rows["distance"].is_monotonic_decreasing and rows["distance"].between(0, 1).all()
    assert "difference" not in rows


def test_the_lines_that_changed_are_listed(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    table = test.main.dataframe[0].value
    assert {"token", "gold", "reference looks at", "this run looks at", "change"} <= set(table.columns)
    changes = table["change"].abs().fillna(0)
    assert changes.is_monotonic_decreasing and changes.iloc[0] > 0


def test_the_scores_of_both_runs_and_their_difference():
    scores = [pd.Series(dict.fromkeys(SCORES, value)) for value in (0.25, 0.75)]
    rows = draw_scores.score_rows([("one", scores[0], scores[0]), ("two", scores[1], scores[1])])
    assert len(rows) == len(SCORES)
    assert all((row["one"], row["two"], row["difference"]) == (0.25, 0.75, 0.5) for row in rows)


@pytest.mark.parametrize("name", ["reference", "runs", "direction", "sort", "unit", "example", "category"])
def test_bad_values_in_the_link_fall_back_with_a_note(page, store, name):
    test = page("--maps", store[0], "--gold", store[1], **{name: "<b>nonsense</b>"})
    assert not test.exception and len(test.info) == 1 and f"{name} = <b>nonsense</b>" in shown(test)
    assert len(charts(test)) == 3


def test_one_run_alone_names_the_next_command(page, tmp_path):
    app_maps.make_store(tmp_path / "maps", app_maps.example_texts(2), checkpoints=("only",))
    test = page("--maps", tmp_path / "maps")
    assert not test.exception and test.subheader[0].value == "Only one run in this map store"
    assert any("probe extract" in block.value for block in test.code)


def test_tokens_never_reach_markdown(page, store):
    test = page("--maps", store[0], "--gold", store[1], example="hostile", pin="1.1")
    assert not test.exception
    for payload in (*app_maps.HOSTILE, "**bad**"):
        assert payload not in marked(test)


def test_no_maps_and_broken_maps_are_explained(page, tmp_path):
    assert page("--maps", tmp_path / "absent").subheader[0].value == "No attention maps here yet"
    (tmp_path / "notes.txt").write_text("x")
    assert "Exit code of the commands for this: 4" in page("--maps", tmp_path).error[0].value
