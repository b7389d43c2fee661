"""AER, precision, recall and F1 against NLTK's, on word alignments that people made.

They are those of the Greek New Testament with an English translation, from the package bible-alignments.
"""

from __future__ import annotations

import importlib.metadata
import json
import random

import pytest
from nltk.metrics import f_measure, precision, recall
from nltk.translate.metrics import alignment_error_rate

from probe.gold.reading import Link
from probe.scoring.metrics import LinkCounts, link_counts

VERSES = 400
FILE = "SBLGNT-BSB-manual.json"


@pytest.fixture(scope="module")
def verses() -> list[set[Link]]:
    """Gold links of verses, with words numbered from 0 within each side."""
    try:
        files = importlib.metadata.files("bible-alignments") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("bible-alignments is not installed: pip install --no-deps bible-alignments")
    path = next(file for file in files if file.name == FILE).locate()
    links: dict[str, list[tuple[str, str]]] = {}
    for record in json.loads(path.read_text(encoding="utf-8"))["records"][: VERSES * 20]:
        verse = record["meta"]["id"].split(".")[0]
        links.setdefault(verse, []).extend((s, t) for s in record["source"] for t in record["target"])
    return [_numbered(pairs) for pairs in list(links.values())[:VERSES] if pairs]


def _numbered(pairs: list[tuple[str, str]]) -> set[Link]:
    sides = [{word: number for number, word in enumerate(sorted(set(words)))} for words in zip(*pairs, strict=True)]
    return {(sides[0][source], sides[1][target]) for source, target in pairs}


def guesses(gold: set[Link], chance: random.Random) -> list[set[Link]]:
    """Gold with links lost, moved and added; the diagonal; and the first half of gold."""
    height, width = (max(side) + 1 for side in zip(*gold, strict=True))
    moved = {(i, max(0, min(width - 1, j + chance.choice((-1, 0, 0, 1))))) for i, j in gold if chance.random() > 0.2}
    moved.add((chance.randrange(height), chance.randrange(width)))
    return [moved, {(i, i * width // height) for i in range(height)}, set(sorted(gold)[: (len(gold) + 1) // 2])]


def test_one_verse_after_another(verses: list[set[Link]]) -> None:
    chance = random.Random(0)
    assert len(verses) > VERSES / 2
    for gold in verses:
        sure = set(sorted(gold)[::2])  # half of the links sure, all of them possible
        for found in guesses(gold, chance):
            counts = link_counts(found, frozenset(sure), frozenset(gold))
            assert counts.aer == pytest.approx(alignment_error_rate(sure, found, gold), abs=1e-12)
            assert counts.precision == pytest.approx(precision(gold, found), abs=1e-12)
            assert counts.recall == pytest.approx(recall(sure, found), abs=1e-12)
            plain = link_counts(found, frozenset(gold), frozenset(gold))
            assert plain.f1 == pytest.approx(f_measure(gold, found), abs=1e-12)


def test_the_corpus_is_summed_first(verses: list[set[Link]]) -> None:
    """Micro scores are those of one long text that holds all verses, which NLTK can score at once."""
    chance, total = random.Random(1), LinkCounts()
    all_gold: set[tuple[object, object]] = set()
    all_found: set[tuple[object, object]] = set()
    for number, gold in enumerate(verses):
        found = guesses(gold, chance)[0]
        total += link_counts(found, frozenset(gold), frozenset(gold))
        all_gold |= {((number, i), j) for i, j in gold}
        all_found |= {((number, i), j) for i, j in found}
    assert 0.1 < total.aer < 0.9
    assert total.aer == pytest.approx(alignment_error_rate(all_gold, all_found), abs=1e-12)
    assert total.f1 == pytest.approx(f_measure(all_gold, all_found), abs=1e-12)
