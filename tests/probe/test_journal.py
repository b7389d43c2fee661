"""Journals: what a crash can leave of them, what is read of that, and what comes after it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probe.errors import UsageError
from probe.journal import Journal, read_journal, write_journal

ONE, TWO = {"a": 1, "text": "line\u2028end \ud83d"}, {"b": [2.5, None]}


def test_what_is_added_is_read_and_a_second_opening_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "new" / "j.jsonl"
    assert read_journal(path) == []
    for sync, record in ((False, ONE), (True, TWO)):
        with Journal(path, sync=sync) as journal:
            journal.add(record)
            assert read_journal(path)[-1] == record  # before anything else happens
    assert read_journal(path) == [ONE, TWO]
    write_journal(path, [TWO])
    assert path.read_bytes() == b'{"b": [2.5, null]}\n'


@pytest.mark.parametrize("left", range(1, len(json.dumps(TWO)) + 1))
def test_a_line_torn_anywhere_is_cut_off_and_the_others_stay(tmp_path: Path, left: int) -> None:
    """Where only its end is missing, the line is a record and stays."""
    path = tmp_path / "j.jsonl"
    path.write_text(json.dumps(ONE) + "\n" + json.dumps(TWO)[:left])
    whole = [ONE, TWO] if left == len(json.dumps(TWO)) else [ONE]
    assert read_journal(path) == whole
    with Journal(path) as journal:
        journal.add({"c": 3})
    assert path.read_text() == "".join(json.dumps(record) + "\n" for record in [*whole, {"c": 3}])


def test_lines_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'\xff\n7\n[1]\n\n{"a": 1}\n' + b"[" * 100_000 + b"\n" + '{"b": "\u2028"}\n'.encode())
    assert read_journal(path) == [{"a": 1}, {"b": "\u2028"}]


def test_nan_and_a_place_below_a_file_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal, pytest.raises(ValueError, match="JSON compliant"):
        journal.add({"a": float("nan")})
    assert read_journal(tmp_path / "j.jsonl") == []
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"), Journal(tmp_path / "file" / "j.jsonl"):
        pass
