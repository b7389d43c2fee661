"""Aligners on byte spans: the span rule, exact boundaries, shared bytes, tokens with exactly the same bytes."""

from __future__ import annotations

import numpy as np

from probe.scoring.alignment import chunks, span_links
from probe.text.axis import TokenAxis


def span(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Our span rule: tokens that share a byte, and of these those that start together where there are any.

    A row or column with a sure link has weight on its sure links alone (as ``baseline:span-rule``); both models
    predict from the same text there.
    """
    sure, possible = (_marked(links, student, teacher) for links in span_links(student.spans, teacher.spans))
    alone = ~sure.any(axis=1, keepdims=True) | ~sure.any(axis=0, keepdims=True)
    return np.where(sure, 1.0, np.where(possible & alone, 0.5, 0.0))


def exact_boundary(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Everything within one chunk belongs together: the stretches on whose ends both have a token boundary."""
    cells = np.zeros((len(student), len(teacher)))
    for chunk in chunks(student.spans, teacher.spans):
        cells[chunk.student.start : chunk.student.stop, chunk.teacher.start : chunk.teacher.stop] = 1
    return cells


def byte_overlap(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Weight of (i, j): the number of bytes that both cover, so a row is a distribution over the bytes of its token.

    The EOS shares one imagined byte with the other EOS. Tokens of one character share the whole of it.
    """
    left, right = np.array(student.spans).reshape(-1, 2), np.array(teacher.spans).reshape(-1, 2)
    shared = np.minimum(left[:, None, 1], right[None, :, 1]) - np.maximum(left[:, None, 0], right[None, :, 0])
    return np.maximum(shared, 0) + _both_eos(left, right)


def eta(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Exact token alignment: a token pairs with the one that covers exactly the same bytes; all others are dropped."""
    left, right = np.array(student.spans).reshape(-1, 2), np.array(teacher.spans).reshape(-1, 2)
    same = (left[:, None] == right[None]).all(axis=2) & (left[:, None, 0] < left[:, None, 1])
    single = same & (same.sum(axis=1, keepdims=True) == 1) & (same.sum(axis=0, keepdims=True) == 1)
    return single + _both_eos(left, right)


def _both_eos(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """1 in the last cell where both sides end in an empty span, else 0 [student, teacher]."""
    cells = np.zeros((len(left), len(right)))
    if len(left) and len(right) and left[-1, 0] == left[-1, 1] and right[-1, 0] == right[-1, 1]:
        cells[-1, -1] = 1
    return cells


def _marked(links: frozenset[tuple[int, int]], student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    cells = np.zeros((len(student), len(teacher)), dtype=bool)
    if links:
        cells[tuple(np.array(list(links)).T)] = True
    return cells
