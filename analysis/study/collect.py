"""A finished run's record: the checkpoint's numbers, its cells by text, and its maps' hits on the gold."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.study.execute import environment
from analysis.study.plan import GoldSource, Plan, PlannedRun
from analysis.study.prepare import Places, config_of, digests, settings_of
from analysis.study.records import RECORD, StudyRun, of_checkpoint, write_record
from probe.errors import DataError
from probe.gold.moving import move_gold
from probe.gold.reading import read_gold
from probe.gold.record import Gold
from probe.gold.sources import from_store
from probe.gold.transfer import beginning_of
from probe.maps.store import MapStore
from probe.models.methods import METHODS
from probe.scoring.metrics import MapMetric
from probe.scoring.report import score_stores
from probe.scoring.runs import RunRows, split_runs
from probe.scoring.tables import examples_frame, tokens_frame
from probe.version import sign


def collect(run: PlannedRun, plan: Plan, places: Places) -> StudyRun:
    """Write the record of a finished run; maps are extracted where its method has a query.

    Raises:
        DataError: the gold does not fit, or the maps could not be extracted.
    """
    config, directory = config_of(run, places), places.checkpoint(run)
    settings = settings_of(config, places)
    found = of_checkpoint(directory, pair=plan.pair, arm=run.arm.name, kind=run.arm.kind, dose=run.arm.dose)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    made = {"settings": digest, **digests(config)}
    signature = f"{found.signature}|{sign(**made)}"
    aligned = found.aligned
    if plan.gold is not None and METHODS[config.method].query:
        aligned = aligned_rows(maps_of(run, plan.gold, places), plan.gold)
    record = replace(found, signature=signature, aligned=aligned)
    write_record(record, places.folder("records") / run.name, settings)
    return record


def is_collected(run: PlannedRun, places: Places) -> bool:
    """Whether the run has a record."""
    return (places.folder("records") / run.name / RECORD).is_file()


def maps_of(run: PlannedRun, gold: GoldSource, places: Places) -> Path:
    """The run's map store (t2s) of the gold's texts, by ``probe extract`` in a process of its own."""
    store, log = places.folder("maps") / run.name, places.folder("logs") / f"{run.name}.extract.log"
    options = ["--checkpoint", str(places.checkpoint(run)), "--data", gold.texts, "--out", str(store), "--overwrite"]
    with open(log, "wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "probe", "extract", *options, "--direction", "t2s"],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=dict(environment()),
        )  # fmt: skip
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise DataError(f"{run.name}: its maps could not be extracted: {said[-1] if said else 'see'} ({log}).")
    return store


def aligned_rows(maps: Path, gold: GoldSource) -> pd.DataFrame:
    """Hits and rows of top-1 by example: possible, sure, possible at tied positions, possible in n:1 chunks."""
    store = MapStore.open(maps)
    scored = list(score_stores([store], golds_of(gold, maps), MapMetric()))
    runs = split_runs(tokens_frame(scored), examples_frame(scored))
    run = next(run for run in runs if run.checkpoint in set(store.index["checkpoint"]))
    return hits(run)


def hits(run: RunRows) -> pd.DataFrame:
    """One row an example: ``<name>_hits`` and ``<name>_rows`` of every way to count."""
    tied = run.tokens["tied"].to_numpy(dtype=bool)
    n1 = (run.tokens["relation"].astype(object) == "n:1").to_numpy()
    counted = {
        "possible": run.counts("top1_possible"),
        "sure": run.counts("top1_sure"),
        "tied": run.counts("top1_possible", tied),
        "n1": run.counts("top1_possible", n1),
    }
    columns = {f"{name}_{part}": counts[:, place] for name, counts in counted.items()
               for place, part in enumerate(("hits", "rows"))}  # fmt: skip
    return pd.DataFrame({"example_id": run.examples["example_id"].astype(str), **columns})


def golds_of(gold: GoldSource, maps: Path) -> Mapping[str, Gold]:
    """The gold of the study, on the tokens of the maps; what cannot move is left out."""
    golds = read_gold(Path(gold.file))
    if not gold.move:
        return golds
    begin, _, _ = beginning_of(golds.values())
    moves = move_gold(golds, from_store(maps), begin)
    return {move.gold.id: move.gold for move in moves if move.gold is not None}
