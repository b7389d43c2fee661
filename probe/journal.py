"""A journal: one JSON object a line, written before the next thing happens; a crash can tear the last line only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from probe.files import atomic_file, disk_errors


class Journal:
    """Appends records to a file; used as a context manager, which opens the file at once.

    A last line that a crash has torn is cut off first, so that the next record does not become part of it. With
    ``sync`` a record is on the disk itself, not only with the operating system, when :meth:`add` returns.

    Raises:
        DiskError: the file cannot be opened or written; the records in it stay.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        self._path, self._sync = path, sync

    def __enter__(self) -> Journal:
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _mend(self._path)
            self._file = open(self._path, "a", encoding="ascii")  # noqa: SIM115
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, record: Mapping[str, Any]) -> None:
        """Append a record. Raises DiskError; ValueError for NaN or infinity."""
        with disk_errors(self._path):
            self._file.write(_line(record))
            self._file.flush()
            if self._sync:
                os.fsync(self._file.fileno())


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The records, in order; a line that is none (torn, damaged) is passed over. Empty where there is no file."""
    if not path.is_file():
        return []
    # Not splitlines(): it breaks at U+2028 too, which JSON may hold as it is.
    found = (_record(line) for line in path.read_bytes().split(b"\n"))
    return [record for record in found if record is not None]


def write_journal(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace the file by one of these records, all or nothing. Raises DiskError."""
    with atomic_file(path) as part:
        part.write_text("".join(map(_line, records)), encoding="ascii")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _mend(path: Path) -> None:
    """Cut off a last line that is no record, or end one that lacks nothing but its end."""
    if not path.is_file() or (content := path.read_bytes())[-1:] in (b"", b"\n"):
        return
    last = content.rpartition(b"\n")[2]
    with open(path, "r+b") as file:
        if _record(last) is None:
            file.truncate(len(content) - len(last))
        else:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
