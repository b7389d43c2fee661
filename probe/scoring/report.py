"""The report on stored maps: maps and gold in, scores beside their baselines out, as frames and CSV files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from probe.errors import DataError, UsageError
from probe.gold.datasets import name_of
from probe.gold.reading import Gold, GoldSet, gold_hash
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.scoring import baselines, runs, statistics
from probe.scoring.extractions import WAYS, extractions
from probe.scoring.metrics import MapMetric
from probe.scoring.tables import (
    SCHEMA_VERSION,
    Described,
    Scored,
    describe,
    examples_frame,
    scored,
    tokens_frame,
    write_csv,
)
from probe.version import __version__

Watched = Callable[[Sequence[str]], Iterable[str]]


def unwatched(ids: Sequence[str]) -> Iterable[str]:
    """Progress that nobody watches."""
    return ids


@dataclass(frozen=True)
class Report:
    """Everything a report says, as frames; ``runs`` and ``extractions`` hold baselines beside the stored maps."""

    tokens: pd.DataFrame
    examples: pd.DataFrame
    runs: pd.DataFrame
    breakdowns: pd.DataFrame
    comparisons: pd.DataFrame
    extractions: pd.DataFrame
    key_query: pd.DataFrame
    notes: tuple[str, ...]


def build_report(
    stores: Sequence[MapStore],
    golds: Mapping[str, Gold],
    metric: MapMetric | None = None,
    *,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
    watched: Watched = unwatched,
) -> Report:
    """Score every stored map that has gold, beside the baselines of the same examples.

    ``watched`` is given the ids of each store's maps, and passes them on as they are scored: it may count them.

    Raises:
        DataError: no map has gold, or gold is for other tokens. UsageError: two stores hold maps of one name.
    """
    _refuse_same_names(stores)
    maps = list(score_stores(stores, golds, metric or MapMetric(), watched))
    tokens, examples = tokens_frame(maps), examples_frame(maps)
    parts = runs.split_runs(tokens, examples)
    stored = [part for part in parts if not part.checkpoint.startswith(baselines.PREFIX)]
    return Report(
        tokens=_without_baselines(tokens),
        examples=_without_baselines(examples),
        runs=runs.runs_frame(parts, resamples=resamples, seed=seed),
        breakdowns=runs.breakdowns_frame(stored, resamples=resamples, seed=seed),
        comparisons=runs.comparisons_frame(stored, resamples=resamples, seed=seed),
        extractions=runs.extractions_frame(maps, resamples=resamples, seed=seed),
        key_query=key_query_frame(stores),
        notes=_notes(stores, golds, maps),
    )


def score_stores(
    stores: Sequence[MapStore], golds: Mapping[str, Gold], metric: MapMetric, watched: Watched = unwatched
) -> Iterator[Scored]:
    """Score the maps of all stores, then the baselines, each once per example and direction."""
    digest, rows_left = gold_hash(golds.values()), Counter[str]()
    known: dict[tuple[str, str], Described] = {}
    plain: list[Scored] = []
    for store in stores:
        gold_set, maps_hash = GoldSet(golds, store.fingerprints), store.digest[:8]
        for row, example_id in enumerate(watched(list(store.index["example_id"]))):
            if example_id not in golds:
                rows_left[example_id] += 1
                continue
            amap = store.read(row)
            gold = gold_set[amap]
            key = (example_id, amap.direction)
            if key not in known:
                known[key] = describe(amap, gold)
                plain += _baselines(amap, gold, metric, known[key], digest)
            other = _other_direction(store, amap, needed=metric.links == "both-directions")
            yield _score_one(amap, gold, metric, known[key], digest, maps_hash, other)
    if not known:
        wanted, found = next(iter(golds)), next(iter(rows_left), "no map at all")
        raise DataError(
            f"no map has gold: the gold has {len(golds)} ids like {wanted!r}, the maps have ids like {found!r}. "
            "Give the gold of these examples, or extract the maps of the gold's examples."
        )
    yield from plain


def _score_one(
    amap: AttentionMap,
    gold: Gold,
    metric: MapMetric,
    described: Described,
    digest: str,
    maps_hash: str = "",
    other: AttentionMap | None = None,
) -> Scored:
    signature = metric.signature_of(amap, gold=digest, maps=maps_hash)
    every_way = extractions(amap, gold, metric, other=other, digest=digest, maps_hash=maps_hash)
    return scored(amap, metric.score(amap, gold, other=other), described, signature, every_way)


def _baselines(
    amap: AttentionMap, gold: Gold, metric: MapMetric, described: Described, digest: str
) -> Iterator[Scored]:
    for make in (baselines.uniform, baselines.diagonal, baselines.span_rule):
        one = make(amap)
        other = make(replace(amap, direction="s2t" if amap.direction == "t2s" else "t2s"))
        last = _score_one(one, gold, metric, described, digest, other=other)
        yield last
    best = replace(last, checkpoint=baselines.POSITION_FREE, score=baselines.position_free(last.score), extractions=())
    yield best


def _other_direction(store: MapStore, amap: AttentionMap, *, needed: bool) -> AttentionMap | None:
    other = "s2t" if amap.direction == "t2s" else "t2s"
    rows = store.select(example_id=amap.example_id, checkpoint=amap.checkpoint, direction=other)
    if not rows and needed:
        raise UsageError(
            f"--links both-directions needs the {other} map of {amap.example_id!r} ({amap.checkpoint}), "
            "which the store lacks. Extract with --direction both."
        )
    return store.read(rows[0]) if rows else None


def _refuse_same_names(stores: Sequence[MapStore]) -> None:
    seen: dict[str, Path] = {}
    for store in stores:
        for name in dict.fromkeys(store.index["checkpoint"]):
            if name in seen:
                raise UsageError(
                    f"the checkpoint name {name!r} is in {seen[name]} and in {store.path}; names tell the rows of a "
                    "report apart. Rename one checkpoint directory and extract its maps again."
                )
            seen[name] = store.path


def _without_baselines(frame: pd.DataFrame) -> pd.DataFrame:
    keep = ~frame["checkpoint"].astype(str).str.startswith(baselines.PREFIX)
    return frame[keep].reset_index(drop=True)


def _notes(stores: Sequence[MapStore], golds: Mapping[str, Gold], maps: Sequence[Scored]) -> tuple[str, ...]:
    ids = {example_id for store in stores for example_id in store.index["example_id"]}
    without, unused = len(ids - set(golds)), len(set(golds) - ids)
    single = sum(bool(one.extractions) and len(one.extractions) < len(WAYS) for one in maps)
    said = {
        "examples have maps but no gold; they are left out.": without,
        "examples have gold but no map; they are left out.": unused,
        "maps lack that of the other direction; links of both directions leave them out.": single,
    }
    named = [f"the gold is {name}, digest {gold_hash(golds.values())}."] if (name := name_of(golds.values())) else []
    return (*named, *(f"{count} {words}" for words, count in said.items() if count))


def key_query_frame(stores: Sequence[MapStore]) -> pd.DataFrame:
    """One row per checkpoint whose provenance holds numbers on the gap between keys and queries; may be empty."""
    rows = []
    for store in stores:
        for name, entry in dict(store.provenance.get("checkpoints") or {}).items():
            numbers = entry.get("key_query") if isinstance(entry, Mapping) else None
            if isinstance(numbers, Mapping) and numbers:
                method = str(entry.get("method", ""))
                signature = f"method:{method}|maps:{store.digest[:8]}|version:{__version__}"
                labels = {"schema_version": SCHEMA_VERSION, "signature": signature}
                rows.append({**labels, "checkpoint": str(name), "method": method, **numbers})
    return pd.DataFrame(rows)


def write_report(report: Report, out: Path) -> list[Path]:
    """Write every frame of the report as a CSV file under ``out``; key_query only where it is known."""
    written = []
    for name in ("tokens", "examples", "runs", "breakdowns", "comparisons", "extractions", "key_query"):
        frame: pd.DataFrame = getattr(report, name)
        if len(frame.columns):
            write_csv(frame, out / f"{name}.csv")
            written.append(out / f"{name}.csv")
    return written
