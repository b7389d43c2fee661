"""Text that fits beside a heatmap: no glyph that fonts lack, no invisible character, long tokens elided."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection

UNIT = re.compile(r"‹[^‹›]*›|.", re.DOTALL)  # an escape of the display form stays whole, otherwise a character
ELLIPSIS = "…"


def readable(text: str, glyphs: Collection[int] | Callable[[int], bool]) -> str:
    """``text`` with every character that is invisible, or not among the fonts' ``glyphs``, as ‹U+1F680›."""
    known = glyphs if callable(glyphs) else glyphs.__contains__
    return "".join(_shown(character, known) for character in text)


def _shown(character: str, known: Callable[[int], bool]) -> str:
    if " " <= character <= "~":
        return character
    if unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp"):
        return f"‹U+{ord(character):04X}›"
    return character if known(ord(character)) else f"‹U+{ord(character):04X}›"


def width(text: str) -> int:
    """Columns that ``text`` takes in a monospaced font: two for a wide character, none for a combining one."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def elide(text: str, columns: int) -> str:
    """``text`` in at most ``columns`` columns, with an ellipsis for its middle; one escape may be a little wider."""
    if width(text) <= columns:
        return text
    units = UNIT.findall(text)
    if len(units) == 1:
        return text
    head: list[str] = []
    tail: list[str] = []
    room = columns - 1
    while len(head) + len(tail) < len(units):
        front = len(head) <= len(tail)
        unit = units[len(head)] if front else units[-1 - len(tail)]
        room -= width(unit)
        if room < 0:
            break
        (head if front else tail).append(unit)
    return "".join(head) + ELLIPSIS + "".join(reversed(tail))


def wrap(parts: Collection[str], columns: int, separator: str = " · ") -> list[str]:
    """``parts`` joined into lines of at most ``columns`` columns where they can be; a part is never cut."""
    lines: list[str] = []
    for part in parts:
        if lines and width(lines[-1]) + width(separator) + width(part) <= columns:
            lines[-1] += separator + part
        else:
            lines.append(part)
    return lines
