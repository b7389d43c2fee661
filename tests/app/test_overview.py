"""The dashboard's page Overview through AppTest: its numbers are those of the report, each with a way on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.server import cache
from app.server.turns import AT_ONCE, PAGES
from probe.gold.reading import read_gold, write_gold
from probe.maps.store import MapStore
from probe.scoring.report import build_report
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import TEXTS, charts, make_files, marked, open_page, shown


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("overview"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path_factory.getbasetemp() / "overview-cache"))

    def open_overview(*arguments: object, **query: str) -> AppTest:
        return open_page(monkeypatch, "overview", *arguments, **query)

    return open_overview


def test_the_numbers_are_those_of_the_report(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    report = build_report([MapStore.open(store[0])], read_gold(store[1]))
    runs = report.runs[report.runs["direction"] == "t2s"].set_index("checkpoint")
    table = test.main.dataframe[0].value.set_index("run")
    assert not test.exception and table.index.tolist() == runs.index.tolist()
    for name, row in runs.iterrows():
        wanted = f"{row['top1_sure']:.2f} [{row['top1_sure_low']:.2f}, {row['top1_sure_high']:.2f}]"
        assert table.loc[name, "top-1, sure"] == wanted
    assert table.loc["baseline:position-free", "F1"] == "–"


def test_it_waits_until_the_report_is_made_and_lets_others_go_on_meanwhile(page, store, monkeypatch):
    answers, free = iter([False, False, False]), []

    def is_made(*_: object) -> bool:
        free.append(PAGES._free)
        return next(answers, True)

    monkeypatch.setattr(cache, "report_is_made", is_made)
    test = page("--maps", store[0], "--gold", store[1])
    assert not test.exception and len(test.main.dataframe) == 2
    assert free == [AT_ONCE - 1, AT_ONCE, AT_ONCE, AT_ONCE] and PAGES._free == AT_ONCE


def test_breakdowns_can_be_chosen_and_are_in_the_link(page, store):
    query = {"by": "category of the example", "of": "top-1, possible", "maps": "s2t"}
    test = page("--maps", store[0], "--gold", store[1], **query)
    assert not test.exception and not test.info
    assert test.main.dataframe[1].value["group"].tolist() == sorted({category for _, category, _ in TEXTS})
    chart = json.loads(charts(test)[1])
    assert chart["layer"][2]["encoding"]["shape"]["field"] == "run"  # runs differ by shape, not by colour alone


@pytest.mark.parametrize("name", ["maps", "by", "of"])
def test_bad_values_in_the_link_fall_back_with_a_note(page, store, name):
    test = page("--maps", store[0], "--gold", store[1], **{name: "<b>nonsense</b>"})
    assert not test.exception and len(test.info) == 1 and f"{name} = <b>nonsense</b>" in shown(test)


def test_charts_say_their_finding(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    first, second = (chart.proto.alt for chart in test.get("vega_lite_chart"))
    assert first.startswith("Top-1 accuracy over sure links: ") and "the position-free ceiling is" in first
    assert second.startswith("top-1, sure of dskd-cma by relation of the chunk: from ")


def test_two_runs_are_set_against_each_other_with_a_way_to_their_examples(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    assert "dskd-cma-ga against dskd-cma: " in shown(test)
    link = test.get("page_link")[0].proto
    assert link.label == "Examples on which they differ most"
    assert "reference=dskd-cma" in link.query_string and "runs=dskd-cma-ga" in link.query_string


def test_without_gold_it_says_how_to_score(page, store, tmp_path):
    test = page("--maps", store[0])
    assert not test.exception and test.subheader[0].value == "No gold to score the maps by"
    assert any("--gold GOLD.jsonl" in block.value for block in test.code)
    other = app_maps.make_store(tmp_path / "other", TEXTS, sizes=(4, 5))
    write_gold(tmp_path / "gold.jsonl", other)
    test = page("--maps", store[0], "--gold", tmp_path / "gold.jsonl")
    assert not test.exception and len(test.warning) == 1
    assert "first difference at index 0" in shown(test)


def test_categories_never_reach_markdown(page, store):
    test = page("--maps", store[0], "--gold", store[1], by="category of the example")
    assert not test.exception and "**bad**" not in marked(test)


def test_no_maps_names_the_next_command(page, tmp_path):
    test = page("--maps", tmp_path / "absent")
    assert not test.exception and test.subheader[0].value == "No attention maps here yet"
