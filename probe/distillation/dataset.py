"""Examples to padded batches of token ids, in an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor

from probe.distillation.config import TrainConfig
from probe.distillation.losses.terms import Whole
from probe.errors import DataError
from probe.text.examples import Example, read_examples
from probe.text.tokenization import PairedTokens, TokenizedSide


@dataclass(frozen=True)
class SideBatch:
    """One side of a batch. ``rows`` and ``places`` say where the response positions are in the padded ``ids``.

    Padding is on the right, so causal attention never sees it from a valid position; its id is 0 and is never read.
    """

    ids: Int[Tensor, "batch sequence"]
    attention_mask: Int[Tensor, "batch sequence"]
    rows: Int[Tensor, " position"]
    places: Int[Tensor, " position"]
    inputs: Int[Tensor, " position"]
    targets: Int[Tensor, " position"]
    lengths: tuple[int, ...]
    ends: tuple[int, ...]  # tokens of each row before its padding

    def to(self, device: torch.device) -> SideBatch:
        """The same side with its tensors on ``device``."""
        names = ("ids", "attention_mask", "rows", "places", "inputs", "targets")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


@dataclass(frozen=True)
class PairedBatch:
    """Both sides of the same examples; ``whole`` is the batch that they are a part of."""

    student: SideBatch
    teacher: SideBatch
    pairs: tuple[PairedTokens, ...]
    whole: Whole

    @property
    def shares(self) -> tuple[float, float]:
        """This part of the whole batch's student and teacher positions."""
        return len(self.student.targets) / self.whole.n_student, len(self.teacher.targets) / self.whole.n_teacher


def side_batch(sides: Sequence[TokenizedSide], *, whole_text: bool = False) -> SideBatch:
    """Pad the model inputs (all ids but the last); with ``whole_text`` every position counts, not just responses."""
    width = max(len(side.ids) for side in sides) - 1
    ids = torch.zeros(len(sides), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    rows, places, inputs, targets, lengths, ends = [], [], [], [], [], []
    for row, side in enumerate(sides):
        sequence = torch.tensor(side.ids)
        start, end = (0 if whole_text else side.start), len(side.ids) - 1
        ids[row, :end] = sequence[:-1]
        mask[row, :end] = 1
        rows.append(torch.full((end - start,), row))
        places.append(torch.arange(start, end))
        inputs.append(sequence[start:-1])
        targets.append(sequence[start + 1 :])
        lengths.append(end - start)
        ends.append(end)
    return SideBatch(
        ids=ids,
        attention_mask=mask,
        rows=torch.cat(rows),
        places=torch.cat(places),
        inputs=torch.cat(inputs),
        targets=torch.cat(targets),
        lengths=tuple(lengths),
        ends=tuple(ends),
    )


def paired_batch(
    pairs: Sequence[PairedTokens], *, whole: Whole | None = None, device: torch.device | None = None
) -> PairedBatch:
    """Both sides of ``pairs``, padded, on ``device`` (the CPU); they are their own ``whole`` unless one is given."""
    place = device or torch.device("cpu")
    student, teacher = side_batch([pair.student for pair in pairs]), side_batch([pair.teacher for pair in pairs])
    return PairedBatch(student.to(place), teacher.to(place), tuple(pairs), whole or whole_of(pairs))


def whole_of(pairs: Sequence[PairedTokens], *, whole_text: bool = False) -> Whole:
    """How many targets a batch has; with ``whole_text`` every student position counts, not just the response's."""
    student = sum(len(pair.student.ids) - 1 if whole_text else len(pair.student.targets) for pair in pairs)
    return Whole(student, sum(len(pair.teacher.targets) for pair in pairs))


def parts_of_batch(batch: Sequence[int], processes: int, micro_batch: int) -> list[list[list[int]]]:
    """[process][pass] -> the examples of that forward pass: at most ``micro_batch`` (0: no limit) of the batch's.

    Passes differ by at most one example, and every process makes equally many; a batch smaller than their number leaves
    some empty.
    """
    share = -(-len(batch) // processes)
    passes = -(-share // (micro_batch or share))
    least, more = divmod(len(batch), processes * passes)
    ends = list(accumulate(least + (part < more) for part in range(processes * passes)))
    parts = [list(batch[first:end]) for first, end in zip([0, *ends], ends, strict=False)]
    return [parts[process::processes] for process in range(processes)]


BUCKET = 16  # batches whose examples are sorted by length together: less padding, still shuffled


def batch_order(lengths: Sequence[int], batch_size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Yield ``steps`` lists of example indices; (seed, epoch) fixes each epoch's order.

    An epoch is a permutation, cut into buckets of ``BUCKET`` batches; within a bucket, examples of similar length share
    a batch, and the batches are shuffled. Every example comes once an epoch, but for those of an incomplete batch:
    other ones each time, drawn before the sorting, which would always leave the longest out.
    """
    count, size = len(lengths), min(batch_size, len(lengths))
    step = epoch = 0
    while step < steps:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(count, generator=generator).tolist()[: count - count % size]
        for first in range(0, len(order), BUCKET * size):
            bucket = sorted(order[first : first + BUCKET * size], key=lambda index: lengths[index])
            batches = [bucket[i : i + size] for i in range(0, len(bucket), size)]
            for index in torch.randperm(len(batches), generator=generator).tolist():
                if step == steps:
                    return
                yield batches[index]
                step += 1
        epoch += 1


def training_examples(config: TrainConfig) -> tuple[list[Example], list[Example]]:
    """The recipe's training and held-out examples; the latter are the last ``held_out`` of the first file."""
    limits = config.data_limits or (0,) * len(config.data)
    files = [read_examples(path) for path in config.data]
    first = files[0]
    if len(first) <= config.held_out:
        raise DataError(
            f"{config.data[0]}: {len(first)} examples, of which held_out={config.held_out} are kept for measuring; "
            "none is left to train on. Lower held_out."
        )
    held_out = first[len(first) - config.held_out :]
    files[0] = first[: len(first) - config.held_out]
    training = [example for file, limit in zip(files, limits, strict=True) for example in file[: limit or None]]
    return training, held_out
