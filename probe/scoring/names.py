"""The scores of a map, one row each: name, heading, label, meaning, title, ceiling, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["position", "map", "link"]


@dataclass(frozen=True)
class ScoreName:
    """How one score is called, and what it means.

    ``name`` is its column and its field of :class:`probe.scoring.metrics.MapScore`; ``kind`` says whether it is a mean
    over positions, of the map as a whole, or of the links taken from it. ``heading`` heads a narrow column, ``label``
    stands on pages, ``title`` over figures. ``ceiling``: the column with the most that a position-free map earns.
    """

    name: str
    kind: Kind
    heading: str
    label: str
    meaning: str
    title: str = ""
    ceiling: str = ""
    better: Literal["higher", "lower"] = "higher"

    @property
    def count(self) -> str:
        """The column with the number of positions that it is a mean of: only some have a sure link."""
        return "n_sure" if self.ceiling == "ceiling_sure" else "n_positions"


_HEAVIEST, _WEIGHT = "share of positions whose heaviest cell is", "mean share of a position's weight on"
_SURE, _POSSIBLE = "ceiling_sure", "ceiling_possible"
_FREE = "that any map without positions can reach here"
_TABLE = (
    ScoreName("top1_sure", "position", "top-1 sure", "top-1, sure", f"{_HEAVIEST} a sure link",
              title="top-1 accuracy, sure links", ceiling=_SURE),
    ScoreName("top1_possible", "position", "top-1 possible", "top-1, possible", f"{_HEAVIEST} a possible link",
              title="top-1 accuracy", ceiling=_POSSIBLE),
    ScoreName("gold_mass_sure", "position", "mass sure", "gold mass, sure", f"{_WEIGHT} sure links",
              title="gold mass, sure links", ceiling=_SURE),
    ScoreName("gold_mass_possible", "position", "mass possible", "gold mass, possible", f"{_WEIGHT} possible links",
              title="gold mass", ceiling=_POSSIBLE),
    ScoreName("reciprocal_rank", "position", "MRR", "reciprocal rank", "mean of 1 / rank of the best possible link"),
    ScoreName("chunk_accuracy", "position", "chunk", "chunk accuracy", f"{_HEAVIEST} in the right chunk",
              title="chunk accuracy"),
    ScoreName("offset", "position", "offset", "offset", "columns from the nearest possible link to the heaviest cell"),
    ScoreName("entropy", "position", "entropy", "entropy", "0: all weight on one cell; 1: spread evenly"),
    ScoreName(_SURE, "position", "ceiling", "position-free ceiling", f"the most top-1 (sure) {_FREE}"),
    ScoreName(_POSSIBLE, "position", "ceiling", "position-free ceiling", f"the most top-1 (possible) {_FREE}"),
    ScoreName("average_precision", "map", "AP", "average precision", "area under precision and recall of all cells"),
    ScoreName("coverage", "map", "coverage", "coverage",
              "1 when every target of the other side receives a whole position's weight"),
    ScoreName("collapse", "map", "collapse", "collapse",
              "share of positions whose heaviest cell is one and the same column"),
    ScoreName("diagonality", "map", "diagonality", "diagonality", "1 less the mean distance from the diagonal"),
    ScoreName("precision", "link", "P", "Precision", "predicted links that are possible"),
    ScoreName("recall", "link", "R", "Recall", "sure links that are predicted"),
    ScoreName("f1", "link", "F1", "F1", "harmonic mean of precision and recall"),
    ScoreName("aer", "link", "AER", "AER, alignment error rate", "0 is best", better="lower"),
)  # fmt: skip
SCORES = {score.name: score for score in _TABLE}


def _of_kind(kind: Kind) -> tuple[str, ...]:
    return tuple(name for name, score in SCORES.items() if score.kind == kind)


POSITION_SCORES, MAP_SCORES, LINK_SCORES = _of_kind("position"), _of_kind("map"), _of_kind("link")
KEY_SCORES = tuple(name for name, score in SCORES.items() if score.ceiling)  # broken down and compared


def headings(names: Iterable[str]) -> dict[str, str]:
    """Column -> heading."""
    return {name: SCORES[name].heading for name in names}
