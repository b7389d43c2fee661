"""Cells [seed, text] of arms that are compared: the seeds and the texts that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.study.records import StudyRun
from probe.errors import DataError
from probe.scoring.hierarchical import Estimate, contrast, estimate, slope_weights


@dataclass(frozen=True)
class Sampling:
    """How often, and from which seed, seeds and texts are drawn."""

    resamples: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class Cells:
    """``parts`` of each arm and the ``whole`` that all share, [seed, text]."""

    parts: tuple[np.ndarray, ...]
    whole: np.ndarray
    seeds: tuple[int, ...]


Arms = Sequence[Mapping[int, StudyRun]]  # of each arm: seed -> run


def cells(arms: Arms, measure: str) -> Cells | None:
    """The cells of arms of one pair over their common seeds and texts; None where they have none in common.

    Raises:
        DataError: a text counts unlike in two runs (other bytes, other gold): then nothing is paired.
    """
    counts = [{seed: run.counts(measure) for seed, run in arm.items()} for arm in arms]
    kept = [{seed: frame for seed, frame in arm.items() if len(frame)} for arm in counts]
    seeds = sorted(set.intersection(*(set(arm) for arm in kept))) if kept else []
    if not seeds:
        return None
    ids = kept[0][seeds[0]].index
    for arm in kept:
        for seed in seeds:
            ids = ids.intersection(arm[seed].index, sort=False)
    if not len(ids):
        return None
    parts = tuple(np.stack([arm[seed].loc[ids, "part"].to_numpy(float) for seed in seeds]) for arm in kept)
    wholes = [np.stack([arm[seed].loc[ids, "whole"].to_numpy(float) for seed in seeds]) for arm in kept]
    for whole in wholes:
        if not np.allclose(whole, wholes[0][0], rtol=1e-6, atol=1e-6):
            place = int(np.abs(whole - wholes[0][0]).max(axis=0).argmax())
            raise DataError(f"the text {ids[place]!r} counts unlike in two runs; {measure} needs the same in all.")
    return Cells(parts, wholes[0], tuple(seeds))


def mean(arm: Mapping[int, StudyRun], measure: str, sampling: Sampling) -> Estimate | None:
    """The measure of an arm over its seeds and texts."""
    return weighted([arm], (1.0,), measure, sampling)


def difference(
    first: Mapping[int, StudyRun], second: Mapping[int, StudyRun], measure: str, sampling: Sampling
) -> Estimate | None:
    """The measure of ``first`` minus that of ``second``, paired by seed and text."""
    return weighted([first, second], (1.0, -1.0), measure, sampling)


def slope(arms: Mapping[float, Mapping[int, StudyRun]], measure: str, sampling: Sampling) -> Estimate | None:
    """The least-squares slope of the measure over the doses; None with fewer than two."""
    doses = sorted(arms)
    if len(doses) < 2:
        return None
    return weighted([arms[dose] for dose in doses], slope_weights(doses), measure, sampling)


def weighted(arms: Arms, weights: Sequence[float] | np.ndarray, measure: str, sampling: Sampling) -> Estimate | None:
    """Σ weight · measure of arms, over their common seeds and texts; None where they have none in common."""
    found = cells(arms, measure)
    if found is None:
        return None
    part = contrast(found.parts, list(weights))
    return estimate(part, found.whole, resamples=sampling.resamples, seed=sampling.seed)
