"""A packed teacher trains the same student, to the last bit, where the teacher itself is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from probe.__main__ import main
from probe.distillation.packed_teacher import HEAD, is_packed
from probe.files import MANIFEST
from tests.support import tiny

TEXTS = tuple((f"Say {word}:", f"{word} the {word}.") for word in ("fox", "dog", "box", "jug", "lazy", "quick"))


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A teacher with an untied head, a student, texts, a recipe, and the teacher packed by the command."""
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    tiny.model_directory(tmp_path / "student", "gpt2", "small-bpe", width=8, seed=1)
    tiny.model_directory(tmp_path / "teacher", "llama", "bpe", width=12, seed=2)
    settings = {
        "name": "toy", "method": "dskd-cma", "student": str(tmp_path / "student"), "teacher": str(tmp_path / "teacher"),
        "data": str(tiny.data_file(tmp_path / "data.jsonl", TEXTS)), "held_out": 1, "steps": 3, "batch_size": 2,
        "max_length": 64,
    }  # fmt: skip
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert main(["cache", str(tmp_path / "toy.yaml"), "--out", str(tmp_path / "packed")]) == 0
    return tmp_path


def train(room: Path, name: str, *settings: str) -> int:
    return main(
        ["train", str(room / "toy.yaml"), "--out", str(room / name), *(["--set", *settings] if settings else [])]
    )


def test_the_same_student_comes_out_without_the_teacher(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(room, "whole") == 0
    shutil.move(room / "teacher", room / "elsewhere")
    monkeypatch.setenv("PROBE_CACHE", str(room / "another cache"))
    assert train(room, "from-pack", f"teacher={room / 'packed'}") == 0
    for file in ("projectors.safetensors", "student/model.safetensors"):
        wanted, found = load_file(room / "whole" / file), load_file(room / "from-pack" / file)
        assert wanted.keys() == found.keys() and all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_maps_need_nothing_but_the_pack(room: Path) -> None:
    assert train(room, "run", f"teacher={room / 'packed'}") == 0
    shutil.rmtree(room / "teacher")
    command = ["extract", "--checkpoint", str(room / "run"), "--data", str(room / "data.jsonl")]
    assert main([*command, "--out", str(room / "maps")]) == 0
    assert main(["verify", str(room / "packed")]) == 0


def test_a_pack_holds_no_other_weights(room: Path) -> None:
    assert is_packed(room / "packed") and not is_packed(room / "teacher")
    (table,) = load_file(room / "packed/model.safetensors").values()
    assert table.shape[1] == 12
    assert {name: tensor.shape for name, tensor in load_file(room / "packed" / HEAD).items()} == {"weight": table.shape}


def test_texts_that_were_not_packed_are_named_by_their_number(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.data_file(room / "data.jsonl", (*TEXTS, ("Say more:", "more words")))
    assert train(room, "run", f"teacher={room / 'packed'}") == 2
    assert "lacks the states of 1 of 7 texts" in capsys.readouterr().err


@pytest.mark.parametrize("file", [HEAD, "model.safetensors"])
def test_an_altered_table_is_refused(room: Path, file: str) -> None:
    tensors = {name: tensor + 1 for name, tensor in load_file(room / "packed" / file).items()}
    save_file(tensors, room / "packed" / file, {"format": "pt"})
    assert train(room, "run", f"teacher={room / 'packed'}") == 4
    assert main(["verify", str(room / "packed")]) == 4


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", MANIFEST, "new.json"])
def test_every_small_file_is_sealed_too(room: Path, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A harmless change, which no reader of the file itself minds."""
    path = room / "packed" / file
    path.write_text(path.read_text() + "\n" if path.exists() else "{}")
    if file == MANIFEST:
        path.write_text(path.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
    capsys.readouterr()
    assert train(room, "run", f"teacher={room / 'packed'}", "method=sft") == 4
    assert "altered" in capsys.readouterr().err or file == "new.json"
    assert not (room / "run").exists()


def test_what_lies_beside_a_teacher_is_not_packed(room: Path) -> None:
    (room / "teacher/notes.txt").write_text("of nobody's business")
    (room / "teacher/diary.json").write_text("{}")
    assert main(["cache", str(room / "toy.yaml"), "--out", str(room / "packed"), "--overwrite"]) == 0
    assert not {"notes.txt", "diary.json"} & {file.name for file in (room / "packed").iterdir()}


def test_what_is_there_is_kept_and_sft_has_no_teacher(room: Path) -> None:
    command = ["cache", str(room / "toy.yaml"), "--out"]
    assert main([*command, str(room / "student"), "--overwrite"]) == 2
    assert main([*command, str(room / "packed")]) == 2
    assert main([*command, str(room / "packed"), "--overwrite"]) == 0
    assert main([*command, str(room / "none"), "--set", "method=sft"]) == 2
