"""Rows of the bench of a DSKD-CMA step (`tests/bench/engine.py`), and that bench at toy sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.bench.frame import Row, at_least, below, command, in_child

LOSS_TOLERANCE = 1e-4
BATCHES = ("dolly-like", "one-at-the-limit", "all-response")  # ever less padding, which is what dense wastes time on
SIZES = "batch 4 x 512, GPT-2 4 x 256 with 50,257 tokens, teacher of SmolLM2's shape"
# what of the teacher is cached -> how it is said, and the least ratios of time and memory
CACHES = {
    "summary": ("states and s2t summaries cached (from the second epoch on)", 16, 6),
    "states": ("states cached (first epoch)", 16, 6),
    "none": ("no cache, the teacher runs in every step", 4, 6),
}


def steps(quick: bool) -> Iterator[Row]:
    """Speed, memory and agreement for each batch and cache."""
    for name in ("toy",) if quick else BATCHES:
        for found in in_child(toy_step) if quick else _measured(name):
            yield from _rows(name, found)


def _measured(name: str) -> list[dict[str, Any]]:
    done = command(["-m", "tests.bench.engine", "--batch", name, "--json"])
    return [json.loads(line) for line in done.output.splitlines()[-len(CACHES) :]]


def _rows(name: str, found: dict[str, Any]) -> Iterator[Row]:
    dense, ours, cache = found["dense"], found["ours"], found["cache"]
    said, time_target, memory_target = CACHES[cache]
    what = "toy models" if name == "toy" else SIZES
    how = (
        f"dense {dense['seconds']:.2f} s / {ours['seconds']:.3f} s; {said}; zero_grad, forward, "
        f"loss, backward; {what}; {found['response_share']:.0%} of positions are response; 1 thread, CPU time"
    )
    point = f"step, {name}, cache {cache}"
    yield at_least(f"{point}: time", found["speed"], time_target, how)
    how = (
        f"dense {dense['peak_mib']:.0f} / {ours['peak_mib']:.0f} MiB, whole process at its peak "
        f"({dense['resting_mib']:.0f} and {ours['resting_mib']:.0f} before the first step)"
    )
    yield at_least(f"{point}: memory", found["memory"], memory_target, how)
    how = f"loss per target {dense['loss']:.6f} and {ours['loss']:.6f}"
    yield below(f"{point}: loss deviation", found["loss_deviation"], LOSS_TOLERANCE, how)


def toy_step() -> list[dict[str, Any]]:
    """Both sides of the engine's bench in this process, on models of a few hundred parameters a layer."""
    import tempfile
    from dataclasses import asdict
    from pathlib import Path
    from unittest import mock

    from tests.bench import engine as bench_engine
    from tests.support import tiny

    lengths = ((3, 5), (4, 20))
    toy = {
        "LENGTH": 32, "VOCAB_S": 60, "VOCAB_T": 90, "DIM_S": 12, "DIM_T": 16,
        "build_student": lambda: tiny.model("gpt2", 60, width=12),
        "build_teacher": lambda: tiny.model("llama", 90, width=16).requires_grad_(False),
    }  # fmt: skip
    with mock.patch.multiple(bench_engine, **toy), tempfile.TemporaryDirectory() as name:
        bench_engine.prepare(lengths, Path(name))
        dense = bench_engine.run_dense(lengths, Path(name))
        share = sum(response for _, response in lengths) / (len(lengths) * bench_engine.LENGTH)
        ours = {cache: bench_engine.run_ours(lengths, Path(name), cache) for cache in bench_engine.CACHES}
    found = [bench_engine.Comparison("toy", cache, share, dense, one) for cache, one in ours.items()]
    return [{**asdict(f), "speed": f.speed, "memory": f.memory, "loss_deviation": f.loss_deviation} for f in found]
