"""The scores of a map, one row each: name, heading, label, meaning, title, ceiling, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ScoreName:
    """How one score is called, and what it means.

    ``name`` is its column and its field of :class:`probe.scoring.metrics.MapScore`. ``heading`` heads a narrow column,
    ``label`` stands on pages, ``title`` over figures. ``ceiling``: the column of the most that a position-free map has.
    """

    name: str
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


_HIT, _MASS = "share of positions whose heaviest cell is", "mean share of a position's weight on"
_SURE, _ANY, _FREE = "ceiling_sure", "ceiling_possible", "that any map without positions can reach here"
_COVERED = "1 when every target of the other side receives a whole position's weight"
_OF_POSITIONS = (  # means over the positions of a map
    ScoreName("top1_sure", "top-1 sure", "top-1, sure", f"{_HIT} a sure link", "top-1 accuracy, sure links", _SURE),
    ScoreName("top1_possible", "top-1 possible", "top-1, possible", f"{_HIT} a possible link", "top-1 accuracy", _ANY),
    ScoreName("gold_mass_sure", "mass sure", "gold mass, sure", f"{_MASS} sure links", "gold mass, sure links", _SURE),
    ScoreName("gold_mass_possible", "mass possible", "gold mass, possible", f"{_MASS} possible links",
              "gold mass", _ANY),
    ScoreName("reciprocal_rank", "MRR", "reciprocal rank", "mean of 1 / rank of the best possible link"),
    ScoreName("chunk_accuracy", "chunk", "chunk accuracy", f"{_HIT} in the right chunk", "chunk accuracy"),
    ScoreName("offset", "offset", "offset", "columns from the nearest possible link to the heaviest cell"),
    ScoreName("entropy", "entropy", "entropy", "0: all weight on one cell; 1: spread evenly"),
    ScoreName(_SURE, "ceiling", "position-free ceiling", f"the most top-1 (sure) {_FREE}"),
    ScoreName(_ANY, "ceiling", "position-free ceiling", f"the most top-1 (possible) {_FREE}"),
)  # fmt: skip
_OF_A_MAP = (
    ScoreName("average_precision", "AP", "average precision", "area under precision and recall of all cells"),
    ScoreName("coverage", "coverage", "coverage", _COVERED),
    ScoreName("collapse", "collapse", "collapse", "share of positions whose heaviest cell is one and the same column"),
    ScoreName("diagonality", "diagonality", "diagonality", "1 less the mean distance of the weight from the diagonal"),
)
_OF_LINKS = (  # that are taken from a map
    ScoreName("precision", "P", "Precision", "predicted links that are possible"),
    ScoreName("recall", "R", "Recall", "sure links that are predicted"),
    ScoreName("f1", "F1", "F1", "harmonic mean of precision and recall"),
    ScoreName("aer", "AER", "AER, alignment error rate", "0 is best", better="lower"),
)
SCORES = {score.name: score for score in (*_OF_POSITIONS, *_OF_A_MAP, *_OF_LINKS)}
POSITION_SCORES, MAP_SCORES, LINK_SCORES = (
    tuple(score.name for score in group) for group in (_OF_POSITIONS, _OF_A_MAP, _OF_LINKS)
)
KEY_SCORES = tuple(name for name, score in SCORES.items() if score.ceiling)  # broken down and compared


def headings(names: Iterable[str]) -> dict[str, str]:
    """Column -> heading."""
    return {name: SCORES[name].heading for name in names}
