"""The load test of the dashboard, small: every session sees what it asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.bench.dashboard import make_files
from tests.load_dashboard.__main__ import ACTIONS, at_once
from tests.support.dashboard import browser


def test_sessions_at_once_see_their_own_examples(tmp_path: Path):
    make_files(str(tmp_path), 6)
    names = [f"example-{number:05d}" for number in range(6)]
    with browser.server("--maps", str(tmp_path / "maps"), "--gold", str(tmp_path / "gold.jsonl")) as address:
        outcome = asyncio.run(at_once(address, 4, 12, names, think=0.0))
    assert outcome.errors == [] and outcome.count == 48
    assert set(outcome.seconds) == set(ACTIONS)
