"""Conditional transport: the cost by hand, lengths, and who gets which gradient."""

from __future__ import annotations

import math

import pytest
import torch

from probe.distillation.losses.key_query import reverse
from probe.distillation.losses.transport import (
    ConditionalTransport,
    ct_matching,
    transport_cost,
    transport_loss,
)
from tests.support.published import released_transport

D_KEY, WIDTH = 6, 5


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return ConditionalTransport(D_KEY, WIDTH)


@pytest.fixture
def vectors():
    """Two examples: 4 and 2 queries, 3 and 5 keys."""
    torch.manual_seed(1)
    return torch.randn(6, D_KEY, requires_grad=True), torch.randn(8, D_KEY, requires_grad=True)


LENGTHS = (4, 2), (3, 5)


def test_cost_by_hand():
    """Two queries, one key: all mass goes to the key, and comes back by exp(g · g)."""
    query, key = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0]])
    query_way, key_way = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    back = 5 / (1 + math.e)  # weights e : 1
    assert transport_cost(query, key, query_way, key_way).item() == pytest.approx(0.5 * (5 / 2) + 0.5 * back)


def test_outputs_have_norm_one_and_the_networks_these_names(networks):
    for name in ("critic_token", "critic_feature", "navigator_token", "navigator_feature"):
        out = getattr(networks, name)(torch.randn(2, 3, D_KEY))
        torch.testing.assert_close(out.norm(dim=-1), torch.ones(2, 3), atol=1e-4, rtol=0)
    layers = {"critic": ("highway", "hidden", "output"), "navigator": ("hidden", "output")}
    assert set(networks.state_dict()) == {
        f"{kind}_{over}.{layer}.{part}"
        for kind, names in layers.items()
        for over in ("token", "feature")
        for layer in names
        for part in ("weight", "bias")
    }


def test_where_all_is_one_point_nothing_needs_to_move():
    point, way = torch.randn(1, WIDTH), torch.randn(4, WIDTH)
    assert transport_cost(point.expand(4, -1), point.expand(3, -1), way, way[:3]).item() == 0


def test_an_examples_batch_mates_change_nothing(networks, vectors):
    q, k = vectors
    both = transport_loss(networks, q, k, *LENGTHS).loss
    one, two = (transport_loss(networks, q[a], k[b], (n,), (m,)).loss for a, b, n, m in (
        (slice(0, 4), slice(0, 3), 4, 3), (slice(4, 6), slice(3, 8), 2, 5)))  # fmt: skip
    torch.testing.assert_close(both, (one + two) / 2)


def test_without_padding_it_is_the_published_form(networks):
    q, k = torch.randn(2, 4, D_KEY), torch.randn(2, 4, D_KEY)
    flat = transport_loss(networks, q.flatten(0, 1), k.flatten(0, 1), (4, 4), (4, 4))
    published = released_transport(networks, q, k)
    torch.testing.assert_close(flat.loss, published.loss)
    assert published.per_target and published.accuracy is None


def test_features_of_the_shorter_side_go_on_with_zeros(networks):
    """The feature part alone: token networks of zeros leave the cost of features, dense over zero-padded outputs."""
    q, k = torch.randn(4, D_KEY), torch.randn(2, D_KEY)
    with torch.no_grad():
        networks.critic_token.output.weight.zero_(), networks.critic_token.output.bias.zero_()
    f_q, g_q = (network(q).T for network in (networks.critic_feature, networks.navigator_feature))
    f_k, g_k = (
        torch.cat([network(k).T, torch.zeros(WIDTH, 2)], 1)
        for network in (networks.critic_feature, networks.navigator_feature)
    )
    cost = (f_q[:, None] - f_k[None]).norm(dim=-1)
    plan = g_q @ g_k.T
    want = 0.5 * (cost * plan.softmax(1)).sum(1).mean() + 0.5 * (cost * plan.softmax(0)).sum(0).mean()
    torch.testing.assert_close(transport_loss(networks, q, k, (4,), (2,)).loss, -want)


def plain_cost(networks, q, k):
    """C of the first example, nothing reversed."""
    q, k = q[:4], k[:3].detach()
    token = [f(x) for f in (networks.critic_token, networks.navigator_token) for x in (q, k)]
    feature = [f(x).T for f in (networks.critic_feature, networks.navigator_feature) for x in (q, k)]
    feature = [torch.nn.functional.pad(x, (0, 4 - x.shape[1])) for x in feature]
    return transport_cost(*token) + transport_cost(*feature)


def test_critics_make_transport_dear_and_queries_and_navigators_make_it_cheap(networks, vectors):
    q, k = vectors
    named = {"queries": q, **dict(networks.named_parameters())}
    ours = torch.autograd.grad(transport_loss(networks, q[:4], k[:3], (4,), (3,)).loss, named.values())
    theirs = torch.autograd.grad(plain_cost(networks, q, k), named.values())
    for name, mine, cost in zip(named, ours, theirs, strict=True):
        assert mine.abs().max() > 0, name
        torch.testing.assert_close(mine, -cost if name.startswith("critic") else cost, msg=name)


def test_keys_are_constants_and_steps_do_what_they_should(networks, vectors):
    q, k = vectors
    matching = ct_matching(networks, *LENGTHS)
    matching(q, k).loss.backward()
    assert k.grad is None and q.grad is not None
    start = q.detach().clone().requires_grad_()
    before = -matching(start, k).loss.item()
    optimiser = torch.optim.SGD([start], lr=0.5)
    for _ in range(20):
        optimiser.zero_grad()
        matching(start, k).loss.backward()
        optimiser.step()
    assert -matching(start, k).loss.item() < before - 0.1  # queries alone: transport gets cheaper
    critics = [*networks.critic_token.parameters(), *networks.critic_feature.parameters()]
    optimiser, before = torch.optim.SGD(critics, lr=0.5), -matching(start, k).loss.item()
    for _ in range(20):
        optimiser.zero_grad()
        matching(start, k).loss.backward()
        optimiser.step()
    assert -matching(start, k).loss.item() > before + 0.1  # critics alone: dearer


def test_released_never_updates_its_networks(networks):
    q, k = torch.randn(2, 4, D_KEY, requires_grad=True), torch.randn(2, 4, D_KEY, requires_grad=True)
    released_transport(networks, q, k).loss.backward()
    assert all(p.grad is None for p in networks.parameters()) and k.grad is None
    mine = q.grad.clone()
    (plain,) = torch.autograd.grad(released_transport(networks, reverse(q), k).loss, [q])  # twice reversed: not at all
    torch.testing.assert_close(mine, -plain)


def test_equal_points_have_a_finite_gradient(networks):
    same = torch.randn(3, D_KEY)
    q = same.clone().requires_grad_()
    transport_loss(networks, q, same, (3,), (3,)).loss.backward()
    assert torch.isfinite(q.grad).all()


def test_dropout_is_off_in_evaluation():
    torch.manual_seed(0)
    networks, q, k = ConditionalTransport(D_KEY, WIDTH, dropout=0.5), torch.randn(9, D_KEY), torch.randn(7, D_KEY)
    values = [transport_loss(networks, q, k, (9,), (7,)).loss for _ in range(2)]
    assert values[0] != values[1]
    networks.eval()
    values = [transport_loss(networks, q, k, (9,), (7,)).loss for _ in range(2)]
    assert values[0] == values[1]
