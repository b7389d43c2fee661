"""A map, gold or a list of maps as static HTML: no script, no colours of the page's own, every string escaped."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from probe.gold.record import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.metrics import gold_cells

Window = tuple[tuple[int, int], tuple[int, int]]  # half-open ranges of student rows and of teacher columns

MOST = 40  # targets a side that are drawn
LEAST = 0.02  # lighter cells are left out: nobody sees them
CELL, LETTER, LABEL = 15, 6.7, 14  # pixels of a cell and of a letter; columns of a label
HEADS = ("example_id", "checkpoint", "direction", "size", "text")


@dataclass(frozen=True)
class Picture:
    """A grid in pixels. ``links`` has the gold under ``sure`` and ``possible``; all cells are [row, column]."""

    rows: Sequence[str]
    columns: Sequence[str]
    weights: Sequence[tuple[int, int, float]]
    links: dict[str, list[tuple[int, int]]]
    hits: Sequence[tuple[int, int]]
    misses: Sequence[tuple[int, int]]
    left: int
    top: int

    @property
    def width(self) -> int:
        return self.left + CELL * len(self.columns) + 10

    @property
    def height(self) -> int:
        return self.top + CELL * len(self.rows) + 6


@dataclass(frozen=True)
class Table:
    """A table's head and its rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def map_html(
    amap: AttentionMap, gold: Gold | None = None, unit: str = "target", window: Window | None = None, *,
    page: bool = False,
) -> str:  # fmt: skip
    """The map, or a window of it, with its gold; ``page``: as a whole HTML file.

    Raises:
        DataError: gold on other tokens. UsageError: the window is empty or leaves the map.
    """
    from probe.plotting import outcomes  # with matplotlib: half a second, and most notebooks draw anyway
    from probe.plotting.layout import View

    sure, possible = gold_cells(amap, gold)
    view = View.of(amap, MOST, window, unit)
    marks = {name: cells[view.cells] for name, cells in outcomes(amap, sure, possible).items()} if gold else {}
    weights = amap.weights[view.cells]
    picture = _picture(
        amap.student.tokens[view.rows], amap.teacher.tokens[view.columns], weights,
        sure[view.cells], possible[view.cells],
        _cells(marks["sure"] | marks["possible"]) if marks else [], _cells(marks["miss"]) if marks else [],
    )  # fmt: skip
    size = f"{len(amap.student)} student × {len(amap.teacher)} teacher {unit}s"
    lines = [" · ".join((amap.checkpoint, amap.direction, amap.normalisation, size)), view.note, _short(amap.text)]
    return _render(amap.example_id, lines, picture=picture, page=page)


def gold_html(gold: Gold) -> str:
    """The links of one example: outlines alone."""
    bounds = (len(gold.student_tokens), len(gold.teacher_tokens))
    count = f"{len(gold.sure)} sure and {len(gold.possible)} possible links"
    lines = [f"gold · {count} · {bounds[0]} student × {bounds[1]} teacher targets", _short(gold.text)]
    if not all(bounds):  # read from a format without tokens
        return _render(gold.id, lines)
    shown = min(bounds[0], MOST), min(bounds[1], MOST)
    sure, possible = np.zeros(bounds, bool), np.zeros(bounds, bool)
    for cells, links in ((sure, gold.sure), (possible, gold.possible)):
        if links:
            cells[tuple(np.array(sorted(links)).T)] = True
    part = tuple(map(slice, shown))
    if shown != bounds:
        lines.append(f"cut: student targets 0–{shown[0] - 1}, teacher targets 0–{shown[1] - 1}")
    tokens = gold.student_tokens[part[0]], gold.teacher_tokens[part[1]]
    return _render(gold.id, lines, picture=_picture(*tokens, np.zeros(shown), sure[part], possible[part], [], []))


def maps_html(head: str, shown: Sequence[AttentionMap], size: int, gold: Gold | None) -> str:
    """The first maps of ``size`` as a table, and the first of them with its gold."""
    rows = [
        (
            amap.example_id,
            amap.checkpoint,
            amap.direction,
            f"{len(amap.student)} × {len(amap.teacher)}",
            _short(amap.text),
        )
        for amap in shown
    ]
    lines = [f"the first {len(shown)} of {size}"] if len(shown) < size else []
    html = _render(head, lines, table=Table(HEADS, rows))
    return html + (map_html(shown[0], gold) if shown else "")


def _picture(
    rows: Sequence[str], columns: Sequence[str], weights: np.ndarray, sure: np.ndarray, possible: np.ndarray,
    hits: list[tuple[int, int]], misses: list[tuple[int, int]],
) -> Picture:  # fmt: skip
    from probe.plotting.labels import elide, readable, width

    labels = [[elide(readable(token, lambda code: True), LABEL) for token in side] for side in (rows, columns)]
    left, top = (int(LETTER * max(map(width, side), default=0)) + 12 for side in labels)
    seen = [(i, j, round(float(weights[i, j]), 3)) for i, j in _cells(weights >= LEAST)]
    links = {"sure": _cells(sure), "possible": _cells(possible & ~sure)}
    return Picture(labels[0], labels[1], seen, links, hits, misses, left, top)


def _cells(mask: np.ndarray) -> list[tuple[int, int]]:
    return [(int(i), int(j)) for i, j in np.argwhere(mask)]


def _short(text: str) -> str:
    from probe.plotting.labels import elide

    return elide(text.replace("\n", "⏎"), 90)


def visible(value: Any) -> Any:
    """A string with control, direction and other invisible characters as ‹U+202E›; markup of the template as it is."""
    from probe.plotting.labels import readable

    return readable(value, lambda code: True) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, finalize=visible, trim_blocks=True)
    return environment.get_template("picture.html.j2")


def _render(
    head: str, lines: Sequence[str], *, table: Table | None = None, picture: Picture | None = None, page: bool = False
) -> str:  # fmt: skip
    shown = [line for line in lines if line]
    return _template().render(head=head, lines=shown, table=table, picture=picture, page=page)
