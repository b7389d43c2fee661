"""Tidy frames and safe CSV: token classes by hand, columns of the frames, formula payloads, lone surrogates."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from probe.errors import DiskError
from probe.scoring import tables
from probe.scoring.metrics import score_map
from tests.support.aligned import axis, make_gold, make_map
from tests.support.payloads import FORMULAS
from tests.support.spreadsheet import live_cells

TEXT = "ab cd"
STUDENT, TEACHER = axis(TEXT, ["ab", " cd"]), axis(TEXT, ["a", "b", " cd"])


def scored(amap, gold=None):
    gold = gold or make_gold(amap)
    return tables.scored(amap, score_map(amap, gold), tables.describe(amap, gold), "sig")


def classes(text, pieces):
    return list(tables.token_classes(text, axis(text, pieces)))


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (["un", "happy", " cat"], ["word start", "continuation", "word start"]),
        (
            ["The", " 12", "34", ".5", "!", "?!"],
            ["word start", "number", "number", "number", "punctuation", "punctuation"],
        ),
        ([" ", "\n\n", "a", " "], ["white space", "white space", "word start", "white space"]),
        (["co", "-", "op"], ["word start", "punctuation", "word start"]),
        (["漢", "字"], ["word start", "continuation"]),
        (["e", "\u0301", "t"], ["word start", "continuation", "continuation"]),
        (["snake", "_case"], ["word start", "word start"]),
        (["x2", "y"], ["word start", "continuation"]),
        ([], []),
    ],
)
def test_token_classes_by_hand(pieces, wanted):
    assert classes("".join(pieces), pieces) == [*wanted, "EOS"]


def test_parts_of_a_character():
    text = "a😀"
    side = replace(axis(text, ["a", "😀"]), spans=((0, 1), (1, 5), (5, 5)))
    shared = type(side)(
        ("a", "‹F0›", "‹9F›", "‹eos›"), ("a", "x", "y", "z"), (1, 2, 3, 4), ((0, 1), (1, 5), (1, 5), (5, 5))
    )
    assert tables.token_classes(text, side) == ("word start", "punctuation", "EOS")  # an emoji of its own
    assert tables.token_classes(text, shared) == ("word start", "part of a character", "part of a character", "EOS")


def test_tokens_frame_has_one_row_per_position():
    one = scored(make_map(STUDENT, TEACHER, text=TEXT))
    two = scored(make_map(STUDENT, TEACHER, text=TEXT, direction="s2t", example_id="=two"))
    frame = tables.tokens_frame([one, two])
    assert len(frame) == 3 + 4
    assert frame["position"].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert frame["token"].tolist() == ["ab", "␣cd", "‹eos›", "a", "b", "␣cd", "‹eos›"]
    assert frame["relation"].tolist() == ["1:n", "1:1", "1:1", "1:n", "1:n", "1:1", "1:1"]
    assert frame["gold_possible"].tolist() == ["0 1", "2", "3", "0", "0", "1", "2"]
    assert frame["gold_sure"].tolist() == ["0", "2", "3", "0", "", "1", "2"]
    assert frame["place"].tolist()[:3] == ["first quarter", "second quarter", "third quarter"]
    assert frame["heaviest_token"].tolist()[0] == "a"
    assert math.isnan(frame["top1_sure"][4]) and frame["top1_possible"][4] == pytest.approx(1 / 3)
    assert set(frame["schema_version"]) == {1} and set(frame["signature"]) == {"sig"}
    assert len(tables.tokens_frame([])) == 0


def test_examples_frame_holds_the_map_scores():
    amap = make_map(STUDENT, TEACHER, text=TEXT)
    row = tables.examples_frame([scored(amap)]).iloc[0]
    score = score_map(amap, make_gold(amap))
    assert row["top1_possible"] == score.top1_possible and row["aer"] == score.aer
    assert (row["n_student"], row["n_teacher"], row["n_positions"], row["links_sure"]) == (3, 4, 3, 3)
    assert row["length"] == "1-16"


@pytest.mark.parametrize(("rows", "name"), [(1, "1-16"), (16, "1-16"), (17, "17-64"), (257, "257 and more")])
def test_length_bins(rows, name):
    assert tables.length_bin(rows) == name


def cells_of(path):
    """All cells below the header, as a reader of quoted CSV sees them."""
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.reader(handle))


def test_three_hundred_payloads_are_dead(tmp_path):
    assert len(set(FORMULAS)) >= 300
    frame = pd.DataFrame({"=name": pd.Series(FORMULAS, dtype=object), "token": pd.Series(FORMULAS, dtype=object)})
    tables.write_csv(frame, tmp_path / "p.csv")
    rows = cells_of(tmp_path / "p.csv")
    assert rows[0] == ["'=name", "token"] and len(rows) == len(FORMULAS) + 1
    for payload, row in zip(FORMULAS, rows[1:], strict=True):
        for cell in row:
            wanted = payload.replace("\x00", "\\x00").replace("\udc80", "\\udc80")
            assert cell.startswith("'") and cell.replace("'", "") == wanted.replace("'", ""), cell
    assert live_cells(tmp_path / "p.csv").live == ()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ('"=1"', '\'"=1"'),
        ("\u202e=1", "'\u202e=1"),
        ("﹦1", "'﹦1"),
        ("a;=1;b", "a;'=1;b"),
        ('a;""=1', 'a;""\'=1'),
        ("a\n\t-1", "a\n\t'-1"),
        (" ;@x", " ;'@x"),
        ("\tx", "'\tx"),
    ],
)
def test_signs_behind_what_a_spreadsheet_skips_or_splits_at(value, wanted):
    assert tables.safe_cell(value) == wanted
    assert tables.safe_cell(wanted) == wanted  # once is enough


def test_the_search_for_live_cells_finds_them(tmp_path):
    """A file written without care: every kind of cell that the campaign must never find."""
    (tmp_path / "bad.csv").write_text('"x","a;=1"\n1,"＝1"\n"ok","\t@"\n"x","a\n""-"\n', encoding="utf-8")
    assert live_cells(tmp_path / "bad.csv").live == ("＝1", "\t@", '=1"', '-"', '@"')


@pytest.mark.parametrize("value", ["a", "a=b", "'=1", "1-2", "␣-", "", "‹eos›", "naïve 漢字 😀", "a; b"])
def test_harmless_strings_stay(value):
    assert tables.safe_cell(value) == value


def test_numbers_stay_numbers(tmp_path):
    frame = pd.DataFrame({"a": [-1.5, math.nan], "b": [-3, 4], "c": [True, False], "d": ["x", None]})
    tables.write_csv(frame, tmp_path / "n.csv")
    assert (tmp_path / "n.csv").read_text().splitlines() == ['"a","b","c","d"', '-1.5,-3,True,"x"', '"",4,False,""']
    back = pd.read_csv(tmp_path / "n.csv")
    assert back["a"][0] == -1.5 and math.isnan(back["a"][1]) and back["b"].tolist() == [-3, 4]


def test_lone_surrogates_and_controls_are_written_in_letters(tmp_path):
    cells = ["\ud800x", "a\x00b", "a\r\nb", 'say "hi", ok']
    tables.write_csv(pd.DataFrame({"t": pd.Series(cells, dtype=object)}), tmp_path / "s.csv")
    with open(tmp_path / "s.csv", newline="", encoding="utf-8") as handle:
        cells = [row[0] for row in csv.reader(handle)][1:]
    assert cells == ["\\ud800x", "a\\x00b", "a\r\nb", 'say "hi", ok']


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    tables.write_csv(pd.DataFrame({"a": [1]}), path)

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(DiskError, match="No space left"):
        tables.write_csv(pd.DataFrame({"a": [2]}), path)
    assert path.read_text() == '"a"\n1\n' and list(tmp_path.iterdir()) == [path]


def test_scores_survive_the_csv(tmp_path):
    frame = tables.tokens_frame([scored(make_map(STUDENT, TEACHER, text=TEXT))])
    tables.write_csv(frame, tmp_path / "tokens.csv")
    back = pd.read_csv(tmp_path / "tokens.csv", keep_default_na=False, na_values={"top1_sure": [""]})
    assert list(back.columns) == list(frame.columns)
    assert np.array_equal(back["entropy"], frame["entropy"]) and back["token"].tolist() == frame["token"].tolist()
