"""Typed-in texts: their maps are those of `probe extract`, nothing is sent, and no other page loads torch."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import page_try_text, pages
from app.server import live
from probe.errors import DataError, UnsafeError
from probe.scoring.alignment import span_links
from probe.text.examples import Example
from tests.support import tiny
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import ROOT, charts, make_files, marked, open_page, shown
from tests.support.tiny import extract_maps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("try")
    teacher = tiny.model_directory(root / "teacher", "llama")
    for name, method in (("good", "dskd-cma"), ("plain", "sft")):
        tiny.checkpoint_directory(root / "checkpoints" / name, teacher, method=method)
    (root / "checkpoints/elsewhere").symlink_to(tiny.checkpoint_directory(root / "outside", teacher))
    (root / "checkpoints/notes.txt").write_text("x")
    return root / "checkpoints"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, folder):
    def open_try(**query: str) -> AppTest:
        return open_page(monkeypatch, "try_text", "--maps", folder / "absent", "--checkpoints", folder, **query)

    return open_try


def submit(test: AppTest, response: str | None = None, prompt: str | None = None) -> AppTest:
    for key, text in (("response", response), ("prompt", prompt)):
        if text is not None:
            test.text_area(key=key).set_value(text)
    return test.button[0].click().run()


def title(test: AppTest) -> str:
    return json.loads(charts(test)[0])["title"]["text"]


def test_the_maps_are_those_of_the_library_and_the_gold_is_the_span_rule(folder):
    maps, gold = live.maps_of(folder, "good", "Say: ", "naïve café 👩‍👩‍👧")
    expected = list(extract_maps(folder / "good", [Example("your text", "Say: ", ("naïve café 👩‍👩‍👧",))]))
    assert [amap.direction for amap in expected] == list(maps)
    for amap in expected:
        np.testing.assert_array_equal(maps[amap.direction].weights, amap.weights)
    amap = maps["t2s"]
    assert (gold.sure, gold.possible) == span_links(amap.student.spans, amap.teacher.spans)


def test_only_checkpoints_with_projectors_inside_the_folder_are_offered(folder):
    assert live.checkpoint_names(folder) == ["good"]
    assert live.checkpoint_names(folder / "absent") == []
    for name in ("elsewhere", "../outside", str(folder.parent / "outside"), "plain", "", ".", "good/"):
        with pytest.raises(UnsafeError, match="no checkpoint"):
            live.maps_of(folder, name, "", "text")


@pytest.mark.parametrize(("prompt", "response", "says"), [
    ("p", "", "response is empty"), ("p", " \n\t", "response is empty"), ("p", "x" * 4001, "at most 4,000"),
    ("x" * 4001, "r", "the prompt has 4,001 letters"), ("p", "half \ud83d", "surrogate"),
])  # fmt: skip
def test_texts_without_a_map_are_explained(folder, prompt, response, says):
    with pytest.raises(DataError, match=says):
        live.maps_of(folder, "good", prompt, response)


def test_a_long_text_is_cut_on_both_sides_at_one_byte(folder):
    maps, _ = live.maps_of(folder, "good", "", "word " * 700)
    amap = maps["t2s"]
    assert amap.truncated and max(amap.weights.shape) <= live.MOST_TOKENS
    assert amap.student.spans[-1][1] == amap.teacher.spans[-1][1] == len(amap.text.encode())


def test_the_page_shows_the_map_and_sends_nothing(page, monkeypatch):
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"a connection to {arguments[1:]} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    test = page()
    assert not test.exception and charts(test) == [] and "Press the button" in shown(test)
    submit(test, "The cat sat on the mat.")
    assert not test.exception and len(charts(test)) == 1 and "The cat sat on the mat." in shown(test)
    assert title(test) == "good · t2s" and "gold link" in charts(test)[0]
    test.segmented_control(key="direction").set_value("s2t").run()
    assert title(test) == "good · s2t"
    assert not {"prompt", "response"} & set(test.query_params)  # what is typed is not in the link
    assert "checkpoint: good, manifest sha256 " in shown(test) and "text: typed in, not stored" in shown(test)
    assert "outlined: links of the span rule" in shown(test)


def test_bad_texts_are_friendly_on_the_page(page):
    test = submit(page(), " ")
    assert not test.exception and not test.error and "no map" in test.warning[0].value
    assert "response is empty" in shown(test) and charts(test) == []
    submit(test, "The cat.")
    assert not test.warning and len(charts(test)) == 1
    submit(test, "word " * 700)
    assert "at most 512 tokens" in test.warning[0].value


def test_hostile_texts_stay_text(page):
    test = submit(page(), " ".join(app_maps.HOSTILE), "<script>window.hacked=1</script>")
    assert not test.exception and "<script>" in shown(test)
    assert not any(payload in marked(test) for payload in app_maps.HOSTILE)


def test_a_checkpoint_that_the_browser_made_up_is_not_opened(page):
    test = page()
    test.session_state[page_try_text.SUBMITTED] = ("../outside", "p", "r")
    test.run()
    assert not test.exception and "Exit code of the commands for this: 7" in test.error[0].value
    test = page(checkpoint="../outside")
    assert "checkpoint = ../outside" in shown(test)


def test_no_checkpoints_name_the_next_command(monkeypatch, tmp_path):
    test = open_page(monkeypatch, "try_text", "--maps", tmp_path, "--checkpoints", tmp_path)
    assert not test.exception and "python -m probe train" in shown(test)


def test_a_damaged_checkpoint_is_explained(monkeypatch, folder, tmp_path):
    checkpoint = tiny.checkpoint_directory(tmp_path / "c" / "bad", folder.parent / "teacher")
    (checkpoint / "projectors.safetensors").write_bytes(b"x")
    test = open_page(monkeypatch, "try_text", "--maps", tmp_path, "--checkpoints", tmp_path / "c")
    submit(test)
    assert not test.exception and "Exit code of the commands for this: 4" in test.error[0].value
    assert "projectors.safetensors" in shown(test)


def test_opening_any_page_loads_no_torch(tmp_path):
    """Also this one, before a text is submitted."""
    maps, gold = make_files(tmp_path)
    code = (
        "import sys; from streamlit.testing.v1 import AppTest; from streamlit.util import calc_hash\n"
        f"sys.argv = ['main.py', '--maps', {str(maps)!r}, '--gold', {str(gold)!r}]\n"
        f"for name in {[entry.name for entry in pages.ENTRIES]}:\n"
        f"    test = AppTest.from_file({str(ROOT / 'app/page.py')!r}, default_timeout=120)\n"
        "    test._page_hash = calc_hash(name)\n"
        "    test.run()\n"
        "    assert not test.exception, name\n"
        "    assert f'app.page_{name}' in sys.modules, name\n"
        "    heavy = {'torch', 'transformers', 'tokenizers', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
