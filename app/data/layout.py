"""How big maps are drawn in a page of so many pixels: cells, what fits beside them, and several maps side by side."""

from __future__ import annotations

from dataclasses import dataclass

from app.data.letters import label_width
from app.data.view import Window, labels
from probe.maps.attention_map import AttentionMap

LABEL_LIMIT = 110  # pixels of a token's label; longer ones are cut, the tooltip has them whole
TITLE = 34  # pixels beside the labels: the axis title and the space around
SMALLEST = 10  # pixels of a cell whose label can be read
BARE = 8  # pixels beside the cells of a map without labels
LEGEND = 150  # pixels of the colour legend's title
HIGHEST = 720  # pixels that a map may be high before its cells get smaller
ABREAST = 5  # maps beside each other
GAP = 20  # pixels between two maps
FEWEST = 12  # columns with labels that are worth it; where fewer fit, maps are drawn small, without labels
LOW = 480  # pixels that maps beside others are high


def margin(amap: AttentionMap, step: int = 14) -> int:
    """Pixels beside the cells of a map: the axis title and the longest label."""
    return TITLE + label_width(labels(amap.text, amap.student), min(12, step - 1), LABEL_LIMIT)


def most_columns(amap: AttentionMap, width: int) -> int:
    """How many columns with labels that can be read fit into ``width`` pixels."""
    return max(1, (width - margin(amap, SMALLEST)) // SMALLEST)


def chart_size(window: Window, width: int, beside: int, height: int = HIGHEST) -> tuple[int, int]:
    """Pixels a cell, and pixels that the whole chart is wide, when it may be ``width`` wide and
    its cells ``height`` high; ``beside`` is its :func:`margin`.

    A cell is 10 pixels at least, the smallest whose label can be read (then the chart may be wider), and 28 at most.
    """
    rows, columns = (stop - start for start, stop in (window.rows, window.columns))
    step = max(SMALLEST, min(28, (width - beside) // columns, height // rows))
    return step, beside + max(columns * step, LEGEND)


@dataclass(frozen=True)
class Grid:
    """How maps stand beside each other: how many ``abreast``, each ``width`` pixels wide, of cells of ``step`` pixels,
    at most ``columns`` of them; ``bare`` ones have no labels."""

    abreast: int
    width: int
    step: int
    columns: int
    bare: bool

    @classmethod
    def of(cls, amap: AttentionMap, rows: int, columns: int, maps: int, room: int) -> Grid:
        """The grid of so many maps with at most ``rows`` and ``columns`` on screen, in ``room`` pixels."""
        abreast = min(maps, ABREAST)
        width = room // abreast - GAP
        fit = most_columns(amap, width)
        rows = min(rows, len(amap.student))
        if fit >= min(columns, FEWEST):
            columns = min(columns, fit)
            step = min(28, (width - margin(amap)) // columns, LOW // rows)
            return cls(abreast, width, max(SMALLEST, step), columns, bare=False)
        return cls(abreast, width, max(2, min(9, (width - BARE) // columns)), columns, bare=True)
