"""MinED's matches (arXiv 2401.10491, section 3.3): tokens by edit distance, sequences by dynamic time warping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from probe.scoring.monotone import warp
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
