"""study.html: the study as one self-contained page, of the same parts as the alignment report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from analysis.report.page import render
from analysis.report.parts import Part, Table, picture
from analysis.study import wording
from analysis.study.cells import Sampling
from analysis.study.plan import Plan
from analysis.study.tables import Study
from probe.files import atomic_file

DOSE_WORDS = "The imposed map is the span rule's; a share of its rows is moved to a random column. Grey: seeds."
ARM_WORDS = "Means over seeds and texts, 95 % intervals. Gold follows bytes: compare alignment within a class of map."
COMPARED = (
    "First minus second, paired by seed and text, with a 95 % interval over both. Holm's correction is over the "
    "confirmatory comparisons of the pair. Smallest detectable: the true difference that this design finds in 80 of "
    "100 repetitions."
)


def write_page(study: Study, plans: Mapping[str, Plan], sampling: Sampling, path: Path) -> Path:
    """Write the page."""
    parts = [part for pair in wording.pairs_of(study) for part in _parts(study, pair, plans.get(pair))]
    parts.append(Part("How these numbers were made", folded=(_signatures(study),)))
    lead = (
        f"{len(study.runs)} runs, {len(set(study.runs['arm']))} arms. Intervals: 95 %, seeds and then texts drawn "
        f"{sampling.resamples:,} times, to the width of Student's t."
    )
    page = render(wording.headline(study), lead, parts)
    with atomic_file(path) as made:
        made.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def _parts(study: Study, pair: str, plan: Plan | None) -> Iterator[Part]:
    from probe.plotting.study import arms_figure, dose_figure

    dose = study.dose[study.dose["pair"] == pair]
    if len(dose):
        drawn = picture(dose_figure(dose, study.runs), "Bits per byte by dose; the table holds the numbers.")
        table = Table(f"{pair}: dose and response", wording.DOSE_HEADS, tuple(wording.dose_rows(dose, pair)))
        yield Part(wording.dose_finding(dose, pair), DOSE_WORDS, (table,), (drawn,))
    if len(study.arms):
        arms = Table(f"{pair}: arms", wording.ARM_HEADS, tuple(wording.arm_rows(study.arms, pair, plan)))
        drawn = picture(
            arms_figure(study.arms, study.comparisons, pair), "Arms with intervals; the table holds the numbers."
        )
        yield Part(f"{pair}: the arms, by class of map", ARM_WORDS, (arms,), (drawn,))
    tables = {
        family: Table(f"{pair}: {family} comparisons", wording.COMPARISON_HEADS, tuple(rows))
        for family in ("confirmatory", "exploratory")
        if (rows := wording.comparison_rows(study.comparisons, pair, family))
    }
    shown = tuple(table for family, table in tables.items() if family == "confirmatory")
    folded = tuple(table for family, table in tables.items() if family == "exploratory")
    yield Part(wording.comparison_finding(study.comparisons, pair), COMPARED, shown, folded=folded)


def _signatures(study: Study) -> Table:
    rows = study.runs[["pair", "arm", "seed", "signature"]].astype(str).itertuples(index=False, name=None)
    return Table("Signatures of the runs", ("pair", "arm", "seed", "signature"), tuple(rows))
