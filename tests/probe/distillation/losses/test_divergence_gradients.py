"""Gradients that are written out equal autograd's; the heads that use them keep them right whatever asks for them."""

from __future__ import annotations

import pytest
import torch

from probe.distillation.losses import student_head
from probe.distillation.losses.divergence_gradients import CLOSED, divergence_with_gradient
from probe.distillation.losses.divergences import DIVERGENCES, forward_kl
from probe.distillation.losses.guided_head import guided_side
from probe.distillation.losses.student_head import StudentTerms, find_peaks, student_side

TERMS = StudentTerms(0.5, 0.25, 2.0, forward_kl, everywhere=True)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_value_and_gradient_are_those_of_autograd(name):
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 11, dtype=torch.double).mul(3).unbind()
    leaf = student.clone().requires_grad_()
    each = DIVERGENCES[name](leaf, teacher, 1.7)
    (want,) = torch.autograd.grad(each.sum(), leaf)
    found, grad = divergence_with_gradient(DIVERGENCES[name], student.clone(), teacher.clone(), 1.7)
    torch.testing.assert_close(found, each.detach())
    torch.testing.assert_close(grad, want)
    assert not found.requires_grad and not grad.requires_grad


def test_the_divergences_of_the_recipes_are_written_out():
    assert {name for name, function in DIVERGENCES.items() if function in CLOSED} == {"forward_kl", "reverse_kl"}


def _sides(rows: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    shapes = (rows, 4), (7, 4), (rows, 4)
    return [torch.randn(shape, dtype=torch.double).requires_grad_() for shape in shapes]


def test_a_kept_graph_gives_the_same_gradient_twice():
    """The gradient is scaled in place only where nobody can ask for it again."""
    leaves = _sides(3)
    hidden, head, t2s = leaves
    loss = student_side(hidden, head, t2s, torch.tensor([0, 5, 2]), TERMS).total * 3
    first = [grad.clone() for grad in torch.autograd.grad(loss, leaves, retain_graph=True)]
    for grad, again in zip(first, torch.autograd.grad(loss, leaves), strict=True):
        torch.testing.assert_close(grad, again)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, leaves)


@pytest.fixture
def memory_full_of_nan(monkeypatch):
    """What `empty` gives is whatever lay there; nothing of it may be left."""
    torch.use_deterministic_algorithms(True)  # fills uninitialised memory with NaN
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_gradients_of_any_number_of_chunks_and_of_none(rows, monkeypatch, memory_full_of_nan):
    monkeypatch.setattr(student_head, "TILE_FLOATS", 14)
    monkeypatch.setattr(student_head, "LEAST_ROWS", 4)
    hidden, head, t2s, bias = leaves = [*_sides(rows), torch.randn(7, dtype=torch.double).requires_grad_()]
    targets = torch.arange(rows) % 7
    assert torch.empty(3).isnan().all()
    total = student_side(hidden, head, t2s, targets, TERMS, bias).total
    logits, guide = hidden @ head.T + bias, t2s @ head.detach().T + bias.detach()
    dense = 0.5 * torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    dense = dense + 0.25 * torch.nn.functional.cross_entropy(guide, targets, reduction="sum")
    dense = dense + 0.25 * forward_kl(logits, guide.detach(), 2.0).sum()
    found, want = (torch.autograd.grad(loss, leaves) for loss in (total, dense))
    for one, other in zip(found, want, strict=True):
        torch.testing.assert_close(one, other)
    guided = guided_side(hidden, head, targets, lambda part: t2s[part] @ head.detach().T, TERMS, bias)
    for grad in torch.autograd.grad(guided.total, [head, bias]):
        assert grad.isfinite().all() and bool(grad.any()) == bool(rows)


def test_targets_that_tie_at_the_top_in_half_precision_count_only_as_the_argmax():
    logits = torch.tensor([[[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]])
    targets = torch.tensor([2, 0])
    assert find_peaks(logits.half(), targets).right.tolist() == [[logits[0, 0].argmax().item() == 2, True]]
    assert find_peaks(logits, targets).right.tolist() == [[True, True]]
