"""One line of a file of links as a value, and how links are written in it: ``0-0 1p2``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from probe.errors import DataError
from probe.gold.record import Link


@dataclass(frozen=True)
class LinkLine:
    """What one line says. ``id`` is None where the line has none; ``sure`` tells the level of each of ``links``.

    ``words`` are those of both sides where the format holds them, ``left_out`` counts links that no gold can hold, and
    ``nulls`` the links to NULL as gold has them (:class:`probe.gold.record.Gold`), each with its level.
    """

    place: str  # file:line
    id: str | None
    links: tuple[Link, ...]
    sure: tuple[bool, ...]
    confidence: bool = False  # the line had one, which nothing here keeps
    words: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    left_out: int = 0
    nulls: tuple[tuple[Link, bool], ...] = ()


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """("file:line", line) of every line, blank ones too. Raises DataError: not to be read, or not UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: gold cannot be read ({error.strerror}). Check the path.") from error
    rows = raw.split(b"\n")
    for number, line in enumerate(rows[:-1] if not rows[-1].strip() else rows, 1):
        place = f"{path}:{number}"
        try:
            yield place, line.decode("utf-8").removeprefix("\ufeff").rstrip("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 ({error.reason}, byte {error.start}). Save it as UTF-8.") from error


def pharaoh_links(place: str, text: str, *, levels: bool, base: int = 0) -> tuple[tuple[Link, ...], tuple[bool, ...]]:
    """The links of ``0-0 1-2 …`` and the level of each, counted from ``base``; ``levels``: ``1p2`` is possible."""
    found: list[Link] = []
    sure: list[bool] = []
    for item in text.split():
        mark = "p" if levels and "p" in item else "-"
        left, _, right = item.partition(mark)
        if not (is_index(left) and is_index(right)) or min(int(left), int(right)) < base:
            wanted = "'id<TAB>0-0 1p2 …' (i-j sure, ipj possible) or the links alone" if levels else "'0-0 1-2 …'"
            raise DataError(f"{place}: wanted {wanted}, counted from {base}; {item[:40]!r} is no link.")
        found.append((int(left) - base, int(right) - base))
        sure.append(mark == "-")
    return tuple(found), tuple(sure)


def is_index(text: str) -> bool:
    """Whether a text is a whole number of at most nine digits, nothing else."""
    return text.isascii() and text.isdecimal() and len(text) < 10
