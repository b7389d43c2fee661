"""events.jsonl of a run: one JSON object for each thing that happened, appended at once and never half a line long."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe.journal import Journal, read_journal, write_journal

EVENTS = "events.jsonl"
KINDS = ("start", "log", "probe", "save", "resume", "end", "error")
LASTING = ("start", "resume", "error")  # what happened to the process is not undone by going back a few steps


def add_event(directory: Path, kind: str, step: int, **values: Any) -> None:
    """Append ``{"event": kind, "step": step, …}``; a line that a kill cut short is dropped first."""
    if kind not in KINDS:
        raise ValueError(f"wanted an event of {', '.join(KINDS)}, got {kind!r}")
    with Journal(directory / EVENTS, sync=True) as journal:
        journal.add({"event": kind, "step": step, **_plain(values)})


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Floats that JSON cannot say (NaN, infinity) become null."""
    return {key: None if isinstance(v, float) and v - v != 0 else v for key, v in values.items()}


def read_events(directory: Path) -> list[dict[str, Any]]:
    """The whole lines, in order; none where there is no file."""
    return read_journal(directory / EVENTS)


def rewind_events(directory: Path, step: int) -> None:
    """Drop what a run that resumes at ``step`` will do again (and half lines)."""
    kept = [e for e in read_events(directory) if e["event"] in LASTING or e["step"] <= step]
    write_journal(directory / EVENTS, kept)
