"""CSV files as a spreadsheet takes them apart: every cell of a file, and those that it would run as a formula."""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path

SIGNS = "=+-@"


@dataclass(frozen=True)
class Cells:
    """How many cells a file has, header included, counted as it is quoted; and those that are live in any reading."""

    count: int
    live: tuple[str, ...]


def live_cells(path: Path) -> Cells:
    """Read a CSV file with commas, as it is written, and with semicolons and tabs, as in other countries."""
    text = path.read_bytes().decode("utf-8-sig")
    readings = {mark: _cells(text, mark) for mark in ",;\t"}
    live = dict.fromkeys(cell for cells in readings.values() for cell in cells if _is_live(cell))
    return Cells(len(readings[","]), tuple(live))


def _cells(text: str, delimiter: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]


def _is_live(cell: str) -> bool:
    """Whether it begins with a sign, in any width, behind whatever a spreadsheet may skip, and is not a number."""
    seen = cell
    while seen and (seen[0] == '"' or unicodedata.category(seen[0])[0] in "ZC"):
        seen = seen[1:]
    return unicodedata.normalize("NFKC", seen[:1]).replace("−", "-")[:1] in tuple(SIGNS) and not _is_number(cell)  # noqa: RUF001


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
