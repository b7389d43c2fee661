"""`python -m tests.faults`: what training, saving and reading survive, counted.

Kills at random moments, a disk that fails at each write call, damaged files, numbers that are none. A slice of it runs
with the tests.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import disk as faults_disk
from tests.faults import kill as faults_kill
from tests.faults import mutants as faults_mutants
from tests.faults import nan as faults_nan

CAMPAIGNS: dict[str, Callable[[Path, int], tuple[str, bool]]] = {
    "kills": faults_kill.report,
    "disk": faults_disk.report,
    "mutants": faults_mutants.report,
    "nan": faults_nan.report,
}
# name -> its number: kills, every so many write calls, mutants, every so many places and values
FULL = {"kills": 100, "disk": 1, "mutants": 500, "nan": 1}
QUICK = {"kills": 4, "disk": 19, "mutants": 45, "nan": 19}


def main(argv: list[str] | None = None) -> int:
    """Run the campaigns; 0 if everything was survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", choices=CAMPAIGNS, default=list(CAMPAIGNS), help="these campaigns")
    parser.add_argument("--quick", action="store_true", help="a slice of each")
    args = parser.parse_args(argv)
    survived = True
    for name in args.only:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            os.environ["PROBE_CACHE"] = f"{folder}/cache"
            line, good = CAMPAIGNS[name](Path(folder), (QUICK if args.quick else FULL)[name])
        print(f"{line} ({time.monotonic() - begun:.0f} s)" + ("" if good else "  NOT SURVIVED"), flush=True)
        survived &= good
    return 0 if survived else 1


if __name__ == "__main__":
    sys.exit(main())
