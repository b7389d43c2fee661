"""The command line after `--`: which maps, and which gold."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from probe.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
DEMO_MAPS = Path("out/demo/maps")
DEMO_GOLD = Path("analysis/gold/gold.jsonl")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. Start with: streamlit run app/main.py -- --maps MAPS [--gold GOLD.jsonl]")


def arguments(argv: list[str]) -> tuple[Path, Path | None]:
    """The map store and the gold file; without arguments those of the demo. Raises UsageError."""
    parser = _Parser(prog="streamlit run app/main.py --", allow_abbrev=False, add_help=False)
    parser.add_argument("--maps", type=Path)
    parser.add_argument("--gold", type=Path)
    options = parser.parse_args(argv)
    if options.maps is None:
        gold = ROOT / DEMO_GOLD
        return ROOT / DEMO_MAPS, options.gold or (gold if gold.is_file() else None)
    return options.maps, options.gold
