"""The dashboard's pages and states through Streamlit's AppTest, and the plain functions behind them by hand."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import downloads, view
from probe.attention_map import AttentionMap, MapStore
from probe.gold import Gold, write_gold
from tests import app_maps

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [*app_maps.example_texts(6), ("hostile", "**bad**", " ".join(app_maps.HOSTILE))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("app")
    golds = app_maps.make_store(folder / "maps", TEXTS)
    write_gold(folder / "gold.jsonl", golds)
    return folder / "maps", folder / "gold.jsonl"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    def open_page(*arguments: object, **query: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        test = AppTest.from_file(str(ROOT / "app/page.py"), default_timeout=120)
        for name, value in query.items():
            test.query_params[name] = value
        return test.run()

    return open_page


def listed(test: AppTest) -> pd.DataFrame:
    """The example list in the sidebar."""
    return test.sidebar.dataframe[0].value


def shown(test: AppTest) -> str:
    """All plain text on the page."""
    return "\n".join(str(element.value) for element in [*test.text, *test.code, *test.caption])


def marked(test: AppTest) -> str:
    """Everything on the page that Streamlit would render as Markdown."""
    kinds = (test.markdown, test.caption, test.error, test.warning, test.info, test.subheader, test.title, test.header)
    bodies = [element.value for kind in kinds for element in kind]
    return "\n".join([*bodies, *(metric.label for metric in test.metric), *(button.label for button in test.button)])


# --- the page ---


def test_opens_on_the_worst_example_with_scores_and_a_map(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    assert not test.exception and not test.error and not test.warning
    rows = listed(test)
    assert rows["top1_sure"].is_monotonic_increasing
    assert rows["example_id"].iloc[0] in shown(test)
    assert len(test.get("vega_lite_chart")) == 1
    assert test.metric[0].label == "top-1, sure"
    assert test.metric[0].value == f"{rows['top1_sure'].iloc[0]:.2f}"
    assert "7 of 7 examples" in shown(test)


def test_example_and_controls_come_from_the_link(page, store):
    test = page(
        "--maps", store[0], "--gold", store[1],
        example="example-002", checkpoint="dskd-cma-ga", compare="dskd-cma", direction="s2t", sort="id", scale="max",
    )  # fmt: skip
    assert not test.exception and not test.info
    assert test.selectbox(key="checkpoint").value == "dskd-cma-ga"
    assert "example-002   ·   code" in shown(test)
    assert len(test.get("vega_lite_chart")) == 2
    assert listed(test)["example_id"].tolist() == sorted(name for name, _, _ in TEXTS)


@pytest.mark.parametrize("name", ["checkpoint", "compare", "direction", "category", "sort", "scale", "example"])
def test_bad_values_in_the_link_fall_back_with_a_note(page, store, name):
    test = page("--maps", store[0], "--gold", store[1], **{name: "<b>nonsense</b>"})
    assert not test.exception and not test.error
    assert len(test.info) == 1 and "nonsense" not in test.info[0].value
    assert f"{name} = <b>nonsense</b>" in shown(test)
    assert len(test.get("vega_lite_chart")) == 1


def test_next_and_previous_step_through_the_list(page, store):
    test = page("--maps", store[0], "--gold", store[1], sort="id")
    names = listed(test)["example_id"].tolist()
    assert test.button(key="step-Previous").disabled
    test.button(key="step-Next").click().run()
    assert test.query_params["example"] == names[1] and f"{names[1]}   ·" in shown(test)
    test.button(key="step-Previous").click().run()
    assert f"{names[0]}   ·" in shown(test)


def test_search_filters_and_says_when_nothing_is_left(page, store):
    test = page("--maps", store[0], "--gold", store[1], q="EMOJI")
    assert listed(test)["example_id"].tolist() == ["example-004"]
    assert "1 of 7 examples" in shown(test)
    test.text_input(key="q").set_value("no such word").run()
    assert test.subheader[0].value == "No example matches" and "no such word" in shown(test)
    test.text_input(key="q").set_value("").run()
    test.selectbox(key="category").select("names").run()
    assert set(listed(test)["example_id"]) == {"example-001", "example-004"}


def test_without_gold_the_map_is_shown_without_scores(page, store):
    test = page("--maps", store[0])
    assert not test.exception and not test.metric
    assert "top1_sure" not in listed(test)
    assert len(test.get("vega_lite_chart")) == 1 and "No gold for this example" in shown(test)


def test_comparing_shows_the_difference_of_the_second_to_the_first(page, store):
    test = page("--maps", store[0], "--gold", store[1], compare="dskd-cma-ga", example="example-002")
    table = test.main.dataframe[0].value.set_index("score")
    np.testing.assert_allclose(table["difference"], table["dskd-cma-ga"] - table["dskd-cma"])
    assert test.metric[0].value == f"{table.loc['top-1, sure', 'dskd-cma-ga']:.2f}"


def test_two_long_maps_are_shown_in_windows_side_by_side_or_whole(page, store):
    query = {"compare": "dskd-cma-ga", "example": "example-002"}
    test = page("--maps", store[0], "--gold", store[1], **query)
    assert test.slider[0].label.startswith("Shown: 36 of")
    test.toggle(key="whole").set_value(True).run()
    assert not test.exception and len(test.get("vega_lite_chart")) == 2
    assert test.slider[0].label.startswith("Shown: 80 of")


def test_a_long_map_is_shown_in_windows(page, tmp_path):
    app_maps.make_store(tmp_path / "maps", [("long", "prose", app_maps.PROSE * 4)])
    test = page("--maps", tmp_path / "maps")
    assert not test.exception and "targets, from target" in test.slider[0].label
    test.slider[0].set_value(test.slider[0].max).run()
    assert not test.exception


# --- what a token may not do ---


def test_tokens_ids_and_categories_never_reach_markdown(page, store):
    test = page("--maps", store[0], "--gold", store[1], example="hostile", compare="dskd-cma-ga")
    assert not test.exception and "<script>" in shown(test)
    for payload in (*app_maps.HOSTILE, "**bad**"):
        assert payload not in marked(test)
    chart = test.get("vega_lite_chart")[0].proto
    assert "<script>" in chart.spec  # as a value of the labels …
    assert "labelExpr" in chart.spec and "teacher_labels[datum.value]" in chart.spec  # … which no expression contains


def test_nothing_renders_html():
    for path in (ROOT / "app").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "unsafe_allow" not in source and "st.html" not in source and "components" not in source, path


def test_no_torch_no_models_no_tokenizer(store):
    code = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"sys.argv = ['main.py', '--maps', {str(store[0])!r}, '--gold', {str(store[1])!r}]\n"
        f"test = AppTest.from_file({str(ROOT / 'app/page.py')!r}, default_timeout=120).run()\n"
        "assert not test.exception and test.metric\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'matplotlib', 'probe.models', 'probe.tokenization'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


# --- states in which there is nothing to show ---


def test_no_maps_names_the_next_command(page, tmp_path):
    for place in (tmp_path / "absent", tmp_path):
        test = page("--maps", place)
        assert not test.exception and test.subheader[0].value == "No attention maps here yet"
        assert any("make demo" in block.value for block in test.code)


def test_an_empty_store_names_the_next_command(page, tmp_path):
    app_maps.make_store(tmp_path / "maps", [])
    test = page("--maps", tmp_path / "maps")
    assert not test.exception and test.subheader[0].value == "No attention maps here yet"


@pytest.mark.parametrize("name", ["index.parquet", "maps-00000.safetensors", "manifest.json"])
def test_a_damaged_store_is_explained(page, tmp_path, name):
    app_maps.make_store(tmp_path / "maps", TEXTS[:2])
    path = tmp_path / "maps" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(b"{" if name == "manifest.json" else bytes(content))
    test = page("--maps", tmp_path / "maps")
    assert not test.exception and len(test.error) == 1
    assert "Exit code of the commands for this: 4 (bad or damaged map store)" in test.error[0].value
    assert name in shown(test) and "make demo" in marked(test)


def test_a_folder_that_is_no_store_is_explained(page, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    test = page("--maps", tmp_path)
    assert not test.exception and "Exit code of the commands for this: 4" in test.error[0].value


def test_gold_for_other_tokens_is_named_and_the_maps_are_shown_without_it(page, store, tmp_path):
    other = app_maps.make_store(tmp_path / "other", TEXTS, sizes=(4, 5))
    write_gold(tmp_path / "gold.jsonl", other)
    test = page("--maps", store[0], "--gold", tmp_path / "gold.jsonl")
    assert not test.exception and len(test.warning) == 1
    assert "first difference at index 0: wanted 'When', found 'Whe'" in shown(test)
    assert not test.metric and len(test.get("vega_lite_chart")) == 1


@pytest.mark.parametrize("content", [None, "", "{broken", '{"id": 1}'])
def test_unreadable_gold_is_explained_and_the_maps_are_shown_without_it(page, store, tmp_path, content):
    path = tmp_path / "gold.jsonl"
    if content is not None:
        path.write_text(content)
    test = page("--maps", store[0], "--gold", path)
    assert not test.exception and len(test.warning) == 1 and "gold.jsonl" in shown(test)
    assert len(test.get("vega_lite_chart")) == 1


@pytest.mark.parametrize("arguments", [["--mpas", "x"], ["x"], ["--maps"]])
def test_unknown_arguments_are_explained(page, arguments):
    test = page(*arguments)
    assert not test.exception and "Exit code of the commands for this: 2" in test.error[0].value
    assert "streamlit run app/main.py -- --maps MAPS" in shown(test)


# --- the plain functions ---


def planted(weights: list[list[float]], direction: str = "t2s") -> AttentionMap:
    array = np.array(weights, dtype=np.float32)
    axes = [app_maps.axis("ab" * 8, list("ab" * 8))] * 2
    cut = [type(axes[0])(*(field[:size] for field in vars(axes[0]).values())) for size in array.shape]
    return AttentionMap("id", "", "c", "m", direction, "frozen", "ab" * 8, *cut, array)


def gold_of(sure: set[tuple[int, int]], possible: set[tuple[int, int]]) -> Gold:
    return Gold("id", "", (), (), "", "", frozenset(sure), frozenset(possible | sure))


def test_ranks_run_within_rows_or_columns_and_ties_share_the_smallest():
    weights = [[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.3, 0.3, 0.4]]
    np.testing.assert_array_equal(view.line_ranks(planted(weights)), [[1, 2, 3], [3, 1, 1], [2, 2, 1]])
    np.testing.assert_array_equal(view.line_ranks(planted(weights, "s2t")), [[1, 2, 3], [3, 1, 1], [2, 2, 1]])
    uneven = [[0.9, 0.1], [0.6, 0.4]]
    np.testing.assert_array_equal(view.line_ranks(planted(uneven)), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(view.line_ranks(planted(uneven, "s2t")), [[1, 2], [2, 1]])


def test_outcomes_tell_hits_misses_and_lines_without_gold_apart():
    amap = planted([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    gold = gold_of({(0, 0)}, {(1, 0), (2, 1)})
    cells = view.map_cells(amap, gold, view.Window((0, 4), (0, 3)))
    found = {(row.student_index, row.teacher_index): row.outcome for row in cells.itertuples() if row.outcome}
    assert found == {(0, 0): "sure", (1, 0): "possible", (2, 2): "miss", (3, 0): "no gold", (3, 1): "no gold"}
    assert cells["gold"].value_counts().to_dict() == {"none": 9, "possible": 2, "sure": 1}
    assert set(view.map_cells(amap, None, view.Window((0, 4), (0, 3)))["gold"]) == {""}


def test_a_window_keeps_the_indices_and_ranks_of_the_whole_map():
    amap = planted([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    cells = view.map_cells(amap, None, view.Window((1, 2), (0, 2)))
    assert cells[["student_index", "teacher_index", "rank"]].values.tolist() == [[1, 0, 3], [1, 1, 2]]
    assert view.heaviest_outside(amap, view.Window((1, 2), (0, 2))) == 1
    assert view.heaviest_outside(amap, view.Window((0, 2), (0, 3))) == 0


def test_windows_of_both_sides_show_the_same_text():
    text = "abcdefghij" * 10
    student, teacher = app_maps.axis(text, list(text)), app_maps.axis(text, app_maps.cut(text, 4))
    assert view.window_at(student, teacher, 0, 20) == view.Window((0, 20), (0, 20))
    middle = view.window_at(student, teacher, 20, 10)
    assert middle == view.Window((20, 30), (5, 15))  # byte 20 begins the sixth piece of four
    assert teacher.spans[middle.columns[0]][0] == student.spans[middle.rows[0]][0]
    end = view.window_at(student, teacher, 10_000, 10)
    assert (end.rows[1], end.columns[1]) == (len(student), len(teacher))
    swapped = view.window_at(teacher, student, 20, 10)
    assert (swapped.rows, swapped.columns) == (middle.columns, middle.rows)


def test_every_target_can_be_reached_by_some_window():
    text = app_maps.PROSE * 4
    student, teacher = (app_maps.axis(text, app_maps.cut(text, size)) for size in (2, 5))
    seen: list[set[int]] = [set(), set()]
    for start in range(0, len(student), 10):
        window = view.window_at(student, teacher, start, 40)
        seen[0] |= set(range(*window.rows))
        seen[1] |= set(range(*window.columns))
    assert seen == [set(range(len(student))), set(range(len(teacher)))]


def test_the_example_list_sorts_and_searches(store):
    opened = MapStore.open(store[0])
    rows = view.example_rows(opened.index.iloc[opened.select(checkpoint="dskd-cma", direction="t2s")])
    rows["top1_sure"] = [0.5, 0.1, float("nan"), 0.5, 0.9, 0.2, 0.3]
    names = rows["example_id"].tolist()
    assert view.order(rows, "worst")["example_id"].tolist() == [names[i] for i in (1, 5, 6, 0, 3, 4, 2)]
    assert view.order(rows, "best")["example_id"].tolist() == [names[i] for i in (4, 0, 3, 6, 5, 1, 2)]
    assert view.order(rows, "length")["cells"].is_monotonic_decreasing
    assert view.search(rows, "  chloroPHYLL ", None)["text"].str.contains("chlorophyll").all()
    assert view.search(rows, "‹eos›", "code")["category"].unique().tolist() == ["code"]


def test_csv_holds_the_cells_on_screen_and_no_formula():
    amap = planted([[0.25, 0.75], [1.0, 0.0]])
    cells = view.map_cells(amap, None, view.Window((0, 2), (0, 2)))
    cells.loc[0, "student_token"] = '=HYPERLINK("http://x")'
    cells.loc[1, "student_token"] = 'a,b\n"c"'
    rows = list(csv.DictReader(io.StringIO(downloads.csv_bytes([(amap, cells)]).decode("utf-8-sig"))))
    assert len(rows) == 4 and [float(row["weight"]) for row in rows] == [0.25, 0.75, 1.0, 0.0]
    assert rows[0]["student_token"] == '\'=HYPERLINK("http://x")'
    assert rows[1]["student_token"] == 'a,b\n"c"'


def test_file_names_are_harmless():
    amap = planted([[1.0]])
    for name in ("../../etc/passwd", "a\x00b", "", "C:\\x", "名前"):
        stem = downloads.file_stem(type(amap)(**{**vars(amap), "example_id": name}))
        assert stem and not set(stem) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert not stem.startswith(".")


def test_the_difference_puts_the_most_changed_example_first():
    columns = {"example_id": ["a", "b", "c"], "cells": [1, 1, 1]}
    first = pd.DataFrame({**columns, "top1_sure": [0.5, 0.5, 0.9]})
    second = pd.DataFrame({"example_id": ["c", "b", "a"], "top1_sure": [0.2, 0.6, 0.5]})
    found = view.order(view.with_difference(first, second), "difference")
    assert found["example_id"].tolist() == ["c", "b", "a"]
    np.testing.assert_allclose(found["difference"], [-0.7, 0.1, 0.0])
    assert view.order(first, "difference")["example_id"].tolist() == ["a", "b", "c"]


def test_a_png_is_made_of_the_window_on_the_scale_of_the_page():
    amap = planted([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    window = view.Window((0, 2), (1, 3))
    pictures = {top: downloads.png_bytes(amap, gold_of({(1, 2)}, set()), window, top) for top in (1.0, 0.7)}
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in pictures.values())
    assert pictures[1.0] != pictures[0.7]
