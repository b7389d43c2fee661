"""What a breakdown figure says: the groups, bars, intervals, ceilings and finding of each panel, from the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from probe.plotting.fonts import glyphs
from probe.plotting.labels import elide, readable
from probe.scoring.baselines import POSITION_FREE, PREFIX
from probe.scoring.names import SCORES

# what a breakdown figure can draw: shares from 0 to 1
IN_BREAKDOWNS = ("top1_possible", "top1_sure", "gold_mass_possible", "gold_mass_sure", "chunk_accuracy")
DIRECTIONS = {
    "t2s": "each student position looks at teacher positions",
    "s2t": "each teacher position looks at student positions",
}
GROUPS = {
    "relation": ("By relation of the chunk (student : teacher tokens)", ("1:1", "1:n", "n:1", "n:m")),
    "tied": ("By ties (another position has the same tokens)", ("untied", "tied")),
    "token_class": (
        "By class of the token",
        ("word start", "continuation", "number", "punctuation", "white space", "part of a character", "EOS"),
    ),
}
NAME_COLUMNS = 26  # a longer name of a checkpoint is elided


@dataclass(frozen=True)
class Panel:
    """One axes: ``bars`` has a row per bar with ``group``, ``checkpoint``, ``value``, ``low``, ``high``, ``ceiling``.

    ``labels`` [groups] name the groups from the top; ``dodge`` says that a group holds a bar per checkpoint, each with
    its ceiling; else ``ceiling`` is that of all bars. Numbers that are not defined are NaN.
    """

    title: str
    finding: str
    labels: tuple[str, ...]
    bars: pd.DataFrame
    dodge: bool
    ceiling: float = math.nan


def _bars(frame: pd.DataFrame, groups: Sequence[int], metric: str) -> pd.DataFrame:
    ceiling = SCORES[metric].ceiling
    cells = (("value", metric), ("low", f"{metric}_low"), ("high", f"{metric}_high"))
    return pd.DataFrame(
        {
            "group": list(groups),
            "checkpoint": frame["checkpoint"].to_list(),
            **{name: frame[column].to_list() for name, column in cells},
            "ceiling": frame[ceiling].to_list() if ceiling else math.nan,
        }
    )  # fmt: skip


def all_positions(runs: pd.DataFrame, metric: str) -> Panel:
    """Stored checkpoints, then baselines; the position-free one is no bar but the ceiling's line."""
    shown = runs[runs["checkpoint"] != POSITION_FREE]
    labels = tuple(shown_name(name) for name in shown["checkpoint"])
    best = runs.loc[runs["checkpoint"] == POSITION_FREE, metric]
    ceiling = float(best.iloc[0]) if len(best) else math.nan
    count = SCORES[metric].count
    title = f"All positions with a {'sure' if count == 'n_sure' else 'possible'} link ({_count(runs[count])})"
    return Panel(title, "", labels, _bars(shown, range(len(shown)), metric), dodge=False, ceiling=ceiling)


def by_group(frame: pd.DataFrame, breakdown: str, metric: str, untrained: set[str]) -> Panel:
    title, order = GROUPS[breakdown]
    known = [*order, *sorted(set(frame["group"]) - set(order))]
    names = [name for name in known if name in set(frame["group"])]
    counts = [_count(frame.loc[frame["group"] == name, SCORES[metric].count]) for name in names]
    labels = tuple(f"{name}\n{count} positions" for name, count in zip(names, counts, strict=True))
    learned = frame[~frame["checkpoint"].isin(untrained)]
    finding = _finding(learned if len(learned) else frame, metric)
    return Panel(title, finding, labels, _bars(frame, [names.index(g) for g in frame["group"]], metric), dodge=True)


def _finding(frame: pd.DataFrame, metric: str) -> str:
    """The group whose share of what is missed most exceeds its share of the positions; nothing under 1 % more."""
    count = SCORES[metric].count
    table = {name: frame.pivot(index="group", columns="checkpoint", values=name) for name in (count, metric)}
    positions = table[count]
    missed = (positions * (1 - table[metric])).fillna(0.0)
    if not len(frame) or not (missed.sum() > 0).all():
        return ""
    missed, positions = 100 * missed / missed.sum(), 100 * positions / positions.sum()
    excess = (missed - positions).mean(axis=1)
    if excess.max() < 1:
        return ""
    worst = excess.idxmax()
    what = "missed weight" if metric.startswith("gold_mass") else "misses"
    shares = [_range(values.loc[worst]) for values in (positions, missed)]
    return f"costs most: {worst}, {shares[0]} % of positions but {shares[1]} % of {what}"


def _range(values: pd.Series) -> str:
    low, high = (f"{value:,.0f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low}–{high}"


def _count(values: pd.Series) -> str:
    return _range(values.astype(int))


def shown_name(checkpoint: str) -> str:
    plain = checkpoint.removeprefix(PREFIX).replace("-", " ") if checkpoint.startswith(PREFIX) else checkpoint
    return elide(readable(plain, glyphs()), NAME_COLUMNS)


def header(runs: pd.DataFrame, metric: str, direction: str) -> list[str]:
    head = f"Where the maps are right: {SCORES[metric].title}, {direction} ({DIRECTIONS.get(direction, direction)})"
    examples = f"{_count(runs['n_examples'])} examples"
    bars = f"{examples} · bars, numbers: 1 is best · thin lines: 95 % bootstrap intervals over examples"
    limit = "ceiling: the most that any map could reach that knows the tokens at a position, but not where it is"
    return [head, bars, *([limit] if SCORES[metric].ceiling else [])]
