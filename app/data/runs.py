"""Runs of one method and their seeds: which belong together, their mean and spread, and the best of many.

A run's seed is the number at the end of its name, behind ``-seed`` or ``-s`` (``dskd-cma-seed3``, ``dskd-cma-s3``; an
underscore, a dot or a slash will do for the dash). What is before it names the group; a run without such an end is a
group of its own.
"""

from __future__ import annotations

import re

import pandas as pd

from probe.scoring.baselines import PREFIX

SEED = re.compile(r"(?P<group>.+)[-_./](?:seed|s)[-_]?(?P<seed>\d{1,6})", re.IGNORECASE)
MOST_DRAWN = 10  # groups in a chart; a table has them all


def group_and_seed(name: str) -> tuple[str, int | None]:
    """The group of a run and its seed, None where the name says none."""
    found = SEED.fullmatch(name)
    return (found["group"], int(found["seed"])) if found else (name, None)


def grouped(runs: pd.DataFrame, score: str) -> pd.DataFrame:
    """One row a group, the best mean first, baselines last in their order.

    Columns: ``group``, ``seeds`` (how many runs), ``mean``, ``lowest``, ``highest``, ``spread`` (standard deviation
    over seeds, NaN for one run), ``low`` and ``high`` (the 95 % interval of a run; lowest and highest of several).
    """
    frame = pd.DataFrame(
        {
            "group": [group_and_seed(name)[0] for name in runs["checkpoint"]],
            "value": runs[score].to_numpy(),
            "low": runs[f"{score}_low"].to_numpy(),
            "high": runs[f"{score}_high"].to_numpy(),
        }
    )
    parts = frame.groupby("group", sort=False)
    made = parts["value"].agg(seeds="count", mean="mean", lowest="min", highest="max", spread="std")
    alone = made["seeds"] == 1
    made["low"] = parts["low"].first().where(alone, made["lowest"])
    made["high"] = parts["high"].first().where(alone, made["highest"])
    made = made.reset_index()
    baseline = made["group"].str.startswith(PREFIX)
    stored = made[~baseline].sort_values("mean", ascending=False, kind="stable")
    return pd.concat([stored, made[baseline]], ignore_index=True)


def drawn(groups: pd.DataFrame, most: int = MOST_DRAWN) -> pd.DataFrame:
    """The ``most`` best groups, and the baselines."""
    baseline = groups["group"].str.startswith(PREFIX)
    return pd.concat([groups[~baseline].head(most), groups[baseline]], ignore_index=True)


def best(runs: pd.DataFrame, score: str, most: int) -> list[str]:
    """The names of the best stored runs, in the order of the table where all of them fit."""
    stored = runs[~runs["checkpoint"].str.startswith(PREFIX)]
    if len(stored) > most:
        stored = stored.sort_values(score, ascending=False, kind="stable").head(most)
    return [str(name) for name in stored["checkpoint"]]


def against(comparisons: pd.DataFrame, score: str, direction: str, base: str) -> pd.DataFrame:
    """How much higher than that of ``base`` each run's score is: ``run``, ``difference``, ``low``, ``high``, ``p``
    (after Holm), the largest difference first. Of the report's comparisons, turned so that ``base`` comes second."""
    rows = comparisons[(comparisons["direction"] == direction) & (comparisons["score"] == score)]
    parts = []
    for side, other, sign in (("first", "second", -1), ("second", "first", 1)):
        part = rows[rows[side] == base]
        values = part[["difference", "difference_low", "difference_high"]].to_numpy() * sign
        ends = values[:, 1:] if sign > 0 else values[:, :0:-1]
        made = {"run": part[other], "difference": values[:, 0], "low": ends[:, 0], "high": ends[:, 1]}
        parts.append(pd.DataFrame({**made, "p": part["p_holm"]}))
    found = pd.concat(parts)
    return found.loc[found["difference"].abs().sort_values(ascending=False, kind="stable").index].reset_index(drop=True)
