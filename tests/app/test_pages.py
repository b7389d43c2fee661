"""The dashboard's frame and its page Browse through Streamlit's AppTest: what is shown, and every state in its way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.draw import links, screen
from probe.gold.reading import write_gold
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import (
    ROOT,
    TEXTS,
    charts,
    listed,
    make_files,
    marked,
    open_page,
    overviews,
    shown,
)

SCRIPTED = ROOT / "app/draw/screen.py"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("app"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    def open_browse(*arguments: object, **query: str) -> AppTest:
        return open_page(monkeypatch, "browse", *arguments, **query)

    return open_browse


# --- the page ---


def test_opens_on_a_plain_example_with_scores_and_a_map(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    assert not test.exception and not test.error and not test.warning
    rows = listed(test)
    assert rows["top1_sure"].is_monotonic_increasing  # the list begins with the worst …
    opened = rows[rows["example_id"] == re.search(r"(example-\d+)   ·", shown(test))[1]].iloc[0]
    text = {name: text for name, _, text in TEXTS}[opened["example_id"]]
    assert re.fullmatch("[A-Z][A-Za-z ,.]+", text)  # … and what is open is one that a stranger can read
    assert len(charts(test)) == 1
    assert test.metric[0].label == "top-1, sure"
    assert test.metric[0].value == f"{opened['top1_sure']:.2f}"
    assert "7 of 7 examples" in shown(test)


def test_with_filters_it_opens_on_the_first_of_the_list(page, store):
    test = page("--maps", store[0], "--gold", store[1], sort="best")
    rows = listed(test)
    assert f"{rows['example_id'].iloc[0]}   ·" in shown(test)
    assert test.metric[0].value == f"{rows['top1_sure'].iloc[0]:.2f}"


def test_unknown_parameters_get_a_suggestion(page, store):
    test = page("--maps", store[0], "--gold", store[1], exmaple="example-001", sort="wrost", zzzz="1")
    said = shown(test)
    assert not test.exception and "exmaple = example-001   (did you mean example?)" in said
    assert "sort = wrost   (did you mean worst?)" in said and "zzzz = 1" in said and said.count("did you mean") == 2


def test_every_parameter_that_a_page_reads_is_known():
    for path in (ROOT / "app").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        bound = re.findall(r'key="(\w+)",\s*bind="query-params"', source)
        read = re.findall(r'query_params(?:\.get\(|\[)"(\w+)"', source)
        assert {*bound, *read} <= set(links.PARAMETERS), path


def test_example_and_controls_come_from_the_link(page, store):
    test = page(
        "--maps", store[0], "--gold", store[1],
        example="example-002", checkpoint="dskd-cma-ga", direction="s2t", sort="id", scale="max", unit="word",
        size="20", pin="0.1",
    )  # fmt: skip
    assert not test.exception and not test.info
    assert test.selectbox(key="checkpoint").value == "dskd-cma-ga"
    assert "example-002   ·   code" in shown(test)
    assert "by word" in charts(test)[0]
    assert "where its weight goes" in marked(test) and len(charts(test)) == 5  # the map, two rows of bars, two texts
    assert listed(test)["example_id"].tolist() == sorted(name for name, _, _ in TEXTS)


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint",
        "direction",
        "category",
        "sort",
        "scale",
        "example",
        "unit",
        "size",
        "against",
        "pin",
        "from",
    ],
)
def test_bad_values_in_the_link_fall_back_with_a_note(page, store, name):
    test = page("--maps", store[0], "--gold", store[1], **{name: "<b>nonsense</b>"})
    assert not test.exception and not test.error
    assert len(test.info) == 1 and "nonsense" not in test.info[0].value
    assert f"{name} = <b>nonsense</b>" in shown(test)
    assert len(charts(test)) == 1


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
    assert len(charts(test)) == 1 and "No gold for this example" in shown(test)


def test_a_link_that_names_a_second_checkpoint_leads_to_the_page_that_compares(page, store):
    query = {"compare": "dskd-cma", "checkpoint": "dskd-cma-ga", "example": "example-002"}
    test = page("--maps", store[0], "--gold", store[1], **query)
    assert not test.exception and test.selectbox(key="reference").value == "dskd-cma-ga"
    assert test.pills(key="runs").value == ["dskd-cma"] and "example-002   ·" in shown(test)


def part_slider(test: AppTest, side: str):
    (slider,) = (slider for slider in test.slider if slider.label.startswith(f"{side} targets: "))
    return slider


def frame_of(test: AppTest) -> dict[str, int]:
    """The part of a long map that its small picture frames."""
    (spec,) = overviews(test)
    return json.loads(spec)["layer"][1]["data"]["values"][0]


def test_a_long_map_is_shown_in_windows_whose_start_is_in_the_link(page, tmp_path):
    app_maps.make_store(tmp_path / "maps", [("long", "prose", app_maps.PROSE * 4)])
    test = page("--maps", tmp_path / "maps")
    slider = part_slider(test, "Student")
    assert slider.label.startswith("Student targets: 80 of") and frame_of(test)["row"] == 0
    slider.set_value(slider.max).run()
    assert not test.exception and test.query_params["row"] == str(int(slider.max))
    assert frame_of(test)["row"] == int(slider.max) and frame_of(test)["column"] > 0  # the teacher's side follows
    again = page("--maps", tmp_path / "maps", **{"from": str(int(slider.max)), "size": "40"})  # a link of version 0.1
    assert not again.exception and not again.info
    assert part_slider(again, "Student").value == frame_of(again)["row"] == int(slider.max)


def test_rows_and_columns_of_a_long_map_move_apart_when_asked_to(page, tmp_path):
    app_maps.make_store(tmp_path / "maps", [("long", "prose", app_maps.PROSE * 4)])
    test = page("--maps", tmp_path / "maps", size="20")
    test.button(key="sides apart").click().run()
    part_slider(test, "Student").set_value(50).run()
    frame = frame_of(test)
    assert (frame["row"], frame["row_end"], frame["column"], frame["column_end"]) == (50, 70, 0, 20)
    test.button(key="sides apart").click().run()
    assert frame_of(test)["row"] == 50 and frame_of(test)["column"] > 0 and "column" not in test.query_params
    for name in ("row", "column", "from"):
        bad = page("--maps", tmp_path / "maps", size="20", **{name: "100000"})
        assert not bad.exception and f"{name} = 100000" in shown(bad)


def test_what_thins_out_a_map_is_in_the_link(page, store):
    test = page("--maps", store[0], "--gold", store[1], example="example-002", least="0.3", top="1")
    assert not test.exception and not test.info and test.slider(key="least").value == 0.3
    test = page("--maps", store[0], "--gold", store[1], least="2", top="7")
    assert not test.exception and all(text in shown(test) for text in ("least = 2", "top = 7"))


def test_filters_narrow_the_list(page, store):
    test = page("--maps", store[0], "--gold", store[1])
    everything = listed(test)
    middle = 0.05 * round(float(everything["top1_sure"].median()) / 0.05)
    test.slider(key="score").set_value((0.0, middle)).run()
    assert (listed(test)["top1_sure"] <= middle).all() and 0 < len(listed(test)) < len(everything)
    test.slider(key="score").set_value((0.0, 1.0)).run()
    longest = test.slider(key="length").max
    test.slider(key="length").set_value((longest, longest)).run()
    assert len(listed(test)) == 1
    test.slider(key="length").set_value((test.slider(key="length").min, longest)).run()
    test.slider(key="differ").set_value(0.05).run()
    assert (listed(test)["difference"].abs() >= 0.05).all() and len(listed(test)) < len(everything)


def test_the_change_is_of_this_run_from_the_one_it_is_set_against(page, store):
    test = page("--maps", store[0], "--gold", store[1], sort="difference")
    first = listed(test).set_index("example_id")
    other = listed(page("--maps", store[0], "--gold", store[1], checkpoint="dskd-cma-ga")).set_index("example_id")
    assert (first["difference"] == (first["top1_sure"] - other["top1_sure"][first.index])).all()
    assert first["difference"].abs().is_monotonic_decreasing


def test_another_example_forgets_the_pin_of_the_last_one(page, store):
    test = page("--maps", store[0], "--gold", store[1], sort="id", pin="0.0")
    assert "Student target 0" in marked(test)
    test.button(key="step-Next").click().run()
    assert "pin" not in test.query_params and "Student target" not in marked(test)


def test_the_map_can_be_read_as_a_table_and_says_its_finding(page, store):
    test = page("--maps", store[0], "--gold", store[1], example="example-002")
    (chart,) = (one.proto for one in test.get("vega_lite_chart") if one.proto.spec == charts(test)[0])
    assert "heaviest cells on gold links" in chart.alt and "example-002" in chart.alt
    assert any(expander.label == "This map as a table" for expander in test.expander)


# --- what a token may not do ---


def test_tokens_ids_and_categories_never_reach_markdown(page, store):
    test = page("--maps", store[0], "--gold", store[1], example="hostile", pin="1.1")
    assert not test.exception and "<script>" in shown(test)
    for payload in (*app_maps.HOSTILE, "**bad**"):
        assert payload not in marked(test)
    spec = charts(test)[0]
    assert "<script>" in spec  # as a value of the labels …
    assert "labelExpr" in spec and "teacher_labels[datum.value]" in spec  # … which no expression contains


def test_nothing_renders_html():
    for path in (ROOT / "app").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "unsafe_allow" not in source and "st.html" not in source, path
        assert "components" not in source or path == SCRIPTED, path


def test_the_one_script_is_a_constant_that_is_given_numbers_and_makes_no_markup():
    source = SCRIPTED.read_text(encoding="utf-8")
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(", "fetch(",
                      "XMLHttp", "WebSocket", "import(", "http"):  # fmt: skip
        assert forbidden not in source, forbidden
    assert source.count("components.v2.component(") == 2
    made = [screen.BUTTON, screen.STYLE, screen.SCRIPT, screen.SCROLL]
    assert all(isinstance(text, str) for text in made)  # made when the module is loaded, before any map is read
    assert re.findall(r"data\.(\w+)", screen.SCRIPT + screen.SCROLL).count("assumed") == 1
    assert set(re.findall(r"data\.(\w+)", screen.SCRIPT + screen.SCROLL)) == {"assumed", "place", "key", "row"}


def test_no_torch_no_models_no_tokenizer(store):
    code = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"sys.argv = ['main.py', '--maps', {str(store[0])!r}, '--gold', {str(store[1])!r}]\n"
        f"test = AppTest.from_file({str(ROOT / 'app/page.py')!r}, default_timeout=120).run()\n"
        "assert not test.exception and test.metric\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'matplotlib'}\n"
        "heavy |= {'probe.models.loading', 'probe.text.tokenization'}\n"
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
    test = page("--maps", store[0], "--gold", tmp_path / "gold.jsonl", example="example-000")
    assert not test.exception and len(test.warning) == 1
    assert "first difference at index 0: wanted 'When', found 'Whe'" in shown(test)
    assert not test.metric and len(charts(test)) == 1


@pytest.mark.parametrize("content", [None, "", "{broken", '{"id": 1}'])
def test_unreadable_gold_is_explained_and_the_maps_are_shown_without_it(page, store, tmp_path, content):
    path = tmp_path / "gold.jsonl"
    if content is not None:
        path.write_text(content)
    test = page("--maps", store[0], "--gold", path)
    assert not test.exception and len(test.warning) == 1 and "gold.jsonl" in shown(test)
    assert len(charts(test)) == 1


@pytest.mark.parametrize("arguments", [["--mpas", "x"], ["x"], ["--maps"]])
def test_unknown_arguments_are_explained(page, arguments):
    test = page(*arguments)
    assert not test.exception and "Exit code of the commands for this: 2" in test.error[0].value
    assert "streamlit run app/main.py -- --maps MAPS" in shown(test)
