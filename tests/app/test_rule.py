"""Without gold: the switch that scores against the span rule, which is said beside every number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from probe.maps.store import MapStore
from probe.scoring.alignment import span_gold
from probe.scoring.metrics import score_map
from tests.support.dashboard.app_pages import charts, listed, make_files, marked, open_page, shown


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("rule"))


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))


def test_scores_are_those_of_the_span_rule(monkeypatch, store):
    test = open_page(monkeypatch, "browse", "--maps", store[0], spans="true")
    assert not test.exception and "Outlines and scores are those of the span rule" in marked(test)
    found = listed(test).set_index("example_id")["top1_sure"]
    for amap in MapStore.open(store[0]):
        if (amap.checkpoint, amap.direction) == ("dskd-cma", "t2s"):
            gold = span_gold(amap.example_id, amap.text, amap.student, amap.teacher, ("", ""))
            np.testing.assert_allclose(found[amap.example_id], score_map(amap, gold).top1_sure)
    assert '"sure"' in charts(test)[0]  # outlines


def test_every_number_says_so(monkeypatch, store):
    test = open_page(monkeypatch, "browse", "--maps", store[0], spans="true")
    assert len(test.metric) == 6 and all(metric.label.endswith(" · rule") for metric in test.metric)
    assert json.loads(charts(test)[0])["title"]["subtitle"][0].startswith("top-1 · rule ")
    assert "gold: none; links of the span rule" in shown(test)
    test = open_page(monkeypatch, "overview", "--maps", store[0], spans="true")
    assert not test.exception and "Top-1 over sure links · rule" in marked(test)
    test = open_page(monkeypatch, "compare", "--maps", store[0], spans="true")
    assert not test.exception and all(metric.label.endswith(" · rule") for metric in test.metric)


def test_without_the_switch_there_are_no_scores(monkeypatch, store):
    test = open_page(monkeypatch, "browse", "--maps", store[0])
    assert not test.exception and not test.metric and test.toggle(key="spans").value is False
    test.toggle(key="spans").set_value(True).run()
    assert not test.exception and len(test.metric) == 6


def test_where_there_is_gold_there_is_no_switch(monkeypatch, store):
    test = open_page(monkeypatch, "browse", "--maps", store[0], "--gold", store[1], spans="true")
    assert not test.exception and not test.toggle and not any("rule" in metric.label for metric in test.metric)
