"""Rows of the bench of a DSKD-CMA step (`tests/bench_engine.py`), and that bench at toy sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.bench_frame import Row, at_least, below, command, in_child

LOSS_TOLERANCE = 1e-4
BATCHES = ("dolly-like", "one-at-the-limit", "all-response")  # ever less padding, which is what dense wastes time on
SIZES = "batch 4 x 512, GPT-2 4 x 256, teacher of SmolLM2's shape"


def steps(quick: bool) -> Iterator[Row]:
    """Speed, memory and agreement for each batch."""
    for name in ("toy",) if quick else BATCHES:
        yield from _rows(name, in_child(toy_step) if quick else _measured(name))


def _measured(name: str) -> dict[str, Any]:
    done = command(["-m", "tests.bench_engine", "--batch", name, "--json"])
    return json.loads(done.output.splitlines()[-1])


def _rows(name: str, found: dict[str, Any]) -> Iterator[Row]:
    dense, ours = found["dense"], found["ours"]
    what = "toy models" if name == "toy" else SIZES
    how = (
        f"dense {dense['seconds']:.2f} s / {ours['seconds']:.3f} s with cached teacher states; zero_grad, forward, "
        f"loss, backward; {what}; {found['response_share']:.0%} of positions are response; 1 thread, CPU time"
    )
    yield at_least(f"step, {name}: dense / ours, time", found["speed"], 12, how)
    how = (
        f"dense {dense['peak_mib']:.0f} / {ours['peak_mib']:.0f} MiB, whole process at its peak "
        f"({dense['resting_mib']:.0f} and {ours['resting_mib']:.0f} before the first step)"
    )
    yield at_least(f"step, {name}: dense / ours, memory", found["memory"], 5, how)
    how = f"loss per target {dense['loss']:.6f} and {ours['loss']:.6f}"
    yield below(f"step, {name}: same loss, deviation", found["loss_deviation"], LOSS_TOLERANCE, how)


def toy_step() -> dict[str, Any]:
    """Both sides of the engine's bench in this process, on models of a few hundred parameters a layer."""
    import tempfile
    from dataclasses import asdict
    from pathlib import Path
    from unittest import mock

    from tests import bench_engine, tiny

    lengths = ((3, 5), (4, 20))
    toy = {
        "LENGTH": 32, "VOCAB_S": 60, "VOCAB_T": 90, "DIM_S": 12, "DIM_T": 16,
        "build_student": lambda: tiny.model("gpt2", 60, width=12),
        "build_teacher": lambda: tiny.model("llama", 90, width=16).requires_grad_(False),
    }  # fmt: skip
    with mock.patch.multiple(bench_engine, **toy), tempfile.TemporaryDirectory() as name:
        bench_engine.prepare(lengths, Path(name))
        dense, ours = (side(lengths, Path(name)) for side in (bench_engine.run_dense, bench_engine.run_ours))
        share = sum(response for _, response in lengths) / (len(lengths) * bench_engine.LENGTH)
        one = bench_engine.Comparison("toy", share, dense, ours)
    return {**asdict(one), "speed": one.speed, "memory": one.memory, "loss_deviation": one.loss_deviation}
