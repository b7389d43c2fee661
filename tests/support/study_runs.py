"""Made-up runs of a study with planted effects, as records on disk: what the tables must find is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.study.records import TOP1, StudyRun, write_record

TEXTS = 40
BYTES = 100.0
CHUNK_KL = 0.5
TEACHER = 0.8  # bits per byte of the teacher on every text


def planted(
    arm: str,
    seed: int,
    *,
    bits: float,
    pair: str = "small",
    kind: str = "",
    dose: float | None = None,
    top1: float | None = None,
    noise: float = 0.01,
    start: float = 2.0,
) -> StudyRun:
    """A run with ``bits`` per byte and top-1 ``top1``, up to noise; texts differ widely, and alike in all runs."""
    hard = np.linspace(-0.5, 0.5, TEXTS)  # sums to 0: the mean stays
    rng = np.random.default_rng([seed, *arm.encode()])
    per_byte = bits + hard + noise * rng.normal(size=TEXTS)
    ids = [f"text-{number}" for number in range(TEXTS)]
    sums = {"bits": BYTES * per_byte, "start_bits": BYTES * start, "teacher_bits": BYTES * TEACHER}
    texts = pd.DataFrame({"example_id": ids, "bytes": BYTES, **sums, "chunks": 20, "chunk_kl": 20 * CHUNK_KL})
    aligned = pd.DataFrame({"example_id": ids})
    for name in TOP1:
        aligned[f"{name}_hits"] = 20 * np.clip((top1 or 0) + noise * rng.normal(size=TEXTS), 0, 1)
        aligned[f"{name}_rows"] = 20.0
    numbers = {"stopped_step": 60.0, "best_step": 40.0, "bits_per_byte": bits}
    path = ((0, 0.05), (40, 0.05 + 0.01 * seed)) if arm == "dskd-cma-b" else ()
    empty = StudyRun(pair, arm, kind, arm, dose, seed, {}, "")
    return StudyRun(
        pair, arm, kind, arm, dose, seed, numbers, f"pair:{pair}|arm:{arm}|seed:{seed}", path, texts,
        empty.aligned if top1 is None else aligned,
    )  # fmt: skip


def write_runs(root: Path, runs: Sequence[StudyRun], settings: Mapping[str, object] | None = None) -> Path:
    """Write the records of runs under ``root``, as the runner does."""
    for run in runs:
        write_record(run, root / run.pair / "records" / run.name, settings or {})
    return root


def doses(slope: float, *, seeds: Sequence[int] = (0, 1, 2), pair: str = "small") -> list[StudyRun]:
    """Five doses whose bits per byte rise by ``slope`` from the first to the last."""
    names = {0.0: "span", 0.25: "span-25", 0.5: "span-50", 0.75: "span-75", 1.0: "span-100"}
    return [
        planted(name, seed, bits=1.5 + slope * dose, dose=dose, pair=pair)
        for seed in seeds
        for dose, name in names.items()
    ]
