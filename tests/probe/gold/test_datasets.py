"""Gold by name: the frozen version is what the checkout holds, and no other gold passes for it."""

from __future__ import annotations

import shutil

import pytest

from probe.errors import DamagedError, UsageError
from probe.gold.datasets import SETS, load, name_of
from probe.gold.reading import gold_hash, read_gold
from tests.support import ROOT


def test_the_shipped_gold_is_the_frozen_version() -> None:
    golds = load("xtok-gold-v1")
    assert golds == read_gold(ROOT / "analysis/gold/gold.jsonl")
    assert name_of(golds.values()) == "xtok-gold-v1"
    assert name_of(list(golds.values())[1:]) == "" and name_of([]) == ""


def test_the_card_says_the_numbers_of_the_version() -> None:
    card, golds = (ROOT / "analysis/gold/CARD.md").read_text(encoding="utf-8"), load("xtok-gold-v1").values()
    counts = [sum(len(getattr(gold, part)) for gold in golds)
              for part in ("student_tokens", "teacher_tokens", "possible", "sure")]  # fmt: skip
    for number in (*counts, len(golds)):
        assert f"{number:,} " in card or f"{number:,})" in card, number
    assert gold_hash(golds) in card and gold_hash(golds) == SETS["xtok-gold-v1"].digest


def test_another_file_is_not_the_version(tmp_path) -> None:
    place = tmp_path / "analysis/gold"
    place.mkdir(parents=True)
    with pytest.raises(UsageError, match="not in the installed package; wanted it at .*gold.jsonl. Run from a"):
        load("xtok-gold-v1", root=tmp_path)
    shutil.copy(ROOT / "analysis/gold/gold.jsonl", place)
    lines = (place / "gold.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (place / "gold.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(DamagedError, match="wanted xtok-gold-v1, 119 texts with digest d64c1035, found 118 with "):
        load("xtok-gold-v1", root=tmp_path)
    with pytest.raises(UsageError, match="unknown gold 'xtok'; wanted one of xtok-gold-v1"):
        load("xtok")
