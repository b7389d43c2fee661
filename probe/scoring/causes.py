"""Why a link is wrong: each wrong link gets exactly one cause, the first that fits in the order of ``CAUSES``.

A position is *wrong* as far as its heaviest cells (ties within 1e-6 share the credit) are no possible gold links; the
shares of a map's wrong links add up to its scored positions minus its top-1 hits. With a wrong link from row i to
column j, where rows are the positions that the map speaks about, the causes are, in this order:

1. ``tied bigram``: a gold link (i', j') exists whose row has the (input, target) pair of i and whose column has the
   pair of j. No map that knows tokens, not places, can tell this link from that one.
2. ``EOS``: i or j is the end of the text.
3. ``split character``: i or j is a token that holds a part of a character only.
4. ``repeated token``: a gold link (i', j') exists whose row has the target token of i and whose column that of j; the
   right token in another place.
5. ``sink column``: j is wrongly the heaviest of at least 3 rows, and of at least a tenth of all rows.
6. ``neighbour``: j is next to a gold column of i.
7. ``piece``: i is one of several tokens that the other side has as one (n:1 for t2s, 1:n for s2t).
8. ``other``: none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap, by_rows, column_axis, row_axis
from probe.scoring.measures import heaviest_shares, signed_distance
from probe.scoring.metrics import gold_cells
from probe.scoring.tables import describe, token_classes
from probe.scoring.ties import pair_classes

CAUSES = (
    "tied bigram", "EOS", "split character", "repeated token", "sink column", "neighbour", "piece", "other",
)  # fmt: skip
# What a page says of a wrong link, behind "wrong: ".
MEANINGS = {
    "tied bigram": "the same pair of tokens is right in another place; a map without places cannot tell them apart",
    "EOS": "one of the two tokens is the end of the text",
    "split character": "one of the two tokens is a part of a character",
    "repeated token": "the right token, but in another place",
    "sink column": "a token that draws many others to itself",
    "neighbour": "right beside the wanted token",
    "piece": "piece of a longer token",
    "other": "no known cause",
}
SINK_ROWS, SINK_SHARE = 3, 0.1
PIECES = {"t2s": "n:1", "s2t": "1:n"}


@dataclass(frozen=True)
class WrongLink:
    """A wrong heaviest cell: its row and column, its weight, its share of the credit, what was wanted, why."""

    row: int
    column: int
    weight: float
    share: float
    wanted: tuple[int, ...]
    cause: str


def wrong_links(amap: AttentionMap, gold: Gold) -> list[WrongLink]:
    """The wrong links of a map, row by row.

    Raises:
        DataError: the gold is for another text or other tokens.
    """
    possible = by_rows(amap, gold_cells(amap, gold)[1])
    weights = by_rows(amap, amap.weights).astype(np.float64)
    shares = heaviest_shares(weights) * ~possible * possible.any(axis=1, keepdims=True)
    causes = _causes(amap, gold, possible, shares > 0)
    return [
        WrongLink(i, j, float(weights[i, j]), float(shares[i, j]), tuple(np.flatnonzero(possible[i]).tolist()),
                  CAUSES[causes[i, j]])
        for i, j in np.argwhere(shares > 0).tolist()
    ]  # fmt: skip


def _causes(amap: AttentionMap, gold: Gold, possible: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Number [rows, columns] of the first of ``CAUSES`` that fits a cell."""
    rows, columns = row_axis(amap), column_axis(amap)
    classes = [np.array(token_classes(amap.text, axis)) for axis in (rows, columns)]
    received = wrong.sum(axis=0)
    pieces = np.array(describe(amap, gold).relations) == PIECES[amap.direction]
    fits = [
        _same_as_gold(possible, pair_classes(rows.ids), pair_classes(columns.ids)),
        _either(classes, "EOS"),
        _either(classes, "part of a character"),
        _same_as_gold(possible, rows.ids, columns.ids),
        np.broadcast_to(received >= max(SINK_ROWS, SINK_SHARE * len(rows)), wrong.shape),
        np.abs(signed_distance(possible)) == 1,
        np.broadcast_to(pieces[:, None], wrong.shape),
        np.ones(wrong.shape, dtype=bool),
    ]
    return np.argmax(fits, axis=0)


def _same_as_gold(
    possible: np.ndarray, rows: Sequence[int] | np.ndarray, columns: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Cells [rows, columns] that share the row's and the column's class with some gold cell."""
    same_rows, same_columns = (np.equal.outer(np.array(ids), np.array(ids)).astype(float) for ids in (rows, columns))
    return (same_rows @ possible @ same_columns) > 0


def _either(classes: Sequence[np.ndarray], name: str) -> np.ndarray:
    left, right = (axis == name for axis in classes)
    return left[:, None] | right[None, :]
