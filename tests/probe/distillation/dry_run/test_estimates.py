"""What the dry run estimates: sizes by hand, operations, bytes and memory against what really runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, PretrainedConfig

from probe.distillation.config import TrainConfig
from probe.distillation.dry_run import estimates
from probe.distillation.dry_run import plan as command
from probe.distillation.dry_run.architectures import architecture, resized, student_config
from probe.distillation.dry_run.estimates import Lengths, Trainable
from probe.distillation.dry_run.tracing import passes_bytes
from probe.distillation.engine import Engine, start
from probe.distillation.setup import prepare
from probe.distillation.students.lora import add_lora
from tests.support import tiny
from tests.support.paper_recipes import MISTRAL, PAIR, SMALL, recipe, sizes, small


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
    # oneDNN's AVX-512 kernels hold a working space in bf16 that no trace sees: 7 % (llama); held to AVX2
    # by ONEDNN_MAX_CPU_ISA the same machine stays within 0.98 (measured November 2026).
    unseen = train.precision == "bf16" and torch.backends.cpu.get_cpu_capability() == "AVX512"
    least = 0.92 if unseen else 0.98
    assert least * measured < traced < 1.2 * measured


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

    def passes() -> None:
        with torch.autocast("cpu", AUTOCAST.get(train.precision), enabled=train.precision in AUTOCAST):
            hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        hidden.backward(torch.ones_like(hidden))

    return logged_bytes(passes)


def logged_bytes(work: Callable[[], object]) -> int:
    """The most that ``work`` held above what was there, by the CPU allocator's log."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        work()
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


def test_a_real_step_holds_what_is_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps through the trainer's engine: the allocator's log against all lines that a step makes, together."""
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    wide = {"hidden_size": 128, "intermediate_size": 352, "head_dim": 32, "max_position_embeddings": 128}
    for role, tokenizer in (("student", "small-bpe"), ("teacher", "bpe")):
        fast = tiny.TOKENIZERS[tokenizer]()
        sized = resized(small("llama"), **wide, vocab_size=len(fast), bos_token_id=0, eos_token_id=0)
        AutoModelForCausalLM.from_config(sized).save_pretrained(tmp_path / role)
        fast.save_pretrained(tmp_path / role)
    data = tiny.data_file(tmp_path / "d.jsonl", [(f"{i}:", "the quick brown fox " * 40) for i in range(16)])
    train = recipe(
        PAIR[0], student=str(tmp_path / "student"), teacher=str(tmp_path / "teacher"), data=(str(data),), held_out=0,
        batch_size=16, micro_batch=8, max_length=128, precision="fp32", gradient_checkpointing=False,
    )  # fmt: skip
    setup = prepare(train)
    engine = Engine.of(start(train), setup)
    measured = logged_bytes(lambda: [engine.train_step(setup.training, step) for step in range(2)])
    student, teacher = sizes(train.student), sizes(train.teacher)
    trained = command.trainable(train, student_config(train)[0], teacher)
    passes = passes_bytes(student_config(train)[0], train, 8, 128)
    parts = estimates.training_memory(train, student, teacher, trained, estimates.lengths_of(train), passes)
    names = ("gradients", "AdamW", "student: held", "logits", "gradient of", "teacher: summaries")
    predicted = sum(part.size for part in parts if part.name.startswith(names))
    assert 0.6 * predicted < measured < 1.05 * predicted
