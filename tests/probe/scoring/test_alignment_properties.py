"""Laws of alignments over random Unicode: brute-force oracles, bounds, symmetries; gold files and cells."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from probe.errors import DataError
from probe.gold.reading import check_gold, read_gold, write_gold
from probe.scoring.alignment import chunks, links_from_map, span_links
from probe.scoring.tables import safe_cell
from probe.text.examples import Example
from probe.text.tokenization import PairTokenizer
from tests.support.aligned import FINGERPRINTS, make_gold
from tests.support.strategies import PLACES, golds, law, maps, texts
from tests.support.tokenizers_zoo import BY_NAME

LAW = law(60)
Span = tuple[int, int]
METHODS = ("argmax", "mutual", "itermax", "itermax-simalign", "threshold", "monotone")


# --- oracles: straight from the definitions, quadratic, without any of the code under test ---


def has_eos(spans: list[Span]) -> bool:
    return bool(spans) and spans[-1][0] == spans[-1][1]


def oracle_links(student: list[Span], teacher: list[Span]) -> tuple[set, set]:
    """Every pair of tokens, byte by byte."""
    sure, possible = set(), set()
    for (i, (a, b)), (j, (c, d)) in product(enumerate(student), enumerate(teacher)):
        roles = (i == len(student) - 1 and has_eos(student), j == len(teacher) - 1 and has_eos(teacher))
        if any(roles):
            same_start = overlap = all(roles)
        else:
            same_start, overlap = a == c, bool(set(range(a, b)) & set(range(c, d)))
        if same_start:
            sure.add((i, j))
        if same_start or overlap:
            possible.add((i, j))
    return sure, possible


def oracle_chunks(student: list[Span], teacher: list[Span]) -> list[tuple[list[int], list[int]]]:
    """Cut the text at every byte that no token of either side strictly contains; group the tokens by their cut."""
    sides = [spans[: len(spans) - has_eos(spans)] for spans in (student, teacher)]
    every = [span for side in sides for span in side]
    size = max((end for _, end in every), default=0)
    cuts = [byte for byte in range(size + 1) if not any(start < byte < end for start, end in every)]
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for which, side in enumerate(sides):
        for index, (start, _) in enumerate(side):
            groups.setdefault(max(cut for cut in cuts if cut <= start), ([], []))[which].append(index)
    found = [groups[cut] for cut in sorted(groups)]
    last = ([len(student) - 1] if has_eos(student) else [], [len(teacher) - 1] if has_eos(teacher) else [])
    return found + [last] if any(last) else found


# --- strategies ---


# Strategies that composites draw from are made once: making and checking them costs as much as drawing.
KINDS, SIZES = st.sampled_from(("one", "one", "one", "two", "gap", "empty")), st.integers(0, 20)


@st.composite
def spans_of(draw: st.DrawFn, size: int) -> list[Span]:
    """A random partition of ``size`` bytes, some pieces dropped, some doubled (shared), some empty; EOS or not."""
    cuts = sorted({0, size, *(place % (size + 1) for place in draw(PLACES))})
    spans: list[Span] = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        kinds = {"one": [(start, end)], "two": [(start, end)] * 2, "gap": [], "empty": [(start, start), (start, end)]}
        spans += kinds[draw(KINDS)]
    return [*spans, (size, size)] if draw(st.booleans()) else spans


@st.composite
def span_pairs(draw: st.DrawFn) -> tuple[list[Span], list[Span]]:
    size = draw(SIZES)
    return draw(spans_of(size)), draw(spans_of(size))


# --- spans ---


@LAW
@given(span_pairs())
def test_span_rule_equals_the_oracle(pair):
    assert span_links(*pair) == oracle_links(*pair)


@LAW
@given(span_pairs())
def test_chunks_equal_the_oracle(pair):
    assert [(list(c.student), list(c.teacher)) for c in chunks(*pair)] == oracle_chunks(*pair)


@LAW
@given(span_pairs())
def test_span_rule_is_symmetric(pair):
    one, two = span_links(*pair), span_links(*reversed(pair))
    assert one == tuple({(i, j) for j, i in part} for part in two)


@LAW
@given(span_pairs(), st.integers(1, 1000))
def test_spans_may_be_shifted_together(pair, shift):
    moved = [[(start + shift, end + shift) for start, end in spans] for spans in pair]
    assert span_links(*moved) == span_links(*pair)
    assert chunks(*moved) == chunks(*pair)


@LAW
@given(span_pairs())
def test_chunks_partition_both_sides_and_hold_every_link(pair):
    found = chunks(*pair)
    assert [i for c in found for i in c.student] == list(range(len(pair[0])))
    assert [j for c in found for j in c.teacher] == list(range(len(pair[1])))
    sure, possible = span_links(*pair)
    assert sure <= possible <= {link for c in found for link in product(c.student, c.teacher)}


@LAW
@given(span_pairs())
def test_a_tokenization_against_itself_has_no_split_chunk(pair):
    spans = pair[0]
    assume(len(set(spans)) == len(spans))  # no shared characters
    assert {(i, i) for i in range(len(spans))} <= span_links(spans, spans)[0]
    assert all(len(c.student) == len(c.teacher) for c in chunks(spans, spans))


@cache
def pair_tokenizer(student: str, teacher: str) -> PairTokenizer:
    return PairTokenizer(BY_NAME[student].tokenizer, BY_NAME[teacher].tokenizer)


@pytest.mark.parametrize("student", sorted(BY_NAME))
@law(30, cases=len(BY_NAME))
@given(st.sampled_from(sorted(BY_NAME)), texts(max_parts=3), texts(min_parts=1, max_parts=6).filter(bool))
def test_tokenizers_against_the_oracles(student, teacher, prompt, output):
    pair = pair_tokenizer(student, teacher).encode([Example("x", prompt, (output,))])[0]
    spans = list(pair.student.axis.spans), list(pair.teacher.axis.spans)
    assert span_links(*spans) == oracle_links(*spans)
    assert [(list(c.student), list(c.teacher)) for c in chunks(*spans)] == oracle_chunks(*spans)
    assert (len(spans[0]) - 1, len(spans[1]) - 1) in span_links(*spans)[0]  # EOS with EOS


# --- links from a map ---


@LAW
@given(maps(), st.sampled_from(METHODS))
def test_links_stay_inside(amap, method):
    found = links_from_map(amap.weights, method, direction=amap.direction)
    assert all(0 <= i < len(amap.student) and 0 <= j < len(amap.teacher) for i, j in found)


@LAW
@given(maps())
def test_argmax_gives_each_row_one_link(amap):
    found = links_from_map(amap.weights, direction=amap.direction)
    side, rows = (0, amap.student) if amap.direction == "t2s" else (1, amap.teacher)
    assert sorted(link[side] for link in found) == list(range(len(rows)))


@LAW
@given(maps())
def test_mutual_links_are_in_both_argmaxes_and_in_itermax(amap):
    mutual = links_from_map(amap.weights, "mutual")
    assert mutual <= links_from_map(amap.weights) & links_from_map(amap.weights, direction="s2t")
    assert mutual <= links_from_map(amap.weights, "itermax")


@LAW
@given(maps(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_gives_fewer_links(amap, one, two):
    low, high = sorted((one, two))
    loose, strict = (links_from_map(amap.weights, "threshold", threshold=t) for t in (low, high))
    both = links_from_map(amap.weights, "both-directions", other=amap.weights, threshold=low)
    assert strict <= loose == both


# --- gold files and cells ---


@LAW
@given(st.data())
def test_gold_survives_every_format(tmp_path_factory, data):
    amap = data.draw(maps())
    gold = data.draw(golds(amap))
    folder = tmp_path_factory.getbasetemp()
    write_gold(folder / "g.jsonl", [gold])
    assert read_gold(folder / "g.jsonl") == {gold.id: gold}
    assume(gold.possible)
    for suffix in ("pharaoh", "naacl"):
        write_gold(folder / f"g.{suffix}", [gold])
        back = read_gold(folder / f"g.{suffix}")[gold.id]
        assert (back.sure, back.possible) == (gold.sure, gold.possible)


@LAW
@given(st.data())
def test_gold_with_another_token_is_refused(data):
    amap = data.draw(maps())
    gold = make_gold(amap)
    check_gold(gold, amap.student, amap.teacher, FINGERPRINTS, text=amap.text)
    at = data.draw(st.integers(0, len(gold.teacher_tokens) - 1))
    changed = (*gold.teacher_tokens[:at], "another", *gold.teacher_tokens[at + 1 :])
    with pytest.raises(DataError, match=f"first difference at index {at}: wanted 'another'"):
        check_gold(replace(gold, teacher_tokens=changed), amap.student, amap.teacher, FINGERPRINTS, text=amap.text)


@LAW
@given(st.text(st.characters(), max_size=20))
def test_no_cell_is_a_formula(value):
    cell = safe_cell(value)
    cell.encode("utf-8")
    assert "\x00" not in cell
    assert cell.lstrip()[:1] not in tuple("=+-@＝＋－＠") or cell == ""
