"""Baselines of every report: maps made without a model, each under a checkpoint name of its own.

The untrained query projector is not here: extraction makes it, and the map store holds it as ``untrained``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from probe.maps.attention_map import AttentionMap, by_rows
from probe.scoring.alignment import cells_of, span_links
from probe.scoring.metrics import LinkCounts, MapScore
from probe.scoring.names import LINK_SCORES, MAP_SCORES

PREFIX = "baseline:"
UNIFORM, DIAGONAL, SPAN_RULE, POSITION_FREE = (
    PREFIX + name for name in ("uniform", "diagonal", "span-rule", "position-free")
)


def uniform(amap: AttentionMap) -> AttentionMap:
    """Every cell of a row weighs 1 / columns."""
    rows, columns = by_rows(amap, amap.weights).shape
    return _baseline(amap, UNIFORM, np.full((rows, columns), 1 / columns))


def diagonal(amap: AttentionMap) -> AttentionMap:
    """Row i looks at column round(i (columns − 1) / (rows − 1)): first to first, EOS to EOS."""
    rows, columns = by_rows(amap, amap.weights).shape
    weights = np.zeros((rows, columns))
    weights[np.arange(rows), np.rint(np.linspace(0, columns - 1, rows)).astype(int)] = 1
    return _baseline(amap, DIAGONAL, weights)


def span_rule(amap: AttentionMap) -> AttentionMap:
    """Row uniform over its sure span links, else over its possible ones, else over all columns."""
    links = span_links(amap.student.spans, amap.teacher.spans)
    sure, possible = (by_rows(amap, cells_of(kind, amap.weights.shape)) for kind in links)
    level = np.where(sure, 2, possible)
    heaviest = level == level.max(axis=1, keepdims=True)
    return _baseline(amap, SPAN_RULE, heaviest / heaviest.sum(axis=1, keepdims=True))


def position_free(score: MapScore) -> MapScore:
    """The score of the best position-free map: top-1 and gold mass are the ceilings, each with its own best choice.

    The other scores have no such bound here and are NaN. ``score`` is of any map of the same example and direction.
    """
    rows = score.positions
    blank, nan = np.full(score.n_rows, np.nan), float("nan")
    bounds = ("top1", "gold_mass")
    unknown = ("reciprocal_rank", "chunk_accuracy", "offset", "entropy")
    positions: dict[str, Any] = dict.fromkeys(unknown, blank)
    means: dict[str, Any] = dict.fromkeys((*unknown, *LINK_SCORES, *MAP_SCORES), nan)
    for degree in ("sure", "possible"):
        positions |= {f"{bound}_{degree}": getattr(rows, f"ceiling_{degree}") for bound in bounds}
        means |= {f"{bound}_{degree}": getattr(score, f"ceiling_{degree}") for bound in bounds}
    return replace(score, **means, links=LinkCounts(), positions=replace(rows, **positions))


def _baseline(amap: AttentionMap, name: str, weights: np.ndarray) -> AttentionMap:
    """A map of these weights [rows, columns], turned back to [student, teacher]."""
    weights = by_rows(amap, weights.astype(np.float32))  # transposing twice is the identity
    return replace(amap, checkpoint=name, method="baseline", normalisation="none", weights=weights)
