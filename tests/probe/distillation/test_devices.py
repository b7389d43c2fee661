"""No step mixes devices: every tensor of a loss is where the models are, shown on `meta`, which every machine has.

To PyTorch it is a device of its own, so a tensor left on the CPU is an error there as it is on a GPU. What asks for
values (the masks of CLA, the token matching of MinED) cannot run on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.fx.experimental import _config as fx

from probe.distillation import frozen_teacher, steps
from probe.distillation.setup import prepare
from probe.distillation.steps import Objective, step_loss
from tests.faults.room import Room, config, make_room

META = torch.device("meta")
METHODS = {
    "sft": [{}], "dskd-cma": [{}],
    "dskd-cma-ga": [{"matching": kind} for kind in ("gan", "ct", "released", "contrastive")],
    "dskd-clp": [{}], "dskd-imposed": [{}], "dskd-eta": [{}], "uld": [{}],
    "dskd-cma-b": [{}], "dskd-cma-m": [{}], "alm": [{}],
}  # fmt: skip
CASES = [(method, values) for method, all_values in METHODS.items() for values in all_values]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return make_room(tmp_path_factory.mktemp("devices"))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What needs values is stood for: the student's layers, the check of the loss, the way of summaries to the CPU."""
    finite = torch.isfinite
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path))
    monkeypatch.setattr(torch, "isfinite", lambda x: torch.tensor(True) if x.device == META else finite(x))
    monkeypatch.setattr(frozen_teacher, "_moved", lambda summary, device: summary)

    def states(student: Any, side: Any) -> torch.Tensor:
        return student.get_input_embeddings().weight[side.inputs] * 1.0

    monkeypatch.setattr(steps, "response_states", states)
    before, fx.meta_nonzero_assume_all_nonzero = fx.meta_nonzero_assume_all_nonzero, True  # type: ignore[attr-defined]
    yield
    fx.meta_nonzero_assume_all_nonzero = before  # type: ignore[attr-defined]


def objective(room: Room, method: str, values: dict[str, Any], device: torch.device) -> tuple[Objective, Any]:
    setup = prepare(config(room, method=method, **values))
    teacher = None if setup.teacher is None else setup.teacher.to(device)
    loss = step_loss(setup.trained, setup.config, teacher, setup.normalisation)
    return Objective(setup.trained, loss).to(device), setup


@pytest.mark.parametrize(("method", "values"), CASES, ids=[f"{m}-{''.join(v.values())}" for m, v in CASES])
def test_a_step_stays_on_its_device(room: Room, elsewhere: None, method: str, values: dict[str, Any]) -> None:
    run, setup = objective(room, method, values, META)
    terms = run(setup.training[:3])
    terms.loss.backward()
    assert terms.loss.device == META
    gradients = {name: p.grad.device for name, p in run.named_parameters() if p.grad is not None}
    assert gradients and set(gradients.values()) == {META}


def test_a_tensor_left_behind_is_seen(room: Room, elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: teacher states that stay on the CPU end it."""
    run, setup = objective(room, "dskd-cma", {}, META)
    honest = frozen_teacher.FrozenTeacher.hidden
    monkeypatch.setattr(
        frozen_teacher.FrozenTeacher, "hidden", lambda self, pairs: torch.ones_like(honest(self, pairs), device="cpu")
    )
    with pytest.raises((RuntimeError, NotImplementedError), match="device|meta"):
        run(setup.training[:3]).loss.backward()
