"""The frame of the bench: a row of its table, commands timed as whole processes, functions called in their own.

What is measured runs in a process of its own, of one thread unless it says otherwise, so that a peak of memory is its
own. Commands are timed by the clock, ratios by processor seconds: the same on an idle machine, and the latter do not
count what others do to a busy one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support import ROOT

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
CALL = (
    "import importlib, json, sys; module, name, arguments = sys.argv[1:]; "
    "print(json.dumps(getattr(importlib.import_module(module), name)(**json.loads(arguments))))"
)


# Between us and the command, because the peak of a process starts at the size of the one that started it.
WATCH = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.call([sys.executable, *sys.argv[2:]])
seconds, usage = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as note:
    json.dump([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024], note)
sys.exit(code)
"""


@dataclass(frozen=True)
class Row:
    """A line of the table. ``reached`` is None where nothing was measured; ``how`` then says why."""

    point: str
    measured: str
    target: str
    reached: bool | None
    how: str


def at_least(point: str, value: float, bound: float, how: str, unit: str = "") -> Row:
    """A row that is reached from ``bound`` upwards."""
    return Row(point, f"{_number(value)}{unit}", f"≥ {_number(bound)}{unit}", value >= bound, how)


def below(point: str, value: float, bound: float, how: str, unit: str = "") -> Row:
    """A row that is reached under ``bound``."""
    return Row(point, f"{_number(value)}{unit}", f"< {_number(bound)}{unit}", value < bound, how)


def skipped(point: str, target: str, reason: str) -> Row:
    """A row that was not measured here."""
    return Row(point, "-", target, None, f"not measured: {reason}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


@dataclass(frozen=True)
class Finished:
    """A command that ended well: wall and processor seconds, MiB of its largest process at its peak, and its output."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


def command(arguments: Sequence[str], *, threads: int | None = 1) -> Finished:
    """Run ``python`` with ``arguments`` from the repository's root; ``threads`` None leaves the default.

    Raises:
        RuntimeError: it failed; holds the end of what it printed.
    """
    limits = {} if threads is None else {name: str(threads) for name in ONE_THREAD}
    with tempfile.NamedTemporaryFile("r") as note:
        done = subprocess.run(
            [sys.executable, "-S", "-c", WATCH, note.name, *arguments],
            cwd=ROOT, env={**os.environ, **limits}, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        seconds, cpu_seconds, peak_mib = json.load(note)
    if done.returncode:
        tail = (done.stderr or done.stdout)[-1500:]
        raise RuntimeError(f"python {' '.join(arguments)[:200]} ended with {done.returncode}: {tail}")
    return Finished(seconds, cpu_seconds, peak_mib, done.stdout)


def in_child(function: Callable[..., Any], *, threads: int | None = 1, **arguments: Any) -> Any:
    """What ``function(**arguments)`` returns in a fresh process; arguments and result are JSON."""
    called = ["-c", CALL, function.__module__, function.__name__, json.dumps(arguments)]
    return json.loads(command(called, threads=threads).output.splitlines()[-1])


def cpu_seconds(step: Callable[[], Any], repeats: int) -> float:
    """Processor seconds of the fastest of ``repeats`` calls."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        step()
        best = min(best, time.process_time() - start)
    return best


def spread(values: Sequence[int]) -> str:
    """Mean and median, for a row's ``how``."""
    return f"mean {statistics.mean(values):.0f}, median {statistics.median(values):.0f}"
