"""Contrastive matching: its equation, the links it is shown, what it reaches, and that parts of a batch add up."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from probe.distillation.imposed import linked_cells
from probe.distillation.losses.attended import dskd_cma
from probe.distillation.losses.contrastive import contrastive_matching, info_nce
from probe.distillation.losses.terms import Heads
from probe.models.attention import CrossModelAttention, Normalisation
from tests.support.dense_variants import DIM_S, DIM_T, SIGMAS, TEXTS, World, pair_of

close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-11)


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.double)
    yield
    torch.set_default_dtype(torch.float)


def loss_of(world: World, attention, **options):
    normalisation = Normalisation("frozen", *SIGMAS)
    return dskd_cma(world.states, attention, Heads(*world.heads), normalisation, reduction="sum", **options)


def test_positives_by_hand():
    """ab|c|de|f against abc|d|ef: c lies in abc, f in ef; ef's first byte is inside de."""
    rows, columns = linked_cells(pair_of(TEXTS[0]))
    # fmt: off
    assert rows.int().tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert columns.int().tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    # fmt: on


def test_info_nce_by_hand():
    """Scores 0 and log 3 in one row: the linked one has three quarters, its column all of the one row."""
    query = torch.tensor([[math.sqrt(2.0), 0.0]])
    key = torch.tensor([[0.0, 1.0], [math.log(3.0), 1.0]])
    rows, columns = info_nce(query, key, (torch.tensor([[False, True]]), torch.tensor([[True, True]])))
    assert rows.item() == pytest.approx(math.log(4 / 3)) and columns.item() == pytest.approx(0.0)
    cooler, _ = info_nce(query, key, (torch.tensor([[False, True]]), torch.tensor([[True, True]])), temperature=0.5)
    assert cooler.item() == pytest.approx(math.log(10 / 9))


ALL = range(len(TEXTS))


def contrast(world: World, numbers=ALL, temperature=1.0):
    lengths = [[len(side) for side in sides] for sides in zip(*(world.spans[n] for n in numbers), strict=True)]
    whole = len(world.states.student_targets), len(world.states.teacher_targets)
    positives = [linked_cells(pair_of(TEXTS[n])) for n in numbers]
    return contrastive_matching(positives, (lengths[0], lengths[1]), whole, temperature)


def test_contrastive_matching_is_its_equation_and_reaches_the_query_alone():
    world, attention = World(), CrossModelAttention(DIM_S, DIM_T)
    before = loss_of(world, attention)
    terms = loss_of(world, attention, matching=contrast(world, temperature=0.7), kappa=2.0)
    rows = columns = torch.zeros(())
    for n, scores in enumerate(world.scores(attention)):
        by_row, by_column = linked_cells(pair_of(TEXTS[n]))
        rows = rows - ((scores / 0.7).softmax(1) * by_row).sum(1).log().sum()
        columns = columns - ((scores / 0.7).softmax(0) * by_column).sum(0).log().sum()
    wanted = 0.5 * (rows / len(world.states.student_targets) + columns / len(world.states.teacher_targets))
    close(terms.kq, wanted.detach())
    close(terms.loss, before.loss + 2 * wanted)
    assert terms.discriminator_accuracy is None
    old, new = world.gradients(before.loss, attention), world.gradients(terms.loss, attention)
    for name in old:
        assert torch.equal(old[name], new[name]) == (not name.startswith("query")), name


def test_contrastive_terms_of_parts_add_up():
    world, attention = World(), CrossModelAttention(DIM_S, DIM_T)
    query = torch.cat([world.states.student_input_emb, world.states.student_target_emb], 1)
    query, key = attention.query(query), torch.randn(len(world.states.teacher_targets), 2 * DIM_T)
    sides = query.split(list(world.states.student_lengths)), key.split(list(world.states.teacher_lengths))
    parts = [contrast(world, [n])(sides[0][n], sides[1][n]).loss for n in range(len(TEXTS))]
    close(contrast(world)(query, key).loss, sum(parts))
