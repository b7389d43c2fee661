"""Gold files: three formats both ways, errors with file and line, refusal of gold made on other tokens."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from probe.errors import DataError, UsageError
from probe.gold.reading import Gold, check_gold, read_gold, write_gold
from tests.support.aligned import FINGERPRINTS, axis, make_gold, make_map

TEXT = "a b"
STUDENT, TEACHER = axis(TEXT, ["a", " b"]), axis(TEXT, ["a ", "b"])
GOLD = make_gold(make_map(STUDENT, TEACHER, text=TEXT))
RECORD = {
    "id": "one", "text": TEXT, "student_tokens": ["a", "␣b", "‹eos›"], "teacher_tokens": ["a␣", "b", "‹eos›"],
    "student_tokenizer": "s", "teacher_tokenizer": "t", "sure": [[0, 0]], "possible": [[0, 0], [1, 1]],
}  # fmt: skip


def test_jsonl_round_trip(tmp_path):
    golds = [GOLD, replace(GOLD, id="zwei\n\u2028😀", annotator="E", note="…")]
    write_gold(tmp_path / "g.jsonl", golds)
    assert read_gold(tmp_path / "g.jsonl") == {gold.id: gold for gold in golds}
    write_gold(tmp_path / "h.jsonl", read_gold(tmp_path / "g.jsonl"))
    assert (tmp_path / "h.jsonl").read_bytes() == (tmp_path / "g.jsonl").read_bytes()


def test_pharaoh_by_hand(tmp_path):
    path = tmp_path / "g.pharaoh"
    path.write_text("one\t0-0 1p2 10-3\nnone\t\n")
    golds = read_gold(path)
    assert golds["one"].sure == {(0, 0), (10, 3)}
    assert golds["one"].possible == {(0, 0), (1, 2), (10, 3)}
    assert golds["none"].possible == frozenset()
    write_gold(tmp_path / "h.talp", golds)
    assert (tmp_path / "h.talp").read_text() == path.read_text()


def test_naacl_by_hand(tmp_path):
    path = tmp_path / "g.naacl"
    path.write_text("one 1 1\none 2 3 P\ntwo 1 2 S 0.9\n")
    golds = read_gold(path)
    assert golds["one"].sure == {(0, 0)} and golds["one"].possible == {(0, 0), (1, 2)}
    assert golds["two"].sure == {(0, 1)}
    write_gold(tmp_path / "h.wpt", golds)
    assert (tmp_path / "h.wpt").read_text() == "one 1 1 S\none 2 3 P\ntwo 1 2 S\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("g.jsonl", b"", "no alignment in it"),
        ("g.jsonl", b"\n{", "g.jsonl:2: broken JSON"),
        ("g.jsonl", b"[" * 100_000, "g.jsonl:1: broken JSON"),
        ("g.jsonl", b"[]", "g.jsonl:1: wanted a JSON object, found list"),
        ("g.jsonl", b"\xff\xfe", "g.jsonl:1: not UTF-8"),
        ("g.jsonl", {"text": 5}, "'text' must be a string, found int"),
        ("g.jsonl", {"text": "\ud800"}, "lone surrogate"),
        ("g.jsonl", {"student_tokens": "ab"}, "'student_tokens' must be a list of strings"),
        ("g.jsonl", {"sure": None}, "'sure' must be a list of .* pairs, found NoneType"),
        ("g.jsonl", {"sure": [[0, 0, 0]]}, "two whole numbers"),
        ("g.jsonl", {"sure": [[0, True]]}, "two whole numbers"),
        ("g.jsonl", {"sure": [[0, 0.5]]}, "two whole numbers"),
        ("g.jsonl", {"sure": [[0, 3]]}, "outside the 3 student and 3 teacher tokens"),
        ("g.jsonl", {"sure": [[-1, 0]]}, "outside the 3 student"),
        ("g.jsonl", {"sure": [[2, 2]]}, r"sure link \[2, 2\] is not in 'possible'"),
        ("g.jsonl", {"note": []}, "'note' must be a string"),
        ("g.pharaoh", b"one 0-0", "g.pharaoh:1: wanted 'id<TAB>"),
        ("g.pharaoh", b"one\t0-0 1:2", "'1:2' is no link"),
        ("g.pharaoh", b"one\t0--1", "is no link"),
        ("g.naacl", b"one 0 1", "counted from 1"),
        ("g.naacl", b"one 1", "counted from 1"),
        ("g.txt", b"x", "suffix of .jsonl"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    if isinstance(content, dict):
        content = json.dumps({**RECORD, **content}).encode()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_gold(tmp_path / name)


@pytest.mark.parametrize("key", sorted(RECORD))
def test_missing_key_is_named(tmp_path, key):
    record = {name: value for name, value in RECORD.items() if name != key}
    (tmp_path / "g.jsonl").write_text("\n" + json.dumps(record))
    with pytest.raises(DataError, match=f"g.jsonl:2: the key '{key}' is missing"):
        read_gold(tmp_path / "g.jsonl")


def test_missing_file_and_repeated_id(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_gold(tmp_path / "none.jsonl")
    (tmp_path / "g.jsonl").write_text((json.dumps(RECORD) + "\n") * 2)
    with pytest.raises(DataError, match="'one' comes twice"):
        read_gold(tmp_path / "g.jsonl")


def test_writing_refuses_what_it_could_not_read_back(tmp_path):
    bad = replace(GOLD, sure=frozenset({(1, 1)}), possible=frozenset())
    with pytest.raises(DataError, match="not in 'possible'"):
        write_gold(tmp_path / "g.jsonl", [bad])
    with pytest.raises(DataError, match="cannot be written as NAACL"):
        write_gold(tmp_path / "g.naacl", [replace(GOLD, id="a b")])
    assert list(tmp_path.iterdir()) == []


def test_writing_into_a_file_as_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        write_gold(tmp_path / "file" / "g.jsonl", [GOLD])


def test_matching_gold_is_accepted():
    check_gold(GOLD, STUDENT, TEACHER, FINGERPRINTS, text=TEXT)
    check_gold(GOLD, STUDENT, TEACHER)  # fingerprints and text unknown
    check_gold(Gold("one", "", (), (), "", "", GOLD.sure, GOLD.possible), STUDENT, TEACHER, FINGERPRINTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "a c"}, "another text: first difference at character 2: wanted 'c', found 'b'"),
        ({"text": "a"}, "first difference at character 1: wanted '', found ' b'"),
        ({"student_tokens": ("a", "b", "‹eos›")}, "student tokens: first .* at index 1: wanted 'b', found '␣b'"),
        ({"teacher_tokens": ("a␣", "b")}, "teacher tokens: first .* at index 2: wanted no token, found '‹eos›'"),
        ({"student_tokenizer": "x" * 16}, f"student tokenizer: wanted fingerprint {'x' * 16}, found {'5' * 16}"),
        ({"student_tokens": (), "possible": frozenset({(3, 0)})}, r"student token 3, but the map has 3 \(0 to 2\)"),
    ],
)  # fmt: skip
def test_gold_for_other_tokens_names_the_first_difference(change, message):
    with pytest.raises(DataError, match=message):
        check_gold(replace(GOLD, **change), STUDENT, TEACHER, FINGERPRINTS, text=TEXT)
