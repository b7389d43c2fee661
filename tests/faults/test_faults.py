"""A slice of `python -m tests.faults`, in a process of its own: its children are forked, which needs a fresh parent."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.faults.__main__ import CAMPAIGNS


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_faults_are_survived(name: str) -> None:
    command = [sys.executable, "-m", "tests.faults", "--quick", "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert name == "disk" and "no C compiler" in done.stdout or any(sign.isdigit() for sign in done.stdout)
