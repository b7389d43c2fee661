"""One run of a study as it is reported: its labels, its numbers, and its cells by text; read from a directory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from probe.errors import DamagedError, DataError
from probe.files import MANIFEST, read_manifest, sha256_of
from probe.version import __version__, sign

RECORD, TEXTS, ALIGNED = "run.json", "held_out.csv", "alignment.csv"
NUMBERS = (
    "best_step", "stopped_step", "stop_bits_per_byte", "bits_per_byte", "start_bits_per_byte", "teacher_bits_per_byte",
    "gap_closed", "chunk_kl", "gap_rate",
)  # fmt: skip
TEXT_COLUMNS = ("example_id", "bytes", "bits", "start_bits", "teacher_bits", "chunks", "chunk_kl")
TOP1 = ("possible", "sure", "tied", "n1")  # tied: at tied positions, n1: in n:1 chunks, both top-1 possible
ALIGNED_COLUMNS = ("example_id", *(f"{name}_{part}" for name in TOP1 for part in ("hits", "rows")))
MEASURES = ("bits_per_byte", "gap_closed", "chunk_kl", *(f"top1_{name}" for name in TOP1))


@dataclass(frozen=True)
class StudyRun:
    """A finished run. ``texts`` has a row a held-out text, ``aligned`` one a text with gold; either may be empty."""

    pair: str
    arm: str
    kind: str
    method: str
    dose: float | None
    seed: int
    numbers: Mapping[str, float]
    signature: str
    path: tuple[tuple[int, float], ...] = ()  # (step, λ): the weight of the byte gap, where one is learned
    texts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(TEXT_COLUMNS)))
    aligned: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ALIGNED_COLUMNS)))

    @property
    def name(self) -> str:
        return f"{self.arm}-s{self.seed}"

    def counts(self, measure: str) -> pd.DataFrame:
        """``part`` and ``whole`` of a measure by example id (their sums' ratio is the measure); empty where unknown."""
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
        if measure.startswith("top1_"):
            name, frame = measure.removeprefix("top1_"), self.aligned.set_index("example_id")
            return pd.DataFrame({"part": frame[f"{name}_hits"], "whole": frame[f"{name}_rows"]}).dropna()
        frame = self.texts.set_index("example_id")
        if measure == "bits_per_byte":
            return pd.DataFrame({"part": frame["bits"], "whole": frame["bytes"]})
        if measure == "chunk_kl":
            return pd.DataFrame({"part": frame["chunk_kl"], "whole": frame["chunks"]}).dropna()
        start = frame["start_bits"]
        counts = pd.DataFrame({"part": start - frame["bits"], "whole": start - frame["teacher_bits"]}).dropna()
        return counts if counts["whole"].sum() > 0 else counts.iloc[:0]  # no teacher, or one behind the start: no gap

    def value(self, measure: str) -> float:
        """The measure over all texts of this run; NaN where unknown."""
        counts = self.counts(measure)
        whole = float(counts["whole"].sum())
        return float(counts["part"].sum()) / whole if len(counts) and whole > 0 else math.nan


def numbers_of(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, float]:
    """What a checkpoint's metrics say of the run: :data:`NUMBERS`, those that are there."""
    kept = {name: metrics[name] for name in NUMBERS if isinstance(metrics.get(name), int | float)}
    kept.setdefault("stopped_step", settings.get("steps", math.nan))
    kept |= {"gap_rate": path_of(metrics)[-1][1]} if path_of(metrics) else {}
    return {name: float(value) for name, value in kept.items() if math.isfinite(value)}


def path_of(metrics: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    """(step, λ) of every logged step up to the best one: the weight of the byte gap, where the method learns one."""
    last = float(metrics.get("best_step", math.inf))
    logged = [entry for entry in metrics.get("curve") or [] if isinstance(entry.get("gap_rate"), int | float)]
    return tuple((int(entry["step"]), float(entry["gap_rate"])) for entry in logged if entry["step"] <= last)


def of_checkpoint(directory: Path, **labels: Any) -> StudyRun:
    """A run from its checkpoint alone. ``labels`` say better what it is (pair, arm, kind, dose); no alignment.

    Raises:
        DamagedError: no checkpoint, or a damaged one.
    """
    manifest = read_manifest(directory, "checkpoint", 1, verify=False)
    config, metrics = (_json(directory / name) for name in ("config.json", "metrics.json"))
    settings = config.get("settings", {})
    corrupted = config["method"] == "dskd-imposed" and settings.get("imposed") == "span"
    known = {
        "pair": f"{config['student_tokenizer'][:6]}-{config['teacher_tokenizer'][:6]}",
        "arm": str(settings.get("name", config["name"])),
        "kind": "",
        "dose": float(settings.get("imposed_corruption", 0.0)) if corrupted else None,
        **labels,
    }
    seed = int(settings.get("seed", 0))
    made = {"pair": known["pair"], "arm": known["arm"], "seed": seed, "checkpoint": sha256_of(directory / MANIFEST)[:8]}
    version = manifest["provenance"].get("version", __version__)
    return StudyRun(
        method=str(config["method"]),
        seed=seed,
        numbers=numbers_of(metrics, settings),
        signature=sign(**made, version=version),
        path=path_of(metrics),
        texts=_texts(directory / TEXTS),
        **known,
    )


def write_record(run: StudyRun, directory: Path, settings: Mapping[str, Any]) -> None:
    """Write a run as ``run.json``, ``held_out.csv`` and ``alignment.csv``, run.json last: without it, it is none."""
    from probe.files import write_json
    from probe.scoring.tables import SCHEMA_VERSION, write_csv

    labels = {"schema_version": SCHEMA_VERSION, "signature": run.signature}
    for name, frame in ((TEXTS, run.texts), (ALIGNED, run.aligned)):
        if len(frame):
            write_csv(frame.assign(**labels), directory / name)
    said = {name: getattr(run, name) for name in ("pair", "arm", "kind", "method", "dose", "seed")}
    write_json(
        directory / RECORD,
        {**labels, **said, "numbers": dict(run.numbers), "path": run.path, "settings": dict(settings)},
    )


def read_record(directory: Path) -> StudyRun:
    """Read what :func:`write_record` wrote. Raises DamagedError where it is none."""
    found = _json(directory / RECORD)
    try:
        labels = {name: found[name] for name in ("pair", "arm", "kind", "method", "dose", "seed", "signature")}
        numbers = {name: float(value) for name, value in found["numbers"].items()}
        path = tuple((int(step), float(value)) for step, value in found["path"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"{directory / RECORD} is no record of a run ({error}). Run the stage again.") from error
    texts, aligned = _texts(directory / TEXTS), _frame(directory / ALIGNED, ALIGNED_COLUMNS)
    return StudyRun(numbers=numbers, path=path, texts=texts, aligned=aligned, **labels)


def read_runs(paths: Sequence[Path]) -> list[StudyRun]:
    """The runs of records, checkpoints, or folders that hold either (records go before checkpoints), each once.

    Raises:
        DataError: a path holds no run; two runs have one pair, arm and seed.
    """
    runs: dict[tuple[str, str, int], StudyRun] = {}
    for path in paths:
        found = list(_runs_in(path))
        if not found:
            raise DataError(f"{path}: wanted run records ({RECORD}) or checkpoints ({MANIFEST}), found neither.")
        for run in found:
            key = (run.pair, run.arm, run.seed)
            if key in runs and runs[key].signature != run.signature:
                raise DataError(f"{path}: two runs are {run.pair} {run.name}. Give one, or name them differently.")
            runs[key] = run
    return list(runs.values())


def _runs_in(path: Path) -> Iterator[StudyRun]:
    if (path / "runs.csv").is_file():
        yield from of_tables(path)
        return
    if records := sorted(path.rglob(RECORD)):
        yield from (read_record(record.parent) for record in records)
        return
    for manifest in sorted(path.rglob(MANIFEST)):
        if _json(manifest).get("kind") == "checkpoint":
            yield of_checkpoint(manifest.parent)


def of_tables(directory: Path) -> Iterator[StudyRun]:
    """The runs of tables that ``analysis.study`` wrote: their numbers, and their cells out of texts.csv, aligned.csv.

    Of the alignment only top-1 possible has cells there; the other ways to count keep their number in runs.csv.
    """
    runs = _frame(directory / "runs.csv", ("pair", "arm", "class", "method", "dose", "seed", "signature"), key="")
    wide = (_frame(directory / f"{name}.csv", ("pair", "example_id"), key="") for name in ("texts", "aligned"))
    texts, aligned = wide
    steps = _frame(directory / "gap_rate.csv", ("pair", "arm", "seed", "step", "gap_rate"), key="")
    for row in runs.to_dict("records"):
        name, numbers = f"{row['arm']}-s{row['seed']}", {key: row[key] for key in NUMBERS if pd.notna(row.get(key))}
        cells = _cells_of(texts, row["pair"], name, ("bytes", "start_bits", "teacher_bits"), "bits")
        found = _cells_of(aligned, row["pair"], name, ("possible_rows",), "possible_hits")
        labels = {key: "" if pd.isna(row[key]) else row[key] for key in ("pair", "arm", "method", "signature")}
        kind, dose = "" if pd.isna(row["class"]) else row["class"], None if pd.isna(row["dose"]) else float(row["dose"])
        yield StudyRun(
            path=_path_in(steps, row),
            kind=kind, dose=dose, seed=int(row["seed"]), numbers=numbers, **labels,
            texts=cells.reindex(columns=[*TEXT_COLUMNS]), aligned=found.reindex(columns=[*ALIGNED_COLUMNS]),
        )  # fmt: skip


def _path_in(steps: pd.DataFrame, row: Mapping[Any, Any]) -> tuple[tuple[int, float], ...]:
    own = (steps["pair"] == row["pair"]) & (steps["arm"] == row["arm"]) & (steps["seed"] == row["seed"])
    return tuple((int(step), float(value)) for step, value in steps.loc[own, ["step", "gap_rate"]].to_numpy())


def _cells_of(wide: pd.DataFrame, pair: str, name: str, shared: Sequence[str], value: str) -> pd.DataFrame:
    """A run's column of a wide table, as a row a text; no row where the run has none there."""
    if name not in wide:
        return pd.DataFrame()
    rows = wide[(wide["pair"] == pair) & wide[name].notna()]
    return rows[["example_id", *shared]].assign(**{value: rows[name].astype(float)})


def _texts(path: Path) -> pd.DataFrame:
    return _frame(path, TEXT_COLUMNS)[list(TEXT_COLUMNS)]


def _frame(path: Path, columns: Sequence[str], key: str = "example_id") -> pd.DataFrame:
    """A CSV file; empty where there is none. Raises DamagedError where a column is missing or a ``key`` repeats."""
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    frame = pd.read_csv(path, dtype={"example_id": str}, keep_default_na=False, na_values=[""])
    if missing := [name for name in columns if name not in frame]:
        raise DamagedError(f"{path}: wanted the columns {', '.join(columns)}; {missing[0]} is missing.")
    if key and frame[key].duplicated().any():
        raise DamagedError(f"{path}: an {key} stands twice. Make the file again.")
    return frame


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read ({error}). Run the stage again.") from error
    if not isinstance(found, dict):
        raise DamagedError(f"{path}: wanted a JSON object, found {type(found).__name__}.")
    return found
