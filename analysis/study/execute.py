"""Some processes at a time, one thread each, nice: what finished, what failed, what is still to do is on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probe.errors import ProbeError
from probe.files import write_json

State = Literal["waiting", "running", "finished", "failed"]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
NICENESS = 10
POLL = 0.2  # seconds between looks at the processes


@dataclass(frozen=True)
class Command:
    """A command (the words after ``python -m``) whose output goes to ``log``, and what is done when it succeeds."""

    name: str
    command: tuple[str, ...]
    log: Path
    then: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Outcome:
    """Where a job stands; ``code`` is the exit code of a failed one and ``said`` its last line."""

    state: State
    code: int | None = None
    said: str = ""


def run_jobs(
    jobs: Sequence[Command], *, at_once: int, status: Path, report: Callable[[str], None], finished: Iterable[str] = ()
) -> dict[str, Outcome]:
    """Run all jobs, ``at_once`` at a time, in order; a failure stops no other. ``status`` is rewritten at each change.

    When this is interrupted, its own processes are ended (a run goes on from its last saved state) and ``status`` says
    what is still to do.
    """
    outcomes = {name: Outcome("finished") for name in finished} | {job.name: Outcome("waiting") for job in jobs}
    waiting, running = list(jobs), dict[str, tuple[Command, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                running[job.name] = (job, _start(job))
                outcomes[job.name] = Outcome("running")
                report(f"{job.name}: started, log {job.log}")
                _write(status, outcomes)
            for name, (job, process) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                outcomes[name] = _outcome(job, process.returncode)
                report(f"{name}: {_line(outcomes[name])}")
                _write(status, outcomes)
            time.sleep(POLL if running else 0)
    finally:
        for name, (_, process) in running.items():
            process.terminate()
            outcomes[name] = Outcome("waiting", said="cut; goes on from its last saved state")
        for _, process in running.values():
            process.wait()
        _write(status, outcomes)
    return outcomes


def environment() -> Mapping[str, str]:
    """That of this process, with one thread for every library that would take more."""
    return {**os.environ, **dict.fromkeys(THREADS, "1"), "TOKENIZERS_PARALLELISM": "false"}


def _start(job: Command) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *job.command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=dict(environment()),
            preexec_fn=_be_nice,
        )  # fmt: skip


def _be_nice() -> None:
    os.nice(NICENESS)


def _outcome(job: Command, code: int) -> Outcome:
    """After a success ``then`` is called, whose own error is a failure of the job too."""
    if code:
        return Outcome("failed", code, _last_line(job.log))
    try:
        job.then()
    except ProbeError as error:
        return Outcome("failed", error.exit_code, str(error))
    return Outcome("finished")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or [""])[-1]


def _line(outcome: Outcome) -> str:
    code = f" (exit code {outcome.code})" if outcome.code is not None else ""
    return f"{outcome.state}{code}" + (f": {outcome.said}" if outcome.said else "")


def _write(path: Path, outcomes: Mapping[str, Outcome]) -> None:
    told = {name: {"state": one.state, "code": one.code, "said": one.said} for name, one in outcomes.items()}
    to_do = [name for name, one in outcomes.items() if one.state != "finished"]
    write_json(path, {"still_to_do": to_do, "runs": told})
