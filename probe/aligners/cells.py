"""What an aligner gives back: weighted cells, made from groups of tokens; and the bytes that each token spells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from probe.text.axis import TokenAxis
from probe.text.display import read_back

# Weights [student, teacher], none negative: what of a row or column is 0 was dropped by the aligner.
Align = Callable[[str, TokenAxis, TokenAxis], np.ndarray]
Group = tuple[Sequence[int], Sequence[int]]  # student and teacher tokens that belong together


def group_cells(groups: Iterable[Group], student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Weight 1 in each cell [student, teacher] of a group; a group without tokens on one side links nothing."""
    cells = np.zeros((len(student), len(teacher)))
    for rows, columns in groups:
        cells[np.ix_(list(rows), list(columns))] = 1
    return cells


def has_eos(axis: TokenAxis) -> bool:
    """Whether the last target is the EOS: an empty span at the end."""
    return len(axis) > 0 and axis.spans[-1][0] == axis.spans[-1][1]


def spelled(text: str, axis: TokenAxis) -> list[bytes]:
    """The bytes that each token spells: those of its display form, b"" for the EOS.

    They differ from the bytes of the text where the tokenizer normalises, adds a space, or knows no such character. A
    token without a readable form (special, unknown) spells the bytes of its span.
    """
    data = text.encode("utf-8", "surrogatepass")
    found = [_spelled(shown, data[start:end]) for shown, (start, end) in zip(axis.tokens, axis.spans, strict=True)]
    return [*found[:-1], b""] if has_eos(axis) else found


def _spelled(shown: str, covered: bytes) -> bytes:
    try:
        made = read_back(shown)
    except ValueError:
        return covered
    return covered if "‹" in shown and "‹".encode() in made else made


def byte_ends(text: str, axis: TokenAxis) -> list[int]:
    """Where each token ends in the text, in bytes, inside a character too where its tokens spell its bytes exactly.

    Our spans give all tokens of one character the whole of it; trainers that work on bytes split it among them.
    """
    words, ends = spelled(text, axis), [end for _, end in axis.spans]
    first = 0
    for index in range(1, len(axis) + 1):
        if index < len(axis) and axis.spans[index] == axis.spans[first] and ends[first] > axis.spans[first][0]:
            continue
        start, end = axis.spans[first]
        sizes = [len(word) for word in words[first:index]]
        if index - first > 1 and sum(sizes) == end - start:
            ends[first:index] = (start + np.cumsum(sizes)).tolist()
        first = index
    return ends


def walk_ends(student: Sequence[int], teacher: Sequence[int]) -> tuple[list[Group], Group]:
    """Two walks over places where tokens end, meeting where both have an end; and what is left when one side ends.

    The side whose token ends earlier goes on; where both end at the same place a group closes.
    """
    groups: list[Group] = []
    i = j = first_i = first_j = 0
    while i < len(student) and j < len(teacher):
        left, right = student[i], teacher[j]
        i, j = i + (left <= right), j + (right <= left)
        if left == right:
            groups.append((range(first_i, i), range(first_j, j)))
            first_i, first_j = i, j
    return groups, (range(first_i, len(student)), range(first_j, len(teacher)))


def as_map(cells: np.ndarray, direction: str) -> np.ndarray:
    """The weights of a map [student, teacher]: each row (t2s) or column (s2t) sums to 1.

    What was dropped has no opinion: it is uniform, so that it earns the credit of a blind guess and no more.
    """
    axis = 1 if direction == "t2s" else 0
    sums = cells.sum(axis=axis, keepdims=True)
    return np.where(sums > 0, cells / np.where(sums > 0, sums, 1), 1 / cells.shape[axis])


def dropped(cells: np.ndarray) -> tuple[int, int]:
    """How many student rows and teacher columns have no weight at all."""
    return int((~cells.any(axis=1)).sum()), int((~cells.any(axis=0)).sum())
