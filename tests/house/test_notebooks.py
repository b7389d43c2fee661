"""The notebooks of docs/ run, and what they print and show is what is stored in them."""

from __future__ import annotations

import os
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 200_000  # bytes


def outputs(notebook: Any) -> list[str]:
    """All that is printed or shown, as text and as HTML; what libraries warn of is left out."""
    found: list[str] = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stdout":
                found.append(output.text)
            elif output.output_type in ("execute_result", "display_data"):
                found += [output.data[kind] for kind in ("text/plain", "text/html") if kind in output.data]
    return found


def test_there_are_three_small_ones_that_were_executed():
    assert [path.stem[:1] for path in NOTEBOOKS] == ["1", "2", "3"]
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, 4)
        assert path.stat().st_size < LARGEST and len(outputs(notebook)) >= 3
        assert not [o for cell in notebook.cells for o in cell.get("outputs", []) if o.output_type == "error"]
        assert str(ROOT) not in path.read_text(encoding="utf-8") and "/tmp" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_does_what_it_shows(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stored, run = nbformat.read(path, 4), nbformat.read(path, 4)
    for cell in run.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(run, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}).execute()
    assert outputs(run) == outputs(stored)
