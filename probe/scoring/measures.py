"""Measures of a weight matrix [rows, columns] with rows that sum to 1: ties share, nothing is rounded."""

from __future__ import annotations

import numpy as np

TIE = 1e-6  # weights closer than this share the credit


def heaviest_shares(weights: np.ndarray, tie: float = TIE) -> np.ndarray:
    """Credit [rows, columns]: 1 on each row's heaviest cell, split equally over the cells within ``tie`` of it."""
    heaviest = weights >= weights.max(axis=1, keepdims=True) - tie
    return heaviest / heaviest.sum(axis=1, keepdims=True)


def row_entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy [rows] of each row, divided by log(columns) so that uniform is 1; 0 for a single column."""
    if weights.shape[1] == 1:
        return np.zeros(weights.shape[0])
    shares = weights / weights.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1) / np.log(weights.shape[1])


def average_precision(weights: np.ndarray, gold: np.ndarray) -> float:
    """Area under precision and recall over all cells, Σ (R_k − R_{k−1}) P_k over distinct weights; NaN without gold.

    Cells of exactly equal weight enter together, so their order does not matter.
    """
    if not gold.any():
        return float("nan")
    order = np.argsort(-weights, axis=None)
    values, hits = weights.ravel()[order], np.cumsum(gold.ravel()[order])
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    recall_steps = np.diff(hits[last], prepend=0) / hits[-1]
    return float((recall_steps * hits[last] / (last + 1)).sum())


def coverage(weights: np.ndarray) -> float:
    """Mean over columns of min(1, column sum): 1 when every column receives a whole row's weight."""
    return float(np.minimum(1.0, weights.sum(axis=0)).mean())


def collapse(weights: np.ndarray, *, tie: float = TIE) -> float:
    """Share of rows whose heaviest cell is in the one most popular column (ties share); 1 / columns at the least."""
    return float(heaviest_shares(weights, tie).sum(axis=0).max() / weights.shape[0])


def diagonality(weights: np.ndarray) -> float:
    """1 − mean distance of the weight from the diagonal, positions scaled to [0, 1] at token centres; uniform ≈ 2/3."""
    rows, columns = ((np.arange(size) + 0.5) / size for size in weights.shape)
    distance = np.abs(rows[:, None] - columns[None, :])
    return float(1 - (weights * distance).sum() / weights.sum())


def reciprocal_rank(weights: np.ndarray, gold: np.ndarray, tie: float = TIE) -> np.ndarray:
    """1 / rank [rows] of each row's heaviest gold cell; the rank is the middle of the cells within ``tie`` of it."""
    best = np.where(gold, weights, -np.inf).max(axis=1, keepdims=True)
    above = (weights > best + tie).sum(axis=1)
    level = (np.abs(weights - best) <= tie).sum(axis=1)
    return 1 / (above + (level + 1) / 2)


def signed_distance(gold: np.ndarray) -> np.ndarray:
    """Distance [rows, columns] from the nearest gold column (the left one if both are as near); 0 in rows without."""
    columns = np.arange(gold.shape[1])
    far = 4.0 * gold.shape[1]
    before = np.maximum.accumulate(np.where(gold, columns, -far), axis=1)
    after = np.minimum.accumulate(np.where(gold, columns, far)[:, ::-1], axis=1)[:, ::-1]
    left, right = columns - before, after - columns
    return np.where(gold.any(axis=1, keepdims=True), np.where(left <= right, left, -right), 0.0)
