"""What can be taken home: the cells on screen as CSV, the map as PNG."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Sequence

import pandas as pd

from app.view import Window
from probe.attention_map import AttentionMap, TokenAxis
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


def png_bytes(amap: AttentionMap, gold: Gold | None, window: Window) -> bytes:
    """The window as PNG."""
    from probe import plotting  # matplotlib is not loaded before the first download

    shown, links = cut(amap, gold, window)
    axes = plotting.attention_heatmap(shown, gold=links)
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    return buffer.getvalue()


def cut(amap: AttentionMap, gold: Gold | None, window: Window) -> tuple[AttentionMap, Gold | None]:
    """The map and the gold of the window alone, with links counted from the window's corner."""
    (top, bottom), (left, right) = window.rows, window.columns

    def part(axis: TokenAxis, start: int, stop: int) -> TokenAxis:
        return TokenAxis(*(getattr(axis, field.name)[start:stop] for field in dataclasses.fields(axis)))

    student, teacher = part(amap.student, top, bottom), part(amap.teacher, left, right)
    shown = dataclasses.replace(amap, student=student, teacher=teacher, weights=amap.weights[top:bottom, left:right])
    if gold is None:
        return shown, None
    inside = {
        name: frozenset((i - top, j - left) for i, j in getattr(gold, name) if top <= i < bottom and left <= j < right)
        for name in ("sure", "possible")
    }
    return shown, dataclasses.replace(gold, student_tokens=student.tokens, teacher_tokens=teacher.tokens, **inside)
