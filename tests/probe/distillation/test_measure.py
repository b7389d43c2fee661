"""What a run is measured by: planted attention, alike and separated clouds, and distances by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from probe.distillation.measure import (
    Tables,
    classifier_accuracy,
    key_query_gap,
    span_accuracy,
)
from probe.models.attention import CrossModelAttention
from probe.text.examples import Example
from probe.text.tokenization import PairedTokens, PairTokenizer
from tests.support import tiny

DIM = 24


def pairs_of(texts: tuple[tuple[str, str], ...] = (("Say:", "abcdefg"), ("", "xyz 12"))) -> list[PairedTokens]:
    """Both sides the same tokenizer: the right teacher position is the student's own."""
    fast = tiny.byte_bpe()
    pairer = PairTokenizer(fast, fast)
    return pairer.encode([Example(f"e{i}", prompt, (output,)) for i, (prompt, output) in enumerate(texts)])


def planted(change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Tables, CrossModelAttention]:
    """Same orthogonal-ish tables on both sides; the query projector is ``change`` of the identity, times 30."""
    torch.manual_seed(0)
    table = torch.nn.functional.normalize(torch.randn(len(tiny.byte_bpe()), DIM), dim=1) * DIM**0.5
    attention = CrossModelAttention(DIM, DIM)
    with torch.no_grad():
        attention.query.weight.copy_(30 * change(torch.eye(2 * DIM)))
        attention.query.bias.zero_()
    return Tables(table, table), attention


def test_the_planted_right_attention_is_right_everywhere() -> None:
    pairs = pairs_of()
    found = span_accuracy(pairs, *planted(lambda eye: eye), 1.0)
    assert found.top1_sure == found.top1_possible == 1.0
    assert found.gold_mass_possible == pytest.approx(1.0, abs=1e-3)
    assert found.rows == sum(len(pair.student.targets) for pair in pairs)


def test_the_planted_wrong_attention_is_wrong_everywhere() -> None:
    found = span_accuracy(pairs_of(), *planted(lambda eye: -eye), 1.0)
    assert found.top1_possible == 0.0
    assert found.gold_mass_possible == pytest.approx(0.0, abs=1e-3)


def test_no_attention_shares_the_credit() -> None:
    """All cells tie: each row is right by 1 / (number of teacher positions), and rows count alike."""
    pairs = pairs_of()
    found = span_accuracy(pairs, *planted(torch.zeros_like), 1.0)
    lengths = [len(pair.teacher.targets) for pair in pairs]
    assert found.top1_sure == pytest.approx(len(lengths) / sum(lengths))
    assert found.gold_mass_possible == pytest.approx(len(lengths) / sum(lengths))


def test_alike_clouds_cannot_be_told_apart_and_separated_ones_can() -> None:
    torch.manual_seed(0)
    one, two = torch.randn(400, 6), torch.randn(400, 6)
    assert classifier_accuracy(one, two, steps=40) == pytest.approx(0.5, abs=0.08)
    assert classifier_accuracy(one, two + 6, steps=200) > 0.98
    assert classifier_accuracy(one, two[:40] + 6, steps=200) > 0.98  # unequal numbers: both sides weigh the same


def test_the_classifier_leaves_the_random_state_alone_and_depends_on_its_seed_alone() -> None:
    torch.manual_seed(0)
    one, two = torch.randn(60, 4), torch.randn(60, 4) + 0.5
    before = torch.get_rng_state()
    first = classifier_accuracy(one, two, steps=5, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert classifier_accuracy(one, two, steps=5, seed=3) == first


def test_the_gap_over_pairs_counts_all_positions() -> None:
    pairs = pairs_of()
    tables, attention = planted(lambda eye: eye / 30)  # queries are the keys themselves
    gap = key_query_gap(pairs, tables, attention, 1.0)
    assert gap.query_norm == pytest.approx((2 * DIM) ** 0.5, rel=1e-5)
    assert gap.key_norm == pytest.approx(gap.query_norm, rel=1e-5)
    assert 0 <= gap.classifier_accuracy <= 1
