"""Agreement of two annotators: Cohen's kappa over cells, precision, recall and F1 of their links.

Counts are summed over examples and divided once. The first annotator is the reference of precision and recall.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from probe.errors import DataError
from probe.gold.reading import Gold, check_same_tokens, gold_hash
from probe.version import __version__

LEVELS = ("none", "possible", "sure")


@dataclass(frozen=True)
class Agreement:
    """How two annotators' cells fall: ``counts`` [level of the first, of the second] in the order of ``LEVELS``."""

    examples: int
    counts: np.ndarray

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960) over the levels: (observed − chance) / (1 − chance); 1 where both use only one."""
        total = self.counts.sum()
        observed = np.trace(self.counts) / total
        chance = float(self.counts.sum(axis=1) @ self.counts.sum(axis=0)) / total**2
        return 1.0 if chance == 1 else float((observed - chance) / (1 - chance))

    @property
    def cells(self) -> int:
        """How many cells [student, teacher] both saw."""
        return int(self.counts.sum())

    @property
    def differing(self) -> int:
        """On how many cells their levels differ."""
        return int(self.counts.sum() - np.trace(self.counts))

    @property
    def precision_sure(self) -> float:
        """Share of the second's sure links that are sure by the first; 1 where the second has none."""
        return self._share(2, axis=0)

    @property
    def recall_sure(self) -> float:
        """Share of the first's sure links that are sure by the second; 1 where the first has none."""
        return self._share(2, axis=1)

    @property
    def f1_sure(self) -> float:
        """F1 of the sure links; 1 where neither has any."""
        return self._f1(2)

    @property
    def precision_possible(self) -> float:
        """Share of all the second's links that the first has; 1 where the second has none."""
        return self._share(1, axis=0)

    @property
    def recall_possible(self) -> float:
        """Share of all the first's links that the second has; 1 where the first has none."""
        return self._share(1, axis=1)

    @property
    def f1_possible(self) -> float:
        """F1 of all links, sure or possible; 1 where neither has any."""
        return self._f1(1)

    def _share(self, least: int, axis: int) -> float:
        size = self.counts.sum(axis=axis)[least:].sum()
        return float(self.counts[least:, least:].sum() / size) if size else 1.0

    def _f1(self, least: int) -> float:
        both = self.counts[least:, least:].sum()
        size = self.counts[least:].sum() + self.counts[:, least:].sum()
        return float(2 * both / size) if size else 1.0


@dataclass(frozen=True)
class Compared:
    """Two annotators on the examples that both annotated: each of them, those with most differences first, and all."""

    examples: tuple[tuple[str, Agreement], ...]
    all: Agreement
    signature: str


def compare(first: Mapping[str, Gold], second: Mapping[str, Gold]) -> Compared:
    """The agreement on every example of both, by the number of cells on which they differ, and on all together.

    Raises:
        DataError: no example of both, or one on other tokens or without tokens.
    """
    pairs = {name: (first[name], second[name]) for name in first if name in second}
    if not pairs:
        shown = [next(iter(golds), "none") for golds in (first, second)]
        raise DataError(
            f"wanted examples that both annotated, found none: {len(first)} ids like {shown[0]!r}, {len(second)} like "
            f"{shown[1]!r}. Compare two annotations of the same examples."
        )
    for one, other in pairs.values():
        check_same_cells(one, other)
    examples = [(name, agreement([pair])) for name, pair in pairs.items()]
    examples.sort(key=lambda example: -example[1].differing)
    counts = np.sum([one.counts for _, one in examples], axis=0)
    hashes = [gold_hash(golds[name] for name in pairs) for golds in (first, second)]
    signature = f"agree:kappa+f1|levels:{','.join(LEVELS)}|a:{hashes[0]}|b:{hashes[1]}|version:{__version__}"
    return Compared(tuple(examples), Agreement(len(examples), counts), signature)


def agreement(pairs: Iterable[tuple[Gold, Gold]]) -> Agreement:
    """The agreement of two annotators on examples that both annotated, each a pair of gold of the same tokens.

    Raises:
        DataError: no pair, or a pair of other tokens, or without tokens.
    """
    counts, examples = np.zeros((3, 3), dtype=np.int64), 0
    for first, second in pairs:
        tokens = [(gold.id, gold.student_tokens, gold.teacher_tokens) for gold in (first, second)]
        if tokens[0] != tokens[1]:
            raise DataError(f"gold {first.id!r} and {second.id!r} are of other tokens; annotate one example twice.")
        _check_tokens(first)
        levels = [_levels(gold) for gold in (first, second)]
        np.add.at(counts, (levels[0].ravel(), levels[1].ravel()), 1)
        examples += 1
    if not counts.sum():
        raise DataError("wanted at least one example that both annotated, found none.")
    return Agreement(examples, counts)


def check_same_cells(first: Gold, second: Gold) -> None:
    """Raise DataError where two annotations are not of one text and the same tokens, naming the first difference."""
    for gold in (first, second):
        _check_tokens(gold)
    check_same_tokens(first, second, "the second annotation")


def _check_tokens(gold: Gold) -> None:
    if not (gold.student_tokens and gold.teacher_tokens):
        raise DataError(f"gold {gold.id!r} names no tokens, so its cells are unknown. Give its texts: --texts.")


def _levels(gold: Gold) -> np.ndarray:
    """The level of every cell [student, teacher] as its place in ``LEVELS``."""
    levels = np.zeros((len(gold.student_tokens), len(gold.teacher_tokens)), dtype=np.int64)
    for link in gold.possible:
        levels[link] = 2 if link in gold.sure else 1
    return levels
