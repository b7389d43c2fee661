"""The study's tables: runs, arms, comparisons, doses, and the cells by text that they are computed from."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.study import cells
from analysis.study.cells import Sampling
from analysis.study.plan import SLOPE, Plan
from analysis.study.records import MEASURES, NUMBERS, StudyRun
from probe.scoring.hierarchical import Estimate
from probe.scoring.statistics import holm
from probe.scoring.tables import SCHEMA_VERSION
from probe.version import __version__, sign

ENDPOINTS = {"E1": "top1_possible", "E2": "bits_per_byte"}
ESTIMATE = ("low", "high", "standard_error", "freedom", "seeds", "texts")
COMPARISONS = (
    "schema_version", "signature", "pair", "family", "endpoint", "measure", "first", "second", "difference", "low",
    "high", "p", "p_holm", "detectable", "standard_error", "freedom", "seeds", "texts",
)  # fmt: skip
DOSES = (
    "schema_version", "signature", "pair", "row", "dose", "seed", "value", "low", "high", "p", "detectable",
    "standard_error", "freedom", "seeds", "texts", "change", "change_low", "change_high",
)  # fmt: skip
PATHS = ("schema_version", "signature", "pair", "arm", "seed", "step", "gap_rate")
BEGINNINGS = ("teacher", "start")  # classes of runs that arms begin from: never compared with an arm
WIDE = {"texts": ("bits", ["bytes", "start_bits", "teacher_bits"]), "aligned": ("possible_hits", ["possible_rows"])}
Grouped = dict[str, dict[int, StudyRun]]  # arm -> seed -> run


@dataclass(frozen=True)
class Study:
    """All tables of a study, as frames; the names are those of the CSV files."""

    runs: pd.DataFrame
    arms: pd.DataFrame
    comparisons: pd.DataFrame
    dose: pd.DataFrame
    texts: pd.DataFrame
    aligned: pd.DataFrame
    gap_rate: pd.DataFrame


def build_study(
    runs: Sequence[StudyRun], plans: Mapping[str, Plan], *, reference: str = "sft", sampling: Sampling | None = None
) -> Study:
    """Every table. ``plans`` give a pair its confirmatory comparisons and its reference; without one it has neither."""
    sampling = sampling or Sampling()
    ordered = sorted(runs, key=lambda run: (run.pair, _place(run, plans), run.seed))
    labels = {"schema_version": SCHEMA_VERSION, "signature": signature_of(ordered, sampling)}
    by_pair: dict[str, Grouped] = {}
    for run in ordered:
        by_pair.setdefault(run.pair, {}).setdefault(run.arm, {})[run.seed] = run
    compared, doses, means = [], [], []
    for pair, arms in by_pair.items():
        means += [{**labels, "pair": pair, **row} for row in _arm_rows(arms, sampling)]
        doses += [{**labels, "pair": pair, **row} for row in _dose_rows(arms, sampling)]
        rows = _comparison_rows(arms, plans.get(pair), reference, sampling)
        compared += [{**labels, "pair": pair, **row} for row in rows]
    return Study(
        runs=pd.DataFrame([_run_row(run) for run in ordered]),
        arms=pd.DataFrame(means),
        comparisons=pd.DataFrame(compared, columns=list(COMPARISONS)),
        dose=pd.DataFrame(doses, columns=list(DOSES)),
        texts=_wide(ordered, "texts", labels),
        aligned=_wide(ordered, "aligned", labels),
        gap_rate=pd.DataFrame(_paths(ordered), columns=list(PATHS)),
    )


def _paths(runs: Sequence[StudyRun]) -> Iterator[dict[str, Any]]:
    """λ of every logged step of the runs that learn one."""
    for run in runs:
        labels = {"schema_version": SCHEMA_VERSION, "signature": run.signature}
        for step, value in run.path:
            yield {**labels, "pair": run.pair, "arm": run.arm, "seed": run.seed, "step": step, "gap_rate": value}


def signature_of(runs: Sequence[StudyRun], sampling: Sampling) -> str:
    """How the tables were made: a digest of the runs' signatures, and the resampling."""
    digest = hashlib.sha256("\n".join(run.signature for run in runs).encode()).hexdigest()[:8]
    return sign(runs=digest, resamples=sampling.resamples, seed=sampling.seed, version=__version__)


def _place(run: StudyRun, plans: Mapping[str, Plan]) -> int:
    """An arm's place in its plan; arms that no plan knows come last, in the order given (the sort is stable)."""
    known = list(plans[run.pair].arms) if run.pair in plans else []
    return known.index(run.arm) if run.arm in known else len(known)


def _run_row(run: StudyRun) -> dict[str, Any]:
    values = {name: run.value(name) for name in MEASURES}
    numbers = {name: run.numbers.get(name, math.nan) for name in NUMBERS}
    for name in ("bits_per_byte", "gap_closed"):  # by text where there are texts; else what training measured
        values[name] = numbers[name] if math.isnan(values[name]) else values[name]
    return {
        "schema_version": SCHEMA_VERSION, "signature": run.signature, "pair": run.pair, "arm": run.arm,
        "class": run.kind, "method": run.method, "dose": math.nan if run.dose is None else run.dose, "seed": run.seed,
        **numbers, **values, "n_texts": len(run.texts), "n_aligned": len(run.aligned),
    }  # fmt: skip


def _arm_rows(arms: Grouped, sampling: Sampling) -> Iterator[dict[str, Any]]:
    """A row an arm and measure, where the arm has it."""
    for arm, runs in arms.items():
        labels = {"arm": arm, "class": next(iter(runs.values())).kind, "seeds": len(runs)}
        for measure in MEASURES:
            found = cells.mean(runs, measure, sampling)
            if found is not None:
                yield {**labels, "measure": measure, "value": found.value, **_cells(found)}


def _cells(found: Estimate) -> dict[str, float]:
    return {name: getattr(found, name) for name in ESTIMATE}


def by_dose(arms: Grouped) -> dict[float, dict[int, StudyRun]]:
    """The arms that have a dose, by it."""
    doses = {arm: next(iter(runs.values())).dose for arm, runs in arms.items()}
    return {dose: arms[arm] for arm, dose in doses.items() if dose is not None}


def _dose_rows(arms: Grouped, sampling: Sampling) -> Iterator[dict[str, Any]]:
    """Bits per byte at each dose, with the paired change from the lowest; the slope; that of each seed alone."""
    measure, dosed = ENDPOINTS["E2"], by_dose(arms)
    for dose in sorted(dosed):
        if found := cells.mean(dosed[dose], measure, sampling):
            yield {"row": "dose", "dose": dose, "value": found.value, **_cells(found), **_change(dosed, dose, sampling)}
    whole = cells.slope(dosed, measure, sampling)
    if whole is None:
        return
    yield {"row": "slope", "value": whole.value, "p": whole.p, "detectable": whole.detectable, **_cells(whole)}
    for seed in sorted(set.intersection(*(set(runs) for runs in dosed.values()))):
        if one := cells.slope({dose: {seed: runs[seed]} for dose, runs in dosed.items()}, measure, sampling):
            yield {"row": "slope of a seed", "seed": seed, "value": one.value, **_cells(one)}


def _change(dosed: Mapping[float, Mapping[int, StudyRun]], dose: float, sampling: Sampling) -> dict[str, float]:
    """Bits per byte at a dose minus those at the lowest, on the seeds and texts that both have."""
    found = cells.difference(dosed[dose], dosed[min(dosed)], ENDPOINTS["E2"], sampling)
    return {"change": found.value, "change_low": found.low, "change_high": found.high} if found else {}


def _comparison_rows(arms: Grouped, plan: Plan | None, reference: str, sampling: Sampling) -> list[dict[str, Any]]:
    """The confirmatory comparisons with Holm's p over all of the pair, then every arm against the reference."""
    planned = plan.confirmatory if plan else ()
    rows = [
        {"family": "confirmatory", **row}
        for endpoint, names in planned
        if (row := _comparison(arms, endpoint, names, sampling)) is not None
    ]
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    base = plan.reference if plan else reference
    trained = [arm for arm, runs in arms.items() if arm != base and next(iter(runs.values())).kind not in BEGINNINGS]
    others = [(endpoint, (arm, base)) for endpoint in ENDPOINTS for arm in trained]
    others += [(endpoint, ("uniform", "span")) for endpoint in ("E2",) if {"uniform", "span"} <= set(arms)]
    for endpoint, names in others:
        if (endpoint, names) not in planned and (row := _comparison(arms, endpoint, names, sampling)) is not None:
            rows.append({"family": "exploratory", **row})
    return rows


def _comparison(arms: Grouped, endpoint: str, names: tuple[str, ...], sampling: Sampling) -> dict[str, Any] | None:
    measure = ENDPOINTS[endpoint]
    if names == (SLOPE,):
        found = cells.slope(by_dose(arms), measure, sampling)
    elif set(names) <= set(arms):
        found = cells.difference(arms[names[0]], arms[names[1]], measure, sampling)
    else:
        return None
    if found is None:
        return None
    first, second = names if len(names) == 2 else (f"slope over {SLOPE}", "0")  # as wording.SLOPE_NAME
    values = {"difference": found.value, "p": found.p, "detectable": found.detectable, **_cells(found)}
    return {"endpoint": endpoint, "measure": measure, "first": first, "second": second, **values}


def _wide(runs: Sequence[StudyRun], kind: str, labels: Mapping[str, Any]) -> pd.DataFrame:
    """A row a pair and text, a column a run: bits of held-out texts, or hits (top-1 possible) of texts with gold."""
    value, shared = WIDE[kind]
    parts = []
    for pair in dict.fromkeys(run.pair for run in runs):
        frames = {run.name: getattr(run, kind).set_index("example_id") for run in runs if run.pair == pair}
        frames = {name: frame for name, frame in frames.items() if len(frame)}
        if not frames:
            continue
        known = pd.concat([frame[shared] for frame in frames.values()])
        made = known[~known.index.duplicated()].assign(**{name: frame[value] for name, frame in frames.items()})
        parts.append(made.round(4).reset_index(names="example_id").assign(pair=pair, **labels))
    if not parts:
        return pd.DataFrame(columns=[*labels, "pair", "example_id", *shared])
    whole = pd.concat(parts, ignore_index=True)
    front = [*labels, "pair", "example_id", *shared]
    return whole[[*front, *(name for name in whole if name not in front)]]
