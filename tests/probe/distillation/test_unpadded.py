"""Groups of rows instead of one padded batch: the same states and gradients, and the padding really gone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from probe.distillation import unpadded
from probe.distillation.activations import SPELT_OUT, fuse_activations
from probe.distillation.dataset import SideBatch
from probe.distillation.unpadded import even_groups, response_states
from tests.support import tiny

ENDS, STARTS, VOCAB = (9, 23, 9, 14), (3, 20, 8, 0), 60


@pytest.fixture(autouse=True)
def _every_call_is_cheap(monkeypatch):
    monkeypatch.setattr(unpadded, "TOKENS_A_CALL", 0)
    torch.manual_seed(0)


def batch() -> SideBatch:
    """Four rows of unlike length, padded with 0 on the right; the last one's whole text counts."""
    ids = torch.zeros(4, max(ENDS), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, end in enumerate(ENDS):
        ids[row, :end], mask[row, :end] = torch.randint(1, VOCAB, (end,)), 1
    places = [torch.arange(start, end) for start, end in zip(STARTS, ENDS, strict=True)]
    rows = torch.cat([torch.full_like(place, row) for row, place in enumerate(places)])
    flat = torch.cat(places)
    lengths, ends = tuple(len(place) for place in places), tuple(mask.sum(1).tolist())
    return SideBatch(ids, mask, rows, flat, ids[rows, flat], ids[rows, flat], lengths, ends)


def padded_states(model: nn.Module, side: SideBatch) -> torch.Tensor:
    output = model.base_model(input_ids=side.ids, attention_mask=side.attention_mask, use_cache=False)
    return output.last_hidden_state[side.rows, side.places]


def seen_widths(model: nn.Module) -> list[tuple[int, ...]]:
    """[rows, width] of each call of the model from now on."""
    found = []

    def note(module, args, kwargs):
        given = kwargs.get("inputs_embeds", kwargs.get("input_ids"))
        found.append(tuple(given.shape[:2]))

    model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    return found


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_states_and_gradients_are_those_of_the_padded_batch(architecture):
    model, side = tiny.model(architecture, VOCAB, width=16).double(), batch()
    parameters = dict(model.base_model.named_parameters())
    weights = torch.randn(len(side.places), 16, dtype=torch.double)
    want = padded_states(model, side)
    gradients = torch.autograd.grad((want * weights).sum(), list(parameters.values()))
    shapes = seen_widths(model)
    found = response_states(model, side)
    assert shapes == [(1, 23), (1, 14), (2, 9)]
    torch.testing.assert_close(found, want)
    again = torch.autograd.grad((found * weights).sum(), list(parameters.values()))
    for name, one, other in zip(parameters, again, gradients, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")


def test_the_table_gets_one_gradient_however_many_groups_there_are():
    model, looked = tiny.model("llama", VOCAB, width=16), []
    model.get_input_embeddings().register_forward_hook(lambda *args: looked.append(args[1][0].shape))
    response_states(model, batch()).sum().backward()
    assert looked == [(sum(ENDS),)]


def test_a_frozen_model_and_one_without_gradients_take_the_ids():
    model, side = tiny.model("gpt2", VOCAB, width=16).double(), batch()
    want = padded_states(model, side).detach()
    with torch.no_grad():
        torch.testing.assert_close(response_states(model, side), want)
    torch.testing.assert_close(response_states(model.requires_grad_(False), side), want)


def test_a_model_that_takes_ids_alone_is_run_on_the_padded_batch():
    class IdsOnly(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.inner, self.config = model.base_model, model.config

        @property
        def base_model(self):
            return self

        def get_input_embeddings(self):
            return self.inner.get_input_embeddings()

        def forward(self, input_ids, attention_mask, use_cache):
            self.shape = tuple(input_ids.shape)
            return self.inner(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    model, side = tiny.model("gpt2", VOCAB, width=16).double(), batch()
    alone = IdsOnly(model)
    torch.testing.assert_close(response_states(alone, side), padded_states(model, side))
    assert alone.shape == (4, 23)


def test_groups_end_where_padding_costs_more_than_a_call(monkeypatch):
    monkeypatch.setattr(unpadded, "TOKENS_A_CALL", 10)
    assert even_groups([20, 50, 45, 14, 45]) == [[1, 2, 4], [0, 3]]
    assert even_groups([20, 50, 44, 45]) == [[1, 3], [2], [0]]
    assert even_groups([7]) == [[0]]


def test_activations_in_one_pass_give_the_same_states_and_gradients():
    model, side = tiny.model("gpt2", VOCAB, width=16).double(), batch()
    parameters, before = list(model.base_model.parameters()), dict(model.state_dict())
    want = padded_states(model, side)
    gradients = torch.autograd.grad(want.square().sum(), parameters)
    assert fuse_activations(model) == len(model.transformer.h) and fuse_activations(model) == 0
    assert model.state_dict().keys() == before.keys() and model.config.activation_function == "gelu_new"
    found = padded_states(model, side)
    torch.testing.assert_close(found, want)
    for one, other in zip(torch.autograd.grad(found.square().sum(), parameters), gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", SPELT_OUT)
def test_an_activation_that_is_replaced_is_of_the_formula(kind):
    x = torch.linspace(-6, 6, 1001, dtype=torch.double)
    torch.testing.assert_close(torch.nn.functional.gelu(x, approximate="tanh"), kind()(x))


def test_other_activations_stay():
    assert fuse_activations(tiny.model("llama", VOCAB, width=16)) == 0
