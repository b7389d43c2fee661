"""From a tokenizer's character offsets to byte spans of the response: units, indivisible clusters, clipping."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Span = tuple[int, int]
# Letters that can melt into the one before them although they are no marks: Hangul jamo and half-width voicing.
JOINING_LETTERS = (("\u1160", "\u11ff"), ("\u3131", "\u318e"), ("\ud7b0", "\ud7ff"), ("\uff9e", "\uffdc"))
LONGEST_TOKEN = 64  # characters; a text has more only where it is spaces or rules, line after line
SPACE = re.compile(r"(?<=\S)\s(?=\S)")


def byte_offsets(text: str) -> Sequence[int]:
    """UTF-8 byte offset of every character boundary of ``text``: len(text) + 1 numbers, from 0."""
    if text.isascii():
        return range(len(text) + 1)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    widths = 1 + (codes >= 0x80).astype(np.int64) + (codes >= 0x800) + (codes >= 0x10000)
    return [0, *np.cumsum(widths).tolist()]


def letter_groups(text: str, start: int = 0) -> Iterator[Span]:
    """Character intervals, from ``start`` on, of letters with the marks behind them; most are one character long."""
    end = start + 1
    for position in range(start + 1, len(text) + 1):
        if position < len(text) and _joins(text[start:position], text[position]):
            end = position + 1
        else:
            yield start, end
            start, end = position, position + 1


def changed_groups(text: str, first: int, normal: Callable[[str], str]) -> list[Span]:
    """The groups of several characters that a normaliser changes and that reach beyond character ``first``.

    Which piece came from which mark cannot be known after composition or reordering, and marks that were composed away
    are missing from the tokenizer's offsets: such a group is indivisible.
    """
    start = _letter_start(text, min(first, len(text) - 1))
    groups = (group for group in letter_groups(text, max(start, 0)) if group[1] - group[0] > 1 and group[1] > first)
    return [(low, high) for low, high in groups if _melts(text[low:high], normal)]


def _letter_start(text: str, position: int) -> int:
    """Where the letter begins whose mark stands at ``position``; ``position`` itself where none does."""
    while position > 0 and _is_mark(text[position]):
        position -= 1
    return position


def _melts(group: str, normal: Callable[[str], str]) -> bool:
    """Whether a normaliser changes a group; a leading space that alone becomes a marker (▁) is no such change."""
    made = normal(group)
    return made != group and not (group[0] == " " and made == normal(group[0]) + group[1:])


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


def spread_bytes(
    offsets: Sequence[Span], byte_of: Sequence[int | None], text: str, normal: Callable[[str], str]
) -> list[Span]:
    """Give each byte token its own character where a tokenizer gives a whole run of them the interval of the run.

    ``byte_of`` has the byte that a token stands for, None for other tokens. A Unigram model with byte fallback does
    this: it fuses unknown characters first, and spells the fused stretch in bytes afterwards.
    """
    spans = list(offsets)
    i = 0
    while i < len(spans):
        end = i + 1
        if byte_of[i] is not None and spans[i][1] - spans[i][0] > 1:
            while end < len(spans) and byte_of[end] is not None and spans[end] == spans[i]:
                end += 1
            spans[i:end] = _spell(list(byte_of[i:end]), spans[i], _owners(text, spans[i], normal))
        i = end
    return spans


def _spell(run: list[int | None], span: Span, owners: Sequence[tuple[int, Span]]) -> list[Span]:
    """Characters of each byte of a run; where the run cannot be found from end to end of ``span``, all of it.

    A run may begin or end inside one character's expansion: NFKC makes a space and U+0327 of U+00B8.
    """
    for skipped in range(len(owners) - len(run) + 1):
        part = owners[skipped : skipped + len(run)]
        if part[0][1][0] <= span[0] and part[-1][1][1] >= span[1] and [byte for byte, _ in part] == run:
            return [characters for _, characters in part]
    return [span] * len(run)


def _owners(text: str, span: Span, normal: Callable[[str], str]) -> list[tuple[int, Span]]:
    """Every byte of the normalised letters that text[span] touches, marks included, and the characters it is of."""
    owners: list[tuple[int, Span]] = []
    for low, high in letter_groups(text, _letter_start(text, span[0])):
        if low >= span[1]:
            break
        whole = _melts(text[low:high], normal)
        for part in [(low, high)] if whole else [(k, k + 1) for k in range(low, high)]:
            owners += [(byte, part) for byte in normal(text[part[0] : part[1]]).encode("utf-8")]
    return owners


def without_added_markers(
    offsets: Sequence[Span], marked: Sequence[bool], text: str, is_space: Callable[[str], bool]
) -> list[Span]:
    """Give an empty span to a space marker that the tokenizer put in front of a text which has no space there.

    Such a token claims the first character of the text, together with the token that really covers it. ``marked``
    says which tokens are a bare marker (▁ or Ġ), ``is_space`` which characters the tokenizer reads as a space.
    """
    spans = list(offsets)
    for i in range(len(spans) - 1):
        start, end = spans[i]
        shares = marked[i] and start < end and spans[i + 1][0] == start and not (i and spans[i - 1][1] > start)
        if shares and (marked[i + 1] or not is_space(text[start])):
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


def beginning_dropped(text: str, most: int) -> str:
    """``text`` or, where that is far above ``most`` tokens, an end of it that begins with a space between two words.

    Only the last tokens of a long prompt are kept, and those do not depend on words so far before: a text of megabytes
    need not be tokenized for them.
    """
    start = len(text) - LONGEST_TOKEN * most
    if start <= 0:
        return text
    space = SPACE.search(text, start)
    return text[space.start() if space and space.start() < start + LONGEST_TOKEN else start :]
