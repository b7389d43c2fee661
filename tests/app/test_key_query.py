"""Key-query space: the files as they are read, and the page with both clouds, and without any."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.data import key_query
from probe.errors import DataError
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_files import make_clouds
from tests.support.dashboard.app_pages import charts, marked, open_page, shown


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path):
    def open_space(folder: Path, **query: str) -> AppTest:
        return open_page(monkeypatch, "key_query", "--maps", tmp_path / "no", "--key-query", folder, **query)

    return open_space


def test_figures_before_and_after_with_their_change(tmp_path):
    found = key_query.read_key_query(make_clouds(tmp_path))
    table = key_query.before_and_after(found.figures, "dskd-cma").set_index("measure")
    assert table.index.tolist() == [
        *(key_query.MEASURES[name] for name in ("classifier_accuracy", "energy_distance")),
        "new_measure",
    ]
    assert table.loc["energy distance"].tolist() == [19.0, 13.0, -6.0, 0.1]
    assert table.loc["new_measure"].tolist() == [9.5, 6.5, -3.0, 0.05]


def test_large_clouds_are_thinned_by_chance_but_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(key_query, "MOST_POINTS", 25)
    found = key_query.read_key_query(make_clouds(tmp_path))
    points, total = key_query.points(found.clouds, "dskd-cma", "trained", "PCA")
    assert (len(points), total) == (25, 60) and set(points["side"]) == {"query", "key"}
    pd.testing.assert_frame_equal(points, key_query.points(found.clouds, "dskd-cma", "trained", "PCA")[0])


@pytest.mark.parametrize("name", [key_query.FIGURES, key_query.CLOUDS])
@pytest.mark.parametrize("content", [b"", b"\xff\x00x", b"other\n1\n"])
def test_files_that_cannot_be_read_are_named(tmp_path, name, content):
    (make_clouds(tmp_path) / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        key_query.read_key_query(tmp_path)


def test_both_clouds_before_and_after_matching(page, tmp_path):
    test = page(make_clouds(tmp_path / "kq"), checkpoint="dskd-cma-ga")
    assert not test.exception and not test.info
    before, after = (json.loads(spec) for spec in charts(test))
    assert before["title"]["text"].startswith("Before") and after["title"]["text"].startswith("After")
    scales = [spec["encoding"]["x"]["scale"]["domain"] for spec in (before, after)]
    assert scales[0] == scales[1]  # distances of PCA pictures can be compared
    assert "content" in before["mark"]["tooltip"] and test.dataframe[0].value["trained"].notna().all()
    assert "signature: made:dskd-cma-ga" in shown(test) and "trained, 60 of 60 points" in shown(test)
    assert (
        "in 90.0 % after training; chance is 50 %. The energy distance of the two clouds went from 19 to 13"
        in shown(test)
    )
    digest = hashlib.sha256((tmp_path / "kq" / key_query.FIGURES).read_bytes()).hexdigest()[:8]
    assert f"figures: key_query.csv, sha256 {digest}" in shown(test)
    said = test.get("vega_lite_chart")[0].proto.alt
    assert "untrained" in said and "energy distance 19" in said
    test.segmented_control(key="projection").set_value("t-SNE").run()
    assert json.loads(charts(test)[0])["encoding"]["x"]["title"] == "t-SNE 1"
    assert not any(payload in marked(test) for payload in app_maps.HOSTILE)


def test_bad_values_of_the_link_fall_back_with_a_note(page, tmp_path):
    test = page(make_clouds(tmp_path / "kq"), checkpoint="<b>", projection="map")
    assert not test.exception and "checkpoint = <b>" in shown(test) and "projection = map" in shown(test)
    assert len(charts(test)) == 2


def test_nothing_there_names_the_command_and_damage_is_explained(page, tmp_path):
    test = page(tmp_path / "absent")
    assert not test.exception and "python -m analysis.key_query --checkpoint" in shown(test)
    (make_clouds(tmp_path / "kq") / key_query.CLOUDS).write_bytes(b"x")
    test = page(tmp_path / "kq")
    assert not test.exception and "Exit code of the commands for this: 3" in test.error[0].value
    assert "clouds.parquet" in shown(test)
