"""MinED's matches (arXiv 2401.10491, section 3.3): tokens by edit distance, sequences by dynamic time warping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from probe.text.tokenization import PairedTokens

BLOCK = 2048  # teacher tokens at a time: distances to a vocabulary of 50,000 are then 200 MB


def token_map(student_tokens: Sequence[str], teacher_tokens: Sequence[str]) -> np.ndarray:
    """The student's id for each of the teacher's [vocab_t]: the same token, or else the one of least edit distance.

    Tokens are display forms by id; of several at the least distance, the lowest id. About 5 s for 10^9 distances.
    """
    same = {token: number for number, token in reversed(list(enumerate(student_tokens)))}
    found = np.array([same.get(token, -1) for token in teacher_tokens], dtype=np.int64)
    missing = np.flatnonzero(found < 0)
    for first in range(0, len(missing), BLOCK):
        block = missing[first : first + BLOCK]
        texts = [teacher_tokens[number] for number in block]
        distances = cdist(texts, student_tokens, scorer=Levenshtein.distance, dtype=np.uint16, workers=-1)
        found[block] = distances.argmin(axis=1)
    return found


def warp(distances: np.ndarray) -> list[tuple[int, int]]:
    """The cheapest monotone path through ``distances`` [rows, columns] from the first cell to the last.

    Steps are (1, 1), (1, 0) and (0, 1), each paying the cell that it enters; ties prefer (1, 1), then (1, 0). One
    pass over the antidiagonals: O(rows · columns), in rows + columns NumPy calls.
    """
    n, m = distances.shape
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0, 0] = 0
    for total in range(n + m - 1):
        i = np.arange(max(0, total - m + 1), min(n, total + 1))
        j = total - i
        best = np.minimum(np.minimum(cost[i, j], cost[i, j + 1]), cost[i + 1, j])
        cost[i + 1, j + 1] = distances[i, j] + best
    path, i, j = [], n, m
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        steps = ((cost[i - 1, j - 1], i - 1, j - 1), (cost[i - 1, j], i - 1, j), (cost[i, j - 1], i, j - 1))
        _, i, j = min(steps, key=lambda step: step[0])
    return path[::-1]


def aligned_positions(pair: PairedTokens, mapping: np.ndarray) -> np.ndarray:
    """Each student position's teacher position [student], or −1.

    The target tokens' display forms, spaces apart, are warped onto each other with edit distance as the cost. A
    student position counts where the path gives it one teacher position whose target ``mapping`` sends to its own.
    """
    student, teacher = ([token.replace("␣", "") for token in side.axis.tokens] for side in (pair.student, pair.teacher))
    distances = cdist(student, teacher, scorer=Levenshtein.distance, dtype=np.float32)
    path = np.array(warp(distances))
    rows, counts = np.unique(path[:, 0], return_counts=True)
    aligned = np.full(len(student), -1, dtype=np.int64)
    for i, j in path[np.isin(path[:, 0], rows[counts == 1])]:
        if mapping[pair.teacher.targets[j]] == pair.student.targets[i]:
            aligned[i] = j
    return aligned
