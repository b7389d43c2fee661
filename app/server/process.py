"""A process in the background: it works on while pages come and go, and ends with whoever started it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import weakref
from pathlib import Path

from app.server.arguments import ROOT

SECONDS_TO_END = 10  # of a process that is killed; one that hangs in the disk is left behind then


class BackgroundProcess:
    """A module of the dashboard in a process of its own, killed when this object goes; ``errors`` is what it says."""

    def __init__(self, module: str, *arguments: str, errors: Path | None = None) -> None:
        command = [sys.executable, "-m", module, *arguments]
        quiet = subprocess.DEVNULL
        with open(errors, "wb") if errors else contextlib.nullcontext(quiet) as said:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=said)
        self._end = weakref.finalize(self, _end, self._process)

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """Kill it, if it still runs."""
        self._end()


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if process.poll() is None:
            process.kill()
            process.wait(SECONDS_TO_END)
