"""Scores of a map against gold: MapMetric (parameters) -> MapScore (numbers) -> signature; and link counts.

Everything is per direction. *Rows* are the positions that a map speaks about (student positions of a t2s map, teacher
positions of an s2t map), *columns* the positions it chooses from. Sums are kept, divided once, rounded when printed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np

from probe.errors import DataError
from probe.gold.formats import Nulls
from probe.gold.reading import Gold, Link, check_gold
from probe.maps.attention_map import AttentionMap, by_rows, column_axis, row_axis
from probe.scoring.alignment import LinkMethod, cells_of, chunks, links_from_map
from probe.scoring.measures import (
    TIE,
    average_precision,
    collapse,
    coverage,
    diagonality,
    heaviest_shares,
    reciprocal_rank,
    row_entropy,
    signed_distance,
)  # fmt: skip
from probe.scoring.names import LINK_SCORES, POSITION_SCORES
from probe.scoring.ties import best_position_free, pair_classes, tied_rows
from probe.version import __version__, sign


@dataclass(frozen=True)
class PositionScores:
    """Scores [rows] of each position of one map; NaN where undefined (no sure link, no possible link, no chunk).

    Attributes:
        top1_sure, top1_possible: the heaviest cell is sure / possible; cells within ``TIE`` of it share the credit.
        gold_mass_sure, gold_mass_possible: weight on sure / possible cells.
        reciprocal_rank: of the heaviest possible cell; its rank is the middle of those it ties with.
        chunk_accuracy: the heaviest cell lies in the row's chunk (ties share).
        offset: columns from the nearest possible cell to the heaviest cell, positive when the heaviest comes later.
        entropy: of the row, divided by log(columns); 0 where there is one column.
        ceiling_sure, ceiling_possible: the most that a position-free map earns here (:mod:`probe.scoring.ties`).
        tied: whether the position is tied. best, best_weight: the first heaviest column, and its weight.
    """

    top1_sure: np.ndarray
    top1_possible: np.ndarray
    gold_mass_sure: np.ndarray
    gold_mass_possible: np.ndarray
    reciprocal_rank: np.ndarray
    chunk_accuracy: np.ndarray
    offset: np.ndarray
    entropy: np.ndarray
    ceiling_sure: np.ndarray
    ceiling_possible: np.ndarray
    tied: np.ndarray
    best: np.ndarray
    best_weight: np.ndarray


@dataclass(frozen=True)
class LinkCounts:
    """Counts behind P, R, F1 and AER: |A|, |S|, |P|, |A ∩ S|, |A ∩ P|. Add them over examples, then divide once.

    Empty sets: without predicted links precision is 1 (nothing wrong was said), without sure links recall is 1 (nothing
    was to be found), F1 is 0 where both are 0, and AER is 0 where there is neither a predicted nor a sure link.
    """

    predicted: int = 0
    sure: int = 0
    possible: int = 0
    hit_sure: int = 0
    hit_possible: int = 0

    def __add__(self, other: LinkCounts) -> LinkCounts:
        return LinkCounts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def precision(self) -> float:
        return self.hit_possible / self.predicted if self.predicted else 1.0

    @property
    def recall(self) -> float:
        return self.hit_sure / self.sure if self.sure else 1.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def aer(self) -> float:
        size = self.predicted + self.sure
        return 1 - (self.hit_sure + self.hit_possible) / size if size else 0.0


@dataclass(frozen=True)
class MapScore:
    """Scores of one map: means over its positions (NaN where none counts), link scores, and counts.

    ``n_rows`` positions, of which ``n_positions`` have a possible link, ``n_sure`` a sure one, and ``n_tied`` of the
    former are tied. ``coverage``, ``collapse``, ``diagonality`` and ``entropy`` need no gold.
    """

    top1_sure: float
    top1_possible: float
    gold_mass_sure: float
    gold_mass_possible: float
    reciprocal_rank: float
    chunk_accuracy: float
    offset: float
    entropy: float
    ceiling_sure: float
    ceiling_possible: float
    average_precision: float
    coverage: float
    collapse: float
    diagonality: float
    precision: float
    recall: float
    f1: float
    aer: float
    n_rows: int
    n_positions: int
    n_sure: int
    n_tied: int
    links: LinkCounts
    positions: PositionScores


@dataclass(frozen=True)
class MapMetric:
    """The parameters of a score: how links are taken from a map, which weights count as tied, what NULL is.

    ``nulls``: ``counted`` adds NULL to both sides of P, R, F1 and AER, as WPT 2003's NULL-align; ``dropped`` says in
    the signature that the gold lost its links to NULL; ``refused`` is gold that has none.
    """

    links: LinkMethod = "argmax"
    threshold: float = 0.1
    tie: float = TIE
    nulls: Nulls = "refused"

    def score(self, amap: AttentionMap, gold: Gold | None, *, other: AttentionMap | None = None) -> MapScore:
        """Score one map; without gold the scores that need it are NaN.

        Args:
            other: the map of the other direction, for ``links="both-directions"``.

        Raises:
            DataError: the gold is for another text or other tokens.
        """
        sure, possible = gold_cells(amap, gold)
        rows = position_scores(amap, sure, possible, tie=self.tie)
        weights = by_rows(amap, amap.weights).astype(np.float64)
        counts = self.count_links(amap, gold, other=other)
        scores = {name: _mean(getattr(rows, name)) for name in POSITION_SCORES}
        link_scores = {k: getattr(counts, k) if gold else float("nan") for k in LINK_SCORES}
        scored: np.ndarray = np.any(by_rows(amap, possible), axis=1)
        return MapScore(
            **scores,
            **link_scores,
            average_precision=average_precision(weights, by_rows(amap, possible)),
            coverage=coverage(weights),
            collapse=collapse(weights, tie=self.tie),
            diagonality=diagonality(weights),
            n_rows=len(scored),
            n_positions=int(scored.sum()),
            n_sure=int(by_rows(amap, sure).any(axis=1).sum()),
            n_tied=int((rows.tied & scored).sum()),
            links=counts,
            positions=rows,
        )

    def count_links(self, amap: AttentionMap, gold: Gold | None, *, other: AttentionMap | None = None) -> LinkCounts:
        """The links of the map against gold, which must be checked; all counts are 0 without gold."""
        if gold is None:
            return LinkCounts()
        found = links_from_map(
            amap.weights,
            self.links,
            direction=amap.direction,
            other=None if other is None else other.weights,
            threshold=self.threshold,
        )
        if self.nulls == "counted":
            return with_nulls(found, gold, amap.weights.shape)
        return link_counts(found, gold.sure, gold.possible)

    def signature(self, *, method: str, direction: str, normalisation: str, gold: str, maps: str = "") -> str:
        """One line that says how a number was made; ``gold`` and ``maps`` are hashes of what was scored."""
        over = self.links in ("threshold", "both-directions")
        links = f"{self.links}>{self.threshold:g}" if over else self.links
        nulls = "" if self.nulls == "refused" else self.nulls
        return sign(
            method=method, direction=direction, norm=normalisation, links=links, ties=f"share@{self.tie:g}",
            nulls=nulls, gold=gold, maps=maps, version=__version__,
        )  # fmt: skip

    def signature_of(self, amap: AttentionMap, *, gold: str, maps: str = "") -> str:
        """The signature of a map's score."""
        how = {"method": amap.method, "direction": amap.direction, "normalisation": amap.normalisation}
        return self.signature(**how, gold=gold, maps=maps)


def score_map(amap: AttentionMap, gold: Gold | None = None) -> MapScore:
    """Score one map with the default parameters (see :class:`MapMetric`)."""
    return MapMetric().score(amap, gold)


def gold_cells(amap: AttentionMap, gold: Gold | None) -> tuple[np.ndarray, np.ndarray]:
    """Boolean cells [student, teacher]: sure and possible; none set without gold. Checks the gold's tokens."""
    shape = amap.weights.shape
    if gold is None:
        return cells_of((), shape), cells_of((), shape)
    check_gold(gold, amap.student, amap.teacher, text=amap.text)
    return cells_of(gold.sure, shape), cells_of(gold.possible, shape)


def chunk_cells(amap: AttentionMap) -> np.ndarray:
    """Boolean cells [student, teacher] whose two tokens are in the same chunk."""
    cells = np.zeros(amap.weights.shape, dtype=bool)
    for chunk in chunks(amap.student.spans, amap.teacher.spans):
        cells[chunk.student.start : chunk.student.stop, chunk.teacher.start : chunk.teacher.stop] = True
    return cells


def position_scores(amap: AttentionMap, sure: np.ndarray, possible: np.ndarray, *, tie: float = TIE) -> PositionScores:
    """Per-position scores of a map against gold cells [student, teacher] (bool)."""
    weights = by_rows(amap, amap.weights).astype(np.float64)
    if not weights.size:
        raise DataError(
            f"map of {amap.example_id!r} has {weights.shape[0]} rows and {weights.shape[1]} columns: empty."
        )
    sure, possible, chunk = (by_rows(amap, cells) for cells in (sure, possible, chunk_cells(amap)))
    heaviest = heaviest_shares(weights, tie)
    rows, columns = pair_classes(row_axis(amap).ids), pair_classes(column_axis(amap).ids)
    return PositionScores(
        top1_sure=_where_any(sure, (heaviest * sure).sum(axis=1)),
        top1_possible=_where_any(possible, (heaviest * possible).sum(axis=1)),
        gold_mass_sure=_where_any(sure, (weights * sure).sum(axis=1)),
        gold_mass_possible=_where_any(possible, (weights * possible).sum(axis=1)),
        reciprocal_rank=_where_any(possible, reciprocal_rank(weights, possible, tie)),
        chunk_accuracy=_where_any(chunk, (heaviest * chunk).sum(axis=1)),
        offset=_where_any(possible, (heaviest * signed_distance(possible)).sum(axis=1)),
        entropy=row_entropy(weights),
        ceiling_sure=_where_any(sure, best_position_free(sure, rows, columns).credit),
        ceiling_possible=_where_any(possible, best_position_free(possible, rows, columns).credit),
        tied=tied_rows(possible, rows, columns),
        best=weights.argmax(axis=1),
        best_weight=weights.max(axis=1),
    )


def link_counts(found: set[Link], sure: frozenset[Link], possible: frozenset[Link]) -> LinkCounts:
    """Count predicted links against gold links."""
    return LinkCounts(len(found), len(sure), len(possible), len(found & sure), len(found & possible))


def with_nulls(found: set[Link], gold: Gold, shape: tuple[int, ...]) -> LinkCounts:
    """Count links with NULL among them, -1 on its side: a token without a link is linked to NULL.

    In gold this link is possible, unless the annotator was sure of it (WPT 2003: a word in no link gets a P link).
    """
    nulls = gold.nulls | _unlinked(gold.possible, shape)
    return link_counts(found | _unlinked(found, shape), gold.sure | gold.sure_nulls, gold.possible | nulls)


def _unlinked(links: Collection[Link], shape: tuple[int, ...]) -> frozenset[Link]:
    rows, columns = {i for i, _ in links}, {j for _, j in links}
    alone = [(i, -1) for i in range(shape[0]) if i not in rows] + [(-1, j) for j in range(shape[1]) if j not in columns]
    return frozenset(alone)


def _where_any(gold: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(gold.any(axis=1), values, np.nan)


def _mean(values: np.ndarray) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.sum() / len(counted)) if len(counted) else float("nan")
