"""One batch, shared in any way: passes, processes, FSDP. And LoRA, precision, gradient checkpointing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from probe.__main__ import main
from probe.distillation import trainer
from probe.distillation.config import TrainConfig
from probe.distillation.dataset import parts_of_batch, whole_of
from probe.distillation.engine import Engine, start
from probe.distillation.losses.terms import add_terms
from probe.distillation.setup import prepare
from probe.errors import UsageError
from probe.models.checkpoint import load_checkpoint
from probe.models.loading import load_causal_lm
from probe.models.methods import METHODS
from tests.faults.room import Room, config, make_room
from tests.support import ROOT


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """A recipe whose run has nothing random: no dropout in the student or the discriminator."""
    root = tmp_path_factory.mktemp("engine")
    made = make_room(root, steps=50, batch_size=3, held_out=1, discriminator_dropout=0.0, save_every=20, log_every=1)
    file = root / "student/config.json"
    settings = json.loads(file.read_text()) | {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    file.write_text(json.dumps(settings))
    return made


@pytest.fixture(autouse=True)
def cache(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(room.root / "cache"))
    monkeypatch.setattr(trainer, "key_query_gap", lambda *args: trainer.KeyQueryGap(0.5, 0.0, 1.0, 1.0))


def engine(settings: TrainConfig) -> Engine:
    return Engine.of(start(settings), prepare(settings))


def tensors(directory: Path) -> dict[str, torch.Tensor]:
    names = ("projectors.safetensors", "discriminator.safetensors", "student/model.safetensors")
    return {f"{n}/{k}": t for n in names if (directory / n).is_file() for k, t in load_file(directory / n).items()}


def furthest(one: Path, two: Path) -> float:
    """The largest difference of any weight of two checkpoints."""
    a, b = tensors(one), tensors(two)
    assert a.keys() == b.keys() and a
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 9))
def test_every_example_goes_into_one_pass(size: int, processes: int, micro: int) -> None:
    parts = parts_of_batch(range(size), processes, micro)
    assert len(parts) == processes and len({len(passes) for passes in parts}) == 1
    assert sorted(index for passes in parts for part in passes for index in part) == list(range(size))
    sizes = [len(part) for passes in parts for part in passes]
    assert max(sizes) - min(sizes) <= 1 and (not micro or max(sizes) <= micro)


def test_one_process_without_micro_batches_takes_the_batch_as_it_is() -> None:
    assert parts_of_batch([4, 2, 9], 1, 0) == [[[4, 2, 9]]]
    assert parts_of_batch([4, 2, 9], 2, 1) == [[[4], [9]], [[2], []]]


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("kd", "dskd")])
def test_parts_add_up_to_the_whole_batch(room: Room, method: str) -> None:
    """Losses, logged numbers and gradients of passes of one example, against one pass of all."""
    found = []
    for micro in (0, 1):
        run = engine(config(room, method=method, micro_batch=micro, batch_size=5))
        run.objective.train()
        terms = run._backward(run.setup.training[:5])
        gradients = {n: p.grad for n, p in run.setup.trained.named_parameters().items() if p.grad is not None}
        found.append((terms, gradients))
    (terms, gradients), (parts, added) = found
    names = ["loss", "n_student", "n_teacher", "ce", "student_correct", *terms.parts]
    names += ["kq", "discriminator_accuracy"] if terms.kq is not None else []
    assert [float(getattr(parts, n)) for n in names] == pytest.approx(
        [float(getattr(terms, n)) for n in names], rel=1e-5
    )
    assert gradients.keys() == added.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(added[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_a_pass_without_examples_weighs_nothing(room: Room) -> None:
    run = engine(config(room))
    terms = run.objective(run.setup.training[:2], whole_of(run.setup.training[:5]))
    assert float(add_terms([terms, add_terms([terms], weight=0)]).loss) == float(terms.loss.detach())
    assert add_terms([terms], weight=0).n_student == 0


def test_micro_batches_end_where_the_whole_batch_does(room: Room, tmp_path: Path) -> None:
    trainer.train(config(room), tmp_path / "whole")
    trainer.train(config(room, micro_batch=1), tmp_path / "parts")
    assert furthest(tmp_path / "whole", tmp_path / "parts") < 1e-6


def launch(room: Room, out: Path, program: list[str], *more: str) -> dict[str, Any]:
    """Two processes over gloo; what the first one printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [*program, *room.train(out, "--json", *more)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("program", [["-m", "probe"], ["tests/support/fsdp_on_cpu.py"]], ids=["ddp", "fsdp"])
def test_two_processes_end_where_one_does(room: Room, tmp_path: Path, program: list[str]) -> None:
    """50 steps of DSKD-CMA-GA; the batch of 3 is shared unevenly: (2, 1)."""
    probed = ["--set", "probe_every=25", "save_every=20"]
    one = trainer.train(config(room, probe_every=25), tmp_path / "one")
    two = launch(room, tmp_path / "two", program, *probed)
    assert furthest(tmp_path / "one", tmp_path / "two") < 1e-6
    assert len(two["curve"]) == 50
    for a, b in zip(one["curve"], two["curve"], strict=True):
        assert b == pytest.approx(a, rel=1e-6, abs=1e-6)
    curves = [(tmp_path / name / "probe_curve.csv").read_text().splitlines() for name in ("one", "two")]
    assert len(curves[0]) == len(curves[1]) == 1 + 3
    assert not (tmp_path / "two.training").exists()


def test_a_run_of_one_process_goes_on_in_two(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The saved state knows no processes: here FSDP spreads what one process saved."""
    trainer.train(config(room), tmp_path / "whole")
    real = Engine.train_step

    def stops(run: Engine, pairs: Any, step: int) -> Any:
        if step == 41:
            raise KeyboardInterrupt
        return real(run, pairs, step)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Engine, "train_step", stops)
        trainer.train(config(room), tmp_path / "run")
    launch(room, tmp_path / "run", ["tests/support/fsdp_on_cpu.py"], "--resume")
    assert furthest(tmp_path / "whole", tmp_path / "run") < 1e-6


def test_processes_that_do_not_meet_are_refused(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="launcher's 2 processes to work together, found 1 that do"):
        start(config(room))


def test_lora_trains_the_updates_alone_and_is_merged(room: Room, tmp_path: Path) -> None:
    settings = config(room, lora_rank=2, lora_alpha=8.0, steps=6)
    run = engine(settings)
    trained = {name for name in run.setup.trained.named_parameters() if name.startswith("student.")}
    assert trained and all("lora_" in name for name in trained)
    trainer.train(settings, tmp_path / "out")
    before, after = load_file(room.root / "student/model.safetensors"), tensors(tmp_path / "out")
    changed = {name for name in before if not torch.equal(before[name], after[f"student/model.safetensors/{name}"])}
    assert changed == {name for name in before if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))}
    for name in changed:
        update = after[f"student/model.safetensors/{name}"] - before[name]
        assert torch.linalg.matrix_rank(update, rtol=1e-3) <= 2, name
    load_checkpoint(tmp_path / "out")
    load_causal_lm(tmp_path / "out/student")


def test_a_merged_student_is_the_one_that_was_measured(room: Room, tmp_path: Path) -> None:
    metrics = trainer.train(config(room, lora_rank=2, steps=6), tmp_path / "out")
    again = engine(config(room, student=str(tmp_path / "out/student")))
    assert trainer.measure(again.setup, again.objective)["ce"] == pytest.approx(metrics["held_out_ce"], rel=1e-5)


def test_a_lora_run_resumes_bit_for_bit(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(room, lora_rank=2, lora_dropout=0.3, steps=6, save_every=2)
    trainer.train(settings, tmp_path / "whole")
    real = Engine.train_step
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Engine, "train_step", lambda run, pairs, step: real(run, pairs, step if step < 5 else 1 // 0))
        trainer.train(settings, tmp_path / "run")
    trainer.train(settings, tmp_path / "run", resume=True)
    assert furthest(tmp_path / "whole", tmp_path / "run") == 0


def test_unknown_lora_targets_are_refused(room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(room.train(tmp_path / "out", "--set", "lora_rank=2", "lora_targets=q_proj"))
    assert code == 2 and "lora_targets: wanted names of linear layers" in capsys.readouterr().err


def test_gradient_checkpointing_runs_blocks_twice_and_changes_nothing(room: Room) -> None:
    found = []
    for checkpointing in (False, True):
        run = engine(config(room, gradient_checkpointing=checkpointing))
        calls: list[int] = []
        block: Any = run.setup.trained.student
        block.base_model.h[0].mlp.register_forward_pre_hook(lambda *args, calls=calls: calls.append(1))
        run.train_step(run.setup.training[:3], 0)
        found.append((len(calls), {n: p.detach().clone() for n, p in run.setup.trained.named_parameters().items()}))
    (once, plain), (twice, checkpointed) = found
    assert (once, twice) == (1, 2)
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_bf16_is_of_the_forward_pass_alone(room: Room) -> None:
    run = engine(config(room, precision="bf16"))
    seen: list[torch.dtype] = []
    student: Any = run.setup.trained.student
    student.base_model.h[0].mlp.c_fc.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    terms = run.train_step(run.setup.training[:3], 0)
    assert seen == [torch.bfloat16] and terms.loss.dtype == torch.float32
    assert {p.dtype for p in run.setup.trained.named_parameters().values()} == {torch.float32}
    exact = engine(config(room)).objective(run.setup.training[:3])
    assert float(terms.loss) == pytest.approx(float(exact.loss), rel=1e-2)


def test_fp16_needs_a_gpu(room: Room) -> None:
    if torch.accelerator.is_available():
        pytest.skip("this machine has an accelerator, on which fp16 is no error")
    with pytest.raises(UsageError, match="fp16 wants a GPU"):
        start(config(room, precision="fp16"))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_ends_near_the_cpu(room: Room, tmp_path: Path, precision: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU on this machine: the path over CUDA is not tested here")
    trainer.train(config(room, steps=5, precision=precision), tmp_path / "gpu")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "probe", *room.train(tmp_path / "cpu", "--set", "steps=5")]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    assert furthest(tmp_path / "gpu", tmp_path / "cpu") < (1e-4 if precision == "fp32" else 1e-2)
