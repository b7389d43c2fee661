"""The callback in a real ``transformers.Trainer``: its curve, maps and logs, and that the run is what it would be."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from app.data.training_runs import find_runs, read_curve, read_signature, step_of
from probe.distillation.callback import AlignmentCallback, aligner_maps, attention_maps, map_of
from probe.distillation.probe_curve import ProbeSet
from probe.errors import DataError, UsageError
from probe.extraction.embedding_maps import MapSource, maps_of_pairs
from probe.maps.store import MapStore
from probe.models.attention import CrossModelAttention
from probe.plotting.boards import show_map
from probe.scoring.metrics import MapMetric
from probe.text.examples import Example
from probe.text.tokenization import PairTokenizer
from tests.support import tiny

STEPS, EVERY = 5, 2
PROBED = [0, 2, 4, 5]
SIGMA = 0.9


class Pupil(nn.Module):
    """A student with cross-model attention beside it, and a loss that nobody here knows."""

    def __init__(self) -> None:
        super().__init__()
        self.student = tiny.model("gpt2", len(tiny.byte_bpe(280)), width=8, seed=1)
        head = self.student.get_output_embeddings()
        head.weight = nn.Parameter(head.weight.detach().clone())  # a plain module saves no tied weights
        self.attention = CrossModelAttention(8, 12)

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        table = self.student.get_input_embeddings().weight
        query = self.attention.query(torch.cat([table[input_ids], table[labels]], dim=-1))
        noise = torch.rand_like(query)  # the run draws random numbers, which a probe must leave alone
        return {"loss": self.student(input_ids=input_ids, labels=labels).loss + (query - noise).square().mean()}


class Counting(Trainer):
    """As TRL's trainers: with whatever is logged go the means of its own metrics, which are then forgotten."""

    seen: list[float]

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        if "loss" in logs:
            logs["own"] = float(len(self.seen))
        self.seen.clear()
        super().log(logs, *rest)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self.seen.append(1)
        return super().training_step(*args, **kwargs)


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    pairer = PairTokenizer(tiny.byte_bpe(280), tiny.byte_bpe(320), max_length=64)
    examples = [Example(f"t{i}", prompt, (output,)) for i, (prompt, output) in enumerate(tiny.TEXTS)]
    prints = pairer.student_fingerprint, pairer.teacher_fingerprint
    return ProbeSet.on(pairer.encode(examples), prints, method="theirs")


def trainer(out: Path, *, report_to: str = "none") -> Counting:
    torch.manual_seed(7)
    pupil = Pupil()
    rows = [torch.randint(0, 200, (6,)) for _ in range(8)]
    arguments = TrainingArguments(
        str(out), max_steps=STEPS, per_device_train_batch_size=2, logging_steps=2, save_strategy="steps", save_steps=4,
        report_to=report_to, use_cpu=True, learning_rate=0.05, disable_tqdm=True, seed=3,
    )  # fmt: skip
    made = Counting(pupil, arguments, train_dataset=[{"input_ids": row, "labels": row} for row in rows])
    made.seen = []
    return made


def teacher_table() -> Tensor:
    return tiny.model("llama", 320, width=12, seed=2).get_input_embeddings().weight.detach()


def maps_of(pupil: Pupil) -> Any:
    return attention_maps(pupil.attention, pupil.student.get_input_embeddings(), teacher_table(), sigma_k=SIGMA)


@pytest.fixture(scope="module")
def run(tmp_path_factory, probes):
    """A watched run that reports to TensorBoard: its folder, its trainer, and what it printed into its state."""
    root = tmp_path_factory.mktemp("callback")
    patch = pytest.MonkeyPatch()
    patch.setenv("TENSORBOARD_LOGGING_DIR", str(root / "board"))
    made = trainer(root / "theirs", report_to="tensorboard")
    made.add_callback(AlignmentCallback(made, maps_of(made.model), probes, out=root / "runs/watched", every=EVERY))
    made.train()
    yield root, made
    patch.undo()


def test_the_training_page_finds_the_run_and_reads_its_curve_and_maps(run, probes) -> None:
    root, _ = run
    (found,) = find_runs(root / "runs")
    curve = read_curve(found)
    assert found.name == "watched" and curve["step"].tolist() == PROBED
    assert curve[["top1_sure", "gold_mass_possible", "entropy", "collapse"]].stack().between(0, 1).all()
    assert read_signature(found).startswith("method:theirs|gold:") and "seed" not in read_signature(found)
    store = MapStore.open(found.maps)
    assert [step_of(name) for name in store.column("checkpoint")] == [step for step in PROBED for _ in range(4)]
    assert store.student_fingerprint == probes.tokenizers[0]


def test_the_last_row_is_what_the_trained_weights_give(run, probes) -> None:
    root, made = run
    table = made.model.student.get_input_embeddings().weight.detach()
    source = MapSource.of("x", "x", (table, teacher_table()), made.model.attention, SIGMA)
    scores = [MapMetric().score(amap, probes.golds[amap.example_id]) for amap in maps_of_pairs(source, probes.pairs)
              if amap.direction == "t2s"]  # fmt: skip
    last = read_curve(find_runs(root / "runs")[0]).iloc[-1]
    for name in ("top1_sure", "gold_mass_possible", "entropy"):
        assert last[name] == pytest.approx(np.nanmean(np.concatenate([getattr(s.positions, name) for s in scores])))
    first = MapStore.open(root / "runs/watched/probe_maps")[0]
    assert np.abs(first.weights - MapStore.open(root / "runs/watched/probe_maps")[-4].weights).max() > 1e-3


def test_tensorboard_has_the_scores_and_a_picture_of_each_probe(run) -> None:
    root, _ = run
    board = EventAccumulator(str(root / "board"), size_guidance={"images": 0}).Reload()
    curve = read_curve(find_runs(root / "runs")[0])
    events = board.Scalars("train/alignment/top1_sure")
    assert [event.step for event in events] == PROBED
    assert [event.value for event in events] == pytest.approx(curve["top1_sure"].tolist())
    pictures = board.Images("alignment/map")
    assert [picture.step for picture in pictures] == PROBED and min(picture.width for picture in pictures) > 100


def test_what_the_trainer_logs_of_its_own_stays(run) -> None:
    """Its loss at every second step though a probe logs in the same step, and its own metrics of two steps."""
    _, made = run
    own = [(entry["step"], entry["own"]) for entry in made.state.log_history if "loss" in entry]
    assert own == [(2, 2.0), (4, 2.0)]
    assert [entry["step"] for entry in made.state.log_history if "alignment/collapse" in entry] == PROBED


def test_a_run_is_what_it_would_be_without(run, tmp_path) -> None:
    _, watched = run
    alone = trainer(tmp_path / "alone")
    alone.train()
    for name, weight in alone.model.state_dict().items():
        assert torch.equal(weight, watched.model.state_dict()[name]), name


def test_a_run_that_resumes_writes_again_what_comes_after(run, probes, tmp_path) -> None:
    root, whole = run
    out = tmp_path / "watched"
    again = trainer(root / "theirs")
    again.add_callback(AlignmentCallback(again, maps_of(again.model), probes, out=out, every=EVERY))
    again.train(resume_from_checkpoint=str(root / "theirs/checkpoint-4"))
    assert [json.loads(line.split(",")[2]) for line in (out / "probe_curve.csv").read_text().splitlines()[1:]] == [4, 5]
    both = [read_curve(find_runs(place)[0]).set_index("step").loc[4] for place in (root / "runs", out)]
    assert both[0].to_dict() == pytest.approx(both[1].to_dict())


def test_an_aligner_is_watched_like_a_map(probes, tmp_path) -> None:
    made = trainer(tmp_path / "theirs")
    made.add_callback(AlignmentCallback(made, aligner_maps("span"), probes, out=tmp_path / "span", every=100))
    made.train()
    curve = read_curve(find_runs(tmp_path / "span")[0])
    assert curve["step"].tolist() == [0, STEPS]
    assert (curve["top1_sure"] == 1).all()  # the gold is the span rule itself


def test_weights_of_your_own_make_a_map(probes) -> None:
    pair = probes.pairs[1]
    shape = len(pair.student.axis), len(pair.teacher.axis)
    weights = torch.full(shape, 1 / shape[1], dtype=torch.bfloat16, requires_grad=True)
    found = map_of(pair, weights, method="mine")
    assert (found.example_id, found.direction, found.method) == ("t1", "t2s", "mine")
    assert found.weights.dtype == np.float32 and found.student == pair.student.axis


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (lambda pairs: aligner_maps("eta")(pairs[1:]), "of each of 6 texts in their order, 't0' first, got 5"),
        (lambda pairs: reversed(list(aligner_maps("eta")(pairs))), "lambda pairs: map"),
    ],
)  # fmt: skip
def test_maps_that_are_not_of_the_texts_are_refused(probes, tmp_path, maps, message) -> None:
    made = trainer(tmp_path / "theirs")
    made.add_callback(AlignmentCallback(made, maps, probes, out=tmp_path / "out"))
    with pytest.raises(DataError, match=message):
        made.train()


def test_what_cannot_be_watched_is_said_at_once(probes, tmp_path) -> None:
    with pytest.raises(UsageError, match="at least 1 and one text or more, got 0 and 6 texts"):
        AlignmentCallback(trainer(tmp_path), aligner_maps("span"), probes, out=tmp_path, every=0)
    with pytest.raises(UsageError, match="'monotone' reads stored maps"):
        aligner_maps("monotone")


@pytest.mark.parametrize(("callback", "module"), [("WandbCallback", "wandb"), ("TrackioCallback", "trackio")])
def test_boards_that_log_images_get_the_pixels_and_the_step(probes, monkeypatch, callback, module) -> None:
    """Neither package is needed here: what both share is ``log`` and ``Image``."""
    logged: list[dict[str, Any]] = []
    stand_in = types.SimpleNamespace(log=logged.append, Image=lambda pixels, caption: (pixels, caption))
    monkeypatch.setitem(sys.modules, module, stand_in)
    (amap,) = aligner_maps("span")(probes.pairs[1:2])
    show_map([type(callback, (), {})()], amap, probes.golds["t1"], 8)
    ((pixels, caption),) = [entry["alignment/map"] for entry in logged]
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and pixels.std() > 0 and caption == "t1, step 8"
    assert [entry["train/global_step"] for entry in logged] == [8]
