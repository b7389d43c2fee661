"""Plain aligners that any other must beat: uniform weights, and the diagonal from the first token to the last."""

from __future__ import annotations

import numpy as np

from probe.text.axis import TokenAxis


def uniform(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Every cell weighs the same."""
    return np.ones((len(student), len(teacher)))


def diagonal(text: str, student: TokenAxis, teacher: TokenAxis) -> np.ndarray:
    """Each position of the longer side with the place of the shorter that is as far along: ends with ends."""
    n, m = len(student), len(teacher)
    longer = max(n, m)
    cells = np.zeros((n, m))
    cells[tuple(np.rint(np.linspace(0, size - 1, longer)).astype(int) for size in (n, m))] = 1
    return cells
