"""A room for faults: tiny models, a recipe of a few steps, and commands in forked children, which start at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from probe.__main__ import main
from probe.distillation.config import TrainConfig, read_recipe
from tests.support import tiny

TEXTS = tuple((f"Say {word}:", f"{word} the {word}.") for word in ("fox", "dog", "box", "jug", "lazy", "quick", "tall"))


@dataclass(frozen=True)
class Room:
    """A recipe and what it needs on disk."""

    root: Path
    recipe: Path

    def train(self, out: Path, *more: str) -> list[str]:
        """Arguments of ``probe train`` into ``out``."""
        return ["train", str(self.recipe), "--out", str(out), *more]


def make_room(root: Path, **settings: object) -> Room:
    """A GPT-2 student, a Llama teacher with another tokenizer, seven texts, and a DSKD-CMA-GA recipe."""
    student = tiny.model_directory(root / "student", "gpt2", "small-bpe", width=8, seed=1)
    teacher = tiny.model_directory(root / "teacher", "llama", "bpe", width=12, seed=2)
    recipe = {
        "name": "toy", "method": "dskd-cma-ga", "student": str(student), "teacher": str(teacher),
        "data": str(tiny.data_file(root / "data.jsonl", TEXTS)), "held_out": 0, "steps": 8, "batch_size": 2,
        "max_length": 64, "save_every": 2, "discriminator_width": 8, "teacher_dtype": "float32", **settings,
    }  # fmt: skip
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return Room(root, root / "recipe.yaml")


def command(arguments: list[str], log: Path, before: Callable[[], object] = lambda: None) -> int:
    """Run ``python -m probe`` in a forked child; its exit code, or minus the signal that ended it."""
    return wait(start(arguments, log, before))


def start(arguments: list[str], log: Path, before: Callable[[], object] = lambda: None) -> int:
    """Fork a child that runs ``before`` and then the command; returns its process id.

    The parent must not have run a backward pass: autograd's threads do not survive a fork.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        torch.set_num_threads(1)
        before()
        code = main(arguments)
    finally:
        os._exit(code)


def wait(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def kill_after(pid: int, seconds: float, once: Path | None = None) -> bool:
    """SIGKILL the child ``seconds`` after now, or after the path ``once`` is there; False if it had ended by then.

    It is reaped by :func:`wait`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if once is not None and not once.exists():
            deadline = time.monotonic() + seconds
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    return True


def tensors(directory: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a directory, by file and name."""
    return {f"{f.name}/{n}": t for f in sorted(directory.rglob("*.safetensors")) for n, t in load_file(f).items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Bit-equal: the same names, and the same numbers under each."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def config(room: Room, **values: Any) -> TrainConfig:
    """The settings of the room's recipe, with some changed."""
    return read_recipe(room.recipe, [f"{key}={yaml.safe_dump(value).splitlines()[0]}" for key, value in values.items()])
