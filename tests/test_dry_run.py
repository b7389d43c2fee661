"""The recipes of the papers and `probe train --dry-run`: sizes by hand, estimates against what runs, two real steps."""

from __future__ import annotations

import dataclasses
import json
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from probe.__main__ import main
from probe.config import TrainConfig, read_recipe
from probe.distillation import dry_run as command
from probe.distillation import estimates
from probe.distillation.architectures import KNOWN, Architecture, architecture, find_config, resized, student_config
from probe.distillation.estimates import Lengths, Trainable
from probe.distillation.lora import add_lora
from probe.distillation.tiny_run import TinyRun, small_config
from probe.distillation.tracing import passes_bytes
from probe.errors import DamagedError, ProbeError, UsageError
from tests import tiny

RECIPES = Path(__file__).parent.parent / "probe/recipes"
PAPERS = sorted(path.stem for path in RECIPES.glob("paper-*.yaml"))
MISTRAL = "paper-mistral-tinyllama-dskd-cma"
PAIR = ("paper-qwen-gpt2-dskd-cma", "paper-qwen-gpt2-dskd-cma-ga")


def recipe(name: str, **values: Any) -> TrainConfig:
    return dataclasses.replace(read_recipe(RECIPES / f"{name}.yaml"), **values)


def sizes(name: str) -> Architecture:
    return architecture(name, *find_config(name))


def llama_parameters(layers: int, d: int, kv: int, wide: int, vocabulary: int, tied: bool, biases: int = 0) -> int:
    """Two tables (one if tied), a norm; per layer q, o of d x d, k, v of d x kv, three of d x wide, two norms."""
    layer = 2 * d * d + 2 * d * kv + 3 * d * wide + 2 * d + biases
    return (1 if tied else 2) * vocabulary * d + d + layers * layer


GPT2 = 50257 * 768 + 1024 * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768
COUNTS = {
    "openai-community/gpt2": (GPT2, 124_439_808),
    "Qwen/Qwen1.5-1.8B": (llama_parameters(24, 2048, 2048, 5504, 151936, False, 3 * 2048), 1_836_828_672),
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": (
        llama_parameters(22, 2048, 256, 5632, 32000, False), 1_100_048_384,
    ),
    "meta-llama/Llama-2-7b-hf": (llama_parameters(32, 4096, 4096, 11008, 32000, False), 6_738_415_616),
    "mistralai/Mistral-7B-v0.1": (llama_parameters(32, 4096, 1024, 14336, 32000, False), 7_241_732_096),
    "HuggingFaceTB/SmolLM2-360M-Instruct": (llama_parameters(32, 960, 320, 2560, 49152, True), 361_821_120),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_of_the_known_models(name: str) -> None:
    """By hand, as their authors give them, and counted on transformers' own models."""
    by_hand, published = COUNTS[name]
    assert by_hand == published == sizes(name).parameters


def test_linear_weights_are_all_but_tables_norms_and_biases() -> None:
    assert sizes("gpt2").linear == 12 * 12 * 768**2
    assert sizes("mistralai/Mistral-7B-v0.1").linear == 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert sizes("gpt2").tied and not sizes("mistralai/Mistral-7B-v0.1").tied


def test_what_the_lora_recipe_trains_by_hand() -> None:
    """q_proj 2048 -> 2048 and v_proj 2048 -> 256 of 22 layers at rank 256; projectors of 2048 and 4096 with biases."""
    config, teacher = recipe(MISTRAL), sizes("mistralai/Mistral-7B-v0.1")
    trained = command.trainable(config, student_config(config)[0], teacher)
    lora = 22 * 256 * ((2048 + 2048) + (2048 + 256))
    query, t2s, s2t = (4096 + 1) * 8192, (4096 + 1) * 2048, (2048 + 1) * 4096
    assert trained == Trainable(student=lora, lora=lora, adapters=query + t2s + s2t, head=False)


def test_what_the_adversarial_recipe_trains_by_hand() -> None:
    config, teacher = recipe(PAIR[1]), sizes("Qwen/Qwen1.5-1.8B")
    trained = command.trainable(config, student_config(config)[0], teacher)
    projectors = (2 * 768 + 1) * 4096 + (2048 + 1) * 768 + (768 + 1) * 2048
    discriminator = (4096 + 1) * 4096 + (4096 + 1) * 768 + (768 + 1)
    assert trained == Trainable(student=124_439_808, lora=0, adapters=projectors + discriminator, head=True)


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


SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "n_layer": 5, "n_embd": 32, "n_head": 4, "vocab_size": 64, "n_positions": 64},
    "llama": {
        "model_type": "llama", "num_hidden_layers": 5, "hidden_size": 32, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 80, "vocab_size": 64, "max_position_embeddings": 64,
    },
}  # fmt: skip


def small(name: str, **values: Any) -> PretrainedConfig:
    return AutoConfig.for_model(**SMALL[name], **values)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("checkpointing", "passes"), [(False, 3), (True, 4)])
def test_operations_are_those_that_run(name: str, checkpointing: bool, passes: int) -> None:
    """A forward pass to the last operation; forward and backward are three of them, or four."""
    config = small(name, attn_implementation="eager")  # its products are counted, those of a fused kernel are not
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    with FlopCounterMode(display=False) as counter:
        hidden = model.base_model(input_ids=torch.zeros(3, 48, dtype=torch.long), use_cache=False).last_hidden_state
        one = counter.get_total_flops()
        hidden.sum().backward()
    known = architecture(name, config, "")
    wanted = estimates.forward_work(known, 144.0, 48.0)
    assert one == pytest.approx(wanted, rel=1e-3)  # rotary angles are products too
    train = recipe(PAIR[0], gradient_checkpointing=checkpointing)
    factor = estimates.student_factor(train, Trainable(known.parameters, 0, 0, True), known)
    assert factor == passes
    # A layer's last product is not done again, for nobody reads it: one of seven, or of four.
    assert (0.95 if checkpointing else 0.999) * passes * wanted < counter.get_total_flops() < 1.001 * passes * wanted


def test_operations_under_lora_are_those_that_run() -> None:
    config = small("llama", attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
    train = recipe(MISTRAL, lora_rank=8, gradient_checkpointing=False)
    add_lora(model, train)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    with FlopCounterMode(display=False) as counter:
        hidden = model.base_model(input_ids=torch.zeros(3, 48, dtype=torch.long), use_cache=False).last_hidden_state
        hidden.sum().backward()
    known = architecture("llama", config, "")
    wanted = estimates.forward_work(known, 144.0, 48.0) * estimates.student_factor(
        train, Trainable(trained, trained, 0, False), known
    )
    # The first layer's inputs are constants, and attention's backward is two passes of its products, not one.
    assert counter.get_total_flops() == pytest.approx(wanted, rel=0.12)


CASES = [
    ("gpt2", {}), ("gpt2", {"precision": "bf16"}), ("gpt2", {"gradient_checkpointing": True}), ("llama", {}),
    ("llama", {"precision": "bf16", "gradient_checkpointing": True}),
    ("llama", {"lora_rank": 4, "lora_targets": ("q_proj",), "lora_dropout": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values"), CASES, ids=[f"{name} {values}" for name, values in CASES])
def test_bytes_of_the_passes_are_those_of_real_ones(name: str, values: dict[str, Any]) -> None:
    """Five layers that run hold at most what two and three traced ones say, and not much less; the allocator's own log
    is the measure. Fused kernels need a little less than their traced form."""
    train = recipe(PAIR[0], **{"precision": "fp32", "gradient_checkpointing": False, **values})
    traced = passes_bytes(small(name), train, 2, 64)
    measured = measured_bytes(small(name), train, 2, 64)
    assert 0.98 * measured < traced < 1.2 * measured


def measured_bytes(config: PretrainedConfig, train: TrainConfig, rows: int, length: int) -> int:
    """The most that the CPU allocator held during a real forward and backward pass, less the gradients of weights."""
    from probe.distillation.activations import fuse_activations
    from probe.distillation.steps import AUTOCAST

    model: Any = AutoModelForCausalLM.from_config(resized(config, vocab_size=8)).train()
    if train.lora_rank:
        add_lora(model, train)
    fuse_activations(model)
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    ids = torch.zeros(rows, length, dtype=torch.long)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        with torch.autocast("cpu", AUTOCAST.get(train.precision), enabled=train.precision in AUTOCAST):
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        hidden.backward(torch.ones_like(hidden))
    now = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def test_memory_lines_by_hand() -> None:
    config = recipe(MISTRAL)
    student, teacher = sizes(config.student), sizes(config.teacher)
    trained, lengths = Trainable(1000, 1000, 200, False), Lengths(10, 30.0, 20.0, "")
    parts = {p.name: p for p in estimates.training_memory(config, student, teacher, trained, lengths, 12345)}
    assert parts["student: weights"].size == 4 * (1_100_048_384 + 1000)
    assert parts["gradients"].size == 4 * 1200 and parts["AdamW: two moments"].size == 8 * 1200
    assert parts["student: held by a forward and backward pass"].size == 12345
    assert parts["teacher: embeddings and head"].size == 2 * 4 * 32000 * 4096
    assert parts["teacher: states of all texts, float16"].size == 2 * 200 * 4096
    assert parts["teacher: summaries of the texts met"].size == 4 * 200 * 4097
    assert "gradient of the student's head, made in the loss" not in parts
    filling = {p.name: p.size for p in estimates.filling_memory(student, teacher)}
    assert filling["teacher: weights, float32"] == 4 * 7_241_732_096


def test_work_of_a_run_by_hand() -> None:
    """2 steps of 3 texts of 10 tokens, 4 of them response, of 7 texts; the projectors' products are left out."""
    student, teacher = sizes("gpt2"), sizes("Qwen/Qwen1.5-1.8B")
    config = recipe(PAIR[0], steps=2, batch_size=3, gradient_checkpointing=False)
    work = estimates.run_work(config, student, teacher, Trainable(1, 0, 0, True), Lengths(7, 10.0, 4.0, ""))
    assert work.student == 3 * 60 * (2 * student.linear + 4 * 12 * 768 * 10)
    own, t2s, s2t = 3 * 2 * 50257 * 768, 2 * 2 * 50257 * 768, 2 * 2 * 151936 * 2048
    assert work.vocabulary == 24 * (own + t2s + s2t) + 6 * 4 * 2 * 2 * 151936 * 2048
    assert work.teacher == 70 * (2 * teacher.linear + 4 * 24 * 2048 * 10)
    alone = estimates.run_work(recipe("sft"), student, student, Trainable(1, 0, 0, True), Lengths(7, 10.0, 4.0, ""))
    assert alone.teacher == 0


def test_texts_are_counted_where_they_are(tmp_path: Path) -> None:
    data = tiny.data_file(tmp_path / "d.jsonl", [("p" * 87, "o" * 43), ("p" * 870, "o" * 4350)])
    lengths = estimates.lengths_of(recipe(PAIR[0], data=(str(data),), held_out=1, max_length=256))
    first, second = (87 / 4.35, 43 / 4.35 + 1), (200.0, 56.0)  # the second is cut at 256 tokens
    assert (lengths.examples, lengths.source) == (2, "counted, 4.35 bytes a token")
    assert lengths.tokens == pytest.approx((sum(first) + sum(second)) / 2)
    assert lengths.response == pytest.approx((first[1] + second[1]) / 2)
    absent = estimates.lengths_of(recipe(PAIR[0], data=("none.jsonl",), held_out=5))
    assert absent.examples == 357 * 32 + 5 and "none.jsonl is not there" in absent.source


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
    assert found["settings"] == recipe(name).as_dict()
    assert found["seconds"]["teacher"] == pytest.approx(found["operations"]["teacher"] / 1e14)
    assert not any((no_network / "temporary").iterdir()) and not (no_network / "cache").exists()


def test_lora_trains_its_own_tensors_alone(no_network: Path) -> None:
    """Two layers, q_proj and v_proj, two matrices each; three projectors with their biases."""
    assert command.dry_run(recipe(MISTRAL), 1e12).tiny.tensors == 2 * 2 * 2 + 3 * 2


def test_the_page_for_people(no_network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(RECIPES / "pretrain.yaml"), "--dry-run", "--threads", "1", "--set", "steps=7"]
    assert main([*arguments, "precision=fp16"]) == 0
    page = capsys.readouterr().out
    for line in (
        "* steps                   7\n",
        "  max_length              256\n",
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
