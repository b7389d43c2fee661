"""Probe while training: the files a run leaves, what a broken one finds again, and that probing changes no weight."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from probe.commands.verify import verify
from probe.distillation import probe_curve, trainer, watch
from probe.distillation.config import TrainConfig
from probe.distillation.engine import Engine
from probe.distillation.events import add_event, read_events, rewind_events
from probe.distillation.probe_curve import ProbeSet
from probe.distillation.setup import prepare
from probe.errors import DataError, UsageError
from probe.maps.store import MapStore
from probe.models.checkpoint import load_checkpoint
from probe.scoring.alignment import span_gold
from probe.scoring.metrics import score_map
from probe.text.examples import read_examples
from tests.support import tiny
from tests.support.tiny import extract_maps

STEPS, EVERY = 6, 2
PROBED = [0, 2, 4, 6]


honest_board = watch._board


class Killed(Exception):
    """Stands for a SIGKILL: nothing after it runs in the trainer."""


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("probing")
    patch = pytest.MonkeyPatch()
    patch.setenv("PROBE_CACHE", str(root / "cache"))
    patch.setattr(trainer, "key_query_gap", lambda *args: trainer.KeyQueryGap(0.5, 0.0, 1.0, 1.0))
    patch.setattr(watch, "_board", lambda *args: None)
    tiny.model_directory(root / "student", "gpt2", "small-bpe", width=8, seed=1)
    tiny.model_directory(root / "teacher", "llama", "bpe", width=12, seed=2)
    tiny.data_file(root / "data.jsonl", (*tiny.TEXTS, *tiny.TEXTS))
    tiny.data_file(root / "probe.jsonl")
    trainer.train(config(root), root / "whole")
    yield root
    patch.undo()


def config(room: Path, **values: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "name": "toy", "method": "dskd-cma", "student": str(room / "student"), "teacher": str(room / "teacher"),
        "data": (str(room / "data.jsonl"),), "held_out": 2, "steps": STEPS, "batch_size": 2, "max_length": 64,
        "log_every": 2, "save_every": 3, "teacher_dtype": "float32", "probe_every": EVERY,
        "probe_data": str(room / "probe.jsonl"),
    }  # fmt: skip
    return TrainConfig(**{**settings, **values})


def curve(directory: Path) -> pd.DataFrame:
    return pd.read_csv(directory / "probe_curve.csv")


def kinds(directory: Path) -> list[tuple[str, int]]:
    return [(event["event"], event["step"]) for event in read_events(directory)]


def test_the_checkpoint_holds_the_curve_the_maps_and_the_events(room) -> None:
    frame = curve(room / "whole")
    assert frame["step"].tolist() == PROBED and (frame["schema_version"] == 1).all()
    assert (frame["n_examples"] == len(tiny.TEXTS)).all()
    assert frame[["top1_sure", "gold_mass_possible", "entropy", "collapse"]].stack().between(0, 1).all()
    store = MapStore.open(room / "whole/probe_maps")
    assert list(dict.fromkeys(store.column("checkpoint"))) == [f"step-{step:06d}" for step in PROBED]
    assert store.column("example_id") == ["t0", "t1", "t2", "t3"] * len(PROBED)
    assert kinds(room / "whole") == [
        ("start", 0), ("probe", 0), ("log", 1), ("probe", 2), ("log", 3), ("save", 3), ("probe", 4), ("log", 5),
        ("log", 6), ("probe", 6), ("end", 6),
    ]  # fmt: skip
    (found,) = verify(room / "whole")
    assert found.unlisted == ()  # the manifest covers them all, the manifest of the map store too
    assert {"probe_curve.csv", "events.jsonl", "probe_maps/manifest.json"} <= set(
        load_checkpoint(room / "whole").manifest["files"]
    )


def test_the_last_row_is_what_scoring_the_checkpoint_gives(room) -> None:
    """Another path to the same numbers: extraction from the saved checkpoint, then the metric, by the span rule."""
    checkpoint = load_checkpoint(room / "whole")
    maps = list(extract_maps(checkpoint, read_examples(room / "probe.jsonl"), direction="t2s", max_length=64))
    golds = [span_gold(m.example_id, m.text, m.student, m.teacher, ("", "")) for m in maps]
    scores = [score_map(amap, gold) for amap, gold in zip(maps, golds, strict=True)]
    last = curve(room / "whole").iloc[-1]
    for name in ("top1_sure", "gold_mass_possible"):
        assert last[name] == pytest.approx(
            float(np.nanmean(np.concatenate([getattr(score.positions, name) for score in scores]))), rel=1e-5
        )
    assert last["collapse"] == pytest.approx(np.mean([score.collapse for score in scores]), rel=1e-5)


@pytest.mark.parametrize("fatal", [1, 3, 4, 5])
def test_a_killed_run_ends_with_the_same_curve_maps_and_weights(room, tmp_path, monkeypatch, fatal) -> None:
    """The kill comes in step ``fatal`` (from 0): before the first save, at once after it, and after two probes."""
    honest = Engine.train_step

    def step_or_die(*args: Any) -> Any:
        if args[-1] == fatal:
            raise Killed
        return honest(*args)

    monkeypatch.setattr(Engine, "train_step", step_or_die)
    with pytest.raises(Killed):
        trainer.train(config(room), tmp_path / "run")
    with open(tmp_path / "run.training/events.jsonl", "a") as handle:
        handle.write('{"event": "log", "st')  # as a kill in the middle of a line leaves it
    monkeypatch.setattr(Engine, "train_step", honest)
    trainer.train(config(room), tmp_path / "run", resume=True)
    for name in ("probe_curve.csv", "probe_maps/index.parquet", "probe_maps/maps-00000.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (room / "whole" / name).read_bytes(), name
    told = [event for event in kinds(tmp_path / "run") if event[0] not in ("start", "resume", "error")]
    assert told == [event for event in kinds(room / "whole") if event[0] != "start"]
    wanted, found = (load_file(path / "projectors.safetensors") for path in (room / "whole", tmp_path / "run"))
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_probing_changes_no_weight(room, tmp_path) -> None:
    trainer.train(config(room, probe_every=0, probe_data=""), tmp_path / "blind")
    wanted, found = (load_file(path / "student/model.safetensors") for path in (room / "whole", tmp_path / "blind"))
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    assert not list((tmp_path / "blind").glob("probe*")) and not (tmp_path / "blind/events.jsonl").exists()


def test_a_method_without_maps_leaves_events_only(room, tmp_path) -> None:
    lines: list[str] = []
    trainer.train(config(room, method="sft", steps=2), tmp_path / "sft", report=lines.append)
    assert "no probe: sft has no attention maps; events are written" in lines
    assert kinds(tmp_path / "sft")[-1] == ("end", 2) and not (tmp_path / "sft/probe_curve.csv").exists()


def test_without_a_file_the_held_out_examples_are_the_probe_set(room) -> None:
    setup = prepare(config(room, probe_data=""))
    probes = ProbeSet.of(setup)
    assert [pair.example_id for pair in probes.pairs] == [pair.example_id for pair in setup.held_out]
    assert probes.golds.keys() == {pair.example_id for pair in setup.held_out}


def test_gold_must_have_every_example(room, tmp_path) -> None:
    (tmp_path / "g.pharaoh").write_text("t0\t0-0\n")
    with pytest.raises(DataError, match="found none for 5"):
        ProbeSet.of(prepare(config(room, probe_gold=str(tmp_path / "g.pharaoh"))))


@pytest.mark.parametrize(
    "values", [{"probe_every": -1}, {"probe_data": "", "held_out": 0}, {"probe_data": "", "probe_gold": "g"}]
)
def test_settings_that_cannot_be_probed_are_refused(room, values) -> None:
    with pytest.raises(UsageError, match="probe_"):
        config(room, **values)


def test_events_are_whole_lines_of_json_whatever_a_kill_left(tmp_path) -> None:
    add_event(tmp_path, "start", 0)
    add_event(tmp_path, "log", 5, loss=float("nan"))
    with open(tmp_path / "events.jsonl", "a") as handle:
        handle.write('{"event": "pro')
    add_event(tmp_path, "error", 5, error="X")
    rewind_events(tmp_path, 3)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"event": "start", "step": 0},
        {"event": "error", "step": 5, "error": "X"},
    ]
    with pytest.raises(ValueError, match="wanted an event of start"):
        add_event(tmp_path, "other", 1)


def test_tensorboard_reads_the_scalars(tmp_path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = honest_board(tmp_path / "run.training", 0)
    board.add_scalar("probe/top1_sure", 0.5, 7)
    board.close()
    events = accumulator.EventAccumulator(str(tmp_path / "run.tensorboard"))
    events.Reload()
    (scalar,) = events.Scalars("probe/top1_sure")
    assert (scalar.step, scalar.value) == (7, 0.5)


def test_due_at_the_start_the_end_and_between(room) -> None:
    assert [step for step in range(STEPS) if probe_curve.due(config(room, steps=5), step)] == [0, 2, 4, 5]
