"""Training runs as the dashboard reads them: their probe curves, and the maps that were taken on the way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from probe.errors import DataError

CURVE, MAPS = "probe_curve.csv", "probe_maps"
DEEPEST, MOST_RUNS = 2, 50  # folders below the given one that are looked into, and runs that are listed
# What the numbers of a curve mean; others are shown under their own names.
MEASURES = {
    "top1_sure": "top-1, sure",
    "top1_possible": "top-1, possible",
    "gold_mass": "gold mass",
    "gold_mass_sure": "gold mass, sure",
    "gold_mass_possible": "gold mass, possible",
    "entropy": "entropy of a line",
    "collapse": "collapse: heaviest cells in one column",
    "classifier_accuracy": "a classifier tells queries from keys (0.5: it cannot)",
    "energy_distance": "energy distance of queries and keys",
    "query_norm": "mean norm of queries",
    "key_norm": "mean norm of keys",
}
CONFIG, LONGEST_CONFIG = "config.json", 1_000_000  # of a finished run or checkpoint; letters that are read
SETTINGS = (
    "method", "matching", "student", "teacher", "data", "seed", "steps", "batch_size", "student_rate", "query_rate",
    "probe_every", "probe_data", "probe_gold",
)  # fmt: skip
STEP = re.compile(r"step-(\d{1,9})")


@dataclass(frozen=True)
class TrainingRun:
    """A run's name below the folder, and where its files are."""

    name: str
    path: Path

    @property
    def maps(self) -> Path:
        return self.path / MAPS


def find_runs(folder: Path) -> list[TrainingRun]:
    """Runs with a curve in the folder or at most two below; symbolic links that lead out of it are passed over."""
    level, found = [folder], []
    for _ in range(DEEPEST + 1):
        found += [path for path in level if _is_inside(path / CURVE, folder) and (path / CURVE).is_file()]
        level = [path for parent in level for path in sorted(parent.iterdir()) if _is_inside(path, folder)]
        level = [path for path in level if path.is_dir()]
    return [TrainingRun(_name(path, folder), path) for path in found[:MOST_RUNS]]


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _name(path: Path, folder: Path) -> str:
    """The run's name; bytes of a folder's name that are no UTF-8 are shown as a mark."""
    name = path.relative_to(folder).as_posix() if path != folder else folder.resolve().name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def read_signature(run: TrainingRun) -> str:
    """What the curve says of how it was made; '' if it says nothing."""
    try:
        column = pd.read_csv(run.path / CURVE, usecols=["signature"])["signature"].dropna()
    except (OSError, ValueError):
        return ""
    return str(column.iloc[0]) if len(column) else ""


def settings_line(directory: Path) -> str:
    """The settings by which a checkpoint was trained, in a line; '' where there are none that can be read.

    Files and models are named without their paths.
    """
    try:
        text = (directory / CONFIG).read_text(encoding="utf-8")
        record = json.loads(text) if len(text) < LONGEST_CONFIG else {}
        settings = record["settings"]
        known = [name for name in SETTINGS if settings.get(name) not in (None, "", [])]
        parts = {
            name: settings[name] for name in known if name != "matching" or str(settings["method"]).endswith("-ga")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return ", ".join(f"{name} {_plain(value)}" for name, value in parts.items())


def _plain(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return " + ".join(str(one).rstrip("/").rsplit("/", 1)[-1] for one in values)


def read_curve(run: TrainingRun) -> pd.DataFrame:
    """The curve: `step` and the columns that are numbers, sorted by step; columns without any number are left out.

    Raises:
        DataError: the file cannot be read, or has no steps or no measure.
    """
    path = run.path / CURVE
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}). Train again, or take the file away.") from error
    if "step" not in frame:
        raise DataError(f"{path}: wanted a column `step`, found {', '.join(map(str, frame.columns[:8]))}.")
    numbers = frame.apply(pd.to_numeric, errors="coerce").dropna(subset="step").dropna(axis="columns", how="all")
    numbers = numbers.drop(columns=[name for name in numbers if name == "schema_version" or name.startswith("n_")])
    if len(numbers) == 0 or len(numbers.columns) < 2:
        raise DataError(f"{path}: no step with a number in it. The run may have ended before its first probe.")
    return numbers.groupby("step", as_index=False).mean().astype({"step": int})


def step_of(checkpoint: str) -> int | None:
    """The step in the name of a stored map's checkpoint, such as step-000250."""
    found = STEP.fullmatch(checkpoint)
    return int(found[1]) if found else None
