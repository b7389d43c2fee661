"""What stands outside the library, ``app`` and ``analysis``: where it lies, and how a command there is run.

In a checkout both are folders beside ``probe``; a wheel brings them along in ``probe/doors`` (setup.py). They are run
in a process of their own, never imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from probe.errors import UsageError
from probe.version import LIBRARY

# command -> (module of ``analysis``, one line of help)
ANALYSIS = {
    "export-heatmaps": ("analysis.export_heatmaps", "one picture a map: png, svg, pdf; for print with --width"),
    "alignment-report": ("analysis.alignment_report", "scores of stores as CSV, figures and one page of HTML"),
    "failures": ("analysis.failures", "which links are wrong, and why"),
    "key-query": ("analysis.key_query", "how far the queries of checkpoints are from the keys"),
    "sensitivity": ("analysis.sensitivity", "how far maps move with normalisation, batch and padding"),
    "imposed-maps": ("analysis.imposed_maps", "what a map is worth to the losses: gold, uniform, permuted maps"),
    "study": ("analysis.study", "methods over seeds: tables, tests, figures"),
}


def root() -> Path:
    """The folder that holds ``app`` and ``analysis``. Raises UsageError where neither came along."""
    for folder in (LIBRARY / "doors", LIBRARY.parent):
        if (folder / "app" / "main.py").is_file() and (folder / "analysis").is_dir():
            return folder
    raise UsageError(f"wanted the folders app and analysis beside {LIBRARY}; found none. Install the package again.")


def run_analysis(name: str, arguments: Sequence[str]) -> int:
    """Run a command of ``ANALYSIS`` in the present directory; returns its exit code."""
    module, _ = ANALYSIS[name]
    return run_python(["-m", module, *arguments], {CALLED: name})


CALLED = "PROBE_CALLED_AS"  # under which name a command of ``analysis`` was started, for its --help


def run_python(arguments: Sequence[str], environment: Mapping[str, str], *, cwd: Path | None = None) -> int:
    """Run Python, which finds ``app`` and ``analysis``; it ends with this process. Returns its exit code.

    ``-P``: a folder called ``analysis`` in the present directory is not what is meant.
    """
    known = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, [str(root()), str(LIBRARY.parent), known]))
    child = subprocess.Popen(
        [sys.executable, "-P", *arguments], env={**os.environ, "PYTHONPATH": path, **environment}, cwd=cwd
    )
    try:
        return child.wait()
    except KeyboardInterrupt:
        return child.wait()  # the terminal has told both
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
