"""Aligners that read a stored map: by order alone, by order within a band, by the bytes that each token must carry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from probe.maps.attention_map import AttentionMap
from probe.scoring.monotone import FLOOR, monotone_posterior
from probe.text.axis import TokenAxis

Reread = Callable[[AttentionMap], np.ndarray]  # weights [student, teacher], none negative

TEMPERATURE, BAND = 0.1, 0.2  # ours: what DWA-KD uses could not be established
ROUNDS, ENOUGH = 500, 1e-9


def monotone(amap: AttentionMap) -> np.ndarray:
    """The order of both texts and nothing else: see :func:`probe.scoring.monotone.monotone_posterior`."""
    return monotone_posterior(amap.weights)


def soft_dtw(amap: AttentionMap) -> np.ndarray:
    """Soft-DTW's own alignment (arXiv 1703.01541) with costs −log w, at temperature γ = 0.1 within a band.

    Equal to ``monotone`` of w^(1/γ); the smaller γ, the nearer to the one best path. Cells further from the straight
    line than 0.2 of the longer side weigh as much as a stored 0. DWA-KD (arXiv 2602.21669) takes its costs from
    embeddings and hidden states while it trains; here they come from the stored map, and γ and the band are ours.
    """
    n, m = amap.weights.shape
    places = [np.linspace(0, 1, size) if size > 1 else np.full(1, 0.5) for size in (n, m)]
    near = np.abs(places[0][:, None] - places[1][None, :]) <= BAND
    return monotone_posterior(np.where(near, amap.weights, 0.0), temperature=TEMPERATURE)


def sinkhorn(amap: AttentionMap) -> np.ndarray:
    """The coupling nearest to the map in which every token carries the bytes that it covers (arXiv 1306.0895).

    P = diag(u) w diag(v) with row sums = bytes of the student tokens and column sums = bytes of the teacher tokens,
    each divided by their total; a token without bytes (EOS, an added marker) carries one. A stored 0 counts as 2^-24.
    Rows and columns are scaled in turn until no sum is off by 1e-9, at most 500 times; columns are exact at the end.
    """
    kernel = np.maximum(amap.weights.astype(np.float64), FLOOR)
    rows, columns = (_carried(axis) for axis in (amap.student, amap.teacher))
    scale = np.full(len(columns), 1.0)
    for _ in range(ROUNDS):
        left = rows / (kernel @ scale)
        scale = columns / (kernel.T @ left)
        if np.abs(left * (kernel @ scale) - rows).max() < ENOUGH:
            break
    return left[:, None] * kernel * scale


def _carried(axis: TokenAxis) -> np.ndarray:
    """Share of the text that each token covers, in bytes: tokens of one character share its bytes; sums to 1."""
    spans = np.array(axis.spans, dtype=float).reshape(-1, 2)
    sizes = np.maximum(spans[:, 1] - spans[:, 0], 1)
    _, unit, count = np.unique(spans, axis=0, return_inverse=True, return_counts=True)
    shared = np.where(spans[:, 0] < spans[:, 1], count[unit], 1)
    return sizes / shared / (sizes / shared).sum()
