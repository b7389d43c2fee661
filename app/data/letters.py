"""How wide letters are: columns of a monospaced font, and the pixels that a map's labels need."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

MONO = 0.602  # a monospaced letter's width, as a share of the font's size
SANS = 0.5  # the mean of a page's letters


def columns(text: str) -> int:
    """How many columns of a monospaced font a text needs."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def label_width(tokens: Sequence[str], size: int, limit: int) -> int:
    """Pixels of the longest of some labels in letters of ``size`` pixels, where longer ones are cut at ``limit``."""
    return min(limit, round(max(map(columns, tokens), default=0) * MONO * size) + 2)


def wrapped(text: str, size: int, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, broken between words; a longer word is broken inside."""
    most = max(8, int(width / (SANS * size)))
    lines: list[str] = []
    for word in text.split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines += [word[start : start + most] for start in range(0, max(len(word), 1), most)]
    return lines
