"""Every trainable parameter is in one group at its own rate; the schedule by hand; states that come back exactly."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch

from probe.distillation.config import TrainConfig
from probe.distillation.losses.key_query import Discriminator
from probe.distillation.optimisation import (
    Trained,
    parameter_groups,
    rate_factor,
    restore_training_state,
    set_rates,
    training_state,
)
from probe.errors import DamagedError
from probe.models.attention import CrossModelAttention
from tests.support import tiny


def config(method: str = "dskd-cma-ga", **values: Any) -> TrainConfig:
    rates: dict[str, Any] = {
        "student_rate": 1e-3,
        "embedding_rate": 2e-3,
        "projector_rate": 3e-3,
        "query_rate": 4e-3,
        "discriminator_rate": 5e-3,
        "weight_decay": 0.1,
    }
    return TrainConfig(name="r", method=method, student="new", data=("a",), **{**rates, **values})


def trained(method: str = "dskd-cma-ga", architecture: str = "gpt2", seed: int = 0) -> Trained:
    torch.manual_seed(seed)
    return Trained(
        tiny.model(architecture, 30, width=8, seed=seed),
        CrossModelAttention(8, 12) if method != "sft" else None,
        Discriminator(24, 6, 0.1) if method == "dskd-cma-ga" else None,
    )


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("method", ["sft", "dskd-cma", "dskd-cma-ga"])
def test_every_trainable_parameter_is_in_exactly_one_group(method: str, architecture: str) -> None:
    run = trained(method, architecture)
    found = Counter(id(p) for group in parameter_groups(run, config(method)) for p in group["params"])
    modules = [module for module in (run.student, run.attention, run.discriminator) if module is not None]
    assert found == Counter({id(p) for module in modules for p in module.parameters()})


def test_released_leaves_the_discriminator_alone() -> None:
    """As the published code does, and only then (docs/methods.md)."""
    run = trained()
    grouped = {id(p) for group in parameter_groups(run, config(matching="released")) for p in group["params"]}
    assert run.discriminator is not None and run.attention is not None
    assert not grouped & {id(p) for p in run.discriminator.parameters()}
    assert grouped == {id(p) for module in (run.student, run.attention) for p in module.parameters()}


def test_a_frozen_parameter_is_in_no_group() -> None:
    run = trained("sft")
    frozen = next(run.student.parameters())
    frozen.requires_grad_(False)
    assert id(frozen) not in {id(p) for group in parameter_groups(run, config("sft")) for p in group["params"]}


def test_rates_and_decay_by_name() -> None:
    run = trained(architecture="llama")
    groups = parameter_groups(run, config())
    by_id = {id(p): (group["rate"], group["weight_decay"]) for group in groups for p in group["params"]}
    found = {name: by_id[id(p)] for name, p in run.named_parameters().items()}
    assert found["student.model.embed_tokens.weight"] == (2e-3, 0.0)
    assert found["student.lm_head.weight"] == (1e-3, 0.1)
    assert found["student.model.layers.0.mlp.up_proj.weight"] == (1e-3, 0.1)
    assert found["student.model.norm.weight"] == (1e-3, 0.0)
    assert found["attention.query.weight"] == (4e-3, 0.1)
    assert found["attention.query.bias"] == (4e-3, 0.0)
    assert found["attention.t2s.weight"] == found["attention.s2t.weight"] == (3e-3, 0.1)
    assert found["attention.t2s.bias"] == (3e-3, 0.0)
    assert found["discriminator.highway.weight"] == (5e-3, 0.1)
    assert found["discriminator.output.bias"] == (5e-3, 0.0)


def test_a_tied_table_is_an_embedding_once() -> None:
    run = trained("sft", "gpt2")
    names = run.named_parameters()
    assert "student.transformer.wte.weight" in names and "student.lm_head.weight" not in names
    (group,) = [g for g in parameter_groups(run, config("sft")) if g["rate"] == 2e-3]
    assert [id(p) for p in group["params"]] == [id(names["student.transformer.wte.weight"])]


def test_the_schedule_by_hand() -> None:
    """20 steps, 0.2 of them warm-up (4), down to a tenth: 1/4 … 1, then 0.1 + 0.45 (1 + cos(π t / 16))."""
    run = config(steps=20, warmup=0.2, final_rate=0.1)
    factors = [rate_factor(step, run) for step in range(20)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[12] == pytest.approx(0.55)  # half way: the cosine is 0
    assert factors[8] == pytest.approx(0.1 + 0.45 * (1 + 0.5**0.5))
    assert rate_factor(20, run) == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(factors[4:]))
    assert rate_factor(0, config(steps=1)) == 1.0


def test_set_rates_keeps_the_ratios_of_the_groups() -> None:
    run = config(steps=20, warmup=0.2)
    optimiser = torch.optim.AdamW(parameter_groups(trained(), run))
    for _ in range(2):
        set_rates(optimiser, 1, run)  # twice: it starts from the peak, not from the last rate
    groups = optimiser.param_groups
    assert [group["lr"] for group in groups] == [group["rate"] * 0.5 for group in groups]


def steps(run: Trained, optimiser: torch.optim.Optimizer, count: int) -> None:
    """Steps with random gradients: they depend on the random state as dropout does."""
    for _ in range(count):
        for parameter in run.named_parameters().values():
            parameter.grad = torch.randn(parameter.shape)
        optimiser.step()


def test_a_restored_state_goes_on_bit_for_bit() -> None:
    settings = config()
    whole, again = trained(seed=0), trained(seed=9)
    optimiser, second = (torch.optim.AdamW(parameter_groups(run, settings)) for run in (whole, again))
    torch.manual_seed(1)
    steps(whole, optimiser, 3)
    state = training_state(whole, optimiser)
    torch.manual_seed(2)
    steps(whole, optimiser, 3)  # goes on: the state taken before must not have moved with it
    restore_training_state(again, second, state)
    torch.manual_seed(2)
    steps(again, second, 3)
    after, resumed = training_state(whole, optimiser), training_state(again, second)
    assert after.keys() == resumed.keys()
    assert all(torch.equal(after[name], resumed[name]) for name in after)
    assert not any(torch.equal(after[name], state[name]) for name in after if name.startswith("weight/"))


@pytest.mark.parametrize("change", ["missing", "misshapen"])
def test_a_state_that_does_not_fit_is_refused(change: str) -> None:
    run = trained("dskd-cma")
    optimiser = torch.optim.AdamW(parameter_groups(run, config("dskd-cma")))
    state = training_state(run, optimiser)
    name, found = "weight/attention.t2s.bias", "none"
    if change == "missing":
        del state[name]
    else:
        state[name], found = torch.zeros(9), r"\(9,\)"
    with pytest.raises(DamagedError, match=rf"attention.t2s.bias: wanted shape \(8,\), found {found}"):
        restore_training_state(run, optimiser, state)
