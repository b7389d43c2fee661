"""Probe while training: the maps of a probe set, scored every few steps, with the key-query mismatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from probe.distillation.config import TrainConfig
from probe.distillation.imposed import check_covered
from probe.distillation.measure import key_query_gap
from probe.distillation.setup import Setup
from probe.extraction.embedding_maps import MapSource, maps_of_pairs
from probe.gold.reading import Gold, gold_hash, read_gold
from probe.maps.attention_map import AttentionMap
from probe.maps.provenance import provenance
from probe.maps.store import MapStore, MapStoreWriter
from probe.models.loading import load_tokenizer, resolve_model
from probe.scoring.alignment import span_gold
from probe.scoring.metrics import MapMetric, MapScore
from probe.scoring.tables import SCHEMA_VERSION, write_csv
from probe.text.examples import read_examples
from probe.text.tokenization import PairedTokens, PairTokenizer
from probe.version import __version__

CURVE, MAPS = "probe_curve.csv", "probe_maps"
SHOWN_EXAMPLES = 4  # whose maps are kept at every probed step
CLASSIFIER = {"steps": 50, "batch": 128}  # 1 s; the checkpoint's own figure takes 300 steps of 256
CURVE_SCORES = ("top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "entropy")


@dataclass(frozen=True)
class ProbeSet:
    """The texts that a run is probed on, with gold for each: of a file, or by the span rule."""

    pairs: Sequence[PairedTokens]
    golds: Mapping[str, Gold]
    tokenizers: tuple[str, str]
    signature: str

    @classmethod
    def of(cls, setup: Setup) -> ProbeSet:
        """Of the file ``probe_data`` (else the held-out examples) and ``probe_gold`` (else the span rule).

        Raises:
            DataError: a file that cannot be read, or gold that lacks an example or is of other tokens.
        """
        config = setup.config
        prints = setup.checkpoint.student_tokenizer, setup.checkpoint.teacher_tokenizer
        pairs = read_pairs(setup, config.probe_data) if config.probe_data else list(setup.held_out)
        golds = read_gold(config.probe_gold) if config.probe_gold else None
        return cls.on(pairs, prints, golds, method=config.method, seed=config.seed)

    @classmethod
    def on(
        cls,
        pairs: Sequence[PairedTokens],
        tokenizers: tuple[str, str],
        golds: Mapping[str, Gold] | None = None,
        *,
        method: str,
        seed: int | None = None,
    ) -> ProbeSet:
        """Of texts in the tokens of both sides, whose fingerprints are ``tokenizers``; gold by the span rule if none.

        ``method`` and ``seed`` are those of the run, for the signature.

        Raises:
            DataError: gold that lacks an example or is of other tokens.
        """
        if golds is None:
            golds = {pair.example_id: _by_spans(pair, tokenizers) for pair in pairs}
        else:
            check_covered(golds, pairs)
        used = gold_hash(golds[pair.example_id] for pair in pairs)
        seeded = "" if seed is None else f"seed:{seed}|"
        return cls(pairs, golds, tokenizers, f"method:{method}|gold:{used}|{seeded}version:{__version__}")


def _by_spans(pair: PairedTokens, prints: tuple[str, str]) -> Gold:
    return span_gold(pair.example_id, pair.text, pair.student.axis, pair.teacher.axis, prints)


def read_pairs(setup: Setup, path: str, limit: int | None = None) -> list[PairedTokens]:
    """The examples of a file in the run's tokens."""
    teacher = load_tokenizer(resolve_model(setup.config.teacher))
    pairer = PairTokenizer(setup.tokenizer, teacher, max_length=setup.config.max_length)
    return list(pairer.encode(read_examples(path, limit=limit)))


def step_name(step: int) -> str:
    """The checkpoint name of the maps after ``step`` optimiser steps."""
    return f"step-{step:06d}"


def due(config: TrainConfig, step: int) -> bool:
    """Whether a run is probed after ``step`` steps: before the first, every ``probe_every``, and after the last."""
    return config.probe_every > 0 and (step % config.probe_every == 0 or step == config.steps)


@torch.no_grad()
def probe_maps(setup: Setup, probes: ProbeSet, step: int) -> list[AttentionMap]:
    """The t2s maps of the probe set as the run is now."""
    attention, normalisation, tables = setup.attention, setup.normalisation, setup.tables
    assert attention is not None and normalisation is not None
    both = tables.student, tables.teacher
    source = MapSource.of(step_name(step), setup.config.method, both, attention, normalisation.sigma_k)
    return list(maps_of_pairs(source, probes.pairs, direction="t2s"))


def map_row(probes: ProbeSet, maps: Sequence[AttentionMap], step: int) -> dict[str, Any]:
    """What maps and gold say of a step: means over all positions that have gold (collapse: over maps)."""
    scores = [MapMetric().score(amap, probes.golds[amap.example_id]) for amap in maps]
    row = {"schema_version": SCHEMA_VERSION, "signature": probes.signature, "step": step, "n_examples": len(maps)}
    row |= {name: _mean_over_positions(scores, name) for name in CURVE_SCORES}
    return row | {"collapse": float(np.mean([score.collapse for score in scores]))}


def probe_row(setup: Setup, probes: ProbeSet, maps: Sequence[AttentionMap], step: int) -> dict[str, Any]:
    """One row of ``probe_curve.csv``: what :func:`map_row` says, and the gap of queries and keys.

    It depends on the run's weights and seed alone, and leaves the random state as it was.
    """
    row = map_row(probes, maps, step)
    assert setup.attention is not None and setup.normalisation is not None
    sigma, seed = setup.normalisation.sigma_k, setup.config.seed
    gap = key_query_gap(probes.pairs, setup.tables, setup.attention, sigma, seed=seed, **CLASSIFIER)
    return row | asdict(gap)


def _mean_over_positions(scores: Sequence[MapScore], name: str) -> float:
    values = np.concatenate([getattr(score.positions, name) for score in scores])
    counted = values[~np.isnan(values)]
    return float(counted.sum() / len(counted)) if len(counted) else float("nan")


def write_probe(directory: Path, row: dict[str, Any], maps: Sequence[AttentionMap], probes: ProbeSet) -> None:
    """Add a probed step to the curve and the map store of ``directory``; what was there of it or after it goes."""
    step = int(row["step"])
    rows = [*read_rows(directory, before=step), row]
    kept = [amap for amap in _read_maps(directory) if _step_of(amap) < step]
    _write_maps(directory, [*kept, *maps[:SHOWN_EXAMPLES]], probes)
    write_csv(pd.DataFrame(rows), directory / CURVE)  # last: a step in the curve has its maps


def rewind(directory: Path, step: int, probes: ProbeSet) -> bool:
    """Take away what was probed after ``step``, which a resumed run probes again; whether ``step`` itself is there."""
    rows = read_rows(directory, before=step + 1)
    if not rows:
        (directory / CURVE).unlink(missing_ok=True)
        return False
    _write_maps(directory, [amap for amap in _read_maps(directory) if _step_of(amap) <= step], probes)
    write_csv(pd.DataFrame(rows), directory / CURVE)
    return int(rows[-1]["step"]) == step


def read_rows(directory: Path, *, before: int) -> list[dict[str, Any]]:
    """The rows of the curve with a smaller step, every float as it was written."""
    if not (directory / CURVE).is_file():
        return []
    frame = pd.read_csv(directory / CURVE, float_precision="round_trip")
    return frame[frame["step"] < before].to_dict("records")  # type: ignore[return-value]


def _step_of(amap: AttentionMap) -> int:
    return int(amap.checkpoint.removeprefix("step-"))


def _read_maps(directory: Path) -> list[AttentionMap]:
    return list(MapStore.open(directory / MAPS)) if (directory / MAPS).is_dir() else []


def _write_maps(directory: Path, maps: Sequence[AttentionMap], probes: ProbeSet) -> None:
    names = dict.fromkeys(amap.checkpoint for amap in maps)
    made = provenance(probes.tokenizers, {name: {"method": maps[0].method} for name in names})
    with MapStoreWriter(directory / MAPS, provenance=made) as writer:
        for amap in maps:
            writer.add(amap)
