"""ALM's chunks (tokenkit, arXiv 2503.20083): equal numbers of bytes on both sides, and such chunks up to a space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from probe.aligners.cells import Group, group_cells, has_eos, spelled, walk_ends
from probe.text.axis import TokenAxis


def alm_unconstrained(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """A chunk closes wherever both sides have spelled the same number of bytes (``get_unconstrained_alignments``).

    Tokens are bytes first, so a chunk may end inside a character. A chunk whose two byte strings differ (a normaliser
    changed one) is dropped, and so is what is left at the end. Leading spaces are made equal; EOS pairs by role.
    """
    groups, _, _ = _chunks(text, student, teacher)
    return _with_eos(groups, student, teacher)


def alm_space(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """The chunks of :func:`alm_unconstrained`, joined until both next tokens begin with a space (``merge_by_space``).

    Words, mostly; text that is written without spaces becomes one group. tokenkit also ends a group at special tokens.
    """
    groups, left, right = _chunks(text, student, teacher)
    joined: list[tuple[list[int], list[int]]] = [([], [])]
    for rows, columns in groups:
        joined[-1][0].extend(rows)
        joined[-1][1].extend(columns)
        i, j = rows[-1] + 1, columns[-1] + 1
        if i < len(left) and j < len(right) and left[i][:1] == right[j][:1] == b" ":
            joined.append(([], []))
    return _with_eos(joined, student, teacher)


def _chunks(text: str, student: TokenAxis, teacher: TokenAxis) -> tuple[list[Group], list[bytes], list[bytes]]:
    """Chunks whose bytes are equal, and what each token spells, EOS apart."""
    left, right = (spelled(text, axis)[: len(axis) - has_eos(axis)] for axis in (student, teacher))
    left, right = _same_spaces(left, right), _same_spaces(right, left)
    groups, _ = walk_ends(*(list(accumulate(map(len, words))) for words in (left, right)))
    same = [(rows, columns) for rows, columns in groups if _text(left, rows) == _text(right, columns)]
    return same, left, right


def _same_spaces(words: list[bytes], other: list[bytes]) -> list[bytes]:
    """``words`` with as many spaces in front as ``other`` has, where it has more."""
    counts = [len(joined) - len(joined.lstrip(b" ")) for joined in (b"".join(words), b"".join(other))]
    missing = counts[1] - counts[0]
    return [b" " * missing + words[0], *words[1:]] if words and missing > 0 else words


def _text(words: Sequence[bytes], chosen: Sequence[int]) -> bytes:
    return b"".join(words[k] for k in chosen)


def _with_eos(groups: Sequence[Group], student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    ends = [([len(student) - 1], [len(teacher) - 1])] if has_eos(student) and has_eos(teacher) else []
    return group_cells([*groups, *ends], student, teacher)
