"""The study's numbers as words and table rows: for the page, for the documents, for the terminal."""

from __future__ import annotations

import pandas as pd

from analysis.study.plan import Plan
from analysis.study.tables import Study

SIGNIFICANT = 0.05
ARM_HEADS = (
    "arm", "class", "seeds", "bits per byte", "gap closed", "chunk KL", "top-1 possible", "sure", "tied", "n:1",
)  # fmt: skip
ARM_MEASURES = ("bits_per_byte", "gap_closed", "chunk_kl", "top1_possible", "top1_sure", "top1_tied", "top1_n1")
WITH_INTERVAL = ("bits_per_byte", "gap_closed", "chunk_kl", "top1_possible")
COMPARISON_HEADS = ("comparison", "endpoint", "difference", "p", "p Holm", "smallest detectable", "seeds", "texts")
DOSE_HEADS = ("dose", "bits per byte", "change from the right map", "seeds", "texts")
NOT_RUN = "not run"
SLOPE_NAME = "slope over dose"
ENDPOINT_WORDS = {"E1": "top-1 possible", "E2": "bits per byte"}


def with_interval(row: pd.Series, *, value: str = "value", signed: bool = False, digits: int = 3) -> str:
    """A value with its interval in brackets; a dash where it is unknown."""
    if pd.isna(row[value]):
        return "–"
    form = f"{{:{'+' if signed else ''}.{digits}f}}"
    shown = form.format(row[value])
    if pd.isna(row["low"]):
        return shown
    return f"{shown} [{form.format(row['low'])}, {form.format(row['high'])}]"


def p_value(value: float) -> str:
    """A p value to three decimals; a dash where there is none."""
    return "–" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def arm_rows(arms: pd.DataFrame, pair: str, plan: Plan | None = None) -> list[tuple[str, ...]]:
    """A row an arm, in order of the plan; planned arms without a run are said to be not run."""
    rows = arms[arms["pair"] == pair] if len(arms) else arms
    known = list(dict.fromkeys(rows["arm"])) if len(rows) else []
    planned = list(plan.arms) if plan else []
    order = planned + [name for name in known if name not in planned]
    return [_arm_row(name, rows[rows["arm"] == name] if len(rows) else rows, plan) for name in order]


def _arm_row(name: str, rows: pd.DataFrame, plan: Plan | None) -> tuple[str, ...]:
    if not len(rows):
        kind = plan.arms[name].kind if plan else ""
        return (name, kind, NOT_RUN, *["–"] * len(ARM_MEASURES))
    first, cells = rows.iloc[0], []
    for measure in ARM_MEASURES:
        found = rows[rows["measure"] == measure]
        shown = "–" if not len(found) else with_interval(found.iloc[0]) if measure in WITH_INTERVAL else None
        cells.append(f"{found.iloc[0]['value']:.3f}" if shown is None else shown)
    return (name, str(first["class"]), f"{rows['seeds'].max():.0f}", *cells)


def comparison_rows(frame: pd.DataFrame, pair: str, family: str) -> list[tuple[str, ...]]:
    """A row a comparison of a pair and family."""
    rows = frame[(frame["pair"] == pair) & (frame["family"] == family)]
    return [
        (_names(row), ENDPOINT_WORDS[row["endpoint"]],
         with_interval(row, value="difference", signed=True, digits=4), p_value(row["p"]), p_value(row["p_holm"]),
         f"{row['detectable']:.4f}", f"{row['seeds']:.0f}", f"{row['texts']:.0f}")
        for _, row in rows.iterrows()
    ]  # fmt: skip


def _names(row: pd.Series) -> str:
    return str(row["first"]) if str(row["second"]) == "0" else f"{row['first']} − {row['second']}"


def planned_name(endpoint: str, names: tuple[str, ...]) -> tuple[str, str]:
    """The first two cells of a planned comparison's row, as :func:`comparison_rows` writes them."""
    return (" − ".join(names) if len(names) == 2 else SLOPE_NAME, ENDPOINT_WORDS[endpoint])


def dose_rows(dose: pd.DataFrame, pair: str) -> list[tuple[str, ...]]:
    """Bits per byte at each dose, then the slope and that of each seed."""
    names = {"dose": "{dose:g}", "slope": "slope", "slope of a seed": "slope, seed {seed:.0f} alone"}
    return [
        (names[row["row"]].format(dose=row["dose"], seed=row["seed"]),
         *_dose_cells(row), f"{row['seeds']:.0f}", f"{row['texts']:.0f}")
        for _, row in dose[dose["pair"] == pair].iterrows()
    ]  # fmt: skip


def _dose_cells(row: pd.Series) -> tuple[str, str]:
    """Bits per byte and change of a dose; a slope is a change."""
    if row["row"] != "dose":
        return "–", with_interval(row, signed=True, digits=4)
    change = row[["change", "change_low", "change_high"]].set_axis(["value", "low", "high"])
    return with_interval(row, digits=4), with_interval(change, signed=True, digits=4) if row["dose"] else "–"


def dose_finding(dose: pd.DataFrame, pair: str) -> str:
    """What the slope of a pair says, with the smallest slope that would have been seen where it says nothing."""
    rows = dose[(dose["pair"] == pair) & (dose["row"] == "slope")]
    if not len(rows):
        return f"{pair}: dose and response was {NOT_RUN}"
    row = rows.iloc[0]
    slope = with_interval(row, signed=True, digits=4)
    if row["p"] < SIGNIFICANT:
        way = "costs" if row["value"] > 0 else "saves"
        return f"{pair}: a wholly wrong map {way} {abs(row['value']):.4f} bits per byte against the right one ({slope})"
    if not row["standard_error"]:
        return f"{pair}: nothing can be said, for all runs ended in the same state (their start, if stopping kept it)"
    return f"{pair}: no effect of a wrong map was seen (slope {slope}; {row['detectable']:.4f} would have been)"


def comparison_finding(frame: pd.DataFrame, pair: str) -> str:
    """How many of a pair's confirmatory comparisons hold after Holm's correction, by name."""
    rows = frame[(frame["pair"] == pair) & (frame["family"] == "confirmatory")]
    if not len(rows):
        return f"{pair}: no confirmatory comparison could be made"
    held = rows[rows["p_holm"] < SIGNIFICANT]
    said = f"{pair}: {len(held)} of {len(rows)} confirmatory comparisons hold after Holm's correction"
    names = [f"{_names(row)} ({ENDPOINT_WORDS[row['endpoint']]})" for _, row in held.iterrows()]
    return said + (f": {'; '.join(names)}" if names else "")


def headline(study: Study) -> str:
    """The first finding there is."""
    pairs = list(dict.fromkeys(study.runs["pair"]))
    for pair in pairs:
        if len(study.dose[(study.dose["pair"] == pair) & (study.dose["row"] == "slope")]):
            return dose_finding(study.dose, pair)
    return f"{len(study.runs)} runs of {len(set(study.runs['arm']))} arms"


def pairs_of(study: Study) -> list[str]:
    """The pairs that have a run."""
    return list(dict.fromkeys(study.runs["pair"]))
