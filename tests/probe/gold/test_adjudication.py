"""One gold from two annotators: rules, decisions by hand, and decisions files that do not fit."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.errors import DataError
from probe.gold.adjudication import (
    RULES,
    Difference,
    adjudicate,
    decide_by_rule,
    differences,
    read_decisions,
    still_open,
    write_decisions,
)
from probe.gold.reading import Gold

LAW = settings(
    max_examples=int(os.environ.get("PROBE_LAWS", "60")), deadline=None, suppress_health_check=list(HealthCheck)
)
NAMES = ("Anna", "Ben")


def gold(sure=(), possible=(), name: str = "one") -> Gold:
    links = (frozenset(sure), frozenset(sure) | frozenset(possible))
    return Gold(name, "ab", ("a", "b"), ("ab", "‹eos›"), "s", "t", *links, "somebody", "a note")


A, B = {"one": gold([(0, 0), (1, 1)], [(0, 1)])}, {"one": gold([(0, 0), (0, 1)], [(1, 0)])}
FOUND = differences(A, B)


def test_differing_cells_by_hand():
    assert [
        Difference("one", (0, 1), ("a", "‹eos›"), "possible", "sure"),
        Difference("one", (1, 0), ("b", "ab"), "none", "possible"),
        Difference("one", (1, 1), ("b", "‹eos›"), "sure", "none"),
    ] == FOUND


@pytest.mark.parametrize(
    ("rule", "sure", "possible"),
    [
        ("union", {(0, 0), (0, 1), (1, 1)}, {(1, 0)}),
        ("intersection", {(0, 0)}, {(0, 1)}),
        ("a", {(0, 0), (1, 1)}, {(0, 1)}),
        ("b", {(0, 0), (0, 1)}, {(1, 0)}),
    ],
)
def test_rules_by_hand(rule, sure, possible):
    made = adjudicate(A, B, decide_by_rule(FOUND, rule), NAMES, f"the rule {rule}")["one"]
    assert (made.sure, made.possible - made.sure) == (sure, possible)
    assert made.annotator == "adjudicated: Anna, Ben"
    assert made.note == f"3 differing cells decided by the rule {rule}"
    assert (made.text, made.student_tokens, made.student_tokenizer) == ("ab", ("a", "b"), "s")


def test_decisions_of_a_person_with_her_reasons(tmp_path):
    path = tmp_path / "d.jsonl"
    decided = [replace(one, decision=level) for one, level in zip(FOUND, ("none", "sure", "possible"), strict=True)]
    write_decisions(path, [replace(decided[0], note="end of text"), *decided[1:]])
    made = adjudicate(A, B, read_decisions(path, FOUND), NAMES, "hand")["one"]
    assert (made.sure, made.possible) == ({(0, 0), (1, 0)}, {(0, 0), (1, 0), (1, 1)})
    assert made.note == "3 differing cells decided by hand; a–‹eos›: end of text"


def test_what_both_say_needs_no_decision():
    assert differences(A, A) == []
    made = adjudicate(A, A, [], NAMES, "hand")["one"]
    assert (made.sure, made.possible, made.note) == (A["one"].sure, A["one"].possible, "both agree")


def test_open_decisions_are_refused_with_their_number(tmp_path):
    path = tmp_path / "d.jsonl"
    write_decisions(path, [replace(FOUND[0], decision="sure"), *FOUND[1:]])
    assert json.loads(path.read_text().splitlines()[1])["decision"] is None
    with pytest.raises(DataError, match="2 of 3 differing cells are not decided, the first is student 1, teacher 0"):
        adjudicate(A, B, read_decisions(path, FOUND), NAMES, "hand")
    write_decisions(path, [replace(one, decision="sure") for one in FOUND[:2]])  # a line was deleted
    with pytest.raises(DataError, match="1 of 3 differing cells"):
        adjudicate(A, B, read_decisions(path, FOUND), NAMES, "hand")


def test_renewed_file_keeps_what_still_fits(tmp_path):
    path = tmp_path / "d.jsonl"
    write_decisions(path, [replace(one, decision="sure", note="why") for one in FOUND])
    changed = {"one": gold([(0, 0), (0, 1)], [(1, 1)])}  # B now has (1, 1) as possible, and (1, 0) no more
    now = still_open(path, differences(A, changed))
    assert [(one.link, one.decision) for one in now] == [((0, 1), "sure"), ((1, 1), "")]


LINE = {
    "id": "one", "student": 0, "teacher": 1, "student_token": "a", "teacher_token": "‹eos›",
    "a": "possible", "b": "sure", "decision": "sure", "note": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision": "maybe"}, r"d.jsonl:2: 'maybe' is no level; wanted none, possible, sure \(or null"),
        ({"decision": True}, "d.jsonl:2: 'True' is no level"),
        ({"decision": ...}, "d.jsonl:2: the key 'decision' is missing"),
        ({"student": ...}, "d.jsonl:2: the key 'student' is missing"),
        ({"student": 0.0}, "d.jsonl:2: wanted strings .* and whole numbers"),
        ({"note": 5}, "d.jsonl:2: wanted strings"),
        ({"note": "\ud800"}, "d.jsonl:2: 'note' holds a lone surrogate"),
        ({"student": 7}, "d.jsonl:2: .*student 7, teacher 1 of 'one' .* they do not differ there"),
        ({"id": "two"}, "d.jsonl:2: .*they do not differ there"),
        ({"b": "none"}, "d.jsonl:2: .*they say 'possible' and 'sure'"),
        ({"student_token": "x"}, r"d.jsonl:2: .*of \('a', '‹eos›'\)"),
    ],
)
def test_decisions_that_do_not_fit_name_file_and_line(change, message, tmp_path):
    record = {key: value for key, value in {**LINE, **change}.items() if value is not ...}
    (tmp_path / "d.jsonl").write_text("\n" + json.dumps(record) + "\n")
    with pytest.raises(DataError, match=message):
        read_decisions(tmp_path / "d.jsonl", FOUND)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "d.jsonl:1: broken JSON"),
        ("[]", "d.jsonl:1: wanted a JSON object"),
        ("[" * 99999, "d.jsonl:1: broken JSON"),
        (f"{json.dumps(LINE)}\n{json.dumps(LINE)}", "d.jsonl:2: student 0, teacher 1 of 'one' come twice"),
    ],
)
def test_files_that_are_no_decisions(text, message, tmp_path: Path):
    (tmp_path / "d.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        read_decisions(tmp_path / "d.jsonl", FOUND)


def test_what_cannot_be_adjudicated_is_refused():
    with pytest.raises(DataError, match="both annotated, found none among 1 and 1"):
        differences(A, {"two": gold(name="two")})
    with pytest.raises(DataError, match="student tokens: first difference at index 0: wanted 'a', found 'x'"):
        differences(A, {"one": replace(B["one"], student_tokens=("x", "b"))})
    bare = replace(A["one"], student_tokens=(), teacher_tokens=())
    with pytest.raises(DataError, match="names no tokens, so its cells are unknown"):
        differences({"one": bare}, {"one": bare})


# --- laws ---

CELLS = st.tuples(st.integers(0, 1), st.integers(0, 1))
GOLDS = st.builds(gold, st.frozensets(CELLS), st.frozensets(CELLS))


@LAW
@given(GOLDS, GOLDS)
def test_rules_are_set_operations(one, other):
    first, second = {"one": one}, {"one": other}
    found = differences(first, second)
    made = {rule: adjudicate(first, second, decide_by_rule(found, rule), NAMES, rule)["one"] for rule in RULES}
    assert (made["union"].sure, made["union"].possible) == (one.sure | other.sure, one.possible | other.possible)
    assert (made["intersection"].sure, made["intersection"].possible) == (
        one.sure & other.sure, one.possible & other.possible,
    )  # fmt: skip
    assert (made["a"].sure, made["a"].possible) == (one.sure, one.possible)
    assert (made["b"].sure, made["b"].possible) == (other.sure, other.possible)


@LAW
@given(GOLDS, GOLDS, st.lists(st.sampled_from(("none", "possible", "sure")), min_size=4, max_size=4))
def test_decided_cells_are_as_decided_and_others_as_both_say(one, other, levels):
    first, second = {"one": one}, {"one": other}
    found = differences(first, second)
    decided = [replace(each, decision=level) for each, level in zip(found, levels, strict=False)]
    made = adjudicate(first, second, decided, NAMES, "hand")["one"]
    assert made.sure <= made.possible
    wanted = {each.link: each.decision for each in decided}
    for link in ((i, j) for i in range(2) for j in range(2)):
        now = "sure" if link in made.sure else "possible" if link in made.possible else "none"
        before = "sure" if link in one.sure else "possible" if link in one.possible else "none"
        assert now == wanted.get(link, before)
