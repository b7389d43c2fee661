"""Laws of moving gold between tokenizers: an oracle from the definitions, identity, the span rule, refinement."""

from __future__ import annotations

import os
from functools import cache
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.gold.moving import move_gold
from probe.gold.places import Place, correspond, places
from probe.gold.reading import Gold
from probe.gold.sources import TextTokens, TokenSource
from probe.gold.transfer import Moved, move_links
from probe.scoring.alignment import span_gold
from probe.text.examples import Example
from probe.text.tokenization import PairTokenizer
from tests.support.strategies import texts
from tests.support.tokenizers_zoo import BY_NAME

LAW = settings(
    max_examples=int(os.environ.get("PROBE_LAWS", "60")), deadline=None, suppress_health_check=list(HealthCheck)
)
Links = frozenset[tuple[int, int]]
Side = tuple[Place, ...]
NAMES = tuple(sorted(BY_NAME))


def move(sure: Links, possible: Links, old: tuple[Side, Side], new: tuple[Side, Side]) -> Moved:
    return move_links(sure, possible, *(correspond(o, n) for o, n in zip(old, new, strict=True)))


# --- oracles: from the definitions, quadratic, without any of the code under test ---


def covered(place: Place) -> set[int]:
    return set(range(place.start, place.end))


def twin(old: Side, new: Side, a: int) -> int | None:
    """The old token that new token a is."""
    there, here = ([k for k, place in enumerate(side) if place == new[a]] for side in (old, new))
    return there[here.index(a)] if len(there) == len(here) else None


def oracle(sure: Links, possible: Links, old: tuple[Side, Side], new: tuple[Side, Side]) -> tuple[Links, Links]:
    """For every pair of new tokens, the sentences of the module's docstring."""
    strong, weak = set(), set()
    for a, b in product(range(len(new[0])), range(len(new[1]))):
        held, begun, inside = [], [], []
        here = (new[0][a], new[1][b])
        for side, k in ((0, a), (1, b)):
            same = twin(old[side], new[side], k)
            every = range(len(old[side]))
            own = every if same is None else [same]
            held.append([i for i in own if same is not None or covered(old[side][i]) & covered(here[side])])
            begun.append([i for i in own if same is not None or old[side][i].begin == here[side].begin])
            bytes_of_twin = same is not None and covered(old[side][same])
            byte = here[side].begin if here[side].begin >= here[side].start else here[side].start
            inside.append([i for i in (own if bytes_of_twin else every) if byte in covered(old[side][i])])
        for i, j in possible:
            i_bytes, j_bytes = covered(old[0][i]), covered(old[1][j])
            if not i_bytes or not j_bytes:
                told = i in begun[0] and j in begun[1]
            elif i_bytes & j_bytes:
                told = bool(i_bytes & j_bytes & covered(here[0]) & covered(here[1]))
                told = told and i in held[0] and j in held[1]
            else:
                told = i in held[0] and j in held[1]
            weak |= {(a, b)} if told else set()
        if any((i, j) in sure for i in begun[0] for j in begun[1]):
            strong.add((a, b))
        elif here[0].begin == here[1].begin and not (begun[0] and begun[1]):
            strong |= {(a, b)} if any((i, j) in possible for i in inside[0] for j in inside[1]) else set()
    return frozenset(strong), frozenset(strong | weak)


def rule(student: Side, teacher: Side) -> tuple[Links, Links]:
    """The span rule on places: begin together is sure, share a byte is possible."""
    pairs = list(product(range(len(student)), range(len(teacher))))
    sure = frozenset((i, j) for i, j in pairs if student[i].begin == teacher[j].begin)
    return sure, sure | {(i, j) for i, j in pairs if covered(student[i]) & covered(teacher[j])}


# --- strategies ---


@st.composite
def sides(draw: st.DrawFn, size: int, *, plain: bool = False, whole: bool = False) -> Side:
    """A random cut of ``size`` bytes; not ``plain``: shared places, tokens without bytes; not ``whole``: gaps."""
    cuts = sorted({0, size, *draw(st.lists(st.integers(0, size), max_size=7))})
    kinds = ["one"] * 3 + ([] if plain else ["two", "empty"]) + ([] if whole else ["gap"])
    spans: list[tuple[int, int]] = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        kind = draw(st.sampled_from(kinds))
        own = {"one": 1, "two": 2, "empty": 1, "gap": 0}[kind]
        spans += [(start, start)] * (kind == "empty") + [(start, end)] * own
    end = [Place(size + 1, size + 2, size + 1)] if whole or draw(st.booleans()) else []
    return (*(Place(start, stop, start) for start, stop in spans), *end)


def finer(draw: st.DrawFn, side: Side) -> Side:
    """Every token cut into pieces; the end of the text stays."""
    found: list[Place] = []
    for place in side[:-1]:
        inner = draw(st.lists(st.integers(place.start, place.end), max_size=2))
        cuts = sorted({place.start, place.end, *inner})
        found += [Place(low, high, low) for low, high in zip(cuts, cuts[1:], strict=False)]
    return (*found, side[-1])


@st.composite
def golds(draw: st.DrawFn, old: tuple[Side, Side]) -> tuple[Links, Links]:
    """Any links: the span rule with some taken away and some added, also between tokens without a common byte."""
    sure, possible = (set(part) for part in rule(*old))
    if old[0] and old[1]:
        cell = st.tuples(st.integers(0, len(old[0]) - 1), st.integers(0, len(old[1]) - 1))
        for link, level in draw(st.lists(st.tuples(cell, st.sampled_from(("none", "possible", "sure"))), max_size=6)):
            (possible.discard if level == "none" else possible.add)(link)
            (sure.add if level == "sure" else sure.discard)(link)
    return frozenset(sure), frozenset(possible)


@st.composite
def moves(draw: st.DrawFn) -> tuple[Links, Links, tuple[Side, Side], tuple[Side, Side]]:
    size = draw(st.integers(0, 12))
    old, new = ((draw(sides(size)), draw(sides(size))) for _ in range(2))
    return *draw(golds(old)), old, new


# --- laws ---


@LAW
@given(moves())
def test_links_equal_the_oracle(case):
    moved = move(*case)
    assert (moved.sure, moved.possible) == oracle(*case)


@LAW
@given(moves())
def test_links_lie_inside_and_sure_is_possible(case):
    moved, (student, teacher) = move(*case), case[3]
    assert moved.sure <= moved.possible
    assert all(0 <= a < len(student) and 0 <= b < len(teacher) for a, b in moved.possible)
    assert moved.within <= moved.sure


@LAW
@given(moves())
def test_the_same_tokens_keep_every_link(case):
    sure, possible, old, _ = case
    moved = move(sure, possible, old, old)
    assert (moved.sure, moved.possible, moved.exact) == (sure, possible, len(possible))
    assert not moved.lost and not moved.weakened and not moved.within


@LAW
@given(moves())
def test_both_sides_may_be_exchanged(case):
    sure, possible, old, new = case

    def turned(links):
        return frozenset((j, i) for i, j in links)

    one, two = move(*case), move(turned(sure), turned(possible), old[::-1], new[::-1])
    assert (two.sure, two.possible, two.within) == tuple(map(turned, (one.sure, one.possible, one.within)))
    assert {link[::-1]: reason for link, reason in two.lost.items()} == one.lost


@LAW
@given(st.data(), st.integers(0, 12))
def test_the_span_rule_moves_onto_the_span_rule(data, size):
    """Exactly, where the old tokens cover all bytes and both have an end."""
    old = tuple(data.draw(sides(size, whole=True)) for _ in range(2))
    new = tuple(data.draw(sides(size)) for _ in range(2))
    moved = move(*rule(*old), old, new)
    assert (moved.sure, moved.possible) == rule(*new)


@LAW
@given(st.data(), st.integers(0, 12))
def test_the_span_rule_moves_into_the_span_rule(data, size):
    """In any case; and a pair that it misses shares no byte that both old sides cover."""
    old = tuple(data.draw(sides(size)) for _ in range(2))
    new = tuple(data.draw(sides(size)) for _ in range(2))
    moved, (sure, possible) = move(*rule(*old), old, new), rule(*new)
    assert moved.sure <= sure and moved.possible <= possible
    both = set.intersection(*({byte for place in side for byte in covered(place)} for side in old))
    for a, b in possible - moved.possible:
        assert not covered(new[0][a]) & covered(new[1][b]) & both
    for a, _ in sure - moved.sure:
        assert new[0][a].begin not in both


@LAW
@given(st.data(), st.integers(1, 12))
def test_to_a_refinement_and_back_is_the_identity(data, size):
    old = tuple(data.draw(sides(size, plain=True, whole=True)) for _ in range(2))
    sure, possible = data.draw(golds(old))
    new = tuple(finer(data.draw, side) for side in old)
    there = move(sure, possible, old, new)
    assert not there.lost and not there.weakened
    back = move(there.sure, there.possible, new, old)
    assert (back.sure, back.possible) == (sure, possible)


@LAW
@given(moves())
def test_what_is_lost_has_no_new_pair_and_a_reason(case):
    sure, possible, old, new = case
    moved = move(*case)
    assert moved.lost.keys() <= possible and moved.weakened <= sure - moved.lost.keys()
    for i, j in possible - moved.lost.keys():
        alone = move(sure & {(i, j)}, frozenset({(i, j)}), old, new)
        assert alone.possible and not alone.lost  # its pair may be one that begins within: then it is sure besides
    for i, j in moved.lost:
        assert not move(sure & {(i, j)}, frozenset({(i, j)}), old, new).possible
    for i, j in sure - moved.lost.keys() - moved.weakened:
        assert move(frozenset({(i, j)}), frozenset({(i, j)}), old, new).sure


# --- real tokenizers ---


@cache
def pair_tokenizer(student: str, teacher: str) -> PairTokenizer:
    return PairTokenizer(BY_NAME[student].tokenizer, BY_NAME[teacher].tokenizer)


def source(student: str, teacher: str, example: Example) -> TokenSource:
    pair = pair_tokenizer(student, teacher)
    one = pair.encode([example])[0]
    tokens = TextTokens(one.text, one.student.axis, one.teacher.axis, one.truncated)
    return TokenSource(
        f"{student} with {teacher}", (pair.student_fingerprint, pair.teacher_fingerprint), {"it": tokens}
    )


def gold_of(tokens: TokenSource) -> Gold:
    one = tokens.texts["it"]
    return span_gold("it", one.text, one.student, one.teacher, tokens.fingerprints)


EXAMPLE = texts(min_parts=1, max_parts=8).filter(bool).map(lambda text: Example("it", "Say it:\n", (text,)))
PAIRS = st.tuples(*[st.sampled_from(NAMES)] * 2)
BEGIN = st.sampled_from(("start", "content"))


@LAW
@given(EXAMPLE, PAIRS, BEGIN)
def test_gold_of_real_tokens_stays_on_the_same_tokens(example, pair, begin):
    tokens = source(*pair, example)
    gold = gold_of(tokens)
    assert move_gold({"it": gold}, tokens, begin, tokens)[0].gold == gold


@LAW
@given(EXAMPLE, PAIRS, PAIRS, BEGIN)
def test_real_tokens_take_gold_that_fits_them(example, pair, other, begin):
    old, new = source(*pair, example), source(*other, example)
    gold = gold_of(old)
    one = move_gold({"it": gold}, new, begin, old)[0]
    moved, tokens = one.gold, new.texts["it"]
    assert moved is not None and moved.sure <= moved.possible
    assert (moved.student_tokens, moved.teacher_tokens) == (tokens.student.tokens, tokens.teacher.tokens)
    assert (moved.student_tokenizer, moved.teacher_tokenizer) == new.fingerprints
    assert all(i < len(tokens.student) and j < len(tokens.teacher) for i, j in moved.possible)
    assert (len(tokens.student) - 1, len(tokens.teacher) - 1) in moved.sure  # EOS with EOS
    assert one.exact + sum(one.lost.values()) <= one.links


@LAW
@given(EXAMPLE, st.sampled_from(NAMES))
def test_places_lie_inside_the_text_and_go_forwards(example, name):
    axis = source(name, name, example).texts["it"].student
    size = len(example.output.encode())
    for begin in ("start", "content"):
        found = places(example.output, axis.tokens, axis.spans, begin)
        assert found is not None and len(found) == len(axis)
        assert found[-1] == Place(size + 1, size + 2, size + 1)
        assert all(0 <= place.start <= place.end <= size for place in found[:-1])
        assert all(place.begin < place.end or place.start == place.end for place in found)
        assert [place.span for place in found] == sorted(place.span for place in found)
