"""The recipes of the papers and `probe train --dry-run`: what it resolves, refuses, tries and prints."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from probe.__main__ import main
from probe.distillation.dry_run import plan as command
from probe.distillation.dry_run.architectures import KNOWN, find_config
from probe.distillation.dry_run.tiny_run import TinyRun, small_config
from probe.errors import DamagedError, ProbeError, UsageError
from tests.support.paper_recipes import MISTRAL, PAIR, PAPERS, RECIPES, recipe, small


def test_the_pair_of_the_papers_differs_in_the_matching_alone() -> None:
    plain, matched = (recipe(name).as_dict() for name in PAIR)
    matching = {"matching", "kappa", "discriminator_rate", "discriminator_dropout", "discriminator_width"}
    assert {field for field in plain if plain[field] != matched[field]} <= {"name", "method"} | matching


@pytest.mark.parametrize("name", PAPERS)
def test_recipes_of_the_papers_hold_their_epochs(name: str) -> None:
    """357 batches of 32 an epoch; 20 epochs of GPT-2, 10 of TinyLlama."""
    config = recipe(name)
    assert config.steps == (20 if "gpt2" in name else 10) * 357 and config.batch_size == 32
    assert (config.lora_rank, config.lora_alpha) == ((0, 16.0) if "gpt2" in name else (256, 8.0))


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, no caches, an empty place for temporary files; returns that."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the dry run asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


@pytest.mark.parametrize("name", PAPERS)
def test_the_recipes_of_the_papers_run_dry(name: str, no_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(RECIPES / f"{name}.yaml"), "--dry-run", "--json", "--flops", "1e14"]) == 0
    found = json.loads(capsys.readouterr().out)
    tried = found["tiny_run"]
    assert len(tried["losses"]) == 2 and tried["precision"] == "bf16"
    assert tried["tensors"] == tried["with_gradient"] == tried["moved"] > 0
    if "tinyllama" in name:  # two layers, q_proj and v_proj, two matrices each; projectors with their biases
        assert tried["tensors"] == 2 * 2 * 2 + 2 * (3 if name == MISTRAL else 2)
    assert found["settings"] == recipe(name).as_dict()
    assert found["seconds"]["teacher"] == pytest.approx(found["operations"]["teacher"] / 1e14)
    left = [file for file in (no_network / "temporary").rglob("*") if not file.name.startswith("torchinductor")]
    assert not left and not (no_network / "cache").exists()  # torch makes that empty folder when it is imported


def test_the_page_for_people(no_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(RECIPES / "pretrain.yaml"), "--dry-run", "--threads", "1", "--set", "steps=7"]
    assert main([*arguments, "precision=fp16"]) == 0
    page = capsys.readouterr().out
    for line in (
        "* steps                   --set    7\n",
        "  max_length              recipe   256\n",
        "the recipe's new_* settings",
        "measured here",
    ):
        assert line in page
    assert "teacher: states" not in page and "work of 7 steps" in page
    if not torch.accelerator.is_available():
        assert "fp32 (fp16 wants a GPU, and there is none)" in page


def test_a_directory_needs_its_configuration_alone(no_network: Path) -> None:
    student = no_network / "mine"
    small("gpt2").save_pretrained(student / "student")
    config, source = find_config(str(student))
    assert config.n_layer == 5 and source.endswith("student/config.json")
    (student / "student/config.json").write_text("{")
    with pytest.raises(DamagedError, match=r"config.json cannot be read"):
        find_config(str(student))
    (no_network / "empty").mkdir()
    with pytest.raises(DamagedError, match="has no config.json"):
        find_config(str(no_network / "empty"))


def test_the_hubs_cache_comes_before_published_sizes(no_network: Path) -> None:
    repository = no_network / "hub/models--openai-community--gpt2"
    small("gpt2").save_pretrained(repository / "snapshots/abc")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    config, source = find_config("openai-community/gpt2")
    assert config.n_layer == 5 and source == "the hub's cache"


def test_what_a_real_run_would_refuse_is_refused(no_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["train", str(RECIPES / f"{PAIR[0]}.yaml"), "--dry-run"]
    for more, message in (
        (["--set", "student=someone/else"], "the architecture of 'someone/else' is not known here"),
        (["--set", "max_length=2000"], "at most the student's 1024 positions, found 2000"),
        (["--set", "lora_rank=4", "lora_targets=[q_proj]"], "lora_targets: wanted names of linear layers"),
        (["--flops", "0"], "--flops: wanted a number above 0"),
    ):
        assert main([*base, *more]) == 2
        assert message in capsys.readouterr().err
    assert main(base[:-1]) == 2
    assert "--out is missing" in capsys.readouterr().err


def test_a_parameter_that_stays_is_an_error(
    no_network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "tiny_run", lambda *_: TinyRun((2.0, 1.0), "fp32", 9, 8, 9))
    assert main(["train", str(RECIPES / "sft.yaml"), "--dry-run", "--set", "student=gpt2", "--flops", "1e12"]) == 1
    assert "of 9 trained tensors 8 had a gradient and 9 moved" in capsys.readouterr().err
    assert issubclass(UsageError, ProbeError)


@pytest.mark.parametrize("name", KNOWN)
def test_tiny_models_keep_their_kind(name: str) -> None:
    real = find_config(name)[0]
    tiny_one: Any = small_config(real, 300, 0)
    assert (type(tiny_one), tiny_one.num_hidden_layers, tiny_one.hidden_size) == (type(real), 2, 32)
    grouped = [config.num_attention_heads > getattr(config, "num_key_value_heads", 99) for config in (real, tiny_one)]
    assert grouped[0] == grouped[1] == (name.split("/")[0] not in ("gpt2", "openai-community", "Qwen", "meta-llama"))
    assert AutoModelForCausalLM.from_config(tiny_one).num_parameters() < 60_000
