"""Hostile links, names and tokens, a part of them: see `tests/app_payloads/__main__.py`, which tries all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from app.data.annotations import Annotations, Saved
from probe.gold.reading import gold_record, read_gold
from tests.app_payloads import in_browser as app_payloads_browser
from tests.app_payloads import on_pages as app_payloads_pages
from tests.app_payloads.__main__ import check_links, make_house
from tests.app_payloads.rooms import make_room
from tests.app_payloads.tokens import HALVES, KINDS, LINKS, TOKENS
from tests.support import tiny
from tests.support.dashboard import browser
from tests.support.dashboard.app_files import make_run
from tests.support.dashboard.app_pages import make_files, open_page, shown

MIXED = tuple(
    KINDS[kind][place] for kind, place in {"html": 1, "markdown": 0, "streamlit": 2, "latex": 1, "vega": 1}.items()
)


def test_the_lists_are_as_long_as_they_are_said_to_be():
    assert len(TOKENS) >= 100 and len(LINKS) >= 150


def test_no_value_in_a_link_breaks_a_page_becomes_markup_or_leads_outside(monkeypatch, tmp_path: Path):
    assert check_links(monkeypatch, make_house(tmp_path), LINKS[3::80]) >= 50


def test_hostile_names_and_tokens_are_sent_as_text(monkeypatch, tmp_path: Path):
    checkpoint = tiny.checkpoint_directory(tmp_path / "checkpoint", tiny.model_directory(tmp_path / "teacher", "llama"))
    room = make_room(tmp_path / "room", MIXED, checkpoint)
    test = open_page(monkeypatch, "overview", *room.arguments, by="category of the example")
    assert app_payloads_pages.check_sent(test, MIXED, "overview", seen=MIXED) >= len(MIXED)
    assert app_payloads_pages.check_token(monkeypatch, room, 1)[0] == 6
    assert app_payloads_pages.check_typed(monkeypatch, room, 2) > 0


@pytest.mark.skipif(bool(browser.missing()), reason=f"browser tests cannot run: {browser.missing()}")
def test_hostile_names_and_tokens_are_dead_in_a_browser(page, tmp_path: Path):
    checkpoint = tiny.checkpoint_directory(tmp_path / "checkpoint", tiny.model_directory(tmp_path / "teacher", "llama"))
    room = make_room(tmp_path / "room", MIXED, checkpoint)
    app_payloads_browser.enter(tmp_path, room)
    with app_payloads_browser.house(tmp_path) as address:
        assert app_payloads_browser.check_room(page, address, room, typed=True) == 8


@pytest.mark.parametrize("half", HALVES)
def test_halves_of_characters_in_files_and_names_break_no_page(monkeypatch, tmp_path: Path, half: str):
    maps, gold = make_files(tmp_path)
    golds = list(read_gold(gold).values())
    lines = [json.dumps(gold_record(dataclasses.replace(one, annotator=half, note=half))) for one in golds]
    gold.write_text("\n".join(lines) + "\n", encoding="utf-8")
    start = Saved(golds[0])
    path = Annotations(tmp_path / "annotations").path("Anna", golds[0].id)
    Annotations(tmp_path / "annotations").save("Anna", start.links, start)
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "annotator": half}), encoding="utf-8")
    for name in ("overview", "browse", "annotate", "export"):
        test = open_page(monkeypatch, name, "--maps", maps, "--gold", gold)
        assert not test.exception and not test.error, (name, [error.value for error in test.exception])


def test_names_of_folders_that_are_no_text_break_no_page(monkeypatch, tmp_path: Path):
    run = make_run(tmp_path / "training/good", maps=False)
    shutil.copytree(os.fsencode(run), os.fsencode(tmp_path / "training") + b"/bad\xff")
    checkpoint = tiny.checkpoint_directory(tmp_path / "c/good", tiny.model_directory(tmp_path / "teacher", "llama"))
    shutil.copytree(os.fsencode(checkpoint), os.fsencode(tmp_path / "c") + b"/bad\xff")
    test = open_page(monkeypatch, "training", "--maps", tmp_path / "no", "--training", tmp_path / "training")
    assert not test.exception and "curve of bad\ufffd" in shown(test)
    test = open_page(monkeypatch, "try_text", "--maps", tmp_path / "no", "--checkpoints", tmp_path / "c")
    assert not test.exception and test.selectbox(key="checkpoint").options == ["good"]


def test_a_short_search_in_an_empty_list_finds_nothing(monkeypatch, tmp_path: Path):
    maps, gold = make_files(tmp_path)
    test = open_page(monkeypatch, "browse", "--maps", maps, "--gold", gold, q="+1", score="1.0")
    assert not test.exception and test.subheader[0].value == "No example matches"
