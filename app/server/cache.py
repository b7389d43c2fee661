"""All caching of the dashboard. Keys are digests of the files read: of a file that changed, nothing old is shown.

What takes long is kept by Streamlit, which lets one visitor do it while the others wait; what every click needs is
kept by functools, which asks for a hash of its arguments and no more.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from app.data import listing as listing_of
from app.data import view
from app.data.listing import Filters, Listing, Run, catalog, listing, map_distance, with_difference
from app.data.source import Source, digest_of
from app.data.view import Shown, Window
from app.server import kept, reports
from app.server.positions import PositionTable
from app.server.scores import SCORES, ScoreBoard, gold_or_none
from probe.files import MANIFEST
from probe.gold import reading as gold
from probe.gold.reading import Gold, gold_hash
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.scoring.alignment import span_gold
from probe.scoring.metrics import MapMetric
from probe.scoring.report import Report

Value = TypeVar("Value")


def open_source(maps: Path, gold_path: Path | None) -> Source:
    """Open the map store and read the gold. Raises the errors of MapStore.open and read_gold, which are not cached."""
    digest = digest_of(maps / MANIFEST)
    store = _store(str(maps), digest)
    if gold_path is None:
        return Source(store, {}, digest, "")
    gold_digest = digest_of(gold_path)
    return Source(store, _golds(str(gold_path), gold_digest), digest, gold_digest)


@st.cache_resource(max_entries=4, show_spinner=False)
def _store(path: str, digest: str) -> MapStore:
    return MapStore.open(path)


@st.cache_resource(max_entries=4, show_spinner=False)
def _golds(path: str, digest: str) -> dict[str, Gold]:
    return gold.read_gold(path)


def rule_file(source: Source) -> Path:
    """A gold file of the links that the span rule gives the examples of a store; kept as scores are. Raises ProbeError.

    A file, because the report and an export are made by processes of their own.
    """
    return _rule_file(source, source.store_digest)


@st.cache_resource(max_entries=4, show_spinner="Linking tokens by their bytes …")
def _rule_file(_source: Source, digest: str) -> Path:
    path = kept.folder() / f"{kept.name('spans', digest)}.jsonl"
    if not path.is_file():
        maps = all_maps(_source).drop_duplicates("example_id")
        prints = (_source.store.student_fingerprint, _source.store.teacher_fingerprint)
        read = (_source.store.read(int(row)) for row in maps["row"])
        gold.write_gold(path, {one.example_id: _by_rule(one, prints) for one in read})
        kept.forget_oldest(path)
    return path


def _by_rule(amap: AttentionMap, prints: tuple[str, str]) -> Gold:
    return span_gold(amap.example_id, amap.text, amap.student, amap.teacher, prints)


def board(source: Source) -> ScoreBoard:
    """The scores of all maps, one board for all visitors; the first call starts the scoring."""
    return _board(source, source.digest)


@st.cache_resource(max_entries=2, show_spinner=False)
def _board(_source: Source, digest: str) -> ScoreBoard:
    return ScoreBoard(_source)


def all_maps(source: Source) -> pd.DataFrame:
    """One row a map of the store; see :func:`app.data.listing.catalog`. Not to be changed."""
    return _catalog(source, source.store_digest)


@st.cache_resource(max_entries=4, show_spinner=False)
def _catalog(_source: Source, digest: str) -> pd.DataFrame:
    return catalog(_source.store)


def _kept_when_complete(make: Callable[..., Value]) -> Callable[..., Value]:
    """Keep what is made of a source, the first argument, but not before all its scores are known."""
    kept = functools.lru_cache(maxsize=64)(make)

    @functools.wraps(make)
    def of_source(source: Source, *rest: object) -> Value:
        return (kept if board(source).complete else make)(source, *rest)

    return of_source


@_kept_when_complete
def examples(source: Source, checkpoint: str, direction: str, normalisation: str) -> pd.DataFrame:
    """The example list of one run with the scores that are known by now; NaN without gold. Not to be changed."""
    maps = all_maps(source)
    wanted = {"checkpoint": checkpoint, "direction": direction, "normalisation": normalisation}
    rows = maps[np.logical_and.reduce([maps[name] == value for name, value in wanted.items()])]
    return rows.assign(**dict(zip(SCORES, board(source).values[rows["row"]].T, strict=True)))


def positions(source: Source, run: Run) -> PositionTable:
    """Every position of a run as a table, one for all visitors; the first call begins to read the maps."""
    return _positions(source, source.digest, run)


@st.cache_resource(max_entries=8, show_spinner=False)
def _positions(_source: Source, digest: str, run: Run) -> PositionTable:
    maps = all_maps(_source)
    wanted = {"checkpoint": run.checkpoint, "direction": run.direction, "normalisation": run.normalisation}
    rows = maps.loc[np.logical_and.reduce([maps[name] == value for name, value in wanted.items()]), "row"]
    return PositionTable(_source, run, rows.tolist())


@_kept_when_complete
def means(source: Source, checkpoint: str, direction: str, normalisation: str) -> pd.Series:
    """The run's mean of every score that is known by now."""
    return examples(source, checkpoint, direction, normalisation)[list(SCORES)].mean()


@_kept_when_complete
def typical(source: Source, run: Run) -> str | None:
    """The example of a run to open with; see :func:`app.data.listing.typical`."""
    return listing_of.typical(examples(source, run.checkpoint, run.direction, run.normalisation))


@_kept_when_complete
def run_listing(source: Source, run: Run, filters: Filters) -> Listing:
    """The examples of a run that pass the filters, with the change from ``run.other`` where there is one."""
    rows = examples(source, run.checkpoint, run.direction, run.normalisation)
    if run.other:
        rows = with_difference(rows, examples(source, run.other, run.direction, run.normalisation))
    return listing(rows, filters)


@_kept_when_complete
def pair_listing(source: Source, run: Run, filters: Filters) -> Listing:
    """The examples that ``run.other`` shares with the run, its reference: its scores, change, and distance of maps."""
    assert run.other is not None
    first = examples(source, run.checkpoint, run.direction, run.normalisation)
    second = examples(source, run.other, run.direction, run.normalisation)
    both = second[second["example_id"].isin(first["example_id"])]
    reference = first.set_index("example_id")["row"][both["example_id"]]
    apart = _distances(source, source.store_digest, run, reference.to_numpy(), both["row"].to_numpy())
    return listing(with_difference(both, first).assign(distance=apart), filters)


@st.cache_resource(max_entries=16, show_spinner="Comparing the maps …")
def _distances(_source: Source, digest: str, run: Run, _first: np.ndarray, _second: np.ndarray) -> np.ndarray:
    """How far apart the maps of each pair of rows are, 0 to 1; see :func:`app.data.listing.map_distance`."""
    read = _source.store.read
    pairs = zip(_first.tolist(), _second.tolist(), strict=True)
    return np.array([map_distance(read(one), read(two)) for one, two in pairs])


# Maps that some visitor has on screen: whoever looks at the same one shares it, and it goes when the last one leaves.
_READ: weakref.WeakValueDictionary[tuple[object, ...], AttentionMap] = weakref.WeakValueDictionary()
_SHOWN: weakref.WeakValueDictionary[tuple[object, ...], Shown] = weakref.WeakValueDictionary()


def read(source: Source, row: int) -> AttentionMap:
    """A map of the store. Not to be changed."""
    key = (source.store_digest, row)
    if (amap := _READ.get(key)) is None:
        amap = _READ[key] = source.store.read(row)
    return amap


def in_unit(source: Source, row: int, unit: str) -> tuple[AttentionMap, Gold | None]:
    """A map of the store with its gold if that fits, by token, chunk or word."""
    amap = read(source, row)
    return view.in_unit(amap, gold_or_none(source, amap), unit)


def shown(source: Source, row: int, unit: str, window: Window) -> Shown:
    """A map of the store as it is on screen, with its gold if that fits; see :func:`app.data.view.shown`."""
    key = (source.digest, row, unit, window)
    if (found := _SHOWN.get(key)) is None:
        found = _SHOWN[key] = view.framed(*in_unit(source, row, unit), unit, window)
    return found


@st.cache_data(max_entries=64, show_spinner=False)
def _signature(_source: Source, digest: str, checkpoint: str, direction: str, normalisation: str) -> str:
    rows = _source.store.select(checkpoint=checkpoint, direction=direction, normalisation=normalisation)
    if not (_source.golds and rows):
        return ""
    return MapMetric().signature(
        method=_source.store.column("method")[rows[0]],
        direction=direction,
        normalisation=normalisation,
        gold=gold_hash(_source.golds.values()),
        maps=_source.store.digest[:8],
    )


def signature(source: Source, checkpoint: str, direction: str, normalisation: str) -> str:
    """How the scores of a run are made, as reports say it; empty where there is no gold, or no such run."""
    return _signature(source, source.digest, checkpoint, direction, normalisation)


def report_is_made(source: Source, gold: Path) -> bool:
    """Whether :func:`report` answers at once; the first call begins to make it, in the background."""
    job = reports.start(source, gold)
    return job is None or not job.running


def report(source: Source) -> Report:
    """Runs, breakdowns and comparisons as `probe score` gives them. Raises DataError where no gold fits."""
    return _report(source, source.digest)


@st.cache_resource(max_entries=2, show_spinner="Scoring all maps beside their baselines …")
def _report(_source: Source, digest: str) -> Report:
    from probe.scoring import report as scoring

    found = reports.read(_source)  # where the background could not make it, doing so here says why
    return found if found is not None else scoring.build_report([_source.store], _source.golds)
