"""From two annotators to one gold: what both say stays, cells on which they differ are decided by a person or a rule.

A decisions file is JSONL, one differing cell a line: ``{"id", "student", "teacher", "student_token", "teacher_token",
"a", "b", "decision", "note"}``; ``a``, ``b`` and ``decision`` are ``none``, ``possible`` or ``sure``. ``decision`` is
null until somebody fills it in, ``note`` is hers to use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probe.errors import DataError
from probe.files import atomic_file
from probe.gold.agreement import LEVELS, check_same_cells
from probe.gold.formats import records_of
from probe.gold.reading import Gold, Link
from probe.gold.record import refuse_surrogates

RULES = ("union", "intersection", "a", "b")
KEYS = ("id", "student", "teacher", "student_token", "teacher_token", "a", "b")


@dataclass(frozen=True)
class Difference:
    """A cell on which two annotators differ, and what was decided ("" while nobody has)."""

    id: str
    link: Link
    tokens: tuple[str, str]
    a: str
    b: str
    decision: str = ""
    note: str = ""

    @property
    def cell(self) -> tuple[str, Link]:
        """The example and the link in it."""
        return self.id, self.link


def differences(first: Mapping[str, Gold], second: Mapping[str, Gold]) -> list[Difference]:
    """Every cell on which the two differ, by example and link, on the examples that both annotated.

    Raises:
        DataError: no example of both, or one on other text or tokens, naming the first difference.
    """
    both = [(first[name], second[name]) for name in first if name in second]
    if not both:
        raise DataError(
            f"wanted examples that both annotated, found none among {len(first)} and {len(second)}. "
            "Adjudicate two annotations of the same examples."
        )
    found = []
    for one, other in both:
        check_same_cells(one, other)
        for i, j in sorted(one.possible | other.possible):
            a, b = level(one, (i, j)), level(other, (i, j))
            if a != b:
                found.append(Difference(one.id, (i, j), (one.student_tokens[i], one.teacher_tokens[j]), a, b))
    return found


def level(gold: Gold, link: Link) -> str:
    """``none``, ``possible`` or ``sure``."""
    return LEVELS[(link in gold.possible) + (link in gold.sure)]


def decide_by_rule(found: Iterable[Difference], rule: str) -> list[Difference]:
    """Every difference decided by the higher level (``union``), the lower (``intersection``), or one annotator's."""
    ranks = {"union": max, "intersection": min}
    if rule in ranks:
        return [replace(one, decision=ranks[rule](one.a, one.b, key=LEVELS.index)) for one in found]
    return [replace(one, decision=one.a if rule == "a" else one.b) for one in found]


def adjudicate(
    first: Mapping[str, Gold],
    second: Mapping[str, Gold],
    decided: Sequence[Difference],
    names: tuple[str, str],
    by: str,
) -> dict[str, Gold]:
    """One gold for each example of both: what they agree on, and the decisions; ``by`` says who or what decided.

    Raises:
        DataError: a difference that is not decided, or is not among ``decided``; tells how many.
    """
    wanted = differences(first, second)
    known = {one.cell: one for one in decided}
    open_ = [one for one in wanted if one.cell not in known or not known[one.cell].decision]
    if open_:
        raise DataError(
            f"{len(open_)} of {len(wanted)} differing cells are not decided, the first is student {open_[0].link[0]}, "
            f"teacher {open_[0].link[1]} of {open_[0].id!r}. Fill in each decision: {', '.join(LEVELS)}; "
            "--renew adds lines that are missing."
        )
    own: dict[str, list[Difference]] = {name: [] for name in first if name in second}
    for one in wanted:
        own[one.id].append(known[one.cell])
    return {name: _decided(first[name], decisions, names, by) for name, decisions in own.items()}


def _decided(gold: Gold, own: Sequence[Difference], names: tuple[str, str], by: str) -> Gold:
    levels = {link: level(gold, link) for link in gold.possible} | {one.link: one.decision for one in own}
    said = [f"{one.tokens[0]}–{one.tokens[1]}: {one.note}" for one in own if one.note]
    return replace(
        gold,
        sure=frozenset(link for link, found in levels.items() if found == "sure"),
        possible=frozenset(link for link, found in levels.items() if found != "none"),
        annotator=f"adjudicated: {names[0]}, {names[1]}",
        note="; ".join([f"{len(own)} differing cells decided by {by}", *said]) if own else "both agree",
    )


# --- the decisions file ---


def write_decisions(path: Path | str, found: Iterable[Difference]) -> None:
    """Write differences atomically, one line each, undecided ones with ``"decision": null``."""
    with atomic_file(path) as part:
        lines = [json.dumps(_record(one), ensure_ascii=False) + "\n" for one in found]
        part.write_text("".join(lines), encoding="utf-8", newline="\n")


def _record(one: Difference) -> dict[str, Any]:
    values = (one.id, *one.link, *one.tokens, one.a, one.b)
    return {**dict(zip(KEYS, values, strict=True)), "decision": one.decision or None, "note": one.note}


def read_decisions(path: Path | str, wanted: Sequence[Difference]) -> list[Difference]:
    """The decisions on ``wanted`` differences, each with what the file decides ("" where it has null or no line).

    Raises:
        DataError: with file and line: broken JSON, a missing key, an unknown level, a cell that does not differ or not
            in this way (the annotations changed since the file was written), a cell that comes twice.
    """
    open_ = {one.cell: one for one in wanted}
    found: dict[tuple[str, Link], Difference] = {}
    for place, record in records_of(Path(path), "one decision"):
        one = _difference(record, place)
        if one.cell in found:
            raise DataError(
                f"{place}: student {one.link[0]}, teacher {one.link[1]} of {one.id!r} come twice. Keep one."
            )
        if one.cell not in open_ or replace(one, decision="", note="") != open_[one.cell]:
            now = open_.get(one.cell)
            state = f"they say {now.a!r} and {now.b!r} of {now.tokens}" if now else "they do not differ there"
            raise DataError(
                f"{place}: a decision on student {one.link[0]}, teacher {one.link[1]} of {one.id!r} that is not (or no "
                f"longer) open: {state}. It was written for other annotations; move it away, or use --renew."
            )
        found[one.cell] = one
    return [found.get(one.cell, one) for one in wanted]


def still_open(path: Path | str, wanted: Sequence[Difference]) -> list[Difference]:
    """``wanted`` with the decisions of an older file on cells that still differ in the same way (``--renew``)."""
    before = (_difference(record, place) for place, record in records_of(Path(path), "one decision"))
    old = {replace(one, decision="", note=""): one for one in before}
    return [old.get(one, one) for one in wanted]


def _difference(record: dict[str, Any], place: str) -> Difference:
    if missing := [key for key in (*KEYS, "decision") if key not in record]:
        raise DataError(f"{place}: the key {missing[0]!r} is missing; wanted {', '.join(KEYS)}, decision.")
    strings = [record[key] for key in ("id", "student_token", "teacher_token")] + [record.get("note", "")]
    indices = [record["student"], record["teacher"]]
    if not all(isinstance(value, str) for value in strings) or not all(type(value) is int for value in indices):
        raise DataError(f"{place}: wanted strings as id, tokens and note, and whole numbers as student and teacher.")
    refuse_surrogates("".join(strings), "note", place)
    decision = record["decision"]
    levels = [record["a"], record["b"], *([] if decision is None else [decision])]
    if bad := [value for value in levels if value not in LEVELS]:
        raise DataError(
            f"{place}: {str(bad[0])[:40]!r} is no level; wanted {', '.join(LEVELS)} (or null: not decided)."
        )
    tokens = (strings[1], strings[2])
    return Difference(
        strings[0], (indices[0], indices[1]), tokens, record["a"], record["b"], decision or "", strings[3]
    )
