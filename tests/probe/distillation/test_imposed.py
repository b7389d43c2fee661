"""Alignments given to the losses: chunks, exact tokens, and the maps of links, also where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from probe.distillation.imposed import check_covered, chunk_mask, corrupted, exact_pairs, imposed_map
from probe.errors import DataError
from probe.gold.reading import Gold
from probe.text.examples import Example
from probe.text.tokenization import PairedTokens, PairTokenizer
from tests.support import tiny


def with_spans(student: tuple[tuple[int, int], ...], teacher: tuple[tuple[int, int], ...]) -> PairedTokens:
    """A pair whose targets cover just these bytes."""
    (pair,) = PairTokenizer(tiny.byte_bpe(280), tiny.byte_bpe()).encode([Example("x", "", ("abcdefgh",), "")])

    def side(tokenized, spans):
        n = len(spans)
        axis = replace(tokenized.axis, tokens=("t",) * n, pieces=("t",) * n, ids=(1,) * n, spans=spans)
        return replace(tokenized, ids=(0, *axis.ids), start=0, axis=axis)

    return replace(pair, student=side(pair.student, student), teacher=side(pair.teacher, teacher))


# student: ab | c | d | ef | (gap) | eos        teacher: ab | cd | e | f | gh | eos
STUDENT = ((0, 2), (2, 3), (3, 4), (4, 6), (8, 8))
TEACHER = ((0, 2), (2, 4), (4, 5), (5, 6), (6, 8), (8, 8))


@pytest.fixture
def pair() -> PairedTokens:
    return with_spans(STUDENT, TEACHER)


def test_chunks_by_hand(pair):
    assert chunk_mask(pair).int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1],
    ]  # fmt: skip


def test_exact_pairs_cover_the_same_bytes(pair):
    assert exact_pairs(pair) == [(0, 0), (4, 5)]


def test_a_token_with_a_byte_more_is_no_exact_pair():
    """The student's token has a space that the teacher drops: one chunk, other bytes."""
    assert exact_pairs(with_spans(((0, 3), (3, 5), (5, 5)), ((0, 2), (3, 5), (5, 5)))) == [(1, 1), (2, 2)]


def test_tokens_of_one_character_are_nobodys_bytes():
    """An emoji in four byte tokens on one side, in two on the other: one unit, no exact pair."""
    pair = with_spans(((0, 4),) * 4 + ((4, 5), (5, 5)), ((0, 4), (0, 4), (4, 5), (5, 5)))
    assert exact_pairs(pair) == [(4, 2), (5, 3)]
    assert chunk_mask(pair)[:4, :2].all()


def test_clp_is_uniform_over_the_chunk(pair):
    made = imposed_map(pair, "chunk")
    assert made.t2s[3].tolist() == [0, 0, 0.5, 0.5, 0, 0]
    assert made.s2t[:, 1].tolist() == [0, 0.5, 0.5, 0, 0]
    assert made.s2t[:, 4].tolist() == pytest.approx([0.2] * 5)  # bytes that the student does not cover: everywhere


def test_gold_is_the_sure_links_and_the_possible_ones_where_none_is_sure(pair):
    made = imposed_map(pair, "gold")
    assert made.t2s[1].tolist() == [0, 1, 0, 0, 0, 0]  # c starts where cd does: sure
    assert made.t2s[2].tolist() == [0, 1, 0, 0, 0, 0]  # d only overlaps: possible
    assert made.t2s[3].tolist() == [0, 0, 1, 0, 0, 0]  # ef starts where e does
    assert made.s2t[:, 3].tolist() == [0, 0, 0, 1, 0]  # f only overlaps
    assert made.s2t[:, 1].tolist() == [0, 1, 0, 0, 0]  # of c and d, c is sure


def test_a_gold_file_is_what_counts(pair):
    axes = pair.student.axis, pair.teacher.axis
    gold = Gold(
        "x", "", axes[0].tokens, axes[1].tokens, "", "", frozenset({(0, 3)}), frozenset({(0, 3), (1, 4), (1, 5)})
    )
    made = imposed_map(pair, "gold", gold=gold)
    assert made.t2s[0].tolist() == [0, 0, 0, 1, 0, 0]
    assert made.t2s[1].tolist() == [0, 0, 0, 0, 0.5, 0.5]
    assert made.t2s[2].tolist() == pytest.approx([1 / 6] * 6)


def test_permuted_is_as_sharp_as_gold_the_same_each_time_and_another_for_each_example(pair):
    gold, made = imposed_map(pair, "gold"), imposed_map(pair, "permuted", seed=3)
    assert made.t2s.sort(1).values.tolist() == gold.t2s.sort(1).values.tolist()
    assert not torch.equal(made.t2s, gold.t2s)
    assert torch.equal(made.t2s, imposed_map(pair, "permuted", seed=3).t2s)
    others = [imposed_map(replace(pair, example_id=f"y{i}"), "permuted", seed=3).t2s for i in range(5)]
    assert any(not torch.equal(made.t2s, other) for other in others)


def test_span_is_the_span_rule_whatever_the_gold_says(pair):
    axes = pair.student.axis, pair.teacher.axis
    gold = Gold("x", "", axes[0].tokens, axes[1].tokens, "", "", frozenset({(0, 3)}), frozenset({(0, 3)}))
    made, rule = imposed_map(pair, "span", gold=gold), imposed_map(pair, "gold")
    assert torch.equal(made.t2s, rule.t2s) and torch.equal(made.s2t, rule.s2t)


def test_corruption_of_none_and_of_all(pair):
    made = imposed_map(pair, "span")
    none, every = corrupted(made, pair, 0.0, 3), corrupted(made, pair, 1.0, 3)
    assert torch.equal(none.t2s, made.t2s) and torch.equal(none.s2t, made.s2t)
    assert (every.t2s * made.t2s).sum() == 0 and every.t2s.sum(1).tolist() == [1.0] * 5  # all elsewhere, and sharp
    assert every.s2t[:, 4].tolist() == pytest.approx([0.2] * 5)  # a column of no link has weight everywhere: it stays
    linked = [j for j in range(6) if j != 4]
    assert (every.s2t * made.s2t)[:, linked].sum() == 0 and every.s2t.sum(0).tolist() == pytest.approx([1.0] * 6)


def test_corruption_is_the_same_each_time_and_another_for_another_seed_or_example(pair):
    made = imposed_map(pair, "span")
    first = corrupted(made, pair, 1.0, 3)
    assert torch.equal(first.t2s, corrupted(made, pair, 1.0, 3).t2s)
    others = [(replace(pair, example_id=f"y{i}"), 3) for i in range(3)] + [(pair, seed) for seed in (4, 5, 6)]
    assert all(not torch.equal(first.t2s, corrupted(made, one, 1.0, seed).t2s) for one, seed in others)


def test_a_dose_contains_the_lower_ones_and_moves_that_share(pair):
    """Rows moved at 0.3 are moved at 0.7 to the same place; of 2000 rows 0.3 are moved, to all columns alike."""
    moved = {0.3: 0, 0.7: 0}
    landed = torch.zeros(6)
    for number in range(400):
        one = replace(pair, example_id=f"x{number}")
        made = imposed_map(one, "span")
        low, high = (corrupted(made, one, rate).t2s for rate in (0.3, 0.7))
        changed_low, changed_high = ((part != made.t2s).any(1) for part in (low, high))
        assert bool((changed_low <= changed_high).all()) and torch.equal(low[changed_low], high[changed_low])
        moved[0.3] += int(changed_low.sum())
        moved[0.7] += int(changed_high.sum())
        landed += high[3] if changed_high[3] else 0
    for rate, count in moved.items():
        assert count / 2000 == pytest.approx(rate, abs=4 * (rate * (1 - rate) / 2000) ** 0.5)
    assert landed[2] == 0 and (landed / landed.sum())[[0, 1, 3, 4, 5]].tolist() == pytest.approx([0.2] * 5, abs=0.1)


@pytest.mark.parametrize("kind", ["chunk", "gold", "span", "uniform", "permuted"])
@pytest.mark.parametrize("tokenizers", [("small-bpe", "sentencepiece"), ("wordpiece", "bpe"), ("sentencepiece", "bpe")])
def test_rows_and_columns_sum_to_one_on_real_texts(kind, tokenizers):
    pairer = PairTokenizer(*(tiny.TOKENIZERS[name]() for name in tokenizers))
    examples = [Example(f"t{i}", prompt, (text,), "") for i, (prompt, text) in enumerate(tiny.TEXTS)]
    for pair in pairer.encode(examples):
        made = imposed_map(pair, kind)
        n, m = len(pair.student.targets), len(pair.teacher.targets)
        assert made.t2s.shape == made.s2t.shape == (n, m)
        torch.testing.assert_close(made.t2s.sum(1), torch.ones(n))
        torch.testing.assert_close(made.s2t.sum(0), torch.ones(m))


def test_another_kind_is_refused(pair):
    with pytest.raises(ValueError, match="diagonal"):
        imposed_map(pair, "diagonal")


def test_gold_must_cover_every_example(pair):
    with pytest.raises(DataError, match="found none for 1, the first 'x'"):
        check_covered({}, [pair])
    gold = Gold("x", "another text", (), (), "", "", frozenset(), frozenset())
    with pytest.raises(DataError, match="another text"):
        check_covered({"x": gold}, [pair])
