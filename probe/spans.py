"""From a tokenizer's character offsets to byte spans of the response: units, indivisible clusters, clipping."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from itertools import accumulate

Span = tuple[int, int]
# Letters that can melt into the one before them although they are no marks: Hangul jamo and half-width voicing.
JOINING_LETTERS = (("\u1160", "\u11ff"), ("\u3131", "\u318e"), ("\ud7b0", "\ud7ff"), ("\uff9e", "\uffdc"))


def byte_offsets(text: str) -> Sequence[int]:
    """UTF-8 byte offset of every character boundary of ``text``: len(text) + 1 numbers, from 0."""
    if text.isascii():
        return range(len(text) + 1)
    widths = (1 if c < "\x80" else 2 if c < "\u0800" else 3 if c < "\U00010000" else 4 for c in text)
    return list(accumulate(widths, initial=0))


def clusters(text: str, first: int, changed: Callable[[str], bool]) -> list[Span]:
    """Character intervals of the letter-with-marks sequences that a normaliser changes, from character ``first`` on.

    Which piece came from which mark cannot be known after composition or reordering, and composed-away marks are
    missing from the tokenizer's offsets: such a sequence is indivisible. A sequence begun before ``first`` is included.
    """
    found: list[Span] = []
    start = max(first - 1, 0)
    while start > 0 and _is_mark(text[start]):
        start -= 1
    end = start + 1
    for position in range(start + 1, len(text) + 1):
        if position < len(text) and _joins(text[start:position], text[position]):
            end = position + 1
            continue
        if end - start > 1 and changed(text[start:end]):
            found.append((start, end))
        start, end = position, position + 1
    return found


def _is_mark(character: str) -> bool:
    return character >= "\u0300" and (
        unicodedata.category(character)[0] == "M" or any(low <= character <= high for low, high in JOINING_LETTERS)
    )


def _joins(before: str, character: str) -> bool:
    """Whether ``character`` belongs to the letter before it: a mark, or a letter that composes with it."""
    if not _is_mark(character):
        return False
    if unicodedata.category(character)[0] == "M":
        return True
    apart = unicodedata.normalize("NFKC", before) + unicodedata.normalize("NFKC", character)
    return unicodedata.normalize("NFKC", before + character) != apart


def without_added_markers(offsets: Sequence[Span], pieces: Sequence[str], text: str, marker: str) -> list[Span]:
    """Give an empty span to a space marker that the tokenizer put in front of a text which has no space there.

    Such a token claims the first character of the text, together with the token that really covers it.
    """
    spans = list(offsets)
    for i in range(len(spans) - 1):
        start, end = spans[i]
        if pieces[i] != marker or end <= start or spans[i + 1][0] != start or (i and spans[i - 1][1] > start):
            continue
        if pieces[i + 1].startswith(marker) or not unicodedata.normalize("NFKC", text[start])[:1].isspace():
            spans[i] = (start, start)
    return spans


def snap(offsets: Sequence[Span], indivisible: Sequence[Span]) -> list[Span]:
    """Widen every token that touches an indivisible interval to the whole of it."""
    spans: list[Span] = []
    k = 0
    for start, end in offsets:
        while k and indivisible[k - 1][1] > start:
            k -= 1
        while k < len(indivisible) and indivisible[k][1] <= start:
            k += 1
        last = k
        while last < len(indivisible) and indivisible[last][0] < end:
            start, end = min(start, indivisible[last][0]), max(end, indivisible[last][1])
            last += 1
        spans.append((start, end))
    return spans


def units(offsets: Sequence[Span]) -> list[Span]:
    """Tokens that share a character, directly or through others, all get the span of the whole; empty spans stay."""
    spans = list(offsets)
    first, low, high = 0, 0, 0
    for i, (start, end) in enumerate(offsets):
        if i and start < high:
            low, high = min(low, start), max(high, end)
            spans[first : i + 1] = [(low, high)] * (i + 1 - first)
        else:
            first, low, high = i, start, end
    return spans


def is_plain(offsets: Sequence[Span]) -> bool:
    """Whether no two tokens share a character, so that offsets are spans already."""
    reached = 0
    for start, end in offsets:
        if start < reached:
            return False
        reached = end
    return True
