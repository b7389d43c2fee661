"""Pharaoh, SimAlign and NAACL lines: by hand, with and without ids, round trips, and errors with file and line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.commands.gold_convert import left_behind, to_write
from probe.errors import DataError
from probe.gold.reading import Gold, read_on_texts, write_gold

LAW = settings(
    max_examples=int(os.environ.get("PROBE_LAWS", "60")), deadline=None, suppress_health_check=list(HealthCheck)
)


def gold(name: str, sure=(), possible=(), size: tuple[int, int] = (3, 3)) -> Gold:
    tokens = [tuple("abcdef"[:length]) for length in size]
    return Gold(name, "abc", *tokens, "s", "t", frozenset(sure), frozenset(sure) | frozenset(possible))


TEXTS = {name: gold(name, [(2, 2)]) for name in ("one", "two words", "three")}


def read(tmp_path: Path, text: str, form: str, texts=TEXTS, **options) -> dict[str, Gold]:
    path = tmp_path / f"links.{form}"
    path.write_bytes(text.encode())
    return read_on_texts(path, form, texts, **options)


def links(golds: dict[str, Gold]) -> dict[str, tuple[list, list]]:
    return {name: (sorted(one.sure), sorted(one.possible - one.sure)) for name, one in golds.items()}


def test_lines_without_ids_belong_to_the_texts_in_order(tmp_path):
    found = read(tmp_path, "0-0 1p2\n\n2-1\n", "pharaoh")
    assert links(found) == {"one": ([(0, 0)], [(1, 2)]), "two words": ([], []), "three": ([(2, 1)], [])}
    assert (found["one"].text, found["one"].student_tokens, found["one"].teacher_tokenizer) == (
        "abc",
        ("a", "b", "c"),
        "t",
    )
    assert links(read(tmp_path, "0-0 1-2\r\n\r\n2-1", "simalign")) == {
        "one": ([(0, 0), (1, 2)], []), "two words": ([], []), "three": ([(2, 1)], []),
    }  # fmt: skip


def test_ids_take_the_tokens_of_their_texts_in_any_order(tmp_path):
    found = read(tmp_path, "\ufeffthree\t0-0\n\none\t\n", "pharaoh")
    assert links(found) == {"three": ([(0, 0)], []), "one": ([], [])}
    assert found["three"].student_tokens == ("a", "b", "c")


def test_sentence_numbers_count_the_texts_from_one(tmp_path):
    text = "2 1 1\n0003 1 3 P 0.25\n2 2 1 P\n2 1 2 0.5\n2 2 1 s\n"
    found = read(tmp_path, text, "naacl", numbered=True)
    assert links(found) == {"two words": ([(0, 0), (0, 1), (1, 0)], []), "three": ([], [(0, 2)])}


def test_annotator_and_links_of_the_texts_are_not_taken_over(tmp_path):
    assert links(read(tmp_path, "one\t0-0\n", "pharaoh"))["one"] == ([(0, 0)], [])


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("pharaoh", "0-0\n1-1\n", "links.pharaoh: 2 lines for 3 texts"),
        ("simalign", "0-0\n1-1\n\n\n", "links.simalign: 4 lines for 3 texts"),
        ("simalign", "\n0-0 1p2\n\n", "links.simalign:2: wanted '0-0 1-2 …', counted from 0; '1p2' is no link"),
        ("simalign", "a-1\n\n\n", "links.simalign:1: .*'a-1' is no link"),
        ("pharaoh", "one\t0-0\n1-1\n", "links.pharaoh:2: .*as on the other lines, found no tab"),
        ("pharaoh", "\t0-0\n", "links.pharaoh:1: wanted an id before the tab"),
        ("pharaoh", "one\t0-0\nfour\t0-0\n", "links.pharaoh:2: the id 'four' is none of the 3 texts, .* like 'one'"),
        ("pharaoh", "one\t0-0\n\none\t1-1\n", "links.pharaoh:3: the id 'one' comes twice, first at .*links.pharaoh:1"),
        ("pharaoh", "one\t0-0 1-3\n", "links.pharaoh:1: student 1, teacher 3 .* outside the 3 student and 3 teacher"),
        ("pharaoh", "one\t0-9999999999999999999\n", "links.pharaoh:1: .*is no link"),
        ("pharaoh", "one\t０-１\n", "links.pharaoh:1: .*is no link"),  # noqa: RUF001
        ("naacl", "one 1 1\none 4 1\n", "links.naacl:2: student 3, teacher 0 .* outside"),
        ("naacl", "one 0 1\n", r"links.naacl:1: position 0 \(NULL\) is no token, .*counted from 1"),
        ("naacl", "one 1 1 X\n", r"links.naacl:1: wanted 'id student teacher \[S|P\]"),
        ("naacl", "one 1 1 S 0.5 0.5\n", "links.naacl:1: wanted"),
        ("naacl", "one 1 1 0.5 S\n", "links.naacl:1: wanted"),
    ],
)
def test_errors_name_file_and_line(form, text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, form)


@pytest.mark.parametrize("number", ["0", "4", "one", "1.0", "-1"])
def test_sentence_numbers_outside_the_texts(number, tmp_path):
    with pytest.raises(DataError, match=f"links.naacl:1: wanted a sentence number from 1 to 3, found '{number}'"):
        read(tmp_path, f"{number} 1 1\n", "naacl", numbered=True)


def test_lines_without_ids_need_texts(tmp_path):
    with pytest.raises(DataError, match="links.simalign:1: .*found no tab.*--texts"):
        read(tmp_path, "0-0\n", "simalign", None)


def test_jsonl_is_held_against_its_texts(tmp_path):
    write_gold(tmp_path / "g.jsonl", [gold("one", [(0, 0)])])
    assert read_on_texts(tmp_path / "g.jsonl", "jsonl", TEXTS)["one"].sure == {(0, 0)}
    with pytest.raises(DataError, match=r"g.jsonl: the id 'one' is none of the 0 texts"):
        read_on_texts(tmp_path / "g.jsonl", "jsonl", {})
    other = {"one": Gold("one", "abc", ("a", "b", "c"), ("a", "x", "c"), "s", "t", frozenset(), frozenset())}
    with pytest.raises(DataError, match="teacher tokens: first difference at index 1: wanted 'b', found 'x'"):
        read_on_texts(tmp_path / "g.jsonl", "jsonl", other)


# --- what a format cannot hold is said, and nothing else is lost ---


@st.composite
def gold_sets(draw: st.DrawFn) -> dict[str, Gold]:
    names = draw(st.lists(st.sampled_from(("a", "b b", "ü", "7", "x-1", "p")), min_size=1, unique=True))
    found = {}
    for name in names:
        n, m = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        cell = st.tuples(st.integers(0, n - 1), st.integers(0, m - 1))
        possible = draw(st.frozensets(cell, max_size=8))
        sure = frozenset(link for link in possible if draw(st.booleans()))
        found[name] = gold(name, sure, possible, (n, m))
    return found


@LAW
@given(golds=gold_sets(), form=st.sampled_from(("jsonl", "pharaoh", "naacl", "simalign")))
def test_round_trip_keeps_all_that_the_format_holds(golds, form, tmp_path):
    path = tmp_path / "file"
    write_gold(path, to_write(golds, form, golds, numbered=form == "naacl"), form)
    if not path.read_bytes().strip():  # not one link, in a format of links alone
        assert form in ("naacl", "simalign") and not any(one.possible for one in golds.values())
        return
    back = read_on_texts(path, form, golds, numbered=form == "naacl")
    if form == "naacl":
        assert back == {name: one for name, one in golds.items() if one.possible}
        assert any("without any" in note for note in left_behind(golds, form)) == (len(back) < len(golds))
    elif form == "simalign":
        assert {name: one.possible for name, one in back.items()} == {name: one.possible for name, one in golds.items()}
        assert any("no levels" in note for note in left_behind(golds, form)) == (back != golds)
    else:
        assert back == golds
    again = tmp_path / "again"
    write_gold(again, to_write(back, form, golds, numbered=form == "naacl"), form)
    assert again.read_bytes() == path.read_bytes()


@LAW
@given(
    text=st.text(alphabet="01 -p\tSP\n.x\r\x00é", max_size=30), form=st.sampled_from(("pharaoh", "simalign", "naacl"))
)
def test_any_bytes_are_gold_or_an_error(text, form, tmp_path):
    try:
        golds = read(tmp_path, text, form, None)
    except DataError as error:
        assert f"links.{form}" in str(error)
    else:
        assert all(one.sure <= one.possible for one in golds.values())
