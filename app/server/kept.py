"""Results that took long, kept on disk between two starts of the dashboard: scores of maps, and reports."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probe.errors import ProbeError
from probe.files import atomic_directory, atomic_file, cache_directory, read_manifest, write_json, write_manifest
from probe.version import __version__, code_digest

if TYPE_CHECKING:
    from probe.scoring.report import Report

KIND, SCHEMA_VERSION = "kept report", 1
MOST = 32  # of each kind; the oldest go


def folder() -> Path:
    """``$PROBE_CACHE/dashboard`` or ``~/.cache/probe/dashboard``; where that cannot be written, a temporary folder."""
    wanted = cache_directory() / "dashboard"
    with contextlib.suppress(OSError):
        wanted.mkdir(parents=True, exist_ok=True)
        if os.access(wanted, os.W_OK):
            return wanted
    return _temporary()


@functools.cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="probe-dashboard-"))


def name(kind: str, digest: str) -> str:
    """The name under which something of a source is kept: other maps, gold or code have another one."""
    return f"{kind}-{hashlib.sha256(f'{digest} {code_digest()}'.encode()).hexdigest()[:32]}"


def read_report(place: Path) -> Report | None:
    """The report that is kept at ``place``; None where there is none, or a damaged one."""
    from probe.scoring.report import Report  # with all that makes one, which a page that only shows maps does not need

    try:
        read_manifest(place, KIND, SCHEMA_VERSION)
        notes = tuple(json.loads((place / "notes.json").read_text(encoding="utf-8")))
        frames = [field.name for field in dataclasses.fields(Report) if field.name != "notes"]
        return Report(**{name: pd.read_parquet(place / f"{name}.parquet") for name in frames}, notes=notes)
    except (ProbeError, OSError, ValueError):
        return None


def write_report(report: Report, place: Path) -> None:
    """Keep a report at ``place``, whole or not at all. Raises DiskError."""
    with atomic_directory(place, shared=True) as part:
        for field in dataclasses.fields(report):
            value = getattr(report, field.name)
            if isinstance(value, pd.DataFrame):
                value.to_parquet(part / f"{field.name}.parquet")
        write_json(part / "notes.json", list(report.notes))
        write_manifest(part, KIND, SCHEMA_VERSION, {"version": __version__})
    forget_oldest(place)


def read_scores(place: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """Scores [maps, scores] that are kept at ``place``; None where there are none of that shape."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        values = np.load(place, allow_pickle=False)
        return values if values.shape == shape and values.dtype == np.float64 else None
    return None


def write_scores(values: np.ndarray, place: Path) -> None:
    """Keep scores at ``place``, if the disk lets us: without them, the next start only takes longer."""
    with contextlib.suppress(ProbeError, OSError):
        with atomic_file(place) as part, open(part, "wb") as handle:
            np.save(handle, values, allow_pickle=False)
        forget_oldest(place)


def forget_oldest(place: Path) -> None:
    """Remove all but the ``MOST`` youngest of what is kept beside ``place`` and is of its kind."""
    kind = place.name.partition("-")[0]
    for old in sorted(place.parent.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime)[:-MOST]:
        with contextlib.suppress(OSError):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
