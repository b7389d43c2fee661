"""Commands run as a person types them, in a room of files; what they leave behind there."""

from __future__ import annotations

import importlib
from pathlib import Path

from probe import cli
from probe.__main__ import main as probe_main
from tests.support.bad_input import fill, resigned, settings


def point_at(room: Path, name: str) -> None:
    """Make a checkpoint of the room name the room's own teacher."""
    resigned(settings(f"{name}/config.json", teacher=str(room / "teacher")), name)(room)


def run(command: str, room: Path) -> int:
    """A command of ``python -m probe``, or of ``analysis`` where the first word names a module there."""
    words = fill(command, room)
    if words and words[0] in ("alignment_report", "export_heatmaps"):
        module = importlib.import_module(f"analysis.{words[0]}")
        return cli.main(module.build_parser, module.run, words[1:])
    return probe_main(words)


def traces(room: Path) -> set[str]:
    """What is in the room, but for what training may keep to go on from."""
    found = {path.relative_to(room).as_posix() for path in room.rglob("*")}
    return {name for name in found if ".training" not in name} - {"out"}
