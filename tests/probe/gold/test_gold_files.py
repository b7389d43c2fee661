"""The shipped probe set and its manual alignments: sound, complete, and rebuilt from their sources."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.gold import build as gold_build
from analysis.gold import prefill as files
from analysis.gold.byte_view import byte_tokens, proposed_links
from analysis.gold.corrections import EDITS, Correction, apply_corrections, read_corrections
from analysis.gold.review import render, stretches
from probe.errors import DataError
from probe.files import atomic_file
from probe.gold.reading import Gold, Link, read_gold
from probe.text.display import read_back
from probe.text.examples import read_examples


def make_correction(gold: Gold, kind: str, reason: str, edits: Mapping[str, Iterable[Link]]) -> Correction:
    """A correction of ``gold`` that records the tokens which its links touch."""
    links = {edit: frozenset(edits.get(edit, ())) for edit in EDITS}
    touched = sorted(frozenset[Link]().union(*links.values()))
    student = {i: gold.student_tokens[i] for i, _ in touched}
    teacher = {j: gold.teacher_tokens[j] for j in sorted({j for _, j in touched})}
    return Correction(gold.id, kind, reason, **links, student=student, teacher=teacher)


def write_corrections(path: Path | str, corrections: Iterable[Correction]) -> None:
    """Write corrections atomically, one line each, links sorted."""
    with atomic_file(path) as part:
        part.write_text(
            "".join(json.dumps(_record(c), ensure_ascii=False) + "\n" for c in corrections), encoding="utf-8"
        )


def _record(correction: Correction) -> dict[str, Any]:
    links = {edit: [list(link) for link in sorted(getattr(correction, edit))] for edit in EDITS}
    return {
        "id": correction.id, "kind": correction.kind, "reason": correction.reason,
        **{edit: pairs for edit, pairs in links.items() if pairs},
        "student": {str(k): token for k, token in sorted(correction.student.items())},
        "teacher": {str(k): token for k, token in sorted(correction.teacher.items())},
    }  # fmt: skip


EXAMPLES = read_examples(files.PROBE_SET)
PREFILL = read_gold(files.PREFILL)
GOLD = read_gold(files.GOLD)
CORRECTIONS = read_corrections(files.CORRECTIONS)
EACH = pytest.mark.parametrize("example_id", [example.id for example in EXAMPLES])


def small(student: tuple[str, ...], teacher: tuple[str, ...], text: str, sure=(), possible=()) -> Gold:
    return Gold("t", text, student, teacher, "s", "t", frozenset(sure), frozenset(possible) | frozenset(sure))


# --- the probe set ---


def test_size_and_categories():
    counts = Counter(example.category for example in EXAMPLES)
    assert len(EXAMPLES) >= 96
    assert len(counts) >= 12
    assert min(counts.values()) >= 6
    assert len({example.id for example in EXAMPLES}) == len({example.output for example in EXAMPLES}) == len(EXAMPLES)


def test_prompts_are_in_the_training_layout():
    for example in EXAMPLES:
        assert example.prompt.startswith("Below is an instruction that describes a task.")
        assert example.prompt.endswith("\n\n### Response:\n")


def test_the_hard_text_is_really_there():
    text = {
        name: "".join(e.output for e in EXAMPLES if e.category == name) for name in ("accents", "emoji", "whitespace")
    }
    assert (
        text["accents"]
        != unicodedata.normalize("NFC", text["accents"])
        != unicodedata.normalize("NFD", text["accents"])
    )
    assert all(
        sign in text["emoji"] for sign in ("\u200d", "\ufe0f", "\u20e3", "\U0001f3fd", "\U0001f1ef", "\U000e007f")
    )
    assert all(space in text["whitespace"] for space in ("\n\n\n", "\t", "\u00a0", "\u2009", "       ", "\n   "))
    lengths = [len(gold.student_tokens) for gold in GOLD.values()]
    assert min(lengths) <= 4
    assert sum(100 <= length <= 140 for length in lengths) >= 3


# --- the gold ---


def test_gold_is_for_the_probe_set():
    assert list(GOLD) == list(PREFILL) == [example.id for example in EXAMPLES]
    assert all(GOLD[example.id].text == example.output for example in EXAMPLES)
    assert {gold.annotator for gold in GOLD.values()} == {files.ANNOTATOR}
    prints = {(gold.student_tokenizer, gold.teacher_tokenizer) for gold in [*GOLD.values(), *PREFILL.values()]}
    assert len(prints) == 1
    assert all(len(mark) == 16 for mark in prints.pop())


@EACH
def test_links_are_sound(example_id):
    gold = GOLD[example_id]
    n, m = len(gold.student_tokens), len(gold.teacher_tokens)
    assert gold.sure <= gold.possible
    assert all(0 <= i < n and 0 <= j < m for i, j in gold.possible)
    eos = [(i, j) for i, j in gold.possible if i == n - 1 or j == m - 1]
    assert eos == [(n - 1, m - 1)]
    assert eos[0] in gold.sure


@EACH
def test_possible_is_exactly_shared_bytes(example_id):
    """Brute-force oracle: the display forms spell the text, and tokens are linked where they hold the same byte."""
    gold = GOLD[example_id]
    owners = []
    for tokens in (gold.student_tokens, gold.teacher_tokens):
        owner = [k for k, token in enumerate(tokens[:-1]) for _ in read_back(token)]
        owners.append(owner[len(owner) - len(gold.text.encode()) :])
    shared = set(zip(*owners, strict=True))
    assert gold.possible == shared | {(len(gold.student_tokens) - 1, len(gold.teacher_tokens) - 1)}


@EACH
def test_every_token_is_linked_and_links_do_not_cross(example_id):
    gold = GOLD[example_id]
    assert {i for i, _ in gold.possible} == set(range(len(gold.student_tokens)))
    assert {j for _, j in gold.possible} == set(range(len(gold.teacher_tokens)))
    links = sorted(gold.possible)
    assert all(a[1] <= b[1] for a, b in zip(links, links[1:], strict=False))
    for side in (0, 1):  # a token begins one content only
        assert max(Counter(link[side] for link in gold.sure).values()) == 1


def test_equal_tokens_at_the_same_place_are_sure():
    for gold in GOLD.values():
        student, teacher = (byte_tokens(gold.text, tokens) for tokens in (gold.student_tokens, gold.teacher_tokens))
        places = {(token.start, token.end): j for j, token in enumerate(teacher)}
        for i, token in enumerate(student):
            j = places.get((token.start, token.end))
            if j is not None and not token.straddles and not teacher[j].straddles:
                assert (i, j) in gold.sure


# --- by hand: one example of each rule ---


def test_rule_1_split_character():
    gold = GOLD["cjk-01"]  # 図: ‹E5› ‹9B› ‹B3› against ‹E5 9B› ‹B3›
    assert gold.student_tokens[:3] == ("‹E5›", "‹9B›", "‹B3›")
    assert gold.teacher_tokens[:2] == ("‹E5 9B›", "‹B3›")
    assert {link for link in gold.sure if link[0] < 3} == {(0, 0), (2, 1)}
    assert {link for link in gold.possible if link[0] < 3} == {(0, 0), (1, 0), (2, 1)}


def test_rule_2_space_in_front():
    gold = GOLD["numbers-01"]  # ␣14 against ␣ 1 4
    assert gold.student_tokens[3] == "␣14"
    assert gold.teacher_tokens[3:6] == ("␣", "1", "4")
    assert {link for link in gold.sure if link[0] == 3} == {(3, 4)}
    assert {link for link in gold.possible if link[0] == 3} == {(3, 3), (3, 4), (3, 5)}


def test_rule_2_space_that_is_content():
    gold = GOLD["lists-05"]  # the blank in [ ] against ␣]
    assert (gold.student_tokens[13], gold.student_tokens[14], gold.teacher_tokens[11]) == ("␣", "]", "␣]")
    assert (13, 11) in gold.sure
    assert (14, 11) in gold.possible - gold.sure


def test_rule_3_border():
    gold = GOLD["whitespace-06"]
    assert gold.teacher_tokens[0] == "⏎⏎␣␣"
    assert (0, 0) in gold.possible - gold.sure


# --- prefill + corrections = gold ---


def test_corrections_give_gold_exactly():
    gold, page = gold_build.build(PREFILL)
    assert gold == GOLD
    assert page == files.CHANGES.read_text(encoding="utf-8")


def test_every_correction_has_a_reason_and_round_trips(tmp_path):
    everything = [correction for each in CORRECTIONS.values() for correction in each]
    assert all(len(correction.reason) > 20 for correction in everything)
    write_corrections(tmp_path / "c.jsonl", everything)
    assert (tmp_path / "c.jsonl").read_bytes() == files.CORRECTIONS.read_bytes()


def tokenizer_folders() -> dict[str, Path]:
    """Where the two tokenizers are, if this machine has them: shipped with a checkpoint; in the model cache."""
    from probe.files import cache_directory

    return {"student": files.STUDENT, "teacher": cache_directory() / "models" / files.TEACHER}


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_tokenizer_still_gives_these_tokens(side):
    """One side alone, so that a machine without the teacher still checks the student."""
    folder = tokenizer_folders()[side]
    if not (folder / "tokenizer.json").is_file():
        pytest.skip(f"the {side}'s tokens are checked as stored only: {folder} has no tokenizer.json here")
    pair = files.load_pair(folder, folder)
    for tokens in files.encode_probe_set(pair):
        stored = PREFILL[tokens.example_id]
        assert tokens.student.axis.tokens == getattr(stored, f"{side}_tokens")
        assert pair.student_fingerprint == getattr(stored, f"{side}_tokenizer")


def test_both_tokenizers_give_the_prefill():
    folders = tokenizer_folders()
    absent = [str(folder) for folder in folders.values() if not (folder / "tokenizer.json").is_file()]
    if absent:
        pytest.skip(f"the span rule is checked on stored tokens only: no tokenizer.json in {', '.join(absent)}")
    pair = files.load_pair(folders["student"], folders["teacher"])
    files.check_unchanged(PREFILL, files.prefill(pair, files.encode_probe_set(pair)))


def test_changed_tokens_are_refused():
    fresh = dict(PREFILL)
    fresh["prose-01"] = replace(fresh["prose-01"], student_tokens=("?", *fresh["prose-01"].student_tokens[1:]))
    with pytest.raises(DataError, match="prose-01: student_tokens"):
        files.check_unchanged(PREFILL, fresh)
    with pytest.raises(DataError, match="differ in"):
        files.check_unchanged({k: v for k, v in PREFILL.items() if k != "prose-01"}, PREFILL)


# --- the tools ---


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"remove_sure": [(0, 1)]}, "not there"),
        ({"add_sure": [(0, 0)]}, "there already"),
        ({"remove_possible": [(1, 1)]}, "not there"),
        ({"add_possible": [(0, 0)]}, "there already"),
        ({"remove_possible": [(0, 0)]}, "sure but not possible"),
    ],
)
def test_stale_corrections_are_refused(edits, message):
    gold = small(("a", "b"), ("ab", "‹eos›"), "ab", sure=[(0, 0)], possible=[(1, 0)])
    with pytest.raises(DataError, match=message):
        apply_corrections(gold, [make_correction(gold, "white space", "", edits)], "me")


def test_two_corrections_of_one_link_or_other_tokens_are_refused():
    gold = small(("a", "b"), ("ab", "‹eos›"), "ab", sure=[(0, 0)], possible=[(1, 0)])
    correction = make_correction(gold, "white space", "", {"remove_sure": [(0, 0)]})
    with pytest.raises(DataError, match="two corrections touch"):
        apply_corrections(gold, [correction, correction], "me")
    with pytest.raises(DataError, match="student token 0 = 'a', but it is 'A' now"):
        apply_corrections(replace(gold, student_tokens=("A", "b")), [correction], "me")
    assert apply_corrections(gold, [correction], "me").sure == frozenset()
    assert apply_corrections(gold, [], "me").note == "as prefilled"


BROKEN = {
    "json": "{",
    "not an object": "[]",
    "keys missing": '{"id": "a"}',
    "kind": '{"id":"a","kind":"mood","reason":"","student":{},"teacher":{},"add_sure":[[0,0]]}',
    "no links": '{"id":"a","kind":"border","reason":"","student":{},"teacher":{}}',
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_broken_corrections_name_file_and_line(line, tmp_path: Path):
    path = tmp_path / "c.jsonl"
    path.write_text("\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"c\.jsonl:2"):
        read_corrections(path)


def test_byte_tokens_by_hand():
    tokens = byte_tokens("a 出\n", ("a", "␣‹E5›", "‹87 BA›", "⏎", "‹eos›"))
    assert [(t.start, t.end, t.content, t.blank) for t in tokens] == [
        (0, 1, 0, False), (1, 3, 2, False), (3, 5, 3, False), (5, 6, 5, True), (6, 6, 6, False),
    ]  # fmt: skip
    border = byte_tokens("\nx", ("⏎⏎", "x", "‹eos›"))[0]
    assert (border.start, border.end, border.straddles) == (0, 1, True)
    with pytest.raises(DataError, match="do not spell the text"):
        byte_tokens("ab", ("a", "‹eos›"))


def test_proposals_by_hand():
    gold = small(("␣", "‹E5›", "‹87›", "‹BA›", "‹eos›"), ("␣‹E5›", "‹87›", "‹BA›", "‹eos›"), " 出")
    sure, possible = proposed_links(gold)
    assert sure == {(1, 0), (2, 1), (3, 2), (4, 3)}
    assert possible == sure | {(0, 0)}


def test_review_shows_changes_and_doubts():
    shown = "\n".join(render(GOLD["numbers-01"], PREFILL["numbers-01"]))
    assert "3~3(was =) 3=4(was ~) 3~5" in shown
    assert "?)" not in shown
    assert "13=11(bytes ~?) 14~11(bytes =?)" in "\n".join(render(GOLD["lists-05"], PREFILL["lists-05"]))
    for gold in GOLD.values():
        sides = [byte_tokens(gold.text, tokens) for tokens in (gold.student_tokens, gold.teacher_tokens)]
        pieces = list(stretches(*sides))
        assert [i for rows, _ in pieces for i in rows] == list(range(len(gold.student_tokens)))
        assert [j for _, columns in pieces for j in columns] == list(range(len(gold.teacher_tokens)))
