"""The state of an unfinished run on disk: always one whole state, never a half one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from probe.distillation.finite import check_finite
from probe.distillation.optimisation import restore_training_state
from probe.distillation.run_inputs import check_inputs
from probe.distillation.setup import Setup
from probe.errors import DamagedError, UsageError
from probe.files import atomic_file, check_seal, refuse_outside, sealed, sha256_of, write_json

Curve = list[dict[str, float]]
KEYS = ("step", "file", "sha256", "settings", "inputs", "curve")  # of state.json


def save_state(setup: Setup, state: Mapping[str, Tensor], directory: Path, step: int, curve: Curve) -> None:
    """Write weights and moments (of :func:`training_state`) under a name of their own, then the small file that points
    at them."""
    file = directory / f"state-{step:07d}.safetensors"
    with atomic_file(file) as part:
        save_file(dict(state), part)
    pointer = {
        "step": step,
        "file": file.name,
        "sha256": sha256_of(file),
        "settings": setup.config.as_dict(),
        "inputs": dict(setup.inputs),
        "curve": curve,
    }
    write_json(directory / "state.json", sealed(pointer))
    for old in directory.glob("state-*.safetensors"):
        if old != file:
            old.unlink()


def resume_state(setup: Setup, optimiser: torch.optim.Optimizer, directory: Path) -> tuple[int, Curve]:
    """Put the saved state back; returns the steps done and the curve so far, (0, []) where nothing was saved.

    Raises:
        UsageError: the run was begun with other settings, or the data or models that they name have changed since.
        DamagedError: the state is missing, altered or does not fit.
        NonFiniteError: a weight or moment in it is NaN or infinite; names it.
    """
    pointer = directory / "state.json"
    if not pointer.is_file():
        return 0, []
    try:
        saved = json.loads(pointer.read_text(encoding="utf-8"))
        check_seal(saved, KEYS, pointer, required=True)
        step, file, digest, begun, inputs, curve = (saved[key] for key in KEYS)
        refuse_outside(directory, file, "saved state")
        settings = setup.config.as_dict()
        if changed := sorted(key for key in settings if begun.get(key) != settings[key]):
            raise UsageError(f"{directory} was begun with another {', '.join(changed)}; set it so, or delete it.")
        check_inputs(inputs, setup.inputs, directory)
        if not (directory / file).is_file() or sha256_of(directory / file) != digest:
            raise DamagedError(f"{directory / file} is missing or altered; delete {directory} to start again.")
        state = load_file(directory / file)
        check_finite(state, str(directory / file), f"Delete {directory} to start again.")
        restore_training_state(setup.trained, optimiser, state)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise DamagedError(f"{directory}: cannot read the saved state ({error}); delete it to start again.") from error
    return step, curve
