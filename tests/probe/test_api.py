"""The Python API: the numbers of the commands, stored maps without torch, and what the documentation shows of it."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys

import numpy as np
import pytest

import probe
from probe.errors import DamagedError, DataError, UsageError
from probe.gold.reading import read_gold
from probe.scoring.metrics import score_map
from probe.text.examples import Example, read_examples
from tests.support import ROOT, tiny
from tests.support.dashboard.app_maps import example_texts, make_store
from tests.support.tiny import extract_maps

NAMES = {"checkpoints/dskd-cma": "cma", "out/demo/maps": "maps", "analysis/gold/gold.jsonl": "gold.jsonl"}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("room")
    tiny.model_directory(root / "teacher", "llama", "bpe", width=16, seed=1)
    tiny.checkpoint_directory(root / "cma", root / "teacher")
    tiny.data_file(root / "data.jsonl")
    from probe.gold.reading import write_gold

    write_gold(root / "gold.jsonl", make_store(root / "maps", example_texts(3)))
    return root


def test_maps_are_those_of_the_extraction(room):
    maps = probe.load(room / "cma").maps(room / "data.jsonl", direction="both")
    wanted = list(extract_maps(room / "cma", read_examples(room / "data.jsonl")))
    assert len(maps) == len(wanted) > 2
    for found, amap in zip(maps, wanted, strict=True):
        assert found.student == amap.student and found.direction == amap.direction
        np.testing.assert_array_equal(found.weights, amap.weights)


def test_every_form_of_a_text(room):
    one = probe.load(room / "cma")
    assert [a.text for a in one.maps("the cat")] == ["the cat"]
    assert [a.example_id for a in one.maps(["the cat", ("Say it.", "a dog")])] == ["text-1", "text-2"]
    assert one.maps(("Say it.", "a dog"))[0].text == "a dog"
    assert one.maps(Example("mine", "", ("a dog",)), direction="s2t")[0].direction == "s2t"
    for wrong in ("", ["x", ("prompt", "")], [3]):
        with pytest.raises(DataError, match="text 1|text 2"):
            one.maps(wrong)


def test_frames_are_the_arrays(room):
    maps = probe.open_maps(room / "maps")
    amap, cells = maps[0], maps[:1].to_frame()
    assert len(cells) == amap.weights.size
    pivot = cells.pivot(index="student", columns="teacher", values="weight").to_numpy()
    np.testing.assert_array_equal(pivot, amap.weights)
    assert cells["teacher_token"].tolist()[: len(amap.teacher)] == list(amap.teacher.tokens)
    links = maps[1:2].links()  # s2t: a row per teacher position
    assert len(links) == len(amap.teacher) and links["heaviest"].tolist() == maps[1].weights.argmax(0).tolist()


def test_scores_are_those_of_the_metric(room):
    maps, golds = probe.open_maps(room / "maps"), read_gold(room / "gold.jsonl")
    frame = maps.score(room / "gold.jsonl")
    assert frame["f1"].tolist() == [score_map(amap, golds[amap.example_id]).f1 for amap in maps]
    assert frame["signature"].str.contains("links:argmax.*gold:[0-9a-f]{8}").all()
    by_rule = maps.score()  # the store's gold follows the span rule
    assert by_rule["top1_possible"].tolist() == frame["top1_possible"].tolist()
    assert by_rule["signature"].str.contains("gold:span-rule").all()
    first = golds["example-000"]
    assert len(maps.score(first)) == 4 and len(maps.score({"example-000": first}, links="mutual")) == 4


def test_selecting_and_slicing(room):
    maps = probe.open_maps(room / "maps")
    chosen = maps.select(direction="s2t", checkpoint="dskd-cma")
    assert [a.example_id for a in chosen] == ["example-000", "example-001", "example-002"]
    assert [a.example_id for a in chosen[1:]] == ["example-001", "example-002"] and chosen[-1].direction == "s2t"
    with pytest.raises(IndexError):
        maps[len(maps)]


def test_plots_are_axes(room):
    maps = probe.open_maps(room / "maps")
    ax = maps.plot(0, gold=room / "gold.jsonl", colorbar=False)
    np.testing.assert_array_equal(ax.collections[0].get_array().reshape(maps[0].weights.shape), maps[0].weights)


def test_errors_say_what_was_wanted(room, tmp_path):
    maps = probe.open_maps(room / "maps")
    with pytest.raises(DataError, match="none of the 12 maps has gold"):
        maps.score({})
    with pytest.raises(UsageError, match="wanted argmax, mutual"):
        maps.score(links="both-directions")
    with pytest.raises(DamagedError):
        probe.open_maps(tmp_path / "nowhere")
    with pytest.raises(DamagedError):
        probe.load(tmp_path / "nowhere")
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        probe.lode  # noqa: B018


def test_stored_maps_need_no_torch(room):
    code = f"import sys, probe; probe.open_maps({str(room / 'maps')!r}).score(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def like_the_repository(room, tmp_path, monkeypatch):
    """Tiny models and maps under the names that the documentation uses."""
    for name, target in NAMES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(room / target)
    monkeypatch.chdir(tmp_path)


def test_the_docstring_is_true(like_the_repository):
    from probe import api

    failed, tried = doctest.testmod(api)
    assert failed == 0 and tried >= 7


PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
RUN = ("probe.load(", "probe.open_maps(", "MapStore.open(")  # blocks that make or open maps


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_passages_of_the_docs_run_in_under_ten_lines(like_the_repository, page):
    text = page.read_text(encoding="utf-8")
    for block in (b for b in re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S) if any(r in b for r in RUN)):
        assert len([line for line in block.splitlines() if line.strip()]) < 10
        exec(compile(block, page.name, "exec"), {})
