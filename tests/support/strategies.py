"""Hypothesis strategies: texts that break token spans, examples, maps, weights with gold; how many a property gets."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.text.examples import Example
from tests.support.aligned import axis, make_gold, make_map

WORDS = (
    *("the", "cat", " the", "Hello", "world", "x", "12345", "3.14", "snake_case", "camelCase", "a", "don't"),
    *(" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u3000", "\u2028"),
    *(".", ",", "!!!", "...", "(", "—", "‹›", "␣", "⏎", "##", "Ġ", "‘q’"),
    *("漢字", "かな", "한국어", "\u1112\u1161\u11ab", "Ελλ", "Рус", "हिन्दी", "ไทย", "عربي", "\u202eabc\u202c"),
    *("👩\u200d👩\u200d👧", "🙂", "☃\ufe0f", "🇩🇪", "👍🏽", "\u200b", "\ufeff", "\u00ad"),
    *("é", "e\u0301", "E\u0301", "q\u0301\u0323", "o\u0323\u0302", "\u0301", "\u212b", "ﬁ", "Ⅳ", "½", "ß", "İ", "ｶﾞ"),
    *("\x00", "\x01", "\x7f", "\x85", "\ufffd", "\U0010ffff", "\ue000"),
)
# U+2581 is the space of SentencePiece itself: it cannot be told from a space, so no oracle can say what it was.
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\u2581")


def law(quick: int, *, cases: int = 1) -> settings:
    """Settings of a property: ``quick`` examples in the gate, ``PROBE_LAWS`` where that is set.

    A test that is parametrised into several ``cases`` shares ``PROBE_LAWS`` among them, and gets ``quick`` for each.
    """
    wanted = os.environ.get("PROBE_LAWS")
    examples = -(-int(wanted) // cases) if wanted else quick
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def texts(*, min_parts: int = 0, max_parts: int = 10) -> st.SearchStrategy[str]:
    """Texts put together from troublesome words and arbitrary characters."""
    parts = st.one_of(st.sampled_from(WORDS), st.sampled_from(WORDS), st.text(CHARACTERS, min_size=1, max_size=3))
    return st.lists(parts, min_size=min_parts, max_size=max_parts).map("".join)


def examples(*, max_parts: int = 10) -> st.SearchStrategy[Example]:
    """Examples with any prompt, the empty one included, and a response of at least one character."""
    return st.builds(
        lambda prompt, output: Example("it", prompt, (output,)),
        texts(max_parts=max_parts // 2),
        texts(min_parts=1, max_parts=max_parts).filter(bool),
    )


@dataclass(frozen=True)
class Problem:
    """Weights [rows, columns] with rows that sum to 1, gold cells sure ⊆ possible (bool), another order of both."""

    weights: np.ndarray
    sure: np.ndarray
    possible: np.ndarray
    row_order: np.ndarray
    column_order: np.ndarray

    @property
    def scored(self) -> np.ndarray:
        """Rows with gold [rows]."""
        return np.any(self.possible, axis=1)

    def permuted(self) -> Problem:
        """Rows and columns in their other order, gold along with them."""
        cells = np.ix_(self.row_order, self.column_order)
        parts = (self.weights[cells], self.sure[cells], self.possible[cells])
        return Problem(*parts, self.row_order, self.column_order)


# smooth and peaked: all weights of a row differ. tied: few levels. uniform, one-hot. sparse: many zeros.
WEIGHT_KINDS = ("smooth", "peaked", "tied", "uniform", "one-hot", "sparse")
SEEDS = st.integers(0, 2**32 - 1)


def _problem(rows: int, columns: int, kind: str, density: float, seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    raw = rng.random((rows, columns)) + 1e-3
    if kind == "tied":
        raw = rng.integers(1, 4, (rows, columns)).astype(np.float64)
    elif kind == "uniform":
        raw = np.ones((rows, columns))
    elif kind == "one-hot":
        raw = np.eye(columns)[rng.integers(0, columns, rows)]
    elif kind == "sparse":
        raw = np.where(rng.random((rows, columns)) < 0.6, 0.0, raw)
        raw[np.arange(rows), rng.integers(0, columns, rows)] = 1
    else:
        raw **= 1 if kind == "smooth" else 12
    possible = rng.random((rows, columns)) < density
    sure = possible & (rng.random((rows, columns)) < 0.5)
    return Problem(
        raw / raw.sum(axis=1, keepdims=True), sure, possible, rng.permutation(rows), rng.permutation(columns)
    )  # fmt: skip


def problems(*, kinds: tuple[str, ...] = WEIGHT_KINDS, most: int = 8) -> st.SearchStrategy[Problem]:
    """Weights of the given kinds with up to ``most`` rows and columns; five draws each, so that thousands are cheap."""
    sizes = st.integers(1, most)
    return st.builds(_problem, sizes, sizes, st.sampled_from(kinds), st.sampled_from((0.0, 0.1, 0.3, 0.7, 1.0)), SEEDS)


# Strategies that composites draw from are made once: making and checking them costs as much as drawing.
SHORT_TEXTS, DIRECTIONS = texts(max_parts=4), st.sampled_from(("t2s", "s2t"))
SHAPES = st.tuples(st.sampled_from((1, 8, 40)), st.sampled_from((1, 12)), st.sampled_from((0, 1e-9, 100)))
PLACES = st.lists(st.integers(0, 2**16), max_size=8)  # anywhere in a text or span, after division by its size
LINKS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 2**16), st.booleans()), max_size=12)


def pieces_at(text: str, places: list[int]) -> list[str]:
    cuts = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]


@st.composite
def maps(draw: st.DrawFn, *, direction: str | None = None) -> AttentionMap:
    """A map of a random text cut at random; weights random, all tied, one-hot or full of ties."""
    text = draw(SHORT_TEXTS)
    student, teacher = (axis(text, pieces_at(text, draw(PLACES))) for _ in range(2))
    way = direction or draw(DIRECTIONS)
    power, digits, added = draw(SHAPES)
    raw = np.random.default_rng(draw(SEEDS)).random((len(student), len(teacher))) ** power
    raw = np.round(raw, digits) + added
    sums = raw.sum(axis=1 if way == "t2s" else 0, keepdims=True)
    weights = np.where(sums > 0, raw / np.where(sums > 0, sums, 1), 1 / raw.shape[1 if way == "t2s" else 0])
    return make_map(student, teacher, weights, text=text, direction=way)


@st.composite
def golds(draw: st.DrawFn, amap: AttentionMap) -> Gold:
    """Gold with random links on the map's tokens."""
    n, m = len(amap.student), len(amap.teacher)
    links = {(i % n, j % m): sure for i, j, sure in draw(LINKS)}
    return replace(make_gold(amap), sure=frozenset(one for one in links if links[one]), possible=frozenset(links))
