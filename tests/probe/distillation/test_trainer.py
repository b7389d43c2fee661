"""Training end to end with tiny models: what learns, what stays, what resumes, what stops."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from probe.__main__ import main
from probe.distillation import trainer
from probe.distillation.config import DIVERGENCES, TrainConfig
from probe.distillation.engine import Engine
from probe.distillation.engine import start as start_processes
from probe.distillation.setup import Setup, prepare
from probe.distillation.steps import step_loss
from probe.distillation.trainer import train
from probe.errors import DamagedError, DiskError, NonFiniteError, UsageError
from probe.files import SEAL, sealed
from probe.models.checkpoint import load_checkpoint
from tests.support import tiny

TEXTS = tuple((f"Say {word}:", f"{word} the {word}.") for word in ("fox", "dog", "box", "jug", "lazy", "quick", "tall"))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student and a teacher of each architecture (other tokenizers), and a few texts."""
    root = tmp_path_factory.mktemp("training")
    for architecture in tiny.ARCHITECTURES:
        tiny.model_directory(root / f"student-{architecture}", architecture, "small-bpe", width=8, seed=1)
        tiny.model_directory(root / f"teacher-{architecture}", architecture, "bpe", width=12, seed=2)
    tiny.data_file(root / "data.jsonl", TEXTS)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trainer, "key_query_gap", fast_gap)


slow_gap = trainer.key_query_gap


def fast_gap(*args: Any) -> Any:
    """The classifier of the gap needs seconds, and has tests of its own."""
    return trainer.KeyQueryGap(0.5, 0.0, 1.0, 1.0)


def config(room: Path, method: str = "dskd-cma", **values: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "name": "toy",
        "method": method,
        "student": str(room / "student-gpt2"),
        "teacher": str(room / "teacher-llama"),
        "data": (str(room / "data.jsonl"),),
        "held_out": 2,
        "steps": 4,
        "batch_size": 2,
        "max_length": 64,
        "discriminator_width": 8,
        "log_every": 1,
        "save_every": 100,
        "teacher_dtype": "float32",
    }
    return TrainConfig(**{**settings, **values})


def engine_of(setup: Setup) -> Engine:
    return Engine.of(start_processes(setup.config), setup)


def losses(metrics: dict[str, Any]) -> list[float]:
    return [entry["loss"] for entry in metrics["curve"]]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint by file and name."""
    return {f"{f.name}/{n}": t for f in sorted(directory.rglob("*.safetensors")) for n, t in load_file(f).items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


LEARNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sft", {}),
    ("sft", {"loss_on": "text"}),
    *(("dskd-cma", {"divergence": divergence}) for divergence in DIVERGENCES),
    ("dskd-cma-ga", {"matching": "gan", "kappa": 0.1}),
    ("dskd-cma-ga", {"matching": "released"}),
)


@pytest.mark.parametrize(("method", "values"), LEARNS, ids=[f"{m} {v}" for m, v in LEARNS])
def test_the_loss_falls(room: Path, tmp_path: Path, method: str, values: dict[str, Any]) -> None:
    """One batch of all texts, again and again, at a high rate: what can be learnt by heart is."""
    rates = dict.fromkeys(("student_rate", "embedding_rate", "projector_rate", "query_rate"), 2e-2)
    metrics = train(config(room, method, steps=25, batch_size=5, **rates, **values), tmp_path / "out")
    found = losses(metrics)
    assert len(found) == 25 and all(map(math.isfinite, found))
    assert sum(found[-3:]) / 3 < 0.8 * found[0]
    assert metrics["curve"][-1]["ce"] < 0.7 * metrics["curve"][0]["ce"]
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.config.method == method
    assert (checkpoint.attention is None) == (method == "sft")
    assert (checkpoint.discriminator is None) == (method != "dskd-cma-ga")
    assert not (tmp_path / "out.training").exists()


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_each_architecture_is_a_student_and_a_teacher(room: Path, tmp_path: Path, architecture: str) -> None:
    others = {"student": str(room / f"student-{architecture}"), "teacher": str(room / f"teacher-{architecture}")}
    for role, name in others.items():
        out = tmp_path / role
        metrics = train(config(room, "dskd-cma-ga", steps=2, **{role: name}), out)
        assert all(map(math.isfinite, losses(metrics)))
        found = load_checkpoint(out)
        assert (found.config.student_dim, found.config.teacher_dim) == (8, 12)
        assert {"held_out_ce", "held_out_top1_sure", "held_out_t2s_accuracy", "key_query"} <= found.metrics.keys()


@pytest.mark.parametrize(("matching", "moves"), [("gan", True), ("released", False)])
def test_the_discriminator_changes_and_is_saved_or_stays(
    room: Path, tmp_path: Path, matching: str, moves: bool
) -> None:
    settings = config(room, "dskd-cma-ga", matching=matching, steps=3)
    start = prepare(settings).trained.discriminator
    assert start is not None
    train(settings, tmp_path / "out")
    saved = load_checkpoint(tmp_path / "out").discriminator
    assert saved is not None and saved.keys() == start.state_dict().keys()
    for name, tensor in start.state_dict().items():
        assert torch.equal(saved[name], tensor) != moves, name


def gradients(room: Path, method: str, **values: Any) -> dict[str, torch.Tensor | None]:
    setup = prepare(config(room, method, **values))
    assert setup.teacher is not None and setup.normalisation is not None
    loss = step_loss(setup.trained, setup.config, setup.teacher, setup.normalisation)
    loss(setup.training[:3]).loss.backward()
    return {name: parameter.grad for name, parameter in setup.trained.named_parameters().items()}


def reached(gradient: torch.Tensor | None) -> bool:
    return gradient is not None and bool(gradient.abs().sum() > 0)


def test_key_query_matching_alone_reaches_the_query_projector(room: Path) -> None:
    """λ = 0 leaves L_ce and κ L_kq: what P_query gets comes from the adversary, t2s and s2t get nothing."""
    found = gradients(room, "dskd-cma-ga", kd_rate=0.0)
    assert reached(found["attention.query.weight"]) and reached(found["attention.query.bias"])
    assert not any(reached(g) for name, g in found.items() if name.startswith(("attention.t2s", "attention.s2t")))
    assert all(reached(g) for name, g in found.items() if name.startswith("discriminator"))
    plain = gradients(room, "dskd-cma", kd_rate=0.0)
    assert not any(reached(g) for name, g in plain.items() if name.startswith("attention"))
    released = gradients(room, "dskd-cma-ga", kd_rate=0.0, matching="released")
    assert reached(released["attention.query.weight"])
    assert not any(reached(g) for name, g in released.items() if name.startswith("discriminator"))


def test_everything_that_is_trained_gets_a_gradient(room: Path) -> None:
    found = gradients(room, "dskd-cma-ga")
    assert [name for name, gradient in found.items() if not reached(gradient)] == []


@pytest.mark.parametrize("student", ["gpt2", "new"])
def test_an_interrupted_and_resumed_run_ends_like_an_unbroken_one(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, student: str
) -> None:
    """GPT-2 of transformers has dropout, so the random state must come back too."""
    if student == "new":
        sizes = {"new_vocabulary": 280, "new_width": 8, "new_layers": 1, "new_heads": 2, "new_positions": 64}
        settings = config(room, "dskd-cma-ga", steps=8, save_every=3, student="new", **sizes)
    else:
        settings = config(room, "dskd-cma-ga", steps=8, save_every=3)
    whole = train(settings, tmp_path / "whole")
    real = Engine.train_step

    def interrupted(engine: Engine, pairs: Any, step: int) -> Any:
        if step == 7:
            raise KeyboardInterrupt
        return real(engine, pairs, step)

    monkeypatch.setattr(Engine, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "broken")
    monkeypatch.setattr(Engine, "train_step", real)
    assert not (tmp_path / "broken").exists()
    kept = sorted(path.name for path in (tmp_path / "broken.training").iterdir())
    assert kept == ["state-0000006.safetensors", "state.json"]
    lines: list[str] = []
    resumed = train(settings, tmp_path / "broken", resume=True, report=lines.append)
    assert "resumed at step 6" in lines
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert resumed == whole
    assert not (tmp_path / "broken.training").exists()


def begin(room: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **values: Any) -> TrainConfig:
    """Leave an unfinished run at ``out``."""
    settings = config(room, steps=4, save_every=2, **values)
    real = Engine.train_step

    def stops(engine: Engine, pairs: Any, step: int) -> Any:
        if step == 2:
            raise KeyboardInterrupt
        return real(engine, pairs, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Engine, "train_step", stops)
        train(settings, out)
    return settings


def test_a_resumed_run_must_have_the_same_settings(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = begin(room, tmp_path / "out", monkeypatch)
    with pytest.raises(UsageError, match="begun with another kappa, student_rate"):
        train(dataclasses.replace(settings, kappa=0.5, student_rate=1e-4), tmp_path / "out", resume=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fault", ["flipped", "missing", "pointer", "keys", "misshapen"])
def test_a_damaged_state_is_refused(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    settings = begin(room, tmp_path / "out", monkeypatch)
    pointer = tmp_path / "out.training/state.json"
    (state,) = pointer.parent.glob("*.safetensors")
    if fault == "flipped":
        whole = state.read_bytes()
        state.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif fault == "missing":
        state.unlink()
    elif fault == "pointer":
        pointer.write_text("{")
    elif fault == "keys":
        pointer.write_text('{"step": 2}')
    else:
        tensors = {**load_file(state), "weight/attention.t2s.bias": torch.zeros(3)}
        save_file(tensors, state)
        reseal(pointer, sha256=trainer_sha(state))
    with pytest.raises(DamagedError, match=r"out\.training|training state: attention.t2s.bias"):
        train(settings, tmp_path / "out", resume=True)
    assert not (tmp_path / "out").exists()


def reseal(pointer: Path, **changes: object) -> None:
    """Other values in a state's pointer, by someone who knows of the seal."""
    values = {key: value for key, value in json.loads(pointer.read_text()).items() if key != SEAL}
    pointer.write_text(json.dumps(sealed({**values, **changes})))


def test_every_value_of_a_saved_state_is_sealed(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = begin(room, tmp_path / "out", monkeypatch)
    pointer = tmp_path / "out.training/state.json"
    whole = json.loads(pointer.read_text())
    changes = {"step": 1, "file": "state-0000001.safetensors", "sha256": "0" * 64, "settings": {}, "inputs": {},
               "curve": [], SEAL: "0" * 64, "more": 1}  # fmt: skip
    assert set(whole) == set(changes) - {"more"}
    for key, value in changes.items():
        pointer.write_text(json.dumps({**whole, key: value}))
        with pytest.raises(DamagedError, match="damaged"):
            train(settings, tmp_path / "out", resume=True)
    pointer.write_text(json.dumps({key: value for key, value in whole.items() if key != SEAL}))
    with pytest.raises(DamagedError, match=f"has no {SEAL}"):
        train(settings, tmp_path / "out", resume=True)
    assert not (tmp_path / "out").exists()


def trainer_sha(path: Path) -> str:
    from probe.files import sha256_of

    return sha256_of(path)


def test_resume_without_a_saved_state_starts_at_the_beginning(room: Path, tmp_path: Path) -> None:
    settings = config(room, "sft", steps=2)
    assert train(settings, tmp_path / "a", resume=True) == train(settings, tmp_path / "b")


def test_runs_are_fixed_by_the_seed(room: Path, tmp_path: Path) -> None:
    settings = config(room, "dskd-cma-ga", steps=3)
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        train(dataclasses.replace(settings, seed=seed), tmp_path / name)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "same"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "other"))


def planted_nan(room: Path, folder: Path) -> Path:
    directory = folder / "broken"
    directory.mkdir()
    for file in (room / "student-gpt2").iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    tensors = load_file(directory / "model.safetensors")
    tensors["transformer.h.0.mlp.c_fc.weight"][1, 1] = math.nan
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    return directory


def recipe(path: Path, settings: TrainConfig) -> Path:
    import yaml

    path.write_text(yaml.safe_dump(settings.as_dict()))
    return path


def test_nan_in_a_student_stops_with_exit_code_5(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(room, student=str(planted_nan(room, tmp_path)))
    file = recipe(tmp_path / "recipe.yaml", settings)
    assert main(["train", str(file), "--out", str(tmp_path / "out")]) == 5
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ") and "transformer.h.0.mlp.c_fc.weight holds NaN" in message
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.training").exists()


@pytest.mark.parametrize("where", ["weight", "gradient"])
def test_nan_on_the_way_names_the_step_and_the_tensor(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real = Engine.train_step

    def planted(engine: Engine, pairs: Any, step: int) -> Any:
        attention = engine.setup.trained.attention
        assert attention is not None
        if step == 1 and where == "weight":
            attention.t2s.weight.data[0, 0] = math.nan  # type: ignore[union-attr, operator, index]
        if step == 1 and where == "gradient":
            attention.s2t.bias.register_hook(lambda grad: grad * math.nan)  # type: ignore[union-attr, operator]
        return real(engine, pairs, step)

    monkeypatch.setattr(Engine, "train_step", planted)
    names = {"weight": r"step 1: .*t2s_ce = nan", "gradient": r"step 1: the gradient of attention\.s2t\.bias"}
    with pytest.raises(NonFiniteError, match=names[where]):
        train(config(room), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recipe(tmp_path / "recipe.yaml", config(room, "sft", steps=1))
    out = tmp_path / "out"
    assert main(["train", str(file), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["held_out_ce"] > 0
    before = weights(out)
    assert main(["train", str(file), "--out", str(out)]) == 2
    assert "exists; choose another --out" in capsys.readouterr().err
    assert same(weights(out), before)
    assert main(["train", str(file), "--out", str(out), "--overwrite", "--set", "seed=1", "name=again"]) == 0
    assert load_checkpoint(out).config.name == "again"


def test_overwrite_is_for_checkpoints_alone(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recipe(tmp_path / "recipe.yaml", config(room, "sft", steps=1))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    assert main(["train", str(file), "--out", str(tmp_path / "thesis"), "--overwrite"]) == 2
    assert "is not a checkpoint" in capsys.readouterr().err
    assert (tmp_path / "thesis/chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_texts_longer_than_a_model_are_refused(room: Path, tmp_path: Path, role: str) -> None:
    with pytest.raises(UsageError, match=f"max_length: wanted at most the {role}'s 256 positions, found 300"):
        student = {"student": "new", "new_positions": 400, "new_vocabulary": 280} if role == "teacher" else {}
        train(config(room, max_length=300, **student), tmp_path / "out")


SMALL = {"new_vocabulary": 280, "new_width": 8, "new_layers": 1, "new_heads": 2, "new_positions": 64}


@pytest.mark.parametrize("embeddings", ["teacher-pca", "random"])
def test_a_new_student(room: Path, tmp_path: Path, embeddings: str) -> None:
    settings = config(room, "sft", student="new", new_embeddings=embeddings, loss_on="text", steps=2, **SMALL)
    train(settings, tmp_path / "out")
    checkpoint = load_checkpoint(tmp_path / "out")
    assert (checkpoint.config.student_dim, checkpoint.config.student_vocabulary) == (8, 280)
    again = train(config(room, "dskd-cma", student=str(tmp_path / "out"), steps=1), tmp_path / "next")
    assert math.isfinite(again["held_out_ce"])  # a checkpoint is a student
    assert load_checkpoint(tmp_path / "next").config.student_tokenizer == checkpoint.config.student_tokenizer


def test_held_out_numbers_stand_at_the_step_they_were_measured_at(room: Path, tmp_path: Path) -> None:
    metrics = train(config(room, "sft", steps=7, save_every=3, log_every=5), tmp_path / "out")
    assert [entry["step"] for entry in metrics["curve"]] == [0, 2, 5, 6]
    assert [entry["step"] for entry in metrics["curve"] if "held_out_ce" in entry] == [2, 5]


def test_nothing_held_out_is_measured_as_nothing(room: Path, tmp_path: Path) -> None:
    metrics = train(config(room, held_out=0, steps=1), tmp_path / "out")
    assert metrics.keys() == {"before", "curve"} and metrics["before"] == {}


def test_one_held_out_position_has_no_gap(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "key_query_gap", slow_gap)
    setup = prepare(config(room))
    side = dataclasses.replace
    pair = setup.held_out[0]
    one = side(pair, student=side(pair.student, ids=pair.student.ids[: pair.student.start + 2]))
    assert len(one.student.targets) == 1
    assert trainer.measure_gap(side(setup, held_out=[one])) is None
    assert trainer.measure_gap(side(setup, held_out=[])) is None


def test_held_out_loss_does_not_depend_on_the_batch_size(room: Path) -> None:
    engines = [engine_of(prepare(config(room, held_out=5, batch_size=size))) for size in (1, 2)]
    found = [trainer.measure(engine.setup, engine.objective) for engine in engines]
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_rates_of_zero_change_nothing(room: Path, tmp_path: Path) -> None:
    """The optimiser moves only by its rates: no hidden update."""
    rates = [f"{name}_rate" for name in ("student", "embedding", "projector", "query", "discriminator")]
    settings = config(room, "dskd-cma-ga", **dict.fromkeys(rates, 0.0))
    start = prepare(settings)
    before = {name: p.detach().clone() for name, p in start.trained.named_parameters().items()}
    engine_of(start).train_step(start.training[:2], 0)
    assert all(torch.equal(before[name], p) for name, p in start.trained.named_parameters().items())


def test_a_full_disk_at_the_end_keeps_the_state(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was trained is not lost: free some space, then --resume."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    settings = config(room, "sft", steps=4, save_every=2)
    save: Callable[..., None] = trainer.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr("probe.models.checkpoint.write_json", full)
        with pytest.raises(DiskError, match="nothing was left half written"):
            train(settings, tmp_path / "out")
    assert trainer.save_checkpoint is save
    assert not (tmp_path / "out").exists() and (tmp_path / "out.training/state.json").exists()
    assert train(settings, tmp_path / "out", resume=True)["held_out_ce"] > 0
