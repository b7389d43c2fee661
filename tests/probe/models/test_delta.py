"""Delta checkpoints: the same student as a whole one, chains, what needs no body, and every missing piece refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from probe.__main__ import main
from probe.distillation.config import TrainConfig
from probe.distillation.trainer import train
from probe.errors import DamagedError, NonFiniteError
from probe.extraction.extractor import Extractor
from probe.files import sealed, write_json, write_manifest
from probe.models.checkpoint import load_checkpoint
from probe.models.delta import ADAPTER, DELTA, TABLES, read_delta
from probe.models.loading import input_embeddings, load_causal_lm, load_tokenizer, resolve_model
from probe.text.examples import read_examples
from tests.support import tiny
from tests.support.held_out_runs import TEXTS, config

IDS = torch.arange(1, 9)[None]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A teacher of each architecture, a student, texts, a tokenizer to transplant; and a chain of deltas."""
    root = tmp_path_factory.mktemp("deltas")
    for architecture in tiny.ARCHITECTURES:
        tiny.model_directory(root / f"teacher-{architecture}", architecture, "bpe", width=12, seed=2)
    tiny.model_directory(root / "student-gpt2", "gpt2", "small-bpe", width=8, seed=1)
    tiny.byte_bpe(290).save_pretrained(root / "tokenizer")
    tiny.data_file(root / "data.jsonl", TEXTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBE_CACHE", str(root / "cache"))
        patch.setattr("probe.distillation.trainer.key_query_gap", lambda *given: None)
        train(transplanted(root, train_embeddings=True), root / "start")
        train(arm(root), root / "arm")
        yield root


def transplanted(root: Path, architecture: str = "llama", **values: Any) -> TrainConfig:
    settings = {"student": "transplant", "transplant_tokenizer": str(root / "tokenizer"), "lora_rank": 2}
    settings |= {"teacher": str(root / f"teacher-{architecture}"), "save_as": "delta", "student_rate": 1e-2}
    return config(root, "sft", **{**settings, **values})


def arm(root: Path, **values: Any) -> TrainConfig:
    settings: dict[str, Any] = {"student": str(root / "start"), "lora_rank": 3, "save_as": "delta"}
    return config(root, "dskd-cma", **{**settings, "student_rate": 1e-2, **values})


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("embeddings", [True, False])
def test_a_delta_is_the_student_that_a_whole_checkpoint_holds(
    room: Path, tmp_path: Path, architecture: str, embeddings: bool
) -> None:
    """Against peft's own merge: the same weights up to rounding, the same embeddings to the bit."""
    settings = transplanted(room, architecture, train_embeddings=embeddings)
    train(settings, tmp_path / "delta")
    train(dataclasses.replace(settings, save_as="full"), tmp_path / "full")
    one, two = (load_causal_lm(resolve_model(tmp_path / name)) for name in ("delta", "full"))
    torch.testing.assert_close(logits(one), logits(two), rtol=1e-5, atol=1e-5)
    assert one.state_dict().keys() == two.state_dict().keys()
    for name, tensor in two.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], tensor, rtol=1e-6, atol=1e-6)
    found, wanted = (input_embeddings(tmp_path / name / "student") for name in ("delta", "full"))
    assert torch.equal(found, wanted) and len(found) == 290
    assert (one.config.vocab_size, one.config.eos_token_id) == (290, two.config.eos_token_id)
    stored = load_file(tmp_path / "delta" / "student" / ADAPTER)
    assert stored and not (tmp_path / "delta" / "student" / "model.safetensors").exists()
    assert any(not torch.equal(t, torch.zeros_like(t)) for name, t in stored.items() if name.endswith(".B"))


def test_a_student_that_keeps_its_tables_stores_none(room: Path) -> None:
    """The arm began from the delta `start`: base by a relative path, embeddings once, there."""
    names = {file.name for file in (room / "arm" / "student").glob("*.safetensors")}
    delta = read_delta(room / "arm" / "student")
    assert names == {ADAPTER} and delta.base.path == "../../start/student" and not delta.has_tables
    assert (room / "start" / "student" / TABLES).is_file()
    found, wanted = (input_embeddings(room / name / "student") for name in ("arm", "start"))
    assert torch.equal(found, wanted)


def test_a_chain_is_the_sum_of_its_updates(room: Path) -> None:
    """By hand for one layer: teacher + 8 B A of the start + 16/3 B A of the arm."""
    name = "model.layers.0.self_attn.q_proj"
    total = load_file(room / "teacher-llama" / "model.safetensors")[f"{name}.weight"].clone()
    for checkpoint, scale in (("start", 16 / 2), ("arm", 16 / 3)):
        stored = load_file(room / checkpoint / "student" / ADAPTER)
        total += scale * stored[f"{name}.B"] @ stored[f"{name}.A"]
    found = load_causal_lm(resolve_model(room / "arm")).state_dict()[f"{name}.weight"]
    torch.testing.assert_close(found, total)


def test_verify_and_export(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exported directory stands alone: transformers loads it, with the same logits and tokenizer."""
    assert main(["verify", str(room / "arm")]) == 0
    assert main(["export", str(room / "arm"), "--out", str(tmp_path / "plain")]) == 0
    assert "wrote" in capsys.readouterr().out
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    assert torch.equal(logits(plain), logits(load_causal_lm(resolve_model(room / "arm"))))
    own = load_tokenizer(room / "arm" / "student")
    assert load_tokenizer(tmp_path / "plain").get_vocab() == own.get_vocab()
    assert main(["export", str(room / "arm"), "--out", str(tmp_path / "plain")]) == 2
    again = ["export", str(room / "arm"), "--out", str(tmp_path / "plain"), "--overwrite", "--dtype", "float16"]
    assert main(again) == 0
    stored = load_file(tmp_path / "plain" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}


def test_a_delta_is_a_teacher(room: Path, tmp_path: Path) -> None:
    """`teacher: <checkpoint>`: its numbers are those of the same model as a plain directory."""
    train(config(room, "sft", student=str(room / "teacher-llama"), lora_rank=2, save_as="delta", student_rate=0.1),
          tmp_path / "teacher")  # fmt: skip
    assert main(["export", str(tmp_path / "teacher"), "--out", str(tmp_path / "plain")]) == 0
    found = [
        train(config(room, "dskd-cma", teacher=str(tmp_path / name)), tmp_path / f"by-{name}")
        for name in ("teacher", "plain")
    ]
    for key in ("teacher_bits_per_byte", "bits_per_byte", "held_out_ce", "chunk_kl"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-5)
    untrained = train(config(room, "dskd-cma"), tmp_path / "untrained")
    assert found[0]["teacher_bits_per_byte"] != pytest.approx(untrained["teacher_bits_per_byte"], rel=1e-4)


@pytest.fixture
def copied(room: Path, tmp_path: Path) -> Path:
    """Both checkpoints of the chain and the teacher beside them, elsewhere."""
    for name in ("start", "arm", "teacher-llama"):
        shutil.copytree(room / name, tmp_path / name)
    return tmp_path


def test_they_travel_together_and_extraction_needs_no_body(copied: Path) -> None:
    """Moved, they are found by relative paths; without the body of the base, maps are made, and no model is."""
    base, arm_maps = copied / "teacher-llama" / "model.safetensors", copied / "arm"
    examples = read_examples(tiny.data_file(copied / "data.jsonl", TEXTS))
    teacher = tiny.model_directory(copied / "guide", "llama", "bpe", width=12, seed=2)
    before = [m.weights for m in Extractor.load([arm_maps], teacher=str(teacher)).maps(examples)]
    base.unlink()
    after = [m.weights for m in Extractor.load([arm_maps], teacher=str(teacher)).maps(examples)]
    assert all((one == two).all() for one, two in zip(before, after, strict=True)) and len(after) == 2 * len(examples)
    with pytest.raises(DamagedError):
        load_causal_lm(resolve_model(arm_maps))


def resealed(checkpoint: Path) -> None:
    """A new manifest, so that what is found is what the pieces themselves say."""
    (checkpoint / "manifest.json").unlink()
    write_manifest(checkpoint, "checkpoint", 1, {})


def described(checkpoint: Path, **values: Any) -> None:
    path = checkpoint / "student" / DELTA
    kept = {k: v for k, v in json.loads(path.read_text()).items() if k != "sha256_of_the_rest"}
    write_json(path, sealed({**kept, **values}))


def test_what_is_missing_or_mismatching_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = copied / "arm" / "student"

    def refused(*words: str) -> None:
        assert main(["verify", str(copied / "arm")]) == 4
        message = capsys.readouterr().err
        assert all(word in message for word in words), message

    shutil.copyfile(student / ADAPTER, copied / "adapter")
    described(copied / "start", scale=1.0)  # the base is a whole checkpoint, but another one
    resealed(copied / "start")
    refused("is a difference from a model of digest", "found")
    shutil.rmtree(copied / "start")
    refused("stored as its difference from ../../start/student", "nothing at")
    (student / ADAPTER).write_bytes((student / ADAPTER).read_bytes()[:-1] + b"?")
    refused("is altered")
    (student / ADAPTER).unlink()
    refused(f"lacks student/{ADAPTER}")
    shutil.copyfile(copied / "adapter", student / ADAPTER)
    described(copied / "arm", base={"digest": "0" * 16, "path": "/etc"})
    resealed(copied / "arm")
    refused("wanted the base by a relative path, found /etc")
    (student / DELTA).write_text("{}")
    resealed(copied / "arm")
    refused("cannot be read")


def test_another_plain_base_is_refused_with_both_digests(copied: Path) -> None:
    shutil.rmtree(copied / "teacher-llama")
    tiny.model_directory(copied / "teacher-llama", "llama", "bpe", width=12, seed=3)
    digest = read_delta(copied / "start" / "student").base.digest
    with pytest.raises(DamagedError, match=f"of digest {digest}, found [0-9a-f]{{16}} at"):
        load_causal_lm(resolve_model(copied / "start"))


@pytest.mark.parametrize(("name", "change", "error"), [
    ("another width", lambda t: {k: v[:, :-1] if k.endswith(".A") else v for k, v in t.items()}, DamagedError),
    ("a part of an update", lambda t: {k: v for k, v in t.items() if k.endswith(".A")}, DamagedError),
    ("a layer that is not there", lambda t: {k.replace("layers.0", "layers.9"): v for k, v in t.items()}, DamagedError),
    ("not a number", lambda t: {k: v * float("nan") for k, v in t.items()}, NonFiniteError),
])  # fmt: skip
def test_pieces_that_do_not_fit_are_refused(copied: Path, name: str, change: Any, error: type[Exception]) -> None:
    from probe.files import sha256_of

    file = copied / "start" / "student" / ADAPTER
    save_file({k: v.contiguous() for k, v in change(load_file(file)).items()}, file)
    files = {**read_delta(file.parent).files, ADAPTER: sha256_of(file)}
    described(copied / "start", files=files)
    with pytest.raises(error, match=ADAPTER):
        load_causal_lm(resolve_model(copied / "start"))


def test_half_precision_takes_half_the_room(room: Path, tmp_path: Path) -> None:
    train(transplanted(room, train_embeddings=True, save_dtype="float16"), tmp_path / "half")
    for file in (ADAPTER, TABLES):
        half, whole = (load_file(place / "student" / file) for place in (tmp_path / "half", room / "start"))
        assert all(torch.equal(half[name], whole[name].half()) for name in whole) and half.keys() == whole.keys()
    assert main(["verify", str(tmp_path / "half")]) == 0
    assert load_checkpoint(tmp_path / "half").config.student_vocabulary == 290
    # its tables are those of the half ones; projectors go by the same type
    train(arm(room, student=str(tmp_path / "half"), save_dtype="float16"), tmp_path / "arm")
    projectors = load_file(tmp_path / "arm" / "projectors.safetensors")
    assert {tensor.dtype for tensor in projectors.values()} == {torch.float16}
    assert load_checkpoint(tmp_path / "arm").require_attention().query.weight.dtype == torch.float32
    assert not read_delta(tmp_path / "arm" / "student").has_tables
