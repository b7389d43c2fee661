"""The legend of a heatmap: what outlines, marks and the pin mean, in lines below the cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Bbox

from probe.plotting.fonts import em_width, font
from probe.plotting.layers import DASHES, GOLD, GREY, INK, MARKS, MISS
from probe.plotting.layout import Sheet


def draw_legend(ax: Axes, sheet: Sheet, entries: Iterable[Entry]) -> None:
    """What the outlines and the marks mean: the artist with gid ``legend``."""
    ax.add_artist(LegendStrip(sheet, tuple(entries)))


def gold_entries(direction: str, *, marks: bool) -> list[Entry]:
    """The legend of the outlines and, with ``marks``, of the heaviest cells."""
    entries = [Entry("gold: sure", SQUARE, GOLD, 1.3, 9.0), Entry("gold: possible", SQUARE, GOLD, 0.9, 9.0, DASHES[1])]
    if marks:
        entries.append(Entry(f"heaviest of its {'row' if direction == 't2s' else 'column'}:"))
        for name, (marker, part, label) in MARKS.items():
            style = MarkerStyle(marker)
            path = style.get_path().transformed(style.get_transform())
            entries.append(Entry(label, path, MISS if name == "miss" else INK, 1.0, 17 * part))
    return entries


def pin_entry(row: str, column: str, weight: float | None) -> Entry:
    """The legend of a pinned cell: its tokens, and its weight where that is one number."""
    return Entry(f"pinned: {row} · {column}" + ("" if weight is None else f" {weight:.2f}"), SQUARE, INK, 1.6, 9.0)


SQUARE = Path([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])


@dataclass(frozen=True)
class Entry:
    """A line of the legend: a label after a path of unit size, drawn ``size`` points large."""

    label: str
    path: Path | None = None
    color: str = GREY
    width: float = 0.0
    size: float = 0.0
    dashes: tuple[float, ...] | None = None


class LegendStrip(Artist):
    """The legend below the cells; matplotlib's own takes a seventh of all time to find its layout.

    ``size``: of its text, in points. ``room``: where a line ends, in points; it is one line unless it is too long.
    """

    BELOW, SIGN, SPACE = 16.0, 12.0, 13.0  # points: distance to the cells, room of a sign, gap
    SIZE, LINE = 7.0, 1.6  # points of the text for which signs have their size; a line in sizes of the text

    def __init__(
        self, sheet: Sheet, entries: tuple[Entry, ...], *, size: float = SIZE, room: float | None = None
    ) -> None:
        super().__init__()
        self._sheet, self.entries, self._size = sheet, entries, size
        self.lines = self._lines(sheet.size[0] - 14 if room is None else room)
        self.set(gid="legend", zorder=3)

    def _lines(self, room: float) -> list[list[Entry]]:
        lines: list[list[Entry]] = [[]]
        for entry in self.entries:
            if lines[-1] and self._length([*lines[-1], entry]) - self.SPACE > room:
                lines.append([])
            lines[-1].append(entry)
        return lines

    @property
    def height(self) -> float:
        """Points from the cells to the end of the last line."""
        return self.BELOW + self.LINE * self._size * (len(self.lines) - 1) + 0.7 * self._size

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        assert self.axes is not None and self.figure is not None
        box, points = self.axes.get_window_extent(renderer), self.figure.dpi / 72
        length = max(map(self._length, self.lines)) * points
        x = box.x0 + self._sheet.shift * box.width
        return Bbox.from_extents(x, box.y0 - max(1.5 * self.BELOW, self.height) * points, x + length, box.y0)

    def get_tightbbox(self, renderer: RendererBase | None = None) -> Bbox:
        return self.get_window_extent(renderer)

    def _length(self, entries: Iterable[Entry]) -> float:
        return sum(map(self._advance, entries))

    def _advance(self, entry: Entry) -> float:
        return (self.SIGN if entry.path is not None else 0) + em_width(entry.label) * self._size + self.SPACE

    def draw(self, renderer: RendererBase) -> None:
        box = self.get_window_extent(renderer)
        points: Any = renderer.points_to_pixels(1.0)
        for number, line in enumerate(self.lines):
            below = self.BELOW + self.LINE * self._size * number
            self._draw_line(renderer, line, box.x0 + 2 * points, box.y1 - below * points, points)

    def _draw_line(self, renderer: RendererBase, line: list[Entry], x: float, y: float, points: Any) -> None:
        height = renderer.get_canvas_width_height()[1]
        for entry in line:
            start = x + (self.SIGN * points if entry.path is not None else 0)
            if entry.path is not None:
                self._draw_sign(renderer, entry, x + 4 * points, y, points * self._size / self.SIZE)
            gc = renderer.new_gc()
            gc.set_foreground(GREY)
            baseline = y - 0.36 * self._size * points
            baseline = height - baseline if renderer.flipy() else baseline
            renderer.draw_text(gc, start, baseline, entry.label, font(self._size, entry.label), 0)
            gc.restore()
            x += self._advance(entry) * points

    @staticmethod
    def _draw_sign(renderer: RendererBase, entry: Entry, x: float, y: float, points: float) -> None:
        assert entry.path is not None
        gc = renderer.new_gc()
        gc.set_foreground(entry.color)
        gc.set_linewidth(entry.width)
        if entry.dashes:
            gc.set_dashes(0, [length * entry.width for length in entry.dashes])
        renderer.draw_path(gc, entry.path, Affine2D().scale(entry.size * points).translate(x, y))
        gc.restore()
