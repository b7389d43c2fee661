"""The positions of a run, read from its maps in the background: the table fills while people already look at it."""

from __future__ import annotations

import threading
import time

import pandas as pd

from app.data.listing import Run
from app.data.source import Source
from app.data.tokens import frame_of, positions
from app.server.scores import YIELD, gold_or_none
from app.server.turns import PAGES
from probe.errors import ProbeError


class PositionTable:
    """The rows of all maps of a run; see :func:`app.data.tokens.positions`.

    Attributes:
        total, done: maps of the run, and how many of them are read by now.
        problem: why a map could not be read: the first such error.
    """

    def __init__(self, source: Source, run: Run, rows: list[int]) -> None:
        self._source, self._rows = source, rows
        self.run, self.total, self.done = run, len(rows), 0
        self.problem: ProbeError | None = None
        self._found: list[tuple[object, ...]] = []
        self._frame: pd.DataFrame | None = None
        threading.Thread(target=self._fill, name="positions", daemon=True).start()

    @property
    def complete(self) -> bool:
        return self._frame is not None

    def wait(self, seconds: float) -> None:
        """Wait until all maps are read, but no longer than that."""
        end = time.monotonic() + seconds
        while not self.complete and time.monotonic() < end:
            time.sleep(0.02)

    @property
    def frame(self) -> pd.DataFrame:
        """What is known by now. Not to be changed."""
        return self._frame if self._frame is not None else frame_of(self._found[:])

    def _fill(self) -> None:
        for row in self._rows:
            if PAGES.busy:
                time.sleep(YIELD)
            try:
                amap = self._source.store.read(row)
                self._found += positions(amap, gold_or_none(self._source, amap))
            except ProbeError as error:
                self.problem = self.problem or error
            self.done += 1
        self._frame = frame_of(self._found)
        self._found = []
