"""Hypothesis strategies: texts of the kinds that break token spans, and whole examples; how many a property gets."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from probe.data import Example

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
