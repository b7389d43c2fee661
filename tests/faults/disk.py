"""A full or broken disk at every write call of training: exit 6, and the last good checkpoint is intact.

A small library is compiled and preloaded; in the child it fails the n-th call (and all after it) that writes below the
run's folder: write, pwrite, fsync, ftruncate, rename, mkdir, a file created. So Rust's writers are met like Python's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from probe.__main__ import main
from tests.faults.room import Room, command, make_room, same, tensors
from tests.support import ROOT

SOURCE = Path(__file__).with_name("disk.c")
NUMBERS = (errno.ENOSPC, errno.EIO)


@dataclass
class DiskFaults:
    """Write calls of one run, faults planted at them, and what came of each."""

    calls: int = 0
    planted: int = 0
    exit_6: int = 0
    intact: int = 0
    finished_later: int = 0


def preload(folder: Path) -> Path | None:
    """The compiled library, or None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "faults_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def disk_campaign(root: Path, library: Path, every: int) -> DiskFaults:
    """Plant a fault at every ``every``-th write call of a run that replaces an older checkpoint. Needs the preload."""
    faults, room, found, log = ctypes.CDLL(str(library)), make_room(root), DiskFaults(), root / "log.txt"
    out = root / "runs/out"
    if command(room.train(root / "old", "--set", "seed=1"), log) or command(room.train(root / "new"), log):
        raise RuntimeError(f"a run without faults failed:\n{log.read_text()[-2000:]}")
    old, new = tensors(root / "old"), tensors(root / "new")
    found.calls = _count(faults, room, root, log)
    for n in range(1, found.calls + 1, every):
        number = NUMBERS[found.planted % len(NUMBERS)]
        _fresh(root)
        code = command(room.train(out, "--overwrite"), log, lambda n=n, e=number: _arm(faults, root, n, e))
        found.planted += 1
        found.exit_6 += code == 6
        found.intact += main(["verify", str(out)]) == 0 and same(tensors(out), old)
        later = command(room.train(out, "--overwrite", "--resume"), log)
        found.finished_later += later == 0 and same(tensors(out), new)
    return found


def _arm(faults: ctypes.CDLL, root: Path, n: int, number: int) -> None:
    faults.faults_arm(str(root / "runs").encode(), ctypes.c_long(n), number)


def _fresh(root: Path) -> None:
    """The older checkpoint at the place to be written, and nothing else."""
    shutil.rmtree(root / "runs", ignore_errors=True)
    shutil.copytree(root / "old", root / "runs/out")


def _count(faults: ctypes.CDLL, room: Room, root: Path, log: Path) -> int:
    _fresh(root)
    note = root / "calls.txt"
    pid = os.fork()
    if not pid:  # counts in the child, where the calls are made
        _arm(faults, root, 0, 0)
        code = main(room.train(root / "runs/out", "--overwrite"))
        note.write_text(str(faults.faults_calls()), encoding="ascii")
        os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise RuntimeError(f"the counting run failed:\n{log.read_text()[-2000:]}")
    return int(note.read_text(encoding="ascii"))


def in_preloaded(root: Path, every: int) -> DiskFaults | None:
    """The campaign in a process that has the library preloaded; None where there is no C compiler."""
    library = preload(root)
    if library is None:
        return None
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.disk", str(root), str(library), str(every)],
        cwd=ROOT, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the disk campaign failed:\n{done.stderr[-3000:]}")
    return DiskFaults(*map(int, done.stdout.splitlines()[-1].split()))


def report(root: Path, every: int) -> tuple[str, bool]:
    """The line for people, and whether every fault was survived."""
    found = in_preloaded(root, every)
    if found is None:
        return "disk faults: not run, there is no C compiler here", True
    line = (
        f"disk faults: {found.planted} planted at {found.calls} write calls; {found.exit_6} ended with exit 6, "
        f"{found.intact} left the last good checkpoint intact, {found.finished_later} finished bit-equal when repeated"
    )
    return line, found.planted == found.exit_6 == found.intact == found.finished_later > 0


if __name__ == "__main__":
    result = disk_campaign(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    print(result.calls, result.planted, result.exit_6, result.intact, result.finished_later)
