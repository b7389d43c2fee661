"""Scores of all maps of a store, computed in the background: the list fills while people already look at maps."""

from __future__ import annotations

import threading
import time

import numpy as np

from app.data.source import Source
from app.server import kept
from app.server.turns import PAGES
from probe.errors import DataError, ProbeError
from probe.gold.reading import Gold, GoldSet
from probe.maps.attention_map import AttentionMap
from probe.scoring.names import SCORES as NAMES

# What the pages show of a MapScore, in this order: field -> (label, what it means).
SCORES = {
    name: (NAMES[name].label, NAMES[name].meaning)
    for name in (
        "top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "reciprocal_rank", "chunk_accuracy",
        "ceiling_sure", "entropy", "coverage", "collapse",
    )
}  # fmt: skip

SMALL, MOMENT = 2_000, 3.0  # maps, and seconds that a page waits for them (1.2 s at 0.6 ms a map, November 2026)
YIELD = 0.02  # seconds that the next map waits while a page is being made


class ScoreBoard:
    """A row of scores for each map of ``source``; NaN until a map is scored, and where there is no gold for it.

    Attributes:
        values: [maps, scores] in the order of ``SCORES``.
        problem: why the gold of a map, or a map itself, could not be used: the first such error that was met.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.values = np.full((len(source.store), len(SCORES)), np.nan)
        self.problem: ProbeError | None = None
        self._done = np.zeros(len(source.store), dtype=bool)
        self._place = kept.folder() / kept.name("scores", source.digest) if len(source.store) > SMALL else None
        if self._place is not None and (known := kept.read_scores(self._place, self.values.shape)) is not None:
            self.values, self._done[:] = known, True
        threading.Thread(target=self._fill, name="scores", daemon=True).start()

    @property
    def scored(self) -> int:
        """How many maps are done."""
        return int(self._done.sum())

    @property
    def complete(self) -> bool:
        return bool(self._done.all())

    def wait(self, seconds: float) -> None:
        """Wait until all maps are scored, but no longer than that."""
        end = time.monotonic() + seconds
        while not self.complete and time.monotonic() < end:
            time.sleep(0.01)

    def wait_if_small(self) -> None:
        """Wait for the scores of a store that is done in a moment; of a bigger one, the list is sorted later."""
        if len(self.values) <= SMALL:
            self.wait(MOMENT)

    def score(self, row: int) -> dict[str, float]:
        """The scores of one map, now."""
        if not self._done[row]:
            self._score(row)
        return dict(zip(SCORES, self.values[row].tolist(), strict=True))

    def _fill(self) -> None:
        fresh = False
        for row in range(len(self.values)):
            if not self._done[row]:
                if PAGES.busy:
                    time.sleep(YIELD)
                self._score(row)
                fresh = True
        if fresh and self._place is not None and self.problem is None:
            kept.write_scores(self.values, self._place)

    def _score(self, row: int) -> None:
        from probe.scoring.metrics import score_map  # not needed, and not paid for, where there is no gold

        try:
            amap = self.source.store.read(row) if self.source.golds else None
            gold = fitting_gold(self.source, amap) if amap is not None else None
            if amap is not None and gold is not None:
                scores = score_map(amap, gold)
                self.values[row] = [getattr(scores, name) for name in SCORES]
        except ProbeError as error:
            self.problem = self.problem or error
        self._done[row] = True


def fitting_gold(source: Source, amap: AttentionMap) -> Gold | None:
    """The gold of a map, None if there is none. Raises DataError, naming the first difference, for other tokens."""
    return GoldSet(source.golds, source.store.fingerprints).of(amap)


def gold_or_none(source: Source, amap: AttentionMap) -> Gold | None:
    """The gold of a map if it fits; that it does not is what the board's ``problem`` says."""
    try:
        return fitting_gold(source, amap)
    except DataError:
        return None
