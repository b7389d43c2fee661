"""The first tensor that holds NaN or infinity is named, and nothing else is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from probe.distillation.finite import check_finite, check_step, first_broken, run_tensors
from probe.errors import NonFiniteError

BAD = (math.nan, math.inf, -math.inf)


def tensors(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(3, 5, generator=generator).to(dtype) for name in ("a", "b", "c")}


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_first_one_is_named_wherever_it_is(value: float, dtype: torch.dtype) -> None:
    for first, name in enumerate("abc"):
        for place in (0, 7, 14):
            found = tensors(dtype)
            for other in list(found)[first:]:
                found[other].view(-1)[place] = value
            assert first_broken(found) == name


def test_finite_numbers_pass_however_large_they_are() -> None:
    """Squares of 1e30 overflow float32, and a sum of 65504s float16."""
    found = {"large": torch.full((4,), 1e30), "halves": torch.full((9,), 65504.0, dtype=torch.float16)}
    assert first_broken(found) is None and first_broken(tensors()) is None and first_broken({}) is None
    assert first_broken({**found, "b": torch.tensor([1.0, math.nan])}) == "b"


def test_integers_scalars_and_empty_tensors_pass() -> None:
    found = {"ids": torch.arange(3), "mask": torch.tensor([True]), "none": torch.empty(0), "one": torch.tensor(2.0)}
    assert first_broken({**found, "mixed": torch.ones(2).half(), "wide": torch.ones(2).double()}) is None


def test_no_gradient_is_tracked() -> None:
    assert first_broken({"weight": nn.Parameter(torch.ones(2))}) is None


def test_the_message_says_where_what_and_the_way_out() -> None:
    with pytest.raises(NonFiniteError, match=r"^the file: b holds NaN or infinity\. Delete it\.$"):
        check_finite({"a": torch.ones(1), "b": torch.tensor([math.inf])}, "the file", "Delete it.")
    check_finite({"a": torch.ones(1)}, "the file", "Delete it.")


def stepped() -> tuple[dict[str, Any], torch.optim.AdamW]:
    torch.manual_seed(0)
    parameters: dict[str, Any] = {name: nn.Parameter(torch.randn(4, 3)) for name in ("student.w", "attention.q")}
    parameters["frozen.here"] = nn.Parameter(torch.randn(2))  # has no gradient, so no moments
    optimiser = torch.optim.AdamW(parameters.values(), lr=1e-3)
    sum(parameter.square().sum() for name, parameter in parameters.items() if name != "frozen.here").backward()
    optimiser.step()
    return parameters, optimiser


def test_a_good_step_passes() -> None:
    parameters, optimiser = stepped()
    check_step(parameters, optimiser, 3)
    moments = [f"{key}/{name}" for name in list(parameters)[:2] for key in ("exp_avg", "exp_avg_sq")]
    assert list(run_tensors(parameters, optimiser)) == moments + [f"weight/{name}" for name in parameters]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("what", ["exp_avg", "exp_avg_sq", "weight"])
def test_a_step_names_the_moment_or_the_weight(what: str, value: float) -> None:
    parameters, optimiser = stepped()
    parameter = parameters["attention.q"]
    (parameter.data if what == "weight" else optimiser.state[parameter][what]).view(-1)[-1] = value
    with pytest.raises(NonFiniteError, match=rf"^step 3: {what}/attention\.q holds NaN"):
        check_step(parameters, optimiser, 3)


def test_a_broken_moment_is_named_before_the_weight_that_it_broke() -> None:
    parameters, optimiser = stepped()
    optimiser.state[parameters["student.w"]]["exp_avg"][0, 0] = math.nan
    optimiser.step()
    assert parameters["student.w"].isnan().any()
    with pytest.raises(NonFiniteError, match=r"^step 4: exp_avg/student\.w holds"):
        check_step(parameters, optimiser, 4)


@pytest.mark.parametrize("value", BAD)
def test_a_rate_is_named_before_the_weights_that_it_broke(value: float) -> None:
    parameters, optimiser = stepped()
    optimiser.param_groups[0]["lr"] = value
    optimiser.step()
    with pytest.raises(NonFiniteError, match=f"^step 5: a learning rate is {value};"):
        check_step(parameters, optimiser, 5)
