"""Which pictures an export draws: single maps, tiles of long ones, grids of checkpoints, differences; on what scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from analysis.heatmaps.files import Drawing, DrawingJob, file_names, source_hash, unique_names
from probe.errors import UsageError
from probe.gold.reading import Gold
from probe.maps.store import MapStore

Scale = Literal["0-1", "run", "map"]
KEY = ("example_id", "direction", "normalisation")  # what maps of a grid or a difference share


def single_maps(store: MapStore, rows: Iterable[int], suffix: str) -> list[Drawing]:
    """A picture for each map."""
    names = file_names(store, suffix)
    return [Drawing((row,), names[row]) for row in rows]


def tiled(store: MapStore, pictures: Iterable[Drawing]) -> Iterator[Drawing]:
    """Long maps as several pictures along the text, named ``…--tile-1-of-3``; the others as they are."""
    from probe.plotting import MAX_TOKENS
    from probe.plotting.layout import tiles

    for picture in pictures:
        windows = tiles(store.read(picture.rows[0]), MAX_TOKENS)
        stem, dot, suffix = picture.file.rpartition(".")
        for number, window in enumerate(windows, start=1):
            name = f"{stem}--tile-{number}-of-{len(windows)}{dot}{suffix}"
            yield replace(picture, file=name, window=window) if len(windows) > 1 else picture


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
    weights = [store.read(row).weights for row in picture.rows]
    if picture.kind == "difference":
        return float(np.abs(weights[0] - weights[1]).max()) or 1.0
    return float(max(part.max() for part in weights))


def _run(store: MapStore, picture: Drawing) -> tuple[object, ...]:
    names = ("checkpoint", "direction", "normalisation")
    return (picture.kind, *(tuple(store.column(name)[row] for row in picture.rows) for name in names))


def job_of(store: MapStore, picture: Drawing, gold: Gold | None, suffix: str) -> DrawingJob:
    """A picture with the hash of what it is made of."""
    settings = (picture.kind, picture.vmax, picture.window)
    hashes = [source_hash(store.read(row), gold, suffix, *settings) for row in picture.rows]
    return DrawingJob(picture, gold, "-".join(hashes))
