"""The alignments of TRL's GOLD trainer: by byte offsets (now), by decoded pieces (before), by position."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from probe.aligners.cells import Group, byte_ends, group_cells, has_eos, spelled, walk_ends
from probe.text.axis import TokenAxis
from probe.text.display import BYTE_PIECE


def gold_bytes(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """TRL 1.16, ``ULDLoss`` with ``use_extended_uld``: a walk over where tokens end, in bytes.

    A group closes where both sides end; what is left at the end of one side is one last group. The EOS of both sides
    are left out (``uld_skip_student_eos`` and ``uld_skip_teacher_eos`` are on by default): they are dropped. TRL itself
    refuses tokenizers that are not ByteLevel; here they are walked by the same rule.
    """
    ends = [byte_ends(text, axis)[: len(axis) - has_eos(axis)] for axis in (student, teacher)]
    groups, rest = walk_ends(*ends)
    return group_cells([*groups, rest], student, teacher)


def gold_decode(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """TRL 0.25, copied into several trainers: pieces by decoding every prefix, joined until they are equal.

    The decoder writes � for a character that is not whole yet, and a prefix is cut by its number of characters, so a
    piece is wrong as soon as bytes of one character are split; where two texts once differ they never meet again, and
    all the rest becomes one group. The EOS are left out as in :func:`gold_bytes`.
    """
    left, right = (_pieces(text, axis) for axis in (student, teacher))
    return group_cells(_until_equal(left, right), student, teacher)


def _pieces(text: str, axis: TokenAxis) -> list[str]:
    """What each token adds to the decoded text, by the number of characters of the prefix before it."""
    size = len(axis) - has_eos(axis)
    words = spelled(text, axis)[:size]
    if any(piece.startswith("▁") for piece in axis.pieces):
        decoded = _sentencepiece_prefixes(words, axis.pieces)
    else:
        decoded = [prefix.decode("utf-8", "replace") for prefix in accumulate(words, initial=b"")]
    return [after[len(before) :] for before, after in pairwise(decoded)]


def _sentencepiece_prefixes(words: Sequence[bytes], pieces: Sequence[str]) -> list[str]:
    """The decoded text before each token and at the end, as SentencePiece's decoder writes it.

    A run of byte tokens that is no whole text is one � for each byte; the space that begins the text is taken out.
    """
    decoded, done, run = [""], "", b""
    for word, piece in zip(words, pieces, strict=False):
        if BYTE_PIECE.fullmatch(piece):
            run += word
        else:
            done, run = done + _run(run) + word.decode("utf-8", "replace"), b""
        decoded.append(done + _run(run))
    return [prefix.removeprefix(" ") for prefix in decoded]


def _run(run: bytes) -> str:
    try:
        return run.decode("utf-8")
    except UnicodeDecodeError:
        return "�" * len(run)


def _until_equal(left: Sequence[str], right: Sequence[str]) -> list[Group]:
    """Groups of pieces whose joined strings are equal; what is left at the end is one more group, forced.

    The shorter string takes the next piece, the student's where both are equally long; a side that has no more lets
    the other run to its end.
    """
    groups: list[Group] = []
    i = j = first_i = first_j = 0
    mine = theirs = ""
    while i < len(left) or j < len(right):
        if mine == theirs and mine:
            groups.append((range(first_i, i), range(first_j, j)))
            first_i, first_j, mine, theirs = i, j, "", ""
        takes_left = (not mine or (bool(theirs) and len(mine) <= len(theirs))) if i < len(left) else False
        if takes_left or j == len(right):
            mine, i = mine + left[i], i + 1
        else:
            theirs, j = theirs + right[j], j + 1
    return [*groups, (range(first_i, len(left)), range(first_j, len(right)))]


def gold_positional(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """TRL with ``use_extended_uld=False``, and the ULD loss before it: position i with position i, the longer side cut.

    The EOS are left out as in :func:`gold_bytes`.
    """
    shorter = min(len(axis) - has_eos(axis) for axis in (student, teacher))
    return group_cells([([k], [k]) for k in range(shorter)], student, teacher)
