"""Mutants of checkpoint, packed teacher and map store files: each is met by the command that reads it, and is refused.

Files are truncated, flipped by one bit, swapped with another, emptied, removed, or given tensors of another shape (with
a manifest that agrees, as if someone had written them so).
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from probe.__main__ import main
from probe.files import MANIFEST, write_manifest
from tests.faults.room import Room, command, make_room

DAMAGED = 4


@dataclass
class Mutants:
    """How many mutants of each kind were made, and those that were not refused with exit code 4."""

    made: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """A directory to damage, and the command that uses it, given the damaged copy."""

    name: str
    directory: Path
    uses: Callable[[Path], list[str]]


def make_targets(room: Room) -> list[Target]:
    """A checkpoint, the packed teacher and a map store of the room, whole."""
    root, data = room.root, room.root / "data.jsonl"
    packed, run, maps = root / "packed", root / "run", root / "maps"
    extract = ["extract", "--data", str(data), "--checkpoint"]
    for arguments in (
        ["cache", str(room.recipe), "--out", str(packed)],
        room.train(run),
        [*extract, str(run), "--out", str(maps)],
    ):
        if command(arguments, root / "log.txt"):
            raise RuntimeError(f"{arguments} failed:\n{(root / 'log.txt').read_text()[-2000:]}")
    return [
        Target("checkpoint", run, lambda d: [*extract, str(d), "--out", str(root / "out")]),
        Target("packed teacher", packed, lambda d: ["verify", str(d)]),
        Target("map store", maps, lambda d: ["verify", str(d)]),
    ]


def mutant_campaign(root: Path, count: int, seed: int = 0) -> Mutants:
    """``count`` mutants, spread over the targets and their files; each is made of a fresh copy."""
    room, chance, found = make_room(root), random.Random(seed), Mutants()
    targets = make_targets(room)
    for number in range(count):
        target = targets[number % len(targets)]
        copy = root / "mutant"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(root / "out", ignore_errors=True)
        shutil.copytree(target.directory, copy)
        kind, what = _mutate(copy, chance)
        found.made[kind] = found.made.get(kind, 0) + 1
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            # Maps need the embeddings alone, so the shapes of the rest are a matter of `verify` (and of loading it).
            code = main(["verify", str(copy)] if kind == "wrong shape" else target.uses(copy))
        if code != DAMAGED:
            found.missed.append(f"{target.name}, {kind}, {what}: exit {code} {said.getvalue()[:200]}")
    return found


def _mutate(directory: Path, chance: random.Random) -> tuple[str, str]:
    """Damage one file; the kind of damage, and which file."""
    kind = chance.choice(("truncated", "flipped", "flipped", "swapped", "emptied", "removed", "wrong shape"))
    files = sorted(file for file in directory.rglob("*") if file.is_file() and file.stat().st_size)
    if kind == "wrong shape":
        file = chance.choice(list(_shaped(directory)))
        return kind, _reshape(directory, file, chance)
    file = chance.choice(files)
    whole = file.read_bytes()
    if kind == "truncated":
        file.write_bytes(whole[: chance.randrange(len(whole))])
    elif kind == "flipped":
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
    elif kind == "swapped":
        other = chance.choice([other for other in files if other.read_bytes() != whole])
        file.write_bytes(other.read_bytes())
        other.write_bytes(whole)
        return kind, f"{file.name} with {other.name}"
    elif kind == "emptied":
        file.write_bytes(b"")
    else:
        file.unlink()
    return kind, file.relative_to(directory).as_posix()


def _shaped(directory: Path) -> Iterator[Path]:
    """Tensor files whose shapes something else fixes. A packed teacher's states are content-addressed instead."""
    for name in ("projectors", "discriminator", "student/model", "maps-00000"):
        name += ".safetensors"
        if (directory / name).is_file():
            yield directory / name
    yield from (directory / "states").glob("*/*.safetensors")


def _reshape(directory: Path, file: Path, chance: random.Random) -> str:
    """One tensor gets a row more, and the manifest agrees with it."""
    tensors = load_file(file)
    name = chance.choice(sorted(tensors))
    tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
    save_file(tensors, file, {"format": "pt"})
    if not file.is_relative_to(directory / "states"):
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        write_manifest(directory, manifest["kind"], manifest["schema_version"], manifest["provenance"])
    return f"{name} in {file.name}"


def report(root: Path, count: int) -> tuple[str, bool]:
    """The line for people, and whether every mutant was refused."""
    found = mutant_campaign(root, count)
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found.made.items()))
    total = sum(found.made.values())
    lines = [f"mutants: {total} ({kinds}); {total - len(found.missed)} refused with exit 4", *found.missed]
    return "\n  ".join(lines), not found.missed
