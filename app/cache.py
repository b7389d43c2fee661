"""All caching of the dashboard. Keys are digests of what is read, so a store made again is read again."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pandas as pd
import streamlit as st

from app.view import SCORES, example_rows
from probe import attention_map, gold
from probe.attention_map import AttentionMap, MapStore
from probe.files import MANIFEST
from probe.gold import Gold


@dataclasses.dataclass(frozen=True)
class Source:
    """The maps and gold behind a page, with the digests that the caches hang on."""

    store: MapStore
    golds: dict[str, Gold]
    store_digest: str
    gold_digest: str

    def without_gold(self) -> Source:
        """The same maps, with no gold to score them by."""
        return dataclasses.replace(self, golds={}, gold_digest="")


def open_source(maps: Path, gold_path: Path | None) -> Source:
    """Open the map store and read the gold. Raises the errors of MapStore.open and read_gold, which are not cached."""
    digest = _digest(maps / MANIFEST)
    store = _store(str(maps), digest)
    if gold_path is None:
        return Source(store, {}, digest, "")
    gold_digest = _digest(gold_path)
    return Source(store, _golds(str(gold_path), gold_digest), digest, gold_digest)


def _digest(path: Path) -> str:
    """Digest of the file and its place; of the place alone when there is nothing to read (its reader explains that)."""
    content = path.read_bytes() if path.is_file() else b""
    return hashlib.sha256(str(path.resolve()).encode() + b"\0" + content).hexdigest()


@st.cache_resource(max_entries=4, show_spinner=False)
def _store(path: str, digest: str) -> MapStore:
    return attention_map.MapStore.open(path)


@st.cache_resource(max_entries=4, show_spinner=False)
def _golds(path: str, digest: str) -> dict[str, Gold]:
    return gold.read_gold(path)


def examples(source: Source, checkpoint: str, direction: str, normalisation: str) -> pd.DataFrame:
    """The example list of one run with its scores; NaN without gold. Raises DataError for gold of other tokens."""
    return _examples(source, source.store_digest, source.gold_digest, checkpoint, direction, normalisation)


@st.cache_data(max_entries=64, show_spinner=False)
def _examples(
    _source: Source, store_digest: str, gold_digest: str, checkpoint: str, direction: str, normalisation: str
) -> pd.DataFrame:
    rows = _source.store.select(checkpoint=checkpoint, direction=direction, normalisation=normalisation)
    frame = example_rows(_source.store.index.iloc[rows])
    scores = [_score(_source, row) for row in rows]
    return frame.assign(**{name: [score[name] for score in scores] for name in SCORES})


def _score(source: Source, row: int) -> dict[str, float]:
    from probe.metrics import score_map  # not needed, and not paid for, where there is no gold

    amap = source.store.read(row)
    found = source.golds.get(amap.example_id)
    if found is None:
        return dict.fromkeys(SCORES, float("nan"))
    check(source, found, amap)
    score = score_map(amap, found)
    return {name: float(getattr(score, name)) for name in SCORES}


def check(source: Source, found: Gold, amap: AttentionMap) -> None:
    """Raise DataError, naming the first difference, if ``found`` was made on other tokens than the map's."""
    prints = (source.store.student_fingerprint, source.store.teacher_fingerprint)
    gold.check_gold(found, amap.student, amap.teacher, prints, text=amap.text)
