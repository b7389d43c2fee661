"""Where tokens stand in a text, as exactly as can be known, and which tokens of two tokenizations are the same ones.

A token's own bytes are read from its display form where all of them together spell the text: then the pieces of one
character have places of their own. Otherwise (normalising tokenizers, unknown characters) its span is its place, and
tokens that share a character share it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from probe.text.display import read_back
from probe.text.spans import Span

Begin = Literal["start", "content"]
EOS = "‹eos›"
ASCII_BYTE = re.compile("‹([0-7][0-9A-F])›")


@dataclass(frozen=True)
class Place:
    """The bytes [start, end) of the text that a token covers, and the place at which it begins.

    ``begin`` is the first byte, or with "content" the first that is no white space (where all are: the first). Below 0
    it begins in the prompt. The end of the text is a byte of its own, two behind the last, so that EOS pairs by role.
    """

    start: int
    end: int
    begin: int

    @property
    def span(self) -> Span:
        """[start, end)."""
        return self.start, self.end

    @property
    def first(self) -> int:
        """The byte that tells whose beginning this is: ``begin``, or the text's first for one from the prompt."""
        return self.begin if self.begin >= self.start else self.start


def places(
    text: str, tokens: Sequence[str], spans: Sequence[Span] | None = None, begin: Begin = "start"
) -> tuple[Place, ...] | None:
    """The place of every token; None where the display forms do not spell the text and no ``spans`` are given.

    Args:
        text: the response (or the beginning of it that was kept).
        tokens: display forms; ‹eos› at the end is the end of the text.
        spans: byte spans of the tokens, if known; exact places that contradict them are not believed.
        begin: whether a token begins with its first byte or with its content.
    """
    exact = _spelled(text, tokens)
    if spans is not None and exact is not None and not all(map(_inside, exact, spans)):
        exact = None
    if exact is None and spans is None:
        return None
    blank = _blank_bytes(text)
    body = list(exact if exact is not None else spans or ())
    by_role = tuple(tokens[-1:]) == (EOS,) if exact is not None else bool(body) and body[-1] == (len(blank), len(blank))
    found = [_place(start, end, blank, begin) for start, end in (body[:-1] if by_role else body)]
    last = len(blank) + 1
    return (*found, Place(last, last + 1, last)) if by_role else tuple(found)


def _spelled(text: str, tokens: Sequence[str]) -> list[Span] | None:
    """[start, end) of every token, by its own bytes; the first starts below 0 where it begins in the prompt."""
    data = text.encode("utf-8", "surrogatepass")
    by_role = tuple(tokens[-1:]) == (EOS,)
    try:
        pieces = [_own_bytes(token) for token in (tokens[:-1] if by_role else tokens)]
    except ValueError:
        return None
    joined = b"".join(pieces)
    position = len(data) - len(joined)
    if not joined.endswith(data) or position < -len(pieces[0] if pieces else b""):
        return None
    spans: list[Span] = []
    for piece in pieces:
        spans.append((position, position + len(piece)))
        position += len(piece)
    if spans and spans[0][0] == -1 and pieces[0][:1] == b" " and pieces[0].strip():
        spans[0] = (0, spans[0][1])  # a space that the tokenizer put in front of a word, or the prompt's last byte
    return [*spans, (len(data), len(data))] if by_role else spans


def _own_bytes(token: str) -> bytes:
    """The bytes that a display form stands for. Raises ValueError where it is of no text."""
    ascii_byte = ASCII_BYTE.fullmatch(token)  # <0x57> of a byte-fallback vocabulary, which read_back does not know
    return bytes.fromhex(ascii_byte[1]) if ascii_byte else read_back(token)


def _inside(exact: Span, span: Span) -> bool:
    return span[0] <= max(exact[0], 0) and exact[1] <= span[1]


def _blank_bytes(text: str) -> list[bool]:
    """For every byte of the text, whether its character is white space."""
    blank: list[bool] = []
    for character in text:
        blank += [character.isspace()] * len(character.encode("utf-8", "surrogatepass"))
    return blank


def _place(start: int, end: int, blank: Sequence[bool], begin: Begin) -> Place:
    low = max(start, 0)
    if begin == "start":
        return Place(low, max(end, low), low)
    content = next((byte for byte in range(low, end) if not blank[byte]), None)
    if low == end:  # a marker that was put in front: white space, and no beginning of what follows
        return Place(low, low, -1 - low)
    if start < 0:
        return Place(low, end, start)
    return Place(low, end, low if content is None else content)


@dataclass(frozen=True)
class Correspondence:
    """Old and new tokens of one side. ``same[i]`` is the new token that is the old token i, None where there is none.

    ``heirs[i]``: the new tokens that hold a byte of old token i; ``begun[i]``: those that begin where it begins. Where
    a new token is the same as an old one, it is the heir of that one alone.
    """

    old: tuple[Place, ...]
    new: tuple[Place, ...]
    same: tuple[int | None, ...]
    heirs: tuple[tuple[int, ...], ...]
    begun: tuple[tuple[int, ...], ...]


def correspond(old: tuple[Place, ...], new: tuple[Place, ...]) -> Correspondence:
    """Tokens are the same where their places are equal; tokens that share one place (of one character, or of none) are
    the same in their order where both sides have as many. O(tokens + pairs)."""
    there, here = _by_place(old), _by_place(new)
    pairs = [
        pair for place, group in there.items() if len(here.get(place, ())) == len(group)
        for pair in zip(group, here[place], strict=True)
    ]  # fmt: skip
    same = dict(pairs)
    taken = set(same.values())
    free = [a for a in range(len(new)) if a not in taken]
    begins: dict[int, list[int]] = {}
    for a in free:
        begins.setdefault(new[a].begin, []).append(a)
    heirs: list[list[int]] = [[same[i]] if i in same else [] for i in range(len(old))]
    for i, k in overlapping([place.span for place in old], [new[a].span for a in free]):
        heirs[i].append(free[k])
    begun = [[same[i]] if i in same else [] for i in range(len(old))]
    for i, place in enumerate(old):
        begun[i] += begins.get(place.begin, [])
    return Correspondence(
        old, new, tuple(same.get(i) for i in range(len(old))), _sorted(heirs), _sorted(begun)
    )  # fmt: skip


def _by_place(tokens: Sequence[Place]) -> dict[Place, list[int]]:
    groups: dict[Place, list[int]] = {}
    for index, place in enumerate(tokens):
        groups.setdefault(place, []).append(index)
    return groups


def _sorted(lists: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(sorted(one)) for one in lists)


def overlapping(left: Sequence[Span], right: Sequence[Span]) -> list[tuple[int, int]]:
    """Index pairs of spans that share a byte; starts and ends of both never decrease."""
    found = []
    first = 0
    for i, (low, high) in enumerate(left):
        while first < len(right) and right[first][1] <= low:
            first += 1
        k = first
        while k < len(right) and right[k][0] < high:
            if max(low, right[k][0]) < min(high, right[k][1]):
                found.append((i, k))
            k += 1
    return found
