"""Aligners that read tokens as strings: the greedy walk of SimpleCTKD, MinED's time warping, weights inside a chunk."""

from __future__ import annotations

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from probe.aligners.cells import Group, group_cells, has_eos
from probe.aligners.spans import exact_boundary
from probe.scoring.monotone import warp
from probe.text.axis import TokenAxis

SHARPNESS = 5.0  # of the softmax over similarities in [0, 1]; ours: e^5 between equal and wholly different strings


def simple_ctkd(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """KDFlow's walk (``simple_ctkd``, and its ``eta`` too): equal pieces after equal text; all others are dropped.

    ▁ and Ġ are taken out of the raw pieces first, so other spaces (Ċ, ĉ) and bytes in GPT-2's alphabet stay as they
    are written there: the same character may be spelled in two ways. The side with fewer characters goes on; where
    both have as many but the pieces differ, both do, and two texts of unlike spelling may never meet again.
    """
    left, right = (_bare(axis) for axis in (student, teacher))
    groups: list[Group] = []
    i = j = 0
    mine = theirs = ""
    while i < len(left) and j < len(right):
        if mine == theirs and left[i] == right[j]:
            groups.append(([i], [j]))
        takes_left, takes_right = len(mine) <= len(theirs), len(theirs) <= len(mine)
        if takes_left:
            mine, i = mine + left[i], i + 1
        if takes_right:
            theirs, j = theirs + right[j], j + 1
    return group_cells(groups, student, teacher)


def _bare(axis: TokenAxis) -> list[str]:
    pieces = [piece.replace("▁", "").replace("Ġ", "") for piece in axis.pieces]
    return [*pieces[:-1], "\0eos"] if has_eos(axis) else pieces


def mined_dtw(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """MinED (arXiv 2401.10491, section 3.3): the cheapest monotone path by edit distance between token strings.

    The whole path is kept, so no position is dropped. FuseLLM's loss then keeps of it what its token map allows, which
    depends on the vocabularies; that part is the method ``mined``, not this alignment.
    """
    path = warp(_distances(student, teacher))
    return group_cells([([i], [j]) for i, j in path], student, teacher)


def _distances(student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    names = [[token.replace("␣", "") for token in axis.tokens] for axis in (student, teacher)]
    return cdist(*names, scorer=Levenshtein.distance, dtype=np.float32)


def dpca(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Soft weights inside a chunk: of all cells of a chunk, e^(5 · similarity of the two strings), rows to sum to 1.

    Stands for DPCA, of which no public code or text could be found (November 2026): that there are chunks, and weights
    inside them, is all that is taken from it. Similarity is 1 − edit distance / longer length, spaces apart.
    """
    names = [[token.replace("␣", "") for token in axis.tokens] for axis in (student, teacher)]
    likeness = cdist(*names, scorer=Levenshtein.normalized_similarity, dtype=np.float64)
    cells = exact_boundary(text, student, teacher) * np.exp(SHARPNESS * likeness)
    sums = cells.sum(axis=1, keepdims=True)
    return np.divide(cells, sums, out=np.zeros_like(cells), where=sums > 0)
