"""The overview's report, which a process in the background makes where none is kept on disk."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from app.data.source import Source
from app.server import kept
from app.server.process import BackgroundProcess

if TYPE_CHECKING:
    from probe.scoring.report import Report

_LOCK = threading.Lock()
_JOBS: dict[str, ReportJob] = {}


class ReportJob:
    """A report that is being made; one for all visitors."""

    def __init__(self, source: Source, gold: Path, place: Path) -> None:
        self.place = place
        maps = source.store.path.resolve()
        self._process = BackgroundProcess(
            "app.server.report_worker", str(maps), str(gold.resolve()), "--digest", source.digest, "--out", str(place)
        )

    @property
    def running(self) -> bool:
        return self._process.exit_code is None

    def report(self) -> Report | None:
        """What was made; None while it is being made, and where it could not be."""
        return None if self.running else kept.read_report(self.place)


def start(source: Source, gold: Path) -> ReportJob | None:
    """Begin to make the report of a source, unless it is kept already, or being made."""
    place = kept.folder() / kept.name("report", source.digest)
    with _LOCK:
        if (job := _JOBS.get(source.digest)) is None and not place.is_dir():
            job = _JOBS[source.digest] = ReportJob(source, gold, place)
        return job


def read(source: Source) -> Report | None:
    """The report of a source, if it is kept."""
    return kept.read_report(kept.folder() / kept.name("report", source.digest))
