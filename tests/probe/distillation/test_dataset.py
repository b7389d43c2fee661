"""Batches: hand-counted positions, padding without influence, an order fixed by the seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch

from probe.distillation.config import TrainConfig
from probe.distillation.dataset import batch_order, side_batch, training_examples
from probe.errors import DataError
from probe.text.axis import TokenAxis
from probe.text.one_side import TokenizedSide
from tests.support import tiny


def side(ids: list[int], start: int) -> TokenizedSide:
    targets = tuple(ids[start + 1 :])
    axis = TokenAxis(tuple(map(str, targets)), tuple(map(str, targets)), targets, ((0, 0),) * len(targets))
    return TokenizedSide(tuple(ids), start, axis)


LONG, SHORT = side([5, 6, 7, 8, 9], 1), side([3, 4, 2], 1)


def test_positions_and_targets_by_hand() -> None:
    batch = side_batch([LONG, SHORT])
    assert batch.ids.tolist() == [[5, 6, 7, 8], [3, 4, 0, 0]]  # all but the last id, padded on the right
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.rows.tolist() == [0, 0, 0, 1]
    assert batch.places.tolist() == [1, 2, 3, 1]
    assert batch.inputs.tolist() == [6, 7, 8, 4]
    assert batch.targets.tolist() == [7, 8, 9, 2]
    assert batch.lengths == (3, 1)


def test_whole_text_counts_the_prompt_too() -> None:
    batch = side_batch([LONG, SHORT], whole_text=True)
    assert batch.lengths == (4, 2)
    assert batch.targets.tolist() == [6, 7, 8, 9, 4, 2]
    assert batch.places.tolist() == [0, 1, 2, 3, 0, 1]


def test_inputs_are_what_stands_at_the_places() -> None:
    batch = side_batch([SHORT, LONG, SHORT])
    assert torch.equal(batch.ids[batch.rows, batch.places], batch.inputs)
    assert bool(batch.attention_mask[batch.rows, batch.places].all())


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_padding_and_batch_mates_change_no_state(architecture: str) -> None:
    model = tiny.model(architecture, 20)

    def states(sides: list[TokenizedSide]) -> torch.Tensor:
        batch = side_batch(sides)
        hidden = model.base_model(input_ids=batch.ids, attention_mask=batch.attention_mask).last_hidden_state
        return hidden[batch.rows, batch.places][: batch.lengths[0]]

    with torch.no_grad():
        torch.testing.assert_close(states([SHORT]), states([SHORT, LONG]), atol=1e-5, rtol=1e-5)


def epoch(count: int, size: int, seed: int, number: int = 0) -> list[list[int]]:
    batches = count // size
    return list(islice(batch_order(list(range(count)), size, batches * (number + 1), seed), batches * number, None))


@pytest.mark.parametrize(("count", "size"), [(12, 3), (100, 4), (5, 1), (200, 8)])
def test_each_example_comes_once_an_epoch(count: int, size: int) -> None:
    for number in (0, 1, 2):
        found = Counter(index for batch in epoch(count, size, 3, number) for index in batch)
        assert found == Counter(range(count))


def test_an_incomplete_batch_is_left_out_and_nothing_comes_twice() -> None:
    found = [index for batch in epoch(103, 4, 0) for index in batch]
    assert len(found) == len(set(found)) == 100


def test_the_longest_are_left_out_no_more_often_than_others() -> None:
    """21 examples in batches of 8: 5 sit out an epoch, each in 5 of 21 epochs, within 5 standard deviations."""
    times = Counter(index for batch in batch_order(list(range(21)), 8, 2000, 0) for index in batch)
    assert sum(times.values()) == 16_000
    assert all(abs(times[index] - 1000 * 16 / 21) < 5 * (1000 * 16 * 5 / 21**2) ** 0.5 for index in range(21))


def test_more_examples_wanted_than_there_are() -> None:
    assert [sorted(batch) for batch in batch_order([1, 1, 1], 8, 4, 0)] == [[0, 1, 2]] * 4


def test_the_order_is_fixed_by_the_seed() -> None:
    assert epoch(50, 5, 1) == epoch(50, 5, 1)
    assert epoch(50, 5, 1) != epoch(50, 5, 2)
    assert epoch(50, 5, 1, 0) != epoch(50, 5, 1, 1)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    """So a run may be resumed by skipping, and `steps` alone never changes what came before."""
    lengths = [index % 7 for index in range(37)]
    assert list(batch_order(lengths, 4, 60, 5))[:23] == list(batch_order(lengths, 4, 23, 5))


def test_batches_hold_similar_lengths() -> None:
    lengths = [(index * 37) % 101 for index in range(160)]
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batch_order(lengths, 4, 40, 0)]
    assert sum(spread) / len(spread) < 15  # at random: about 60


def config(data: tuple[str, ...], **values: object) -> TrainConfig:
    return TrainConfig(name="r", method="sft", student="new", data=data, **values)  # type: ignore[arg-type]


def test_held_out_are_the_last_of_the_first_file(tmp_path: Path) -> None:
    first = tiny.write_jsonl(tmp_path / "a.jsonl", ({"id": f"a{i}", "prompt": "p", "output": "o"} for i in range(6)))
    second = tiny.write_jsonl(tmp_path / "b.jsonl", ({"id": f"b{i}", "prompt": "p", "output": "o"} for i in range(4)))
    both = (str(first), str(second))
    training, held_out = training_examples(config(both, held_out=2))
    assert [e.id for e in training] == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]
    assert [e.id for e in held_out] == ["a4", "a5"]
    training, held_out = training_examples(config(both, held_out=2, data_limits=(1, 3)))
    assert [e.id for e in training] == ["a0", "b0", "b1", "b2"]
    assert [e.id for e in held_out] == ["a4", "a5"]
    assert training_examples(config(both, held_out=0))[1] == []
    with pytest.raises(DataError, match=r"a\.jsonl: 6 examples, of which held_out=6 .*Lower held_out"):
        training_examples(config(both, held_out=6))
