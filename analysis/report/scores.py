"""The report's sections of scores: each direction beside its baselines, and links taken in every way."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from analysis.report import findings
from analysis.report.parts import Part, Table, cell, picture
from probe.scoring.baselines import PREFIX
from probe.scoring.names import LINK_SCORES, headings
from probe.scoring.report import Report
from probe.scoring.report_text import HEADINGS

WITH_INTERVAL = ("top1_sure", "top1_possible", "gold_mass_possible", "f1", "aer")
MACRO = ("top1_sure", "top1_possible", "gold_mass_possible", "reciprocal_rank", "chunk_accuracy", *LINK_SCORES)
CEILING = "baseline:position-free is the ceiling: the most that any map could reach that knows tokens, not places."
EXTRACTIONS = (
    "The same maps, links taken in each way. argmax: the heaviest cell of each position; mutual: of its row and its "
    "column; both-directions: above the threshold in the t2s and in the s2t map; itermax: mutual, then once more among "
    "what is left; itermax-simalign: as the package simalign does it, which stops where one side is all linked; "
    "threshold: above it; monotone: the most probable cell of each position on a path through the map that keeps the "
    "order of both texts. argmax and monotone have a link for every position, right or wrong; mutual only where both "
    "sides agree."
)


def direction_parts(report: Report) -> Iterator[Part]:
    """A section a direction: scores beside baselines, and where the maps are right."""
    from probe.plotting.breakdowns import breakdown_figure

    for direction in report.runs["direction"].unique():
        runs = report.runs[report.runs["direction"] == direction]
        groups = report.breakdowns[report.breakdowns["direction"] == direction]
        words = f"Bar charts of top-1 accuracy, {direction}; the table below holds the same numbers."
        yield Part(
            findings.direction_finding(report, direction),
            CEILING,
            (_scores(runs, direction),),
            (picture(breakdown_figure(report, direction=direction), words),),
            (_groups(groups, direction), _macro(runs, direction)),
        )


def _scores(runs: pd.DataFrame, direction: str) -> Table:
    rows = [
        (str(row["checkpoint"]), *(cell(row, name, interval=name in WITH_INTERVAL) for name in HEADINGS))
        for _, row in runs.iterrows()
    ]
    return Table(f"Scores of {direction} maps, beside baselines", ("checkpoint", *HEADINGS.values()), tuple(rows))


def _macro(runs: pd.DataFrame, direction: str) -> Table:
    rows = [(str(row["checkpoint"]), *(cell(row, f"{name}_macro") for name in MACRO)) for _, row in runs.iterrows()]
    heads = ("checkpoint", *(HEADINGS[name] for name in MACRO))
    return Table(f"Macro means of {direction} maps (every example counts the same)", heads, tuple(rows))


def _groups(groups: pd.DataFrame, direction: str) -> Table:
    heads = ("breakdown", "group", "checkpoint", "positions", "top-1 possible", "ceiling")
    rows = [
        (row["breakdown"].replace("_", " "), str(row["group"]), str(row["checkpoint"]), f"{row['n_positions']:,}",
         cell(row, "top1_possible"), cell(row, "ceiling_possible", interval=False))
        for _, row in groups.iterrows()
    ]  # fmt: skip
    return Table(f"Top-1 accuracy by kind of position, {direction}", heads, tuple(rows))


def extraction_part(report: Report) -> Part:
    """Link scores under each way to take links: the first direction in sight, the rest and all signatures folded."""
    from probe.plotting.extractions import extractions_figure

    frame = report.extractions
    baseline = frame["checkpoint"].str.startswith(PREFIX)
    stored, first = frame[~baseline], frame["direction"].iloc[0]
    others = [d for d in stored["direction"].unique() if d != first]
    seen = stored[stored["direction"] == first]
    drawn = picture(
        extractions_figure(seen, first), f"Bar charts of link scores, {first}; the table holds the numbers."
    )
    folded = [_links(stored[stored["direction"] == d], f"Links of {d} maps, taken in every way") for d in others]
    folded.append(_links(frame[baseline], "Links of the baselines, taken in every way"))
    signed = stored[["checkpoint", "direction", "links", "signature"]].astype(str)
    signatures = tuple(signed.itertuples(index=False, name=None))
    folded.append(Table("Signatures of the extractions", tuple(signed.columns), signatures))
    table = _links(seen, f"Links of {first} maps, taken in every way")
    return Part(findings.extraction_finding(seen), EXTRACTIONS, (table,), (drawn,), tuple(folded))


def _links(frame: pd.DataFrame, caption: str) -> Table:
    heads = ("checkpoint", "direction", "extraction", "links", *headings(LINK_SCORES).values())
    rows = [
        (str(row["checkpoint"]), row["direction"], row["links"], f"{row['links_predicted']:,}",
         *(cell(row, name) for name in LINK_SCORES))
        for _, row in frame.iterrows()
    ]  # fmt: skip
    return Table(caption, heads, tuple(rows))
