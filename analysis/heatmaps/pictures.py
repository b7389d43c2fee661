"""Which pictures an export draws: single maps, tiles of long ones, grids of checkpoints, differences; on what scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.heatmaps.files import Drawing, DrawingJob, Look, file_names, source_hash, unique_names
from probe.errors import UsageError
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.scoring.aggregation import UNITS, in_unit

if TYPE_CHECKING:
    from probe.plotting.layout import CellRanges

Scale = Literal["0-1", "run", "map"]
KEY = ("example_id", "direction", "normalisation")  # what maps of a grid or a difference share


def single_maps(store: MapStore, rows: Iterable[int], suffix: str) -> list[Drawing]:
    """A picture for each map."""
    names = file_names(store, suffix)
    return [Drawing((row,), names[row]) for row in rows]


def looking(pictures: Iterable[Drawing], look: Look) -> list[Drawing]:
    """The pictures with this look; a unit other than the token is in their names."""
    units = () if look.unit == UNITS[0] else (look.unit,)
    return [replace(picture, look=look).named(*units) for picture in pictures]


def first_map(store: MapStore, picture: Drawing) -> AttentionMap:
    """The map whose tokens label the picture, in its unit."""
    return in_unit(store.read(picture.rows[0]), None, picture.look.unit)[0]


def tiled(store: MapStore, pictures: Iterable[Drawing]) -> Iterator[Drawing]:
    """Long maps as several pictures along the text, named ``…--tile-1-of-3``; the others as they are."""
    from probe.plotting import MAX_TOKENS
    from probe.plotting.layout import tiles

    for picture in pictures:
        amap, most = first_map(store, picture), MAX_TOKENS
        if picture.look.width is not None:
            (top, bottom), (left, right) = _fitting(store, picture, None)
            most = max(bottom - top, right - left)
        windows = tiles(amap, most)
        for number, window in enumerate(windows, start=1):
            named = picture.named(f"tile-{number}-of-{len(windows)}")
            yield replace(named, window=window) if len(windows) > 1 else picture


def windowed(store: MapStore, pictures: Iterable[Drawing], window: CellRanges | None) -> Iterator[Drawing]:
    """The pictures with the part of their map that is shown, named ``…--s0-24-t0-22`` where it is not all.

    It is the ``window``, and no more of it than a figure for print has room for.

    Raises:
        UsageError: the window leaves a map, or the pin is not in it.
    """
    from probe.plotting.layout import View

    for picture in pictures:
        look, part = picture.look, window
        if look.width is not None:
            part = _fitting(store, picture, window)
        if part is None and look.pin is None:
            yield picture
            continue
        amap = first_map(store, picture)
        try:
            view = View.of(amap, max(amap.weights.shape), part)
            if look.pin is not None:
                view.inside(look.pin)
        except UsageError as error:
            raise UsageError(f"{amap.example_id}: {error} Choose another, or other --examples.") from error
        whole = not view.note
        yield picture if whole else replace(picture.named(window_name(part)), window=part)


def _fitting(store: MapStore, picture: Drawing, window: CellRanges | None) -> CellRanges:
    from probe.plotting.paper import fitting_window

    look, amap = picture.look, first_map(store, picture)
    assert look.width is not None
    panels = len(picture.rows) if picture.kind == "grid" else 1
    return fitting_window(amap, look.width, panels=panels, columns=look.columns, window=window, pin=look.pin)


def window_name(window: CellRanges | None) -> str:
    """``s0-24-t0-22``: the first and the last target of each side, as a picture's title counts them."""
    if window is None:
        return ""
    (top, bottom), (left, right) = window
    return f"s{top}-{bottom - 1}-t{left}-{right - 1}"


def grids(store: MapStore, rows: Iterable[int], suffix: str) -> list[Drawing]:
    """A picture for each example, direction and normalisation, with the chosen checkpoints side by side."""
    groups = _groups(store, rows)
    identities = [(example, "grid", direction, normalisation) for example, direction, normalisation in groups]
    names = unique_names(identities, suffix)
    return [Drawing(tuple(group.values()), name, "grid") for group, name in zip(groups.values(), names, strict=True)]


def differences(store: MapStore, rows: Iterable[int], pair: Sequence[str], suffix: str) -> list[Drawing]:
    """The first checkpoint minus the second, for each example and direction that both have.

    Raises:
        UsageError: no example has maps of both.
    """
    first, second = pair
    groups = {key: group for key, group in _groups(store, rows).items() if {first, second} <= set(group)}
    if not groups:
        raise UsageError(f"--difference {first} {second}: no chosen example has maps of both. Choose others.")
    label = f"{first}-minus-{second}"
    identities = [(example, label, direction, normalisation) for example, direction, normalisation in groups]
    names = unique_names(identities, suffix)
    return [
        Drawing((group[first], group[second]), name, "difference")
        for group, name in zip(groups.values(), names, strict=True)
    ]


def _groups(store: MapStore, rows: Iterable[int]) -> dict[tuple[str, ...], dict[str, int]]:
    """(example, direction, normalisation) -> checkpoint -> row, in the order of the store."""
    columns, checkpoints = [store.column(name) for name in KEY], store.column("checkpoint")
    groups: dict[tuple[str, ...], dict[str, int]] = {}
    for row in rows:
        groups.setdefault(tuple(column[row] for column in columns), {})[checkpoints[row]] = row
    return groups


def scaled(store: MapStore, pictures: Sequence[Drawing], scale: Scale) -> list[Drawing]:
    """The pictures with the weight of their darkest colour: 1, their own greatest weight, or that of their run.

    A run is what shares checkpoints, direction and normalisation.
    """
    if scale == "0-1":
        return list(pictures)
    peaks = [_peak(store, picture) for picture in pictures]
    if scale == "run":
        runs = [_run(store, picture) for picture in pictures]
        most = {run: max(peak for peak, of in zip(peaks, runs, strict=True) if of == run) for run in set(runs)}
        peaks = [most[run] for run in runs]
    return [replace(picture, vmax=peak) for picture, peak in zip(pictures, peaks, strict=True)]


def _peak(store: MapStore, picture: Drawing) -> float:
    weights = [in_unit(store.read(row), None, picture.look.unit)[0].weights for row in picture.rows]
    if picture.kind == "difference":
        return float(np.abs(weights[0] - weights[1]).max()) or 1.0
    return float(max(part.max() for part in weights))


def _run(store: MapStore, picture: Drawing) -> tuple[object, ...]:
    names = ("checkpoint", "direction", "normalisation")
    return (picture.kind, *(tuple(store.column(name)[row] for row in picture.rows) for name in names))


def job_of(store: MapStore, picture: Drawing, gold: Gold | None, suffix: str) -> DrawingJob:
    """A picture with the hash of what it is made of."""
    settings = (picture.kind, picture.vmax, picture.window, picture.look)
    hashes = [source_hash(store.read(row), gold, suffix, *settings) for row in picture.rows]
    return DrawingJob(picture, gold, "-".join(hashes))
