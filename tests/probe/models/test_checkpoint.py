"""A checkpoint comes back bit for bit, or an error says which piece is wrong, with both numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from probe.distillation.losses.key_query import Discriminator
from probe.errors import DamagedError, NonFiniteError
from probe.files import write_manifest
from probe.models.attention import CrossModelAttention, Normalisation
from probe.models.checkpoint import KIND, SCHEMA, CheckpointConfig, load_checkpoint, save_checkpoint
from tests.support import tiny

STUDENT_DIM, TEACHER_DIM = 12, 16


@dataclasses.dataclass(frozen=True)
class Run:
    """What a training would save."""

    student: Any
    attention: CrossModelAttention | None
    discriminator: dict[str, torch.Tensor] | None
    config: CheckpointConfig


def a_run(method: str = "dskd-cma-ga", architecture: str = "gpt2") -> Run:
    tokenizer = tiny.byte_bpe(280)
    torch.manual_seed(4)
    config = CheckpointConfig(
        name="toy",
        method=method,
        teacher="teacher",
        student_dim=STUDENT_DIM,
        teacher_dim=TEACHER_DIM,
        student_vocabulary=len(tokenizer),
        teacher_vocabulary=320,
        student_tokenizer="5" * 16,
        teacher_tokenizer="7" * 16,
        teacher_embeddings="9" * 16,
        normalisation=None if method == "sft" else Normalisation("frozen", 0.9, 1.1, 0.8),
        settings={"seed": 4, "data": ["a.jsonl"]},
    )
    return Run(
        tiny.model(architecture, len(tokenizer), width=STUDENT_DIM),
        None if method == "sft" else CrossModelAttention(STUDENT_DIM, TEACHER_DIM),
        Discriminator(2 * TEACHER_DIM, 8).state_dict() if method == "dskd-cma-ga" else None,
        config,
    )


def save(path: Path, run: Run, dtype: torch.dtype = torch.float32) -> Path:
    save_checkpoint(
        path,
        run.config,
        run.student,
        tiny.byte_bpe(280),
        attention=run.attention,
        discriminator=run.discriminator,
        metrics={"held_out_ce": 1.5, "curve": [{"step": 0.0}]},
        card="# toy\n",
        dtype=dtype,
    )
    return path


@pytest.mark.parametrize("method", ["sft", "dskd-cma", "dskd-cma-ga"])
def test_a_round_trip_is_bit_for_bit(tmp_path: Path, method: str) -> None:
    run = a_run(method)
    found = load_checkpoint(save(tmp_path / "toy", run))
    assert found.config == run.config
    assert found.metrics == {"held_out_ce": 1.5, "curve": [{"step": 0.0}]}
    assert (found.directory / "README.md").read_text() == "# toy\n"
    assert (found.attention is None) == (run.attention is None)
    if run.attention is not None and found.attention is not None:
        saved, loaded = run.attention.state_dict(), found.attention.state_dict()
        assert saved.keys() == loaded.keys()
        assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    assert (found.discriminator or {}).keys() == (run.discriminator or {}).keys()
    for name, tensor in (run.discriminator or {}).items():
        assert torch.equal(tensor, (found.discriminator or {})[name])


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_student_loads_without_us(tmp_path: Path, architecture: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = a_run("sft", architecture)
    directory = load_checkpoint(save(tmp_path / "toy", run)).student_directory
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = tokenizer("Hello, 北京!", return_tensors="pt")["input_ids"]
    assert ids.tolist()[0] == tiny.byte_bpe(280)("Hello, 北京!")["input_ids"]
    with torch.no_grad():
        assert torch.equal(AutoModelForCausalLM.from_pretrained(directory)(ids).logits, run.student(ids).logits)


def test_float16_is_for_the_disk_alone(tmp_path: Path) -> None:
    run = a_run("dskd-cma")
    before = {name: tensor.clone() for name, tensor in run.student.state_dict().items()}
    directory = save(tmp_path / "toy", run, torch.float16)
    stored = load_file(directory / "student/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert all(torch.equal(before[name], tensor) for name, tensor in run.student.state_dict().items())
    assert {tensor.dtype for tensor in load_file(directory / "projectors.safetensors").values()} == {torch.float32}


@pytest.mark.parametrize("place", ["student", "attention", "discriminator", "float16"])
def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path, place: str) -> None:
    run = a_run()
    assert run.attention is not None and run.discriminator is not None
    dtype, message = torch.float32, "holds NaN or infinity"
    with torch.no_grad():
        if place == "student":
            run.student.get_input_embeddings().weight[3, 2] = math.nan
        elif place == "attention":
            run.attention.s2t.bias[1] = math.inf
            message = "s2t.bias " + message
        elif place == "discriminator":
            run.discriminator["hidden.weight"][0, 0] = math.nan
            message = "hidden.weight " + message
        else:
            run.student.get_input_embeddings().weight[3, 2] = 1e6  # finite, but not in float16
            dtype, message = torch.float16, message + " as torch.float16"
    with pytest.raises(NonFiniteError, match=message):
        save(tmp_path / "toy", run, dtype)
    assert os.listdir(tmp_path) == []


def change_tensors(directory: Path, file: str, **changes: torch.Tensor | None) -> None:
    """Write other tensors and an honest manifest: the file is whole, only wrong."""
    tensors = {**load_file(directory / file)}
    for name, tensor in changes.items():
        tensors.pop(name.replace("__", "."), None)
        if tensor is not None:
            tensors[name.replace("__", ".")] = tensor
    save_file(tensors, directory / file)
    write_manifest(directory, KIND, SCHEMA, {})


SHAPES = {
    name: tuple(tensor.shape) for name, tensor in CrossModelAttention(STUDENT_DIM, TEACHER_DIM).state_dict().items()
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_projector_tensor_is_needed_in_its_shape_and_finite(tmp_path: Path, name: str) -> None:
    directory, key = save(tmp_path / "toy", a_run("dskd-cma")), name.replace(".", "__")
    wanted = str(SHAPES[name]).replace("(", r"\(").replace(")", r"\)")
    change_tensors(directory, "projectors.safetensors", **{key: None})
    with pytest.raises(DamagedError, match=f"{name}: wanted shape {wanted}, found no such tensor"):
        load_checkpoint(directory)
    other = torch.zeros(*SHAPES[name][:-1], SHAPES[name][-1] + 1)
    change_tensors(directory, "projectors.safetensors", **{key: other})
    found = str(tuple(other.shape)).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(DamagedError, match=f"{name}: wanted shape {wanted}, found {found}.* another pair of models"):
        load_checkpoint(directory)
    change_tensors(directory, "projectors.safetensors", **{key: torch.full(SHAPES[name], math.nan)})
    with pytest.raises(NonFiniteError, match=f"the tensor {name} holds NaN"):
        load_checkpoint(directory)


def test_settings_that_are_no_mapping_are_refused(tmp_path: Path) -> None:
    directory = save(tmp_path / "toy", a_run("dskd-cma"))
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "settings": ["seed"]}))
    write_manifest(directory, KIND, SCHEMA, {})
    with pytest.raises(DamagedError, match="settings are list, not key: value"):
        load_checkpoint(directory)


def test_a_projector_too_many_is_refused(tmp_path: Path) -> None:
    directory = save(tmp_path / "toy", a_run("dskd-cma"))
    change_tensors(directory, "projectors.safetensors", query__scale=torch.ones(2))
    with pytest.raises(DamagedError, match=r"query.scale: wanted shape no such tensor, found \(2,\)"):
        load_checkpoint(directory)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("projectors.safetensors", "lacks projectors.safetensors"),
        ("discriminator.safetensors", "lacks discriminator.safetensors, which the method dskd-cma-ga has"),
        ("config.json", "lacks config.json"),
        ("metrics.json", "missing or damaged"),
        ("student/config.json", "has no student"),
        ("manifest.json", "has no manifest"),
    ],
)
def test_each_missing_piece_is_named(tmp_path: Path, file: str, message: str) -> None:
    directory = save(tmp_path / "toy", a_run())
    (directory / file).unlink()
    if file != "manifest.json":
        with pytest.raises(DamagedError, match="which its manifest lists"):
            load_checkpoint(directory)
        write_manifest(directory, KIND, SCHEMA, {})
    with pytest.raises(DamagedError, match=message):
        load_checkpoint(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalisation": None}, "lacks the normalisation, which the method dskd-cma-ga has"),
        ({"student_dim": 13}, r"query.weight: wanted shape \(32, 26\), found \(32, 24\)"),
        ({"surprise": 1}, "not the settings of a checkpoint"),
        ({"normalisation": {"kind": "frozen"}}, "not the settings of a checkpoint"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    directory = save(tmp_path / "toy", a_run())
    settings = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**settings, **change}))
    write_manifest(directory, KIND, SCHEMA, {})
    with pytest.raises(DamagedError, match=message):
        load_checkpoint(directory)


@pytest.mark.parametrize("text", ["", "[]", '"text"', "3"])
def test_settings_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    directory = save(tmp_path / "toy", a_run())
    (directory / "config.json").write_text(text)
    write_manifest(directory, KIND, SCHEMA, {})
    with pytest.raises(DamagedError, match="not the settings of a checkpoint"):
        load_checkpoint(directory)


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    directory = save(tmp_path / "toy", a_run())
    for file in ("projectors.safetensors", "discriminator.safetensors", "student/model.safetensors", "README.md"):
        whole = (directory / file).read_bytes()
        (directory / file).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(DamagedError, match=f"{file} is altered"):
            load_checkpoint(directory)
        (directory / file).write_bytes(whole)
    load_checkpoint(directory)


def test_sft_has_no_maps_and_says_why(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(save(tmp_path / "toy", a_run("sft")))
    with pytest.raises(DamagedError, match="trained with 'sft', which has no query projector"):
        checkpoint.require_attention()
