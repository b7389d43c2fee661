"""Key-query matching: who gets which gradient, and the published form replayed."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from probe.distillation.losses.key_query import (
    Discriminator,
    ReplayPadding,
    gan_matching,
    highway,
    key_query_loss,
    released_matching,
    reverse,
)

D_KEY = 6


@pytest.fixture
def critic():
    torch.manual_seed(0)
    return Discriminator(D_KEY, 5)


@pytest.fixture
def vectors():
    torch.manual_seed(1)
    return torch.randn(7, D_KEY, requires_grad=True), torch.randn(4, D_KEY, requires_grad=True)


def plain(critic, q, k):
    """The loss in PyTorch's own words, nothing reversed."""
    real, fake = critic(q), critic(k)
    one, zero = torch.ones_like(real), torch.zeros_like(fake)
    return F.binary_cross_entropy_with_logits(real, one) + F.binary_cross_entropy_with_logits(fake, zero)


def test_reverse_is_the_identity_with_the_opposite_gradient():
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    out = reverse(values)
    assert out.tolist() == [1.0, -2.0]
    (out * torch.tensor([3.0, 5.0])).sum().backward()
    assert values.grad.tolist() == [-3.0, -5.0]


def test_highway_by_hand():
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.bias.zero_()
    gate = 1 / (1 + math.exp(-2))
    out = highway(torch.tensor([2.0, -2.0]), layer)  # relu keeps 2 and drops -2
    assert out.tolist() == pytest.approx([gate * 2 + (1 - gate) * 2, gate * -2], abs=1e-6)


def test_shapes_and_names(critic):
    shapes = {name: tuple(weight.shape) for name, weight in critic.named_parameters()}
    assert shapes == {
        "highway.weight": (6, 6), "highway.bias": (6,), "hidden.weight": (5, 6), "hidden.bias": (5,),
        "output.weight": (1, 5), "output.bias": (1,),
    }  # fmt: skip
    assert critic(torch.zeros(2, 3, D_KEY)).shape == (2, 3)


def test_value_is_the_sum_of_both_means(critic, vectors):
    torch.testing.assert_close(key_query_loss(critic, *vectors).loss, plain(critic, *vectors))


def test_discriminator_minimises_and_queries_maximise(critic, vectors):
    q, k = vectors
    weights = list(critic.parameters())
    ours = torch.autograd.grad(key_query_loss(critic, q, k).loss, [q, *weights], retain_graph=True)
    theirs = torch.autograd.grad(plain(critic, q, k), [q, *weights])
    torch.testing.assert_close(ours[0], -theirs[0])
    assert ours[0].abs().max() > 0
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(a, b)


def test_keys_are_constants(critic, vectors):
    q, k = vectors
    key_query_loss(critic, q, k).loss.backward()
    assert q.grad is not None and k.grad is None


def test_steps_of_the_discriminator_alone_lower_its_loss(critic, vectors):
    q, k = (v.detach() + shift for v, shift in zip(vectors, (1.0, -1.0), strict=True))
    before = {name: weight.clone() for name, weight in critic.state_dict().items()}
    optimiser = torch.optim.AdamW(critic.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        term = key_query_loss(critic, q, k)
        term.loss.backward()
        optimiser.step()
        losses.append(term.loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert term.accuracy == 1.0
    assert all((weight != before[name]).any() for name, weight in critic.state_dict().items())


def test_steps_of_the_queries_alone_fool_the_discriminator(critic, vectors):
    q, k = vectors[0].detach().clone().requires_grad_(), vectors[1]
    optimiser = torch.optim.SGD([q], lr=1.0)
    first = critic(q).mean().item()
    for _ in range(20):
        optimiser.zero_grad()
        key_query_loss(critic, q, k).loss.backward()
        optimiser.step()
    assert critic(q).mean().item() < first - 0.05  # towards "a key"


def test_accuracy_counts_each_side_half():
    class Fixed(Discriminator):
        def forward(self, vectors):
            return vectors[..., 0]

    q, k = torch.tensor([[1.0], [2.0], [-1.0], [3.0]]), torch.tensor([[-1.0], [1.0]])
    assert key_query_loss(Fixed(1, 1), q, k).accuracy.item() == pytest.approx(0.5 * (3 / 4 + 1 / 2))


def test_dropout_is_off_in_evaluation():
    torch.manual_seed(0)
    critic, x = Discriminator(D_KEY, 5, dropout=0.5), torch.randn(50, D_KEY)
    assert (critic(x) != critic(x)).any()
    critic.eval()
    torch.testing.assert_close(critic(x), critic(x))


def test_gan_matching_is_the_loss(critic, vectors):
    term = gan_matching(critic)(*vectors)
    torch.testing.assert_close(term.loss, key_query_loss(critic, *vectors).loss)
    assert not term.per_target


def test_released_counts_padding_and_never_updates_the_discriminator(critic, vectors):
    q, k = vectors
    project = torch.nn.Linear(4, D_KEY)
    padding = ReplayPadding(torch.tensor([0.3, -0.2]), torch.tensor([1.0, 2.0, 3.0]), 5, 2)
    term = released_matching(critic, padding, project, 2.0)(q, k)
    pad_q = project(torch.tensor([0.3, -0.2, 0.3, -0.2]))
    pad_k = torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0, 3.0]) / 2
    expected = plain(critic, torch.cat([q, pad_q.repeat(5, 1)]), torch.cat([k, pad_k.repeat(2, 1)]))
    torch.testing.assert_close(term.loss, expected)
    assert term.per_target
    (want,) = torch.autograd.grad(expected, [q], retain_graph=True)
    term.loss.backward()
    torch.testing.assert_close(q.grad, -want)
    assert project.weight.grad.abs().max() > 0  # padding moves the query projector
    assert all(p.grad is None for p in critic.parameters()) and k.grad is None
