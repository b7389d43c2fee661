"""NaN and infinity planted in weights, states, moments, gradients, rates, loss terms: exit 5, named, nothing written.

Each place meets NaN, infinity and minus infinity. The run must end with exit code 5 within a step, name the tensor,
leave no checkpoint and only finite saved states; with the fault removed, `--resume` ends bit-equal to an unbroken run.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from probe.files import sha256_of
from tests.faults.nan_places import PLACES, Place, damage
from tests.faults.room import Room, command, make_room, same, tensors

VALUES = (math.nan, math.inf, -math.inf)
STATE = "out.training"


@dataclass
class Planted:
    """What came of the faults: by place, how many were met in every respect; and a line for each that was not."""

    survived: dict[str, int] = field(default_factory=dict)
    planted: int = 0
    missed: list[str] = field(default_factory=list)


def nan_campaign(root: Path, every: int) -> Planted:
    """Plant every ``every``-th of all (place, value) pairs in a run that has saved its state, or in what it reads."""
    room, found, log = make_room(root), Planted(), root / "log.txt"
    packed = ["cache", str(room.recipe), "--out", str(root / "packed")]
    for arguments in (packed, room.train(root / "unbroken")):
        if command(arguments, log):
            raise RuntimeError(f"{arguments} without faults failed:\n{log.read_text()[-2000:]}")
    _interrupt(room, log)
    wanted = tensors(root / "unbroken")
    pairs = [(place, value) for place in PLACES for value in VALUES]
    for place, value in pairs[:: max(every, 1)]:
        wrong = _one(room, place, value, wanted)
        found.planted += 1
        found.survived[place.name] = found.survived.get(place.name, 0) + (not wrong)
        if wrong:
            found.missed.append(f"{place.name}, {value}: {'; '.join(wrong)}")
    return found


def _interrupt(room: Room, log: Path) -> None:
    """A saved state at ``begun.training``, of a run that a fault ended."""
    place = next(place for place in PLACES if place.name == "loss term ce")
    out = room.root / "begun"
    if command(room.train(out), log, _planter(place, math.nan)) != 5:
        raise RuntimeError(f"the run to be resumed did not stop:\n{log.read_text()[-2000:]}")
    if not (room.root / "begun.training/state.json").is_file():
        raise RuntimeError("the run to be resumed saved no state")


def _one(room: Room, place: Place, value: float, wanted: dict[str, torch.Tensor]) -> list[str]:
    """Plant one fault, and let the run go on without it; what was wrong."""
    runs, whole, log = room.root / "runs", room.root / "whole", room.root / "one.txt"
    for path in (runs, whole):
        shutil.rmtree(path, ignore_errors=True)
    log.unlink(missing_ok=True)
    out, more = runs / "out", ["--set", f"teacher={room.root / 'packed'}"] if place.packed else []
    runs.mkdir()
    if place.saved:
        shutil.copytree(room.root / "begun.training", runs / STATE)
        more += ["--resume"]
    directory = None if place.directory is None else place.directory(room, runs)
    if directory is not None:
        shutil.copytree(directory, whole)
        damage(directory, place.tensor, value)
    code = command(room.train(out, *more), log, _planter(place, value))
    if directory is not None:
        shutil.rmtree(directory)
        shutil.copytree(whole, directory)
    wrong = _wrong(place, code, log, runs)
    if "--resume" not in more:
        more += ["--resume"]
    if command(room.train(out, *more), log) or not same(tensors(out), wanted):
        wrong.append("did not end bit-equal when resumed without the fault")
    return wrong


def _planter(place: Place, value: float) -> Callable[[], object]:
    plant = place.plant
    return (lambda: None) if plant is None else (lambda: plant(value))


def _wrong(place: Place, code: int, log: Path, runs: Path) -> list[str]:
    """What a run with a fault did not do."""
    said = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("error: ")]
    message, wrong = said[-1] if said else "no message", []
    if code != 5:
        wrong.append(f"exit {code}")
    if place.named not in message:
        wrong.append(f"{place.named!r} is not in {message!r}")
    if place.step is not None and not any(f"step {step}:" in message for step in (place.step, place.step + 1)):
        wrong.append(f"step {place.step} or the next is not in {message!r}")
    if (runs / "out").exists():
        wrong.append("a checkpoint was written")
    if broken := [n for n, t in tensors(runs).items() if t.is_floating_point() and not torch.isfinite(t).all()]:
        wrong.append(f"{broken[0]} was saved")
    state = runs / STATE / "state.json"
    pointer = state.read_text(encoding="utf-8") if state.is_file() else ""
    if place.step is not None and not pointer:
        wrong.append("the last good state is gone")
    if any(sha256_of(file) not in pointer for file in state.parent.glob("*.safetensors")):
        wrong.append("the last good state is altered")
    return wrong


def report(root: Path, every: int) -> tuple[str, bool]:
    """The line for people, and whether every fault was met."""
    found = nan_campaign(root, every)
    met = sum(found.survived.values())
    lines = [
        f"NaN and infinity: {found.planted} planted at {len(found.survived)} places; {met} stopped within a step with "
        "exit 5 and the tensor's name, wrote nothing, and ended bit-equal when resumed without the fault",
        *found.missed,
    ]
    return "\n  ".join(lines), met == found.planted > 0
