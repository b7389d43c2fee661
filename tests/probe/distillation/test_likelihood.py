"""Bits per byte against transformers' own loss, chunk distances by hand, and what a run writes of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from probe.distillation.likelihood import (
    bits_per_byte,
    chunk_distances,
    gap_closed,
    student_bits,
    target_bits,
    text_likelihood,
)
from probe.distillation.trainer import train
from probe.models.loading import load_causal_lm, load_tokenizer
from probe.text.examples import Example, read_examples
from probe.text.tokenization import PairedTokens, PairTokenizer
from tests.support import tiny
from tests.support.held_out_runs import config


def test_bits_by_hand() -> None:
    """Logits 0, ln 3 give probabilities 1/4 and 3/4: 2 bits, and log2(4/3)."""
    hidden, head = torch.ones(2, 1), torch.tensor([[0.0], [math.log(3)]])
    found = target_bits(hidden, torch.tensor([0, 1]), head)
    np.testing.assert_allclose(found.numpy(), [2.0, math.log2(4 / 3)], rtol=1e-6)
    biased = target_bits(torch.zeros(2, 1), torch.tensor([0, 1]), head, torch.tensor([0.0, math.log(3)]))
    np.testing.assert_allclose(biased.numpy(), found.numpy(), rtol=1e-6)


def test_gap_closed_by_hand() -> None:
    assert gap_closed(1.2, 1.0, 0.8) == pytest.approx(0.5) and gap_closed(1.2, 1.3, 0.8) == pytest.approx(-0.25)
    assert math.isnan(gap_closed(0.8001, 0.9, 0.8)), "there is no gap to close"


def pairs_of(root: Path) -> list[PairedTokens]:
    student, teacher = load_tokenizer(root / "student-gpt2"), load_tokenizer(root / "teacher-llama")
    return PairTokenizer(student, teacher).encode(read_examples(root / "data.jsonl"))


def test_bits_are_the_loss_of_the_model_itself(room: Path) -> None:
    """Against transformers' own loss with the prompt masked, in any batch; EOS is the last target."""
    model, pairs = load_causal_lm(room / "student-gpt2"), pairs_of(room)
    found = student_bits(model, [pair.student for pair in pairs], 3)
    for pair, bits in zip(pairs, found, strict=True):
        ids = torch.tensor([pair.student.ids])
        labels = ids.clone()
        labels[0, : pair.student.start + 1] = -100
        loss = model(input_ids=ids, labels=labels).loss.item()
        assert bits.sum().item() == pytest.approx(loss * len(pair.student.targets) / math.log(2), rel=1e-5)
    total = sum(len(pair.text.encode()) for pair in pairs)
    assert bits_per_byte(found, pairs) == pytest.approx(sum(float(one.sum()) for one in found) / total)


def test_chunk_distances_by_hand() -> None:
    """Three chunks (a, b, EOS) of probability 1/2, 1/4, 1 for the student, and 1/2, 1/2, 1 for the teacher."""
    tokenizer = tiny.byte_bpe(257)
    (pair,) = PairTokenizer(tokenizer, tokenizer).encode([Example("one", "p ", ("ab",))])
    bits = np.array([1.0, 2.0, 0.0]), np.array([1.0, 1.0, 0.0])
    kl, difference = chunk_distances(pair, *bits)
    by_hand = 0.5 * math.log2(0.5 / 0.25) + 0.5 * math.log2(0.5 / 0.75)
    np.testing.assert_allclose(kl, [0, by_hand, 0], atol=1e-9)
    np.testing.assert_allclose(difference, [0, 1, 0], atol=1e-9)


def test_chunks_join_what_one_side_splits(room: Path) -> None:
    """A chunk's bits are its tokens' bits, so the differences add up to no less than the texts' own difference."""
    for pair in pairs_of(room):
        rng = np.random.default_rng(len(pair.text))
        own, guide = rng.exponential(size=len(pair.student.targets)), rng.exponential(size=len(pair.teacher.targets))
        kl, difference = chunk_distances(pair, own, guide)
        assert len(kl) < max(len(own), len(guide)) and (kl >= 0).all()
        assert difference.sum() >= abs(own.sum() - guide.sum()) - 1e-9
        text = text_likelihood(pair, torch.from_numpy(own), torch.from_numpy(guide))
        assert text.chunks == len(kl)
        np.testing.assert_allclose((text.bits, text.teacher_bits), (own.sum(), guide.sum()))


@pytest.mark.parametrize("method", ["sft", "dskd-cma"])
def test_a_run_writes_them(room: Path, tmp_path: Path, method: str) -> None:
    """metrics.json are the sums of held_out.csv, and of the models themselves."""
    out = tmp_path / "out"
    lines: list[str] = []
    metrics = train(config(room, method, student_rate=1e-2), out, report=lines.append)
    table = pd.read_csv(out / "held_out.csv", float_precision="round_trip")
    assert (
        list(table["example_id"]) == ["t5", "t6"]
        and "held_out.csv" in json.loads((out / "manifest.json").read_text())["files"]
    )
    size = table["bytes"].sum()
    for name, column in (("", "bits"), ("start_", "start_bits"), ("teacher_", "teacher_bits")):
        assert metrics[f"{name}bits_per_byte"] == pytest.approx(table[column].sum() / size, rel=1e-12)
    closed = (table["start_bits"].sum() - table["bits"].sum()) / (table["start_bits"] - table["teacher_bits"]).sum()
    assert metrics["gap_closed"] == pytest.approx(closed)
    assert metrics["chunk_kl"] == pytest.approx(table["chunk_kl"].sum() / table["chunks"].sum())
    tokens = table["student_tokens"].sum()
    assert metrics["bits_per_byte"] == pytest.approx(metrics["held_out_ce"] * tokens / size / math.log(2), rel=1e-5)
    held_out = pairs_of(room)[5:]
    for directory, column in (("student-gpt2", "start_bits"), ("teacher-llama", "teacher_bits")):
        sides = [getattr(pair, directory.split("-")[0]) for pair in held_out]
        bits = student_bits(load_causal_lm(room / directory), sides, 1)
        np.testing.assert_allclose([float(one.sum()) for one in bits], table[column], rtol=1e-5)
    assert any(line.startswith("bits per byte of 2 held-out responses before training: student ") for line in lines)


def test_a_teacher_that_cannot_be_measured_ends_no_sft(room: Path, tmp_path: Path) -> None:
    metrics = train(config(room, "sft", measure_teacher=False), tmp_path / "out")
    assert "teacher_bits_per_byte" not in metrics and metrics["bits_per_byte"] > 0
    assert pd.read_csv(tmp_path / "out" / "held_out.csv")["teacher_bits"].isna().all()
