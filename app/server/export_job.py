"""An export in the background: a process that draws, how far it is, stopping it, and what it leaves."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Literal

from app.server.export_worker import PROGRESS, Job, job_text
from app.server.process import BackgroundProcess

State = Literal["running", "finished", "failed", "cancelled"]
AT_ONCE = 2  # exports of all visitors; a third waits for its turn by asking again
_LOCK = threading.Lock()
_RUNNING: weakref.WeakSet[ExportJob] = weakref.WeakSet()


class ExportJob:
    """One export. Its process and files go with it, when the visitor leaves or asks for another."""

    def __init__(self, maps: Path, gold: Path | None, rows: list[int], formats: list[str], chosen: dict[str, object]):
        self.total, self.name = len(rows), f"{maps.resolve().name}-{len(rows)}-maps.zip"
        self._folder = tempfile.TemporaryDirectory(prefix="probe-export-")
        place = Path(self._folder.name)
        self.archive = place / "export.zip"
        gold_path = None if gold is None else str(gold.resolve())
        job = Job(str(maps.resolve()), gold_path, rows, formats, str(self.archive), chosen)
        (place / "job.json").write_text(job_text(job), encoding="utf-8")
        self._process = BackgroundProcess("app.server.export_worker", str(place / "job.json"), errors=place / "errors")
        self._cancelled = False
        weakref.finalize(self, _end, self._process, self._folder)

    @classmethod
    def start(
        cls, maps: Path, gold: Path | None, rows: list[int], formats: list[str], chosen: dict[str, object]
    ) -> ExportJob | None:
        """Start one, or None while ``AT_ONCE`` are running."""
        with _LOCK:
            if sum(job.state == "running" for job in _RUNNING) >= AT_ONCE:
                return None
            job = cls(maps, gold, rows, formats, chosen)
            _RUNNING.add(job)
            return job

    @property
    def done(self) -> int:
        """How many maps are drawn."""
        try:
            return (self.archive.parent / PROGRESS).stat().st_size
        except OSError:
            return 0

    @property
    def state(self) -> State:
        code = self._process.exit_code
        if self._cancelled:
            return "cancelled"
        if code is None:
            return "running"
        return "finished" if code == 0 and self.archive.is_file() else "failed"

    @property
    def problem(self) -> str:
        """What the process said before it failed."""
        text = (self.archive.parent / "errors").read_text(encoding="utf-8", errors="replace")
        return text.strip().removeprefix("error: ") or f"the process ended with exit code {self._process.exit_code}."

    def cancel(self) -> None:
        """Stop, and remove what was drawn."""
        self._cancelled = True
        _end(self._process, self._folder)


def _end(process: BackgroundProcess, folder: tempfile.TemporaryDirectory[str]) -> None:
    """The process first, which would write into the folder while it is removed."""
    process.end()
    with contextlib.suppress(OSError):
        folder.cleanup()
