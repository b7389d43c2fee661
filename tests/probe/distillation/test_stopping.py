"""Early stopping: when a run ends, what state it leaves, and that a resumed run leaves the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from probe.distillation import stopping
from probe.distillation.engine import Engine
from probe.distillation.trainer import train
from probe.errors import DamagedError
from tests.support import tiny
from tests.support.held_out_runs import config, weights

WATCHED = (("Say fox:", "fox the fox."), ("Say jug:", "jug the jug."))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The measures that the watched texts give, one after the other."""
    script: list[float] = []
    monkeypatch.setattr(stopping, "bits_per_byte", lambda bits, pairs: script.pop(0))
    return script


def curve(out: Path) -> list[tuple[int, float, bool]]:
    table = pd.read_csv(out / "stop_curve.csv", float_precision="round_trip")
    return list(table[["step", "bits_per_byte", "best"]].itertuples(index=False, name=None))


def test_it_ends_after_so_many_measures_without_a_best(room: Path, tmp_path: Path, scripted: list[float]) -> None:
    scripted += [3.0, 2.0, 2.5, 2.0]
    metrics = train(config(room, "sft", steps=9, stop_on="bpb", stop_every=2, stop_patience=2), tmp_path / "out")
    assert curve(tmp_path / "out") == [(0, 3.0, False), (2, 2.0, True), (4, 2.5, False), (6, 2.0, False)]
    assert (metrics["best_step"], metrics["stopped_step"], metrics["stop_bits_per_byte"]) == (2, 6, 2.0)
    assert not scripted and metrics["curve"][-1]["step"] == 5
    assert not (tmp_path / "out.training").exists()


@pytest.mark.parametrize("method", ["sft", "dskd-cma", "dskd-cma-ga", "uld"])
def test_the_checkpoint_is_the_best_state(room: Path, tmp_path: Path, scripted: list[float], method: str) -> None:
    """Best at step 2 of 5: student, projectors and discriminator are those of a run that is cut there."""
    seen: dict[str, Any] = {}
    real = stopping.Stopping._measure

    def spy(self: Any, step: int) -> None:
        real(self, step)
        seen[str(step)] = {n: p.detach().clone() for n, p in self._setup.trained.named_parameters().items()}

    scripted += [3.0, 2.5, 2.0, 2.2, 2.1, 2.3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping.Stopping, "_measure", spy)
        metrics = train(config(room, method, steps=5, stop_on="bpb", stop_every=1), tmp_path / "out")
    assert metrics["best_step"] == 2 and metrics["stopped_step"] == 5
    stored = {
        "student": load_file(tmp_path / "out" / "student" / "model.safetensors"),
        **{
            part: load_file(file)
            for part, file in (
                ("attention", tmp_path / "out" / "projectors.safetensors"),
                ("discriminator", tmp_path / "out" / "discriminator.safetensors"),
            )
            if file.is_file()
        },
    }
    compared = 0
    for name, tensor in seen["2"].items():
        part, rest = name.split(".", 1)
        if rest in stored[part]:
            assert torch.equal(stored[part][rest], tensor), name
            compared += not torch.equal(tensor, seen["5"][name])
    assert compared > 10


def test_a_run_that_only_harms_ends_where_it_began(room: Path, tmp_path: Path, scripted: list[float]) -> None:
    scripted += [1.0, 2.0]
    metrics = train(config(room, "sft", stop_on="bpb", stop_every=1, stop_patience=1), tmp_path / "out")
    assert metrics["best_step"] == 0 and metrics["bits_per_byte"] == metrics["start_bits_per_byte"]
    start = load_file(room / "student-gpt2" / "model.safetensors")
    stored = load_file(tmp_path / "out" / "student" / "model.safetensors")
    assert all(torch.equal(start[name], stored[name]) for name in start)


@pytest.mark.parametrize("method", ["sft", "dskd-cma-ga"])
@pytest.mark.parametrize(("cut", "best"), [(3, 2), (4, 2), (6, 2), (6, 5), (4, 3)])
def test_resumed_it_leaves_the_same_bits(
    room: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    cut: int,
    best: int,
) -> None:
    """Cut between two saves, with the best before the saved step, at it, after it, or after the cut."""
    now = [0]
    measure = stopping.Stopping._measure
    monkeypatch.setattr(stopping.Stopping, "_measure", lambda self, step: (now.append(step), measure(self, step)))
    monkeypatch.setattr(stopping, "bits_per_byte", lambda bits, pairs: 3 - now[-1] / 10 - (now[-1] == best))
    tiny.data_file(tmp_path / "watched.jsonl", WATCHED)
    settings: dict[str, Any] = {
        "steps": 7, "stop_on": "bpb", "stop_every": 1, "stop_patience": 9, "stop_data": str(tmp_path / "watched.jsonl"),
        "save_every": 2,
    }  # fmt: skip
    whole = train(config(room, method, **settings), tmp_path / "whole")
    real = Engine.train_step

    def stops(engine: Any, pairs: Any, step: int) -> Any:
        if step == cut:
            raise KeyboardInterrupt
        return real(engine, pairs, step)

    monkeypatch.setattr(Engine, "train_step", stops)
    with pytest.raises(KeyboardInterrupt):
        train(config(room, method, **settings), tmp_path / "cut")
    monkeypatch.setattr(Engine, "train_step", real)
    again = train(config(room, method, **settings), tmp_path / "cut", resume=True)
    assert whole["best_step"] == best and whole["stopped_step"] == 7
    assert again == whole and curve(tmp_path / "cut") == curve(tmp_path / "whole")
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_best_state_that_was_altered_is_refused(room: Path, tmp_path: Path, scripted: list[float]) -> None:
    scripted += [3.0, 2.0, 2.5, 2.6, 2.7]

    def alter(line: str) -> None:
        if line.startswith("step 4: stops"):
            file = tmp_path / "out.training" / "best-0000001.safetensors"
            file.write_bytes(file.read_bytes()[:-1] + b"x")

    with pytest.raises(DamagedError, match="best-0000001.safetensors"):
        train(config(room, "sft", steps=9, stop_on="bpb", stop_every=1), tmp_path / "out", report=alter)
    assert not (tmp_path / "out").exists()


def test_held_out_texts_are_not_measured_on_the_way(room: Path, tmp_path: Path) -> None:
    """With texts of their own to watch, the held-out ones count before and after training alone."""
    tiny.data_file(tmp_path / "watched.jsonl", WATCHED)
    watched = {"stop_on": "bpb", "stop_data": str(tmp_path / "watched.jsonl"), "save_every": 2}
    metrics = train(config(room, "sft", **watched), tmp_path / "out")
    assert not [key for entry in metrics["curve"] for key in entry if key.startswith("held_out")]
    metrics = train(config(room, "sft", stop_on="bpb", save_every=2), tmp_path / "other")
    assert [key for entry in metrics["curve"] for key in entry if key.startswith("held_out")]
