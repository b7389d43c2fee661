"""The leaderboard of aligners: credit and counts by hand, learned maps in the same table, docs that equal the CSV."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pandas as pd
import pytest

from analysis import aligners, aligners_page
from analysis.aligners import Pair, heaviest_credit, heaviest_links, kinds_of, leaderboard, token_entries
from probe.aligners import ALIGNERS, MAP_ALIGNERS
from probe.aligners.making import CutText
from probe.gold.reading import write_gold
from probe.maps.store import MapStoreWriter
from tests.support import ROOT
from tests.support.aligned import axis, make_gold, make_map

TEXT = "unhappy cats"
STUDENT, TEACHER = axis(TEXT, ["un", "happy", " cats"]), axis(TEXT, ["unhappy", " cat", "s"])
CUT = CutText("one", "prose", TEXT, STUDENT, TEACHER)
BASE = make_map(STUDENT, TEACHER, text=TEXT)


def test_credit_and_links_by_hand():
    weights = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [0.1, 0.2, 0.7]])
    gold = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    credit = heaviest_credit(weights, gold)
    assert credit[:2] == pytest.approx([0.5, 1 / 3]) and np.isnan(credit[2])  # a dropped row is a blind guess
    assert heaviest_links(weights) == {(0, 0), (0, 1), (2, 2)}


def test_rows_of_the_leaderboard_by_hand():
    """Gold is the span rule: sure (0,0) (2,1) EOS, possible also (1,0) and (2,2)."""
    pair = Pair("hand", {"one": CUT}, {"one": make_gold(BASE)})
    frame = leaderboard([pair], token_entries, resamples=50).set_index("aligner")
    assert set(frame.index) == set(ALIGNERS)
    assert frame.loc["exact-boundary", ["top1_t2s", "top1_s2t", "aer"]].tolist() == [1, 1, 0]
    bytes_ = frame.loc["gold-bytes"]  # all but the EOS, which is a blind guess of four
    assert bytes_["top1_t2s"] == pytest.approx((3 + 1 / 4) / 4) and bytes_["dropped_student"] == 0.25
    # Links (0,0) (1,0) (2,1) (2,2), all possible; of the sure (0,0) (2,1) (3,3) it has two.
    assert bytes_["f1"] == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3)) and bytes_["largest_group"] == 3
    assert bytes_["wrong_end_of_text"] == pytest.approx(3 / 4) and np.isnan(bytes_["wrong_CJK"])
    assert frame.loc["eta", "dropped_student"] == 0.75


def test_kinds_of_positions():
    text = "a\u0301 1"
    side = axis(text, ["a\u0301", " ", "1"])
    assert list(kinds_of(text, side)) == ["decomposed marks", "white space", "numbers", "end of text"]


def test_learned_maps_stand_in_the_same_table(tmp_path, capsys):
    """The command on a store of one map a direction that is the gold itself."""
    exact = np.zeros(BASE.weights.shape)
    for i, j in make_gold(BASE).sure:
        exact[i, j] = 1
    exact[1, 0] = 1
    with MapStoreWriter(tmp_path / "maps", provenance={"student_tokenizer": "s", "teacher_tokenizer": "t"}) as writer:
        for direction, total in (("t2s", exact.sum(axis=1, keepdims=True)), ("s2t", exact.sum(axis=0, keepdims=True))):
            weights = np.where(total > 0, exact / np.where(total > 0, total, 1), 1 / 4)
            writer.add(make_map(STUDENT, TEACHER, weights, text=TEXT, direction=direction))
    write_gold(tmp_path / "gold.jsonl", [make_gold(BASE)])
    (tmp_path / "data.jsonl").write_text('{"id": "one", "prompt": "", "output": "unhappy cats"}\n', encoding="utf-8")
    line = ["--gold", "gold.jsonl", "--data", "data.jsonl", "--maps", "maps", "--out", "out"]
    words = [str(tmp_path / word) if not word.startswith("--") else word for word in line]
    assert aligners.main([*words, "--resamples", "20"]) == 0
    assert f"{len(ALIGNERS) + 1 + len(MAP_ALIGNERS)} rows, 1 pairs" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "out" / "aligners.csv").set_index("aligner")
    assert frame.loc["dskd-cma", "top1_t2s"] == frame.loc["dskd-cma+monotone", "top1_t2s"] == 1
    assert aligners.main([*words[:4], *words[6:]]) == 2
    assert "--pair STUDENT TEACHER" in capsys.readouterr().err


# --- the page ---


def test_the_page_says_what_the_csv_says():
    page = aligners_page.PAGE.read_text(encoding="utf-8")
    assert aligners_page.filled(page, aligners_page.tables(pd.read_csv(aligners_page.CSV))) == page, (
        "run: python -m analysis.aligners_page --write"
    )


def test_the_csv_has_every_aligner_on_five_pairs_and_more():
    frame = pd.read_csv(aligners_page.CSV)
    assert frame["pair"].nunique() >= 6 and (frame.groupby("pair")["aligner"].nunique() >= len(ALIGNERS)).all()
    for name in ("top1_t2s", "top1_s2t", "f1", "aer"):
        assert frame[name].between(0, 1).all() and (frame[f"{name}_low"] <= frame[name] + 1e-9).all()


@pytest.mark.parametrize("page", ["aligners.md", "pair.md"])
def test_commands_of_the_page_parse(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]
    assert len(commands) >= 6
    for words in commands:
        if words[0] != "python":
            assert words[0] in ("git", "cd", "make", "source")
            continue
        module = __import__(f"{words[2]}.__main__" if words[2] == "probe" else words[2], fromlist=["build_parser"])
        module.build_parser().parse_args(words[3:])
