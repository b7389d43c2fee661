"""Maps and gold in a notebook: what the HTML holds, that nothing in it runs, ids and selections, files."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import probe
from probe.errors import DataError, UsageError
from probe.gold.reading import read_gold, write_gold
from probe.maps.notebook import html_of
from probe.maps.store import MapStore
from probe.notebook.one_map import Map
from probe.notebook.picture import MOST, map_html
from probe.scoring.aggregation import grouped, grouped_gold, partition
from tests.support.aligned import axis, make_gold, make_map
from tests.support.dashboard.app_maps import example_texts, make_store
from tests.support.payloads import PAYLOADS

# Everything that a page may hold; whatever a hostile token brings along would be another tag or attribute.
TAGS = {
    "div",
    "b",
    "br",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "svg",
    "title",
    "g",
    "text",
    "rect",
    "circle",
    "path",
}
ATTRIBUTES = {
    "class", "style", "xmlns", "width", "height", "role", "viewbox", "font-family", "font-size", "fill", "x", "y",
    "text-anchor", "transform", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "cx",
    "cy", "r", "d",
}  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def of_class(self, name: str) -> set[tuple[int, int]]:
        """Cells [row, column] of the outlines of this class."""
        found = [a for tag, a in self.tags if tag == "rect" and a.get("class") == name]
        return {(int(a["y"]) // 15, int(a["x"]) // 15) for a in found}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    write_gold(folder / "gold.jsonl", make_store(folder / "maps", example_texts(3)))
    return folder


@pytest.fixture
def maps(room):
    return probe.open_maps(room / "maps", gold=room / "gold.jsonl")


def test_a_map_shows_its_cells_and_gold(maps):
    amap = maps.select(checkpoint="dskd-cma", direction="t2s")["example-000"]
    page = Page(amap._repr_html_())
    assert page.of_class("sure") == set(amap.gold.sure)
    assert page.of_class("possible") == set(amap.gold.possible - amap.gold.sure)
    shades = [float(a["fill-opacity"]) for tag, a in page.tags if tag == "rect" and a.get("fill") == "#2f7fc4"]
    assert shades == pytest.approx(amap.weights[amap.weights >= 0.02].tolist(), abs=1e-3)
    best = amap.weights.argmax(axis=1)
    hits = sum((i, j) in amap.gold.possible for i, j in enumerate(best))
    assert sum(tag == "circle" for tag, _ in page.tags) == hits > 0
    for token in (*amap.student.tokens, *amap.teacher.tokens):
        assert token in page.words
    assert "currentColor" in amap._repr_html_() and "background" not in amap._repr_html_()  # light and dark


def test_maps_and_gold_show_themselves(maps, room):
    page = Page(maps._repr_html_())
    assert sum(tag == "tr" for tag, _ in page.tags) == 1 + 12 and page.of_class("sure") == set(maps[0].gold.sure)
    gold = read_gold(room / "gold.jsonl")["example-000"]
    assert Page(html_of(gold)).of_class("sure") == set(gold.sure)
    bare = dataclasses.replace(gold, student_tokens=(), teacher_tokens=())
    assert "svg" not in {tag for tag, _ in Page(html_of(bare)).tags}
    assert "0 maps" in maps[:0]._repr_html_()
    assert html_of(3) is None


def test_reprs_are_short(maps, room):
    assert repr(maps) == "Maps(12 maps of 3 examples; dskd-cma, dskd-cma-ga; t2s, s2t)"
    assert repr(maps[0]) == "Map('example-000', dskd-cma, t2s, 7 × 4)"
    assert repr(MapStore.open(room / "maps").read(0)) == "AttentionMap('example-000', dskd-cma, t2s, 7 × 4)"
    assert repr(maps[0].gold).startswith("Gold('example-000', 7 × 4, ")


@pytest.mark.parametrize("part", range(8))
def test_nothing_of_a_hostile_map_runs(part):
    pieces = [payload for payload in PAYLOADS[part::8] if "\0" not in payload]
    text = "".join(pieces)
    amap = make_map(axis(text, pieces), axis(text, pieces), text=text, checkpoint=pieces[0], example_id=pieces[1])
    gold = make_gold(amap)
    shown = probe.api.Maps(1, lambda number: amap, ("", ""), {amap.example_id: gold})
    for html in (html_of(amap), html_of(gold), html_of(Map.of(amap, gold)), shown._repr_html_()):
        page = Page(html)
        assert {tag for tag, _ in page.tags} <= TAGS
        assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
        assert not any(ord(letter) < 32 and letter not in "\n" or letter in "\u202e\u200b" for letter in html)


def test_large_maps_are_cut_and_say_so():
    text = "ab" * 100
    amap = make_map(axis(text, list(text)), axis(text, [text[k : k + 2] for k in range(0, 200, 2)]), text=text)
    html = map_html(amap)
    assert f"cut: student targets 0–{MOST - 1} of 201" in html and len(html) < 60_000


def test_an_id_gives_its_map_or_its_maps(maps):
    found = maps["example-001"]
    assert len(found) == 4 and {amap.example_id for amap in found} == {"example-001"}
    one = maps.select(checkpoint="dskd-cma-ga", direction="s2t")["example-001"]
    assert (one.example_id, one.checkpoint, one.direction) == ("example-001", "dskd-cma-ga", "s2t")
    with pytest.raises(DataError, match="none of the 12 maps is of example 'prose', but for instance of example-000"):
        maps["prose"]
    with pytest.raises(UsageError, match="no label 'colour'"):
        maps.select(colour="red")
    with pytest.raises(UsageError, match="4 maps are of example 'example-001'; select"):
        maps.show("example-001")
    assert maps.select(direction="t2s")[1:].column("direction") == ["t2s"] * 5


def test_grouping_takes_the_gold_along(maps):
    amap = maps[0]
    groups = partition(amap.text, amap.student, amap.teacher, "word")
    wanted = grouped(amap, groups)
    for made in (amap.grouped("word"), maps.show(0, unit="word")):
        np.testing.assert_array_equal(made.weights, wanted.weights)
        assert made.gold == grouped_gold(amap.gold, groups, wanted) and made.unit == "word"
    assert "words" in amap.grouped("word")._repr_html_() and amap.grouped("token").unit == "target"
    assert amap.grouped("word").plot().get_xlabel().startswith("teacher words")
    with pytest.raises(UsageError):
        amap.grouped("letter")


def test_files_hold_the_frames(maps, tmp_path):
    for thing in (maps[0], maps[:2]):
        frame = pd.read_csv(thing.to_csv(tmp_path / "cells.csv"))
        assert len(frame) == len(thing.to_frame())
        np.testing.assert_allclose(frame["weight"], thing.to_frame()["weight"], rtol=1e-5)


def test_gold_that_was_opened_along_is_what_scores_use(maps, room):
    frame = maps.score()
    assert frame["signature"].equals(probe.open_maps(room / "maps").score(room / "gold.jsonl")["signature"])
    assert "span-rule" in probe.open_maps(room / "maps").score()["signature"][0]
    assert maps.show(0, gold=maps[0].gold).gold == maps[0].gold
