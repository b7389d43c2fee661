"""Tied positions, which no position-free map can tell apart, and the best score that such a map could reach.

Keys and queries see only a position's (input, target) pair. Student positions with the same pair have the same row of
weights; teacher positions with the same pair have the same column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def pair_classes(ids: Sequence[int]) -> np.ndarray:
    """Class [positions] of each position: equal where the (input, target) pair is equal, numbered by first appearance.

    The input of position i is the target of position i - 1. The input of position 0 is the last prompt token, which a
    map does not store: it is taken as distinct from all others. Where it does recur, a tie goes unseen and the ceiling
    is a little too high; it stays an upper bound.
    """
    known: dict[tuple[int, int], int] = {}
    pairs = zip([-1, *ids[:-1]], ids, strict=True) if len(ids) else ()
    return np.array([known.setdefault(pair, len(known)) for pair in pairs], dtype=np.int64)


@dataclass(frozen=True)
class PositionFree:
    """The best position-free choice for one set of gold cells.

    Attributes:
        credit: expected top-1 credit [rows] of each row under the best choice, in [0, 1].
        choice: chosen column class [rows]; the same for all rows of a row class.
        column_classes: class [columns] of each column.
    """

    credit: np.ndarray
    choice: np.ndarray
    column_classes: np.ndarray

    def weights(self) -> np.ndarray:
        """The map [rows, columns] that reaches it: each row uniform over the columns of its chosen class."""
        mask = self.choice[:, None] == self.column_classes[None, :]
        return mask / np.maximum(mask.sum(axis=1, keepdims=True), 1)


def best_position_free(gold: np.ndarray, row_classes: np.ndarray, column_classes: np.ndarray) -> PositionFree:
    """The highest expected top-1 that any position-free map can reach on the gold cells [rows, columns] (bool).

    All columns of a class c weigh the same, so a row whose heaviest class is c earns |gold_i ∩ c| / |c|. All rows of a
    class r must choose one c, and choose ``argmax_c Σ_{i ∈ r} |gold_i ∩ c| / |c|``. Spreading over several classes
    earns a mean of their credits, hence never more. Also the highest mean gold mass, for the same reason.
    """
    rows, columns = gold.shape
    if not gold.size:
        empty = np.zeros(rows)
        return PositionFree(empty, empty.astype(np.int64), column_classes)
    sizes = np.bincount(column_classes)
    credit = np.zeros((rows, len(sizes)))
    hits = np.nonzero(gold)
    np.add.at(credit, (hits[0], column_classes[hits[1]]), 1.0)
    credit /= sizes
    together = np.zeros((row_classes.max() + 1, len(sizes)))
    np.add.at(together, row_classes, credit)
    choice = together.argmax(axis=1)[row_classes]
    return PositionFree(credit[np.arange(rows), choice], choice, column_classes)


def tied_rows(gold: np.ndarray, row_classes: np.ndarray, column_classes: np.ndarray) -> np.ndarray:
    """Whether each row [rows] is tied: its own class, or the class of one of its gold columns, has several members."""
    if not gold.size:
        return np.zeros(gold.shape[0], dtype=bool)
    own = np.bincount(row_classes)[row_classes] > 1
    shared = np.bincount(column_classes)[column_classes] > 1
    return own | (gold & shared).any(axis=1)
