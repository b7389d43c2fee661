"""SIGKILL at random moments of training and saving: every run resumes, and ends bit-equal to an unbroken one."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.room import Room, command, kill_after, make_room, same, start, tensors, wait


@dataclass
class Kills:
    """What was counted. ``saving``: kills that left a half-written file or directory behind."""

    kills: int = 0
    saving: int = 0
    with_state: int = 0
    resumed: int = 0
    bit_equal: int = 0


def kill_campaign(root: Path, kills: int, seed: int = 0) -> Kills:
    """Kill runs until ``kills`` have been; after each, or after several in a row, resume to the end and compare."""
    room, chance, found = make_room(root, steps=40), random.Random(seed), Kills()
    log = root / "log.txt"
    for name in ("warm-up", "unbroken"):  # the first also fills the teacher cache
        begun = time.monotonic()
        if command(room.train(root / name), log):
            raise RuntimeError(f"the unbroken run failed:\n{log.read_text()[-2000:]}")
    length = time.monotonic() - begun
    wanted = tensors(root / "unbroken")
    while found.kills < kills:
        out = root / "run"
        row = chance.choice((1, 1, 2, 3))  # some runs are killed again while they resume
        broken = sum(_killed(room, out, length, chance, found) for _ in range(row))
        if not broken:
            shutil.rmtree(out, ignore_errors=True)
            continue
        if not (out / "manifest.json").is_file():
            found.with_state += (root / "run.training/state.json").is_file()
            found.resumed += command(room.train(out, "--resume"), log) == 0
        else:
            found.resumed += 1  # the kill came after the checkpoint was whole
        found.bit_equal += same(wanted, tensors(out))
        shutil.rmtree(out, ignore_errors=True)
        for left in root.glob(".run*"):
            shutil.rmtree(left, ignore_errors=True)
    return found


def _killed(room: Room, out: Path, length: float, chance: random.Random, found: Kills) -> bool:
    """One run that is killed, two in three after training has begun to save; False if it ended before."""
    if (out / "manifest.json").is_file():
        return False
    child = start(room.train(out, "--resume"), room.root / "log.txt")
    if chance.random() < 1 / 3:
        killed = kill_after(child, chance.uniform(0, length))
    else:
        killed = kill_after(child, chance.uniform(0, 0.5 * length), out.with_name(f"{out.name}.training"))
    wait(child)
    found.kills += killed
    found.saving += killed and any(room.root.rglob("*.part"))
    return killed


def report(root: Path, count: int) -> tuple[str, bool]:
    """The line for people, and whether every run came through."""
    found = kill_campaign(root, count)
    runs = found.bit_equal if found.bit_equal == found.resumed else f"{found.bit_equal} of {found.resumed}"
    line = (
        f"SIGKILL: {found.kills} kills ({found.saving} left a half-written file, {found.with_state} runs had a saved "
        f"state); {found.resumed} runs resumed by themselves, {runs} ended bit-equal"
    )
    return line, found.resumed == found.bit_equal > 0
