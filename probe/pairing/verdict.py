"""The verdict on a pair of tokenizers in plain words: what matches, what a method would lose, where trouble sits."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from probe.pairing.report import PairReport

_SIMPLE = {
    Fraction(1, 20): "one in twenty", Fraction(1, 10): "one in ten", Fraction(1, 5): "one in five",
    Fraction(1, 4): "one in four", Fraction(1, 3): "one in three", Fraction(2, 5): "two in five",
    Fraction(1, 2): "one in two", Fraction(3, 5): "three in five", Fraction(2, 3): "two in three",
    Fraction(3, 4): "three in four", Fraction(4, 5): "four in five", Fraction(9, 10): "nine in ten",
    Fraction(19, 20): "nineteen in twenty",
}  # fmt: skip
FEW, MUCH = 0.025, 0.05  # below FEW a share is "hardly any"; trouble is spoken of above MUCH
LEAST = 10  # positions of a kind of writing before it is spoken of


def in_words(share: float) -> str:
    """The simple fraction nearest to a share: 0.39 is "two in five"."""
    if share < FEW:
        return "hardly any"
    if share > 1 - FEW:
        return "nearly all"
    return _SIMPLE[min(_SIMPLE, key=lambda simple: abs(float(simple) - share))]


def verdict(report: PairReport) -> tuple[str, ...]:
    """The sentences, most important first; each holds a number that is in the tables too."""
    return tuple(_sentences(report))


def _sentences(report: PairReport) -> Iterator[str]:
    if report.student.fingerprint == report.teacher.fingerprint:
        yield "The two tokenizers are the same: no alignment is needed, and same-tokenizer distillation fits."
        return
    whole = report.overall
    share, plain = whole["student_1:1"], report.kinds[report.kinds["group"] == "plain words"]
    among = f", {plain['student_1:1'].iloc[0]:.0%} among plain words" if len(plain) else ""
    yield (
        f"{_start(share)} student positions ({share:.0%}{among}) {_stand(share)} for exactly one teacher token: "
        "methods that pair whole tokens (ETA, SimpleCTKD) reach these at most."
    )
    yield from _pieces(whole)
    yield (
        f"The vocabularies share {report.shared_tokens:,} tokens, which cover {report.student_covered:.0%} of the "
        f"student's positions and {report.teacher_covered:.0%} of the teacher's."
    )
    yield from _tied(report)
    yield from _trouble(report.kinds)
    yield from _aligners(report.aligners)
    yield from _changes(report)
    yield from _roles(report)


def _start(share: float) -> str:
    said = in_words(share)
    return said[0].upper() + said[1:]


def _stand(share: float) -> str:
    return "stands" if in_words(share).startswith("one in") else "stand"


def _pieces(whole: pd.Series) -> Iterator[str]:
    if (share := whole["student_n:1"]) >= MUCH:
        verb = "is a piece" if in_words(share).startswith("one in") else "are pieces"
        yield (
            f"{_start(share)} student positions ({share:.0%}) {verb} of one teacher token: the teacher has one "
            "prediction for several of them, so expect only the first to have a teacher that reads the same text."
        )
    if (share := whole["student_1:n"]) >= MUCH:
        yield (
            f"{_start(share)} student positions ({share:.0%}) {_stand(share)} for several teacher tokens: expect to "
            "need the product of the teacher's predictions (chunk likelihoods, as GOLD and ALM form them)."
        )
    if (share := whole["student_n:m"]) >= MUCH:
        yield (
            f"{share:.0%} of the student's positions are in n:m chunks: pieces that cross each other, of which only "
            "the whole can be compared."
        )


def _tied(report: PairReport) -> Iterator[str]:
    if report.student_tied >= MUCH:
        yield (
            f"{report.student_tied:.0%} of the student's positions are tied (the same two tokens occur again): "
            "attention without positions, such as DSKD-CMA's, cannot tell them apart."
        )


def _trouble(kinds: pd.DataFrame) -> Iterator[str]:
    """The kind of writing with the lowest share of 1:1, where it is well below the whole."""
    known = kinds[(kinds["student_positions"] >= LEAST) & (kinds["group"] != "end of text")]
    if len(known) < 2:
        return
    worst = known.loc[known["student_1:1"].idxmin()]
    mean = float((known["student_1:1"] * known["student_positions"]).sum() / known["student_positions"].sum())
    few = "none" if worst["student_1:1"] < 0.005 else f"only {worst['student_1:1']:.0%}"
    if worst["student_1:1"] < mean - 2 * MUCH:
        yield (
            f"Trouble sits in {worst['group']}: {few} of the student's positions there are 1:1, and the largest chunk "
            f"has {worst['largest_chunk']} tokens."
        )


def _aligners(aligners: pd.DataFrame) -> Iterator[str]:
    """Which trainers' alignments lose much: above what leaving out the EOS costs, and groups that swallow the text."""
    least = float(aligners["dropped_student"].min())
    losing = aligners[aligners["dropped_student"] > least + 2 * MUCH].sort_values("dropped_student", ascending=False)
    if len(losing):
        said = ", ".join(f"{row['aligner']} {row['dropped_student']:.0%}" for _, row in losing.iterrows())
        yield f"Dropped student positions, by aligner: {said}; the others drop {least:.0%} or little more."
    usual = float(aligners["largest_group"].median())
    swollen = aligners[(aligners["largest_group"] > 3 * usual) & (aligners["aligner"] != "alm-space")]
    for _, row in swollen.iterrows():
        yield (
            f"{row['aligner']} ({row['source']}) makes one group of {row['largest_group']} tokens where the usual "
            f"largest is {usual:.0f}: after a mistake it does not find the other side again soon."
        )


def _changes(report: PairReport) -> Iterator[str]:
    for side, (count, first) in (("student", report.student_changed), ("teacher", report.teacher_changed)):
        if count:
            yield (
                f"The {side}'s tokenizer does not spell {count} of {report.texts} texts as they are (first: {first}): "
                "a normaliser or an unknown character; ALM and SimpleCTKD lose what follows."
            )


def _roles(report: PairReport) -> Iterator[str]:
    if report.student.begins_texts != report.teacher.begins_texts:
        one = "student" if report.student.begins_texts else "teacher"
        yield f"Only the {one} begins texts with a token of its own (BOS): by position, whole sequences are off by one."
    if report.student.chat_template != report.teacher.chat_template:
        missing = [side for side in ("student", "teacher") if not getattr(report, side).chat_template]
        said = f"the {missing[0]} has none" if len(missing) == 1 else "they differ"
        yield f"Chat templates: {said}; give each side its own, and align the answer alone."
