"""The report on a pair as one HTML file: no network, no script, every string escaped."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from probe.aligners.making import CutText
from probe.pairing.report import PairReport
from probe.plotting.labels import readable
from probe.scoring.alignment import chunks

RELATIONS = ("1:1", "1:n", "n:1", "n:m")  # relations of the bars, in this order of colour
EXAMPLES, TOKENS = 6, 80  # texts that are drawn, and at most so many tokens a side of each


@dataclass(frozen=True)
class Bar:
    """One bar of the picture: a kind of writing, its positions, the share of each relation in percent."""

    name: str
    positions: int
    parts: tuple[float, ...]


@dataclass(frozen=True)
class DrawnChunk:
    """One chunk of a drawn text: its relation, and its tokens on both sides."""

    relation: str
    student: tuple[str, ...]
    teacher: tuple[str, ...]


@dataclass(frozen=True)
class DrawnText:
    """One text as both tokenizers cut it."""

    name: str
    chunks: tuple[DrawnChunk, ...]
    cut: bool


def visible(value: Any) -> Any:
    """A string with control, direction and other invisible characters as ‹U+202E›; markup of the template as it is."""
    return readable(value, lambda code: True) if isinstance(value, str) and not isinstance(value, Markup) else value


def render_pair(report: PairReport, texts: Sequence[CutText], title: str = "") -> str:
    """The page. Every string is escaped, and its invisible characters are spelled out, here and nowhere else."""
    return _template().render(
        title=title or f"{report.student.name} and {report.teacher.name}",
        report=report,
        relations=RELATIONS,
        bars={side: bars(report.kinds, side) for side in ("student", "teacher")},
        aligners=report.aligners.to_dict("records"),
        drawn=[drawn_text(one) for one in hardest(texts)],
    )


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def bars(kinds: pd.DataFrame, side: str) -> list[Bar]:
    """A bar for each kind of writing: percent of the side's positions by relation."""
    return [
        Bar(row["group"], row[f"{side}_positions"], tuple(100 * row[f"{side}_{relation}"] for relation in RELATIONS))
        for _, row in kinds.iterrows()
        if row[f"{side}_positions"]
    ]


def hardest(texts: Sequence[CutText]) -> list[CutText]:
    """The texts with the smallest share of 1:1 chunks, one of each category at most, hardest first."""

    def whole(one: CutText) -> float:
        found = chunks(one.student.spans, one.teacher.spans)
        return sum(chunk.relation == "1:1" for chunk in found) / len(found)

    ranked = sorted((one for one in texts if len(one.student) and len(one.teacher)), key=whole)
    first = {one.category: one for one in reversed(ranked)}
    kept = [one for one in ranked if first[one.category] is one] or ranked
    return (kept if len(kept) >= EXAMPLES else ranked)[:EXAMPLES]


def drawn_text(one: CutText) -> DrawnText:
    """The chunks of a text, up to 80 tokens a side."""
    drawn: list[DrawnChunk] = []
    for chunk in chunks(one.student.spans, one.teacher.spans):
        if max(chunk.student.stop, chunk.teacher.stop) > TOKENS and drawn:
            return DrawnText(one.example_id, tuple(drawn), True)
        sides = [tuple(axis.tokens[k] for k in part) for axis, part in ((one.student, chunk.student),
                                                                        (one.teacher, chunk.teacher))]  # fmt: skip
        drawn.append(DrawnChunk(chunk.relation, *sides))
    return DrawnText(one.example_id, tuple(drawn), False)
