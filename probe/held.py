"""Files and directories in use, held by a lock that goes with the process; so what killed runs left can be told.

The locks are flock's, which directories can have too. Where there is none (Windows, some network disks) nothing is
held, nothing counts as left behind, and nothing is removed.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PART = ".part"  # what a temporary file or directory ends in; its name is .NAME.XXXXXXXX.part
FRESH = 2.0  # seconds: a younger one may belong to a run that is about to hold it


@dataclass(frozen=True)
class Seen:
    """What lay at a path: device, inode and time of change, which nothing else shares; None where there was nothing."""

    what: tuple[int, int, int] | None


def look_at(path: Path) -> Seen:
    """What lies at ``path`` now."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return Seen((found.st_dev, found.st_ino, found.st_mtime_ns))
    return Seen(None)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold ``path``, which exists, until the block ends."""
    handle = _hold(path)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_held(path: Path, *, unknown: bool = True) -> bool:
    """Whether a process that is alive holds ``path``; ``unknown`` where this system has no such locks."""
    if fcntl is None:
        return unknown
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


def remove_left_parts(folder: Path, name: str | None = None) -> None:
    """Remove temporary files and directories that a killed run left in ``folder``: for ``name``, or for any."""
    for part in folder.glob(f".{'*' if name is None else glob.escape(name)}.????????{PART}"):
        with contextlib.suppress(OSError):
            if not part.is_symlink() and time.time() - part.stat().st_mtime > FRESH and not is_held(part):
                shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()


class HeldDirectory:
    """An open directory, whose files can be read to the end even if another directory takes its name meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path, self._handle = path, _hold(path)
        if self._handle is not None:
            weakref.finalize(self, os.close, self._handle)

    @property
    def replaced(self) -> bool:
        """Whether something else has its name now, or nothing."""
        if self._handle is None:
            return False
        mine, there = os.fstat(self._handle), look_at(self.path).what
        return there is None or there[:2] != (mine.st_dev, mine.st_ino)

    @property
    def place(self) -> Path:
        """Where its files are now."""
        return Path(f"/proc/self/fd/{self._handle}") if self.replaced else self.path


def _hold(path: Path) -> int | None:
    """A descriptor with a shared lock; None where this system or disk has no such locks."""
    if fcntl is None:
        return None
    handle = os.open(path, os.O_RDONLY)
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return handle
