"""What kind of writing a stretch of text is: words, accents, other scripts, CJK, emoji, numbers, punctuation, space."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

KINDS = ("plain words", "accented words", "other scripts", "CJK", "emoji and symbols", "numbers", "punctuation",
         "white space", "end of text")  # fmt: skip
CJK = ((0x2E80, 0x303F), (0x3040, 0x30FF), (0x3100, 0x318F), (0x31A0, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7AF),
       (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))  # fmt: skip
LATIN = ((0x00, 0x24F), (0x1E00, 0x1EFF), (0x300, 0x36F))


@lru_cache(maxsize=1 << 14)
def kind_of(text: str) -> str:
    """The kind of a chunk's text; of several kinds in it, the one that tokenizers find harder: emoji before CJK before
    other scripts before accents before numbers before words before punctuation."""
    if not text:
        return "end of text"
    core = text.strip()
    if not core:
        return "white space"
    found = {_kind(character) for character in core}
    order = ("emoji and symbols", "CJK", "other scripts", "accented words", "numbers", "plain words", "punctuation")
    return next(kind for kind in order if kind in found)


@lru_cache(maxsize=1 << 14)
def _kind(character: str) -> str:
    code, category = ord(character), unicodedata.category(character)
    if category == "So" or code >= 0x1F000 and code < 0x20000 or 0xFE00 <= code <= 0xFE0F or code == 0x200D:
        return "emoji and symbols"
    if any(low <= code <= high for low, high in CJK):
        return "CJK"
    if category[0] == "N":
        return "numbers"
    if category[0] in "LM":
        if not any(low <= code <= high for low, high in LATIN):
            return "other scripts"
        return "plain words" if code < 128 else "accented words"
    return "punctuation"
