"""Corrections of gold links, made and written for tests; people write the file by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from analysis.gold.corrections import EDITS, Correction
from probe.files import atomic_file
from probe.gold.reading import Gold, Link


def make_correction(gold: Gold, kind: str, reason: str, edits: Mapping[str, Iterable[Link]]) -> Correction:
    """A correction of ``gold`` that records the tokens which its links touch."""
    links = {edit: frozenset(edits.get(edit, ())) for edit in EDITS}
    touched = sorted(frozenset[Link]().union(*links.values()))
    student = {i: gold.student_tokens[i] for i, _ in touched}
    teacher = {j: gold.teacher_tokens[j] for j in sorted({j for _, j in touched})}
    return Correction(gold.id, kind, reason, **links, student=student, teacher=teacher)


def write_corrections(path: Path | str, corrections: Iterable[Correction]) -> None:
    """Write corrections atomically, one line each, links sorted."""
    with atomic_file(path) as part:
        part.write_text(
            "".join(json.dumps(_record(c), ensure_ascii=False) + "\n" for c in corrections), encoding="utf-8"
        )


def _record(correction: Correction) -> dict[str, Any]:
    links = {edit: [list(link) for link in sorted(getattr(correction, edit))] for edit in EDITS}
    return {
        "id": correction.id, "kind": correction.kind, "reason": correction.reason,
        **{edit: pairs for edit, pairs in links.items() if pairs},
        "student": {str(k): token for k, token in sorted(correction.student.items())},
        "teacher": {str(k): token for k, token in sorted(correction.teacher.items())},
    }  # fmt: skip
