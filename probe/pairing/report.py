"""The report on a pair of tokenizers: facts of both, shares over texts, what aligners drop, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from probe.aligners.making import CutText
from probe.errors import DataError
from probe.pairing import counts
from probe.pairing.facts import TokenizerFacts, text_tokens
from probe.pairing.verdict import verdict
from probe.scoring.tables import SCHEMA_VERSION
from probe.version import __version__


@dataclass(frozen=True)
class PairReport:
    """Everything that is said of a pair. Shares are of positions, EOS included."""

    student: TokenizerFacts
    teacher: TokenizerFacts
    texts: int
    data: str
    shared_tokens: int
    student_covered: float
    teacher_covered: float
    overall: pd.Series
    kinds: pd.DataFrame
    categories: pd.DataFrame
    aligners: pd.DataFrame
    student_tied: float
    teacher_tied: float
    longest: counts.Longest
    student_changed: tuple[int, str]
    teacher_changed: tuple[int, str]

    @property
    def verdict(self) -> tuple[str, ...]:
        """What it all means, in sentences."""
        return verdict(self)

    @property
    def signature(self) -> str:
        """One line that says how the numbers were made."""
        prints = f"student:{self.student.fingerprint}|teacher:{self.teacher.fingerprint}"
        return f"{prints}|texts:{self.data}|version:{__version__}"


def pair_report(
    student: TokenizerFacts, teacher: TokenizerFacts, texts: Sequence[CutText], displays: tuple[list[str], list[str]],
    data: str,
) -> PairReport:  # fmt: skip
    """Count everything over ``texts``; ``data`` names them, ``displays`` are both vocabularies by id.

    Raises:
        DataError: no text has a token on both sides.
    """
    texts = [one for one in texts if len(one.student) and len(one.teacher)]
    if not texts:
        raise DataError(f"{data}: no text with tokens on both sides; give texts that are not empty.")
    frame = counts.chunk_frame(texts).assign(all="all texts")
    vocabularies = [text_tokens(shown) for shown in displays]
    return PairReport(
        student=student,
        teacher=teacher,
        texts=len(texts),
        data=data,
        shared_tokens=len(vocabularies[0] & vocabularies[1]),
        student_covered=counts.covered_by(texts, "student", vocabularies[1]),
        teacher_covered=counts.covered_by(texts, "teacher", vocabularies[0]),
        overall=counts.shares(frame, "all").iloc[0],
        kinds=counts.shares(frame, "kind"),
        categories=counts.shares(frame, "category"),
        aligners=counts.aligner_frame(texts),
        student_tied=(tied := counts.tied_shares(texts))[0],
        teacher_tied=tied[1],
        longest=counts.longest_chunk(texts, frame),
        student_changed=counts.changed_texts(texts, "student"),
        teacher_changed=counts.changed_texts(texts, "teacher"),
    )


def pair_row(report: PairReport) -> dict[str, Any]:
    """The pair as one row of pair.csv: what is not a breakdown."""
    overall = {k: v for k, v in report.overall.items() if k not in ("breakdown", "group")}
    sides: dict[str, Any] = {}
    for side in ("student", "teacher"):
        facts: TokenizerFacts = getattr(report, side)
        changed, first = getattr(report, f"{side}_changed")
        sides |= {
            side: facts.name, f"{side}_tokenizer": facts.fingerprint, f"{side}_vocabulary": facts.vocabulary,
            **{f"{side}_{role}": token for role, token in facts.specials.items()},
            f"{side}_begins_texts": facts.begins_texts, f"{side}_has_chat_template": bool(facts.chat_template),
            f"{side}_covered": getattr(report, f"{side}_covered"), f"{side}_tied": getattr(report, f"{side}_tied"),
            f"{side}_texts_changed": changed, f"{side}_first_changed": first,
        }  # fmt: skip
    longest = {f"longest_{name}": value for name, value in vars(report.longest).items()}
    shared = {
        "texts": report.texts,
        "shared_tokens": report.shared_tokens,
        "same_chat_template": report.student.chat_template == report.teacher.chat_template,
    }
    return {**_head(report), **shared, **sides, **overall, **longest}


def pair_frames(report: PairReport) -> dict[str, pd.DataFrame]:
    """The CSV files by name: pair, pair_kinds, pair_aligners, pair_verdict."""
    kinds = pd.concat([report.kinds, report.categories], ignore_index=True)
    said = pd.DataFrame({"sentence": range(1, len(report.verdict) + 1), "verdict": report.verdict})
    frames = {"pair_kinds": kinds, "pair_aligners": report.aligners, "pair_verdict": said}
    head = _head(report)
    labelled = {
        name: pd.DataFrame({**{k: [v] * len(part) for k, v in head.items()}, **part}) for name, part in frames.items()
    }
    return {"pair": pd.DataFrame([pair_row(report)]), **labelled}


def _head(report: PairReport) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "signature": report.signature}
