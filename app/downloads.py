"""What can be taken home: the cells on screen as CSV, the map as PNG."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from app.view import Window
from probe.attention_map import AttentionMap
from probe.gold import Gold

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def file_stem(amap: AttentionMap) -> str:
    """A file name without its suffix that is safe everywhere: letters, digits, dot, dash and underscore."""
    name = f"{amap.example_id}_{amap.checkpoint}_{amap.direction}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:120] or "map"


def csv_bytes(parts: Sequence[tuple[AttentionMap, pd.DataFrame]]) -> bytes:
    """The cells of the maps on screen, one row a cell, in UTF-8 with a byte order mark.

    Text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    frames = [
        cells.assign(
            example_id=amap.example_id,
            checkpoint=amap.checkpoint,
            direction=amap.direction,
            normalisation=amap.normalisation,
        )
        for amap, cells in parts
    ]
    frame = pd.concat(frames, ignore_index=True)
    leading = ["example_id", "checkpoint", "direction", "normalisation"]
    frame = frame[[*leading, *(name for name in frame.columns if name not in leading)]]
    return b"\xef\xbb\xbf" + frame.map(_harmless).to_csv(index=False, lineterminator="\n").encode()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def png_bytes(amap: AttentionMap, gold: Gold | None, window: Window, vmax: float) -> bytes:
    """The window as PNG, on the colour scale of the page."""
    from probe import plotting  # matplotlib is not loaded before the first download

    axes = plotting.attention_heatmap(amap, gold=gold, vmax=vmax, window=(window.rows, window.columns))
    with tempfile.TemporaryDirectory() as folder:
        return plotting.save_figure(axes, Path(folder) / "map.png").read_bytes()
