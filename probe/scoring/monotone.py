"""Paths that keep the order of both texts: how probable each cell is on one, and which one is cheapest."""

from __future__ import annotations

import numpy as np

FLOOR = 2.0**-24  # the smallest weight that float16 tells from 0; a stored 0 counts as this much, not as impossible


def monotone_posterior(weights: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """Probability [student, teacher] that a random monotone path through a stored map visits each cell.

    A path goes from the first cell to the last by steps (1, 0), (0, 1) and (1, 1), and is as probable as the product
    of the weights that it visits: S_ij = log max(w_ij, 2^-24) (the weights of a map are a softmax, so their logarithm
    is its score up to a constant a row or column). Forward-backward in log space (soft-DTW, arXiv 1703.01541):

        F_ij = S_ij + log(e^F(i-1,j) + e^F(i,j-1) + e^F(i-1,j-1))      B_ij: the same from the end, without S_ij
        P    = exp(F + B − F_nm)

    Every row and every column of P sums to 1 or more (each path visits each of them), and P of the first and of the
    last cell is 1. The transpose of the weights gives the transpose of P. Not invariant to scale: a path of more cells
    pays for more of them. O(student · teacher), student + teacher steps.

    Args:
        weights: [student, teacher] of either direction, finite and not negative, at least one cell.
        temperature: S is divided by it; near 0 the best path alone is left.
    """
    scores = np.log(np.maximum(weights.astype(np.float64), FLOOR)) / temperature
    forward = _forward(scores)
    backward = _forward(scores[::-1, ::-1])[::-1, ::-1] - scores
    return np.minimum(np.exp(forward + backward - forward[-1, -1]), 1.0)


def _forward(scores: np.ndarray) -> np.ndarray:
    """Log of the summed products of all paths from the first cell to each, that cell included [student, teacher].

    Anti-diagonals lie in the rows of one array, ``skewed[i + j + 2, i + 1]`` = F_ij, so that the three neighbours of
    a whole anti-diagonal are three slices; a border of one cell stands for "no path".
    """
    n, m = scores.shape
    rows, columns = np.indices((n, m))
    skewed_scores = np.full((n + m + 1, n + 1), -np.inf)
    skewed_scores[rows + columns + 2, rows + 1] = scores
    skewed = np.full((n + m + 1, n + 1), -np.inf)
    skewed[0, 0] = 0.0  # the empty path, from which the first cell is one diagonal step
    for total in range(2, n + m + 1):
        low, high = max(1, total - m), min(n, total - 1) + 1
        straight = np.logaddexp(skewed[total - 1, low - 1 : high - 1], skewed[total - 1, low:high])
        reached = np.logaddexp(straight, skewed[total - 2, low - 1 : high - 1])
        skewed[total, low:high] = skewed_scores[total, low:high] + reached
    return skewed[rows + columns + 2, rows + 1]


def monotone_map(weights: np.ndarray, direction: str) -> np.ndarray:
    """The posterior as a map: each student row (t2s) or each teacher column (s2t) of it rescaled to sum to 1."""
    posterior = monotone_posterior(weights)
    return posterior / posterior.sum(axis=1 if direction == "t2s" else 0, keepdims=True)


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
