"""What can be downloaded: the cells on screen as CSV, a map or the difference of two as a picture or a page."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from app.data.view import Shown
from probe.maps.attention_map import AttentionMap
from probe.scoring.aggregation import UNITS, cropped, cropped_gold
from probe.scoring.tables import write_csv

LEADING = ("example_id", "checkpoint", "direction", "normalisation", "unit")


@dataclass(frozen=True)
class Picture:
    """A map to draw as it is on screen: ``top`` is the weight of the last colour, ``title`` its lines.

    With a ``reference`` it is the difference of the map to that one.
    """

    shown: Shown
    top: float
    title: str
    reference: AttentionMap | None = None


def file_stem(amap: AttentionMap) -> str:
    """A file name without its suffix that is safe everywhere: letters, digits, dot, dash and underscore."""
    name = f"{amap.example_id}_{amap.checkpoint}_{amap.direction}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:120] or "map"


def shown_stem(shown: Shown) -> str:
    """The file name of what is on screen: with its unit, and its window where that is not the whole map."""
    (top, bottom), (left, right) = shown.window.rows, shown.window.columns
    parts = [] if shown.unit == UNITS[0] else [shown.unit]
    parts += [] if shown.window.holds_all(shown.amap) else [f"s{top}-{bottom - 1}-t{left}-{right - 1}"]
    return "_".join([file_stem(shown.amap), *parts])


def csv_bytes(maps: Sequence[Shown]) -> bytes:
    """The cells of the maps on screen, one row a cell, in UTF-8 with a byte order mark.

    Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    frames = [
        shown.cells.assign(**{name: getattr(shown.amap, name) for name in LEADING[:-1]}, unit=shown.unit)
        for shown in maps
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame = frame[[*LEADING, *(name for name in frame.columns if name not in LEADING)]]
    with tempfile.TemporaryDirectory() as folder:
        write_csv(frame, Path(folder) / "cells.csv")
        return b"\xef\xbb\xbf" + (Path(folder) / "cells.csv").read_bytes()


def picture_bytes(picture: Picture, kind: str) -> bytes:
    """The window as ``png``, ``svg`` or ``pdf``, on the colour scale of the page."""
    from probe import plotting  # matplotlib is not loaded before the first download

    shown = picture.shown
    window = (shown.window.rows, shown.window.columns)
    if picture.reference is None:
        axes = plotting.attention_heatmap(
            shown.amap, gold=shown.gold, vmax=picture.top, window=window, title=picture.title
        )
    else:
        maps = (cropped(amap, *window) for amap in (shown.amap, picture.reference))
        gold = None if shown.gold is None else cropped_gold(shown.gold, *window)
        axes = plotting.difference_heatmap(*maps, gold=gold, vmax=picture.top)
    with tempfile.TemporaryDirectory() as folder:
        return plotting.save_figure(axes, Path(folder) / f"map.{kind}").read_bytes()


def html_bytes(shown: Shown) -> bytes:
    """The window on screen as one HTML file: static, no script, nothing loaded, light and dark."""
    from probe.notebook.picture import map_html

    unit = "target" if shown.unit == UNITS[0] else shown.unit
    window = (shown.window.rows, shown.window.columns)
    return map_html(shown.amap, shown.gold, unit, window, page=True).encode()
