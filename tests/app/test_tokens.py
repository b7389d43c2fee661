"""Tokens: positions by hand, search and filters, and the page whose rows open the map with the cell pinned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.data import tokens
from app.data.tokens import MATCHES, Query
from probe.errors import DataError
from probe.gold.reading import read_gold
from probe.maps.store import MapStore
from probe.scoring.causes import wrong_links
from tests.support.aligned import axis, make_gold, make_map
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import make_files, marked, open_page, shown

WORDS = ["the", " cat", " saw", " the", " dog"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("tokens"))


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch):
    def open_tokens(*arguments: object, **query: str) -> AppTest:
        return open_page(monkeypatch, "tokens", *arguments, **query)

    return open_tokens


def planted(direction: str = "t2s"):
    """Six positions on equal tokens: the first looks at the other "the", the second at two cells alike, one right."""
    text = "".join(WORDS)
    side = axis(text, WORDS)
    weights = np.eye(6)
    weights[0, [0, 3]] = 0.1, 0.9
    weights[1, [1, 2]] = 0.5, 0.5
    amap = make_map(side, side, weights if direction == "t2s" else weights.T, text=text, direction=direction)
    return amap, make_gold(amap)


@pytest.mark.parametrize("direction", ["t2s", "s2t"])
def test_positions_by_hand(direction):
    frame = tokens.frame_of(tokens.positions(*planted(direction)))
    assert frame["result"].tolist() == ["wrong", "shared", "right", "right", "right", "right"]
    first, second = frame.iloc[0], frame.iloc[1]
    assert (first["token"], first["looks at"], first["wanted"]) == ("the", "␣the", "the")
    assert first["weight"] == pytest.approx(0.9) and first["relation"] == "1:1" and first["class"] == "word start"
    assert first["pin"] == ("0.3" if direction == "t2s" else "3.0")
    assert (second["looks at"], second["cause"]) == ("␣saw", "neighbour")
    assert frame["cause"].tolist()[2:] == [""] * 4 and frame["class"].tolist()[-1] == "EOS"


def test_without_gold_nothing_is_said_of_right_and_wrong():
    frame = tokens.frame_of(tokens.positions(planted()[0], None))
    assert set(frame["result"]) == set(frame["cause"]) == set(frame["wanted"]) == {""}


def test_every_wrong_link_of_a_store_is_a_row_with_its_cause(store):
    golds = read_gold(store[1])
    for amap in MapStore.open(store[0]):
        rows = tokens.frame_of(tokens.positions(amap, golds[amap.example_id]))
        wrong = {link.row: link.cause for link in reversed(wrong_links(amap, golds[amap.example_id]))}
        assert dict(zip(rows["position"], rows["cause"].astype(str), strict=True)) == {
            row: wrong.get(row, "") for row in rows["position"]
        }


@pytest.mark.parametrize(
    ("typed", "match", "found"),
    [
        ("the", MATCHES[0], ["the", "␣the", "␣The"]),
        (" the", MATCHES[0], ["␣the", "␣The"]),
        ("␣the", MATCHES[0], ["␣the", "␣The"]),
        ("the", MATCHES[1], ["the", "␣the", "␣The", "␣other"]),
        ("^.?the$", MATCHES[2], ["the", "␣the"]),
        ("th.", MATCHES[0], []),
        ("the|THE", MATCHES[1], []),
    ],
)
def test_a_token_is_found_with_and_without_a_space(typed, match, found):
    words = ["the", "␣the", "␣The", "␣other", "cat"]
    assert [word for word, hit in zip(words, tokens.matches(words, typed, match), strict=True) if hit] == found


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "x" * 101, "(?<=a)b"])
def test_what_is_no_regular_expression_is_said(pattern):
    with pytest.raises(DataError, match="regular expression"):
        tokens.matches(["a"], pattern, MATCHES[2])


def test_no_regular_expression_takes_for_ever():
    assert not tokens.matches(["a" * 5_000 + "!"], "^(a+)+$", MATCHES[2]).any()  # 2 ** 5000 steps by Python's own


def test_filters_leave_what_they_name_and_put_the_wrong_ones_first():
    amap, gold = planted()
    frame = tokens.frame_of(tokens.positions(amap, gold))
    assert tokens.chosen(frame, Query())["position"].tolist()[0] == 0
    assert tokens.chosen(frame, Query(token="the"))["position"].tolist() == [0, 3]
    assert tokens.chosen(frame, Query(token="the", results=("wrong",)))["position"].tolist() == [0]
    assert tokens.chosen(frame, Query(looks_at="saw"))["position"].tolist() == [2, 1]
    assert tokens.chosen(frame, Query(causes=("neighbour",)))["position"].tolist() == [1]
    assert tokens.chosen(frame, Query(classes=("EOS",)))["position"].tolist() == [5]
    assert tokens.chosen(frame, Query(relations=("n:m",))).empty
    assert tokens.counts(frame) == {"right": 4, "wrong": 1, "shared": 1, "neighbour": 1, "other": 1}


# --- the page ---


def test_all_positions_of_a_token_that_are_wrong(page, store):
    test = page("--maps", store[0], "--gold", store[1], token="the", result="wrong")
    assert not test.exception and not test.info
    golds, rows = read_gold(store[1]), []
    for amap in MapStore.open(store[0]):
        if (amap.checkpoint, amap.direction) == ("dskd-cma", "t2s"):
            rows += tokens.positions(amap, golds[amap.example_id])
    frame = tokens.frame_of(rows)
    wanted = frame[frame["token"].isin(["the", "␣the"]) & (frame["result"] == "wrong")]
    table = test.main.dataframe[0].value if len(wanted) else None
    assert len(wanted) == (0 if table is None else len(table))
    assert f"{len(wanted)} of {len(frame):,} positions" in shown(test)


def test_bad_values_and_bad_patterns_are_said(page, store):
    test = page("--maps", store[0], "--gold", store[1], cause="<b>x</b>", match="regular expression", token="(")
    assert not test.exception and "cause = <b>x</b>" in shown(test) and "is no regular expression" in shown(test)


def test_without_gold_there_are_no_filters_of_gold(page, store):
    test = page("--maps", store[0])
    assert not test.exception and "result" not in test.main.dataframe[0].value.columns
    assert [one.label for one in test.sidebar.get("button_group")][-2:] == ["Class", "Relation"]


def test_tokens_never_reach_markdown(page, store):
    test = page("--maps", store[0], "--gold", store[1], token=app_maps.HOSTILE[0])
    assert not test.exception
    for payload in (*app_maps.HOSTILE, "**bad**"):
        assert payload not in marked(test)
