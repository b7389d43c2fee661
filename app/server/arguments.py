"""The command line after `--`: which maps, which gold, and where the other pages find or leave their files."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from probe.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
DEMO_MAPS = Path("out/demo/maps")
DEMO_GOLD = Path("analysis/gold/gold.jsonl")


@dataclass(frozen=True)
class Arguments:
    """What the dashboard was started with; folders that were not given are those beside the maps.

    Attributes:
        maps: the map store. gold: the gold file, if any.
        key_query: directory written by ``python -m analysis.key_query --out``; None if there is none.
        training: a folder in which runs with ``probe_curve.csv`` and ``probe_maps/`` are looked for; None if there is
            none.
        checkpoints: a folder of checkpoints, for texts that are typed in.
        annotations: where annotations are saved; made when the first is.
    """

    maps: Path
    gold: Path | None
    key_query: Path | None
    training: Path | None
    checkpoints: Path
    annotations: Path


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. Start with: streamlit run app/main.py -- --maps MAPS [--gold GOLD.jsonl]")


def arguments(argv: list[str]) -> Arguments:
    """Read the command line; without ``--maps`` the maps and gold are those of the demo. Raises UsageError."""
    parser = _Parser(prog="streamlit run app/main.py --", allow_abbrev=False, add_help=False)
    for name in ("maps", "gold", "key-query", "training", "checkpoints", "annotations"):
        parser.add_argument(f"--{name}", type=Path)
    options = parser.parse_args(argv)
    maps, gold = options.maps, options.gold
    if maps is None:
        maps = ROOT / DEMO_MAPS
        gold = gold or _present(ROOT / DEMO_GOLD)
    beside = maps.absolute().parent
    return Arguments(
        maps,
        gold,
        key_query=options.key_query or _present(beside / "key_query"),
        training=options.training or _present(beside / "training"),
        checkpoints=options.checkpoints or ROOT / "checkpoints",
        annotations=options.annotations or beside / "annotations",
    )


def _present(path: Path) -> Path | None:
    return path if path.exists() else None
