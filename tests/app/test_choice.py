"""Which names may be pills, whose labels are Markdown: those in which Markdown, icons and formulas find nothing."""

from __future__ import annotations

import pytest

from app.draw.choice import TAME
from tests.app_payloads.tokens import LINKS, TOKENS


@pytest.mark.parametrize("name", ["dskd-cma", "more/ga", "run_2", "dskd-cma-ga.training", "v1.2", "top-1, sure", "t2s"])
def test_usual_names_are_plain(name: str):
    assert TAME.fullmatch(name)


def test_nothing_that_markdown_reads_is_plain():
    marks = set("<>[]()*`$:\\~!#|{}\"'@=+&^%;?")
    plain = [text for text in (*TOKENS, *LINKS) if TAME.fullmatch(text)]
    assert len(plain) < 50 and not [text for text in plain if marks & set(text) or not text.isascii()]
    for text in ("www.evil.example", "a www.evil.example", "_a_", "__init__", "-a", "1. x", "a -> b", "a\n", ""):
        assert not TAME.fullmatch(text), text
