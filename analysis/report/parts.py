"""What a report's page is made of: sections, tables, pictures, and numbers as words."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBER = re.compile(r"[-+−–\d.,\[\]\s]*")
SHARP = 144  # dots an inch of a PNG: two a pixel of the page, where two maps stand side by side


@dataclass(frozen=True)
class Table:
    """A table with its caption; the first cell of a row is its header."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numbers(self) -> tuple[bool, ...]:
        """Whether a column holds nothing but numbers, which are set to the right."""
        return tuple(all(NUMBER.fullmatch(row[place]) for row in self.rows) for place in range(len(self.heads)))


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with the words for those who cannot see it.

    ``lines`` are printed above it, the first as a heading.
    """

    uri: str
    words: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A section: its finding as heading, what it explains, tables and pictures; ``folded`` tables open on demand."""

    heading: str
    words: str = ""
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    folded: tuple[Table, ...] = ()


def picture(
    drawn: Axes | Figure, words: str, form: Literal["png", "svg"] = "svg", *, lines: tuple[str, ...] = ()
) -> Picture:
    """A figure as a picture in the page."""
    from probe.plotting import figure_bytes

    data = base64.b64encode(figure_bytes(drawn, form, dpi=SHARP)).decode()
    return Picture(f"data:image/{'svg+xml' if form == 'svg' else form};base64,{data}", words, lines)


def cell(row: pd.Series, name: str, *, interval: bool = True) -> str:
    """A score to two decimals, with its interval where there is one; a dash where it is not defined."""
    value = row.get(name, math.nan)
    if pd.isna(value):
        return "–"
    low, high = (row.get(f"{name}_{end}", math.nan) for end in ("low", "high"))
    shown = f" [{low:.2f},\u00a0{high:.2f}]" if interval and not math.isnan(low) else ""
    return f"{value:.2f}{shown}"
