"""What the tokens' own bytes say: exact byte spans, and the links that GUIDELINES' rules 1 to 3 propose from them.

Proposals are a reading aid. They become gold only through a line in corrections.jsonl that somebody has read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from probe.errors import DataError
from probe.gold.reading import Gold, Link
from probe.text.display import read_back

SPACE = " \t\n\r\u00a0"


@dataclass(frozen=True)
class ByteToken:
    """One token's exact bytes: [start, end) of the response, where its content starts, and whether it is all space.

    ``straddles``: it begins in the prompt, so its true start lies before 0.
    """

    start: int
    end: int
    content: int
    blank: bool
    straddles: bool


def byte_tokens(text: str, tokens: Sequence[str]) -> list[ByteToken]:
    """Exact bytes of each display form; the last one is EOS, an empty token at the end.

    Raises:
        DataError: the display forms do not spell the text (a tokenizer that normalises or hides bytes).
    """
    data = text.encode()
    pieces = [read_back(token) for token in tokens[:-1]]
    before = len(b"".join(pieces)) - len(data)
    if before < 0 or not b"".join(pieces).endswith(data):
        raise DataError(f"the tokens {tokens[:3]}… do not spell the text byte by byte; there is nothing finer to see.")
    found, position = [], -before
    for piece in pieces:
        found.append(_place(piece, position))
        position += len(piece)
    return [*found, ByteToken(len(data), len(data), len(data), False, False)]


def _place(piece: bytes, position: int) -> ByteToken:
    shown = piece.decode("utf-8", "surrogateescape")
    rest = shown.lstrip(SPACE)
    lead = len(shown[: len(shown) - len(rest)].encode("utf-8", "surrogateescape")) if rest else 0
    start = max(position, 0)
    return ByteToken(start, position + len(piece), max(position + lead, start), not rest, position < 0)


def proposed_links(gold: Gold) -> tuple[frozenset[Link], frozenset[Link]]:
    """(sure, possible) from exact bytes: overlap is possible; beginning the same content is sure."""
    student, teacher = (byte_tokens(gold.text, tokens) for tokens in (gold.student_tokens, gold.teacher_tokens))
    eos = (len(student) - 1, len(teacher) - 1)
    pairs = [(i, j) for i in range(eos[0]) for j in range(eos[1])]
    possible = {(i, j) for i, j in pairs if student[i].start < teacher[j].end and teacher[j].start < student[i].end}
    sure = {(i, j) for i, j in possible if _same_beginning(student[i], teacher[j])}
    return frozenset(sure | {eos}), frozenset(possible | {eos})


def _same_beginning(left: ByteToken, right: ByteToken) -> bool:
    return left.content == right.content and left.blank == right.blank and left.straddles == right.straddles
