"""Alignments given to the losses in place of attention: chunks, links and their corruption, uniform, exact tokens."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probe.distillation.config import IMPOSED
from probe.distillation.losses.alm import ChunkIndex
from probe.distillation.losses.contrastive import Positives
from probe.errors import DataError
from probe.gold.reading import Gold, Link, check_gold
from probe.scoring.alignment import cells_of, chunks, span_links
from probe.text.tokenization import PairedTokens


@dataclass(frozen=True)
class ImposedMap:
    """Weights of one example: rows of `t2s` and columns of `s2t` sum to 1."""

    t2s: Float[Tensor, "student teacher"]
    s2t: Float[Tensor, "student teacher"]


def chunk_mask(pair: PairedTokens) -> Bool[Tensor, "student teacher"]:
    """True where student and teacher target lie in the same chunk of text (byte spans; the two EOS are a chunk)."""
    mask = torch.zeros(len(pair.student.axis), len(pair.teacher.axis), dtype=torch.bool)
    for chunk in chunks(pair.student.axis.spans, pair.teacher.axis.spans):
        mask[chunk.student.start : chunk.student.stop, chunk.teacher.start : chunk.teacher.stop] = True
    return mask


def exact_pairs(pair: PairedTokens) -> list[Link]:
    """ETA (arXiv 2504.11426): the targets that cover the same bytes on both sides; EOS goes with EOS.

    Tokens that share a character (parts of one emoji) have their unit's span, none of them its bytes: left out.
    """
    found = []
    for chunk in chunks(pair.student.axis.spans, pair.teacher.axis.spans):
        if chunk.relation == "1:1":
            i, j = chunk.student.start, chunk.teacher.start
            if pair.student.axis.spans[i] == pair.teacher.axis.spans[j]:
                found.append((i, j))
    return found


def imposed_map(pair: PairedTokens, kind: str, seed: int = 0, gold: Gold | None = None) -> ImposedMap:
    """The map of a kind: `chunk` (CLP), `gold`, `span`, `uniform`, or `permuted`.

    - `chunk`: uniform over the chunk. `uniform`: over the whole response.
    - `gold`: uniform over the sure links of a row (t2s) or column (s2t), over the possible ones where none is sure.
    - `span`: the same of the links of the span rule, whatever `gold` is.
    - `permuted`: the gold map with its teacher positions shuffled, by `seed` and the example's id: as sharp, and wrong.

    A row or column without any link is uniform over the example. `gold` None: links by the span rule.
    """
    if kind not in IMPOSED:
        raise ValueError(f"kind must be one of {', '.join(IMPOSED)}, got {kind!r}")
    shape = len(pair.student.axis), len(pair.teacher.axis)
    if kind == "uniform":
        return _spread(torch.ones(shape, dtype=torch.bool))
    if kind == "chunk":
        return _spread(chunk_mask(pair))
    spans = pair.student.axis.spans, pair.teacher.axis.spans
    sure, possible = span_links(*spans) if gold is None or kind == "span" else (gold.sure, gold.possible)
    made = _spread(*(torch.from_numpy(cells_of(links, shape)) for links in (sure, possible)))
    if kind != "permuted":
        return made
    order = torch.from_numpy(_random(seed, pair).permutation(shape[1]))
    return ImposedMap(made.t2s[:, order], made.s2t[:, order])


def corrupted(made: ImposedMap, pair: PairedTokens, rate: float, seed: int = 0) -> ImposedMap:
    """``made`` with each t2s row's weight moved, with probability ``rate``, to one random column where it had none.

    The new column is uniform over the columns without weight; a row that has weight everywhere stays. The columns of
    s2t move to random rows likewise. Both the lot of a row and its new column depend on ``seed`` and the example's id
    alone: they are the same in every epoch, and what a lower rate moves, a higher one moves to the same place, so
    that a dose contains the lower ones.
    """
    rows, columns = (_random(seed, pair, stream) for stream in (1, 2))
    return ImposedMap(_moved(made.t2s, rate, rows), _moved(made.s2t.T, rate, columns).T.contiguous())


def _moved(rows: Float[Tensor, "row column"], rate: float, random: np.random.Generator) -> Float[Tensor, "row column"]:
    lots = torch.from_numpy(random.random((len(rows), 2)))
    free = rows == 0
    count = free.sum(dim=1)
    chosen = (free.cumsum(dim=1) == 1 + (lots[:, 1] * count).long()[:, None]) & free
    moves = (lots[:, 0] < rate) & (count > 0)
    return torch.where(moves[:, None], chosen.to(rows), rows)


def _random(seed: int, pair: PairedTokens, *stream: int) -> np.random.Generator:
    """What is random about one example, the same each time."""
    return np.random.default_rng([seed, zlib.crc32(pair.example_id.encode()), *stream])


def check_covered(gold: Mapping[str, Gold], pairs: Sequence[PairedTokens]) -> None:
    """Raises DataError where an example has no gold, or gold of other tokens."""
    if missing := [pair.example_id for pair in pairs if pair.example_id not in gold]:
        raise DataError(
            f"wanted gold for each of {len(pairs)} examples, found none for {len(missing)}, the first {missing[0]!r}. "
            "Annotate them, or leave `gold` empty: the span rule then gives the links."
        )
    for pair in pairs:
        check_gold(gold[pair.example_id], pair.student.axis, pair.teacher.axis, text=pair.text)


def _spread(first: Tensor, second: Tensor | None = None) -> ImposedMap:
    """Uniform over the cells of ``first``, of ``second`` where it has none, of all where neither has any."""
    t2s, s2t = (_uniform(first, second, dim) for dim in (1, 0))
    return ImposedMap(t2s, s2t)


def _uniform(first: Tensor, second: Tensor | None, dim: int) -> Tensor:
    for other in (torch.zeros_like(first) if second is None else second, torch.ones_like(first)):
        first = torch.where(first.any(dim=dim, keepdim=True), first, other)
    return first.float() / first.sum(dim=dim, keepdim=True)


def linked_cells(pair: PairedTokens) -> Positives:
    """The span rule's sure links of each row and of each column, the possible ones where none is sure.

    A row or column without any link has all its cells: its term is then log 1.
    """
    links = imposed_map(pair, "span")
    return links.t2s > 0, links.s2t > 0


def chunk_index(pairs: Sequence[PairedTokens]) -> ChunkIndex:
    """Number the chunks that both sides cover, over all ``pairs``; the two EOS of an example are one."""
    student: list[int] = []
    teacher: list[int] = []
    count, nowhere = 0, -1
    for pair in pairs:
        for chunk in chunks(pair.student.axis.spans, pair.teacher.axis.spans):
            shared = len(chunk.student) > 0 and len(chunk.teacher) > 0
            student += [count if shared else nowhere] * len(chunk.student)
            teacher += [count if shared else nowhere] * len(chunk.teacher)
            count += shared
    places = (torch.tensor([chunk if chunk >= 0 else count for chunk in side]) for side in (student, teacher))
    return ChunkIndex(next(places), next(places), count)
