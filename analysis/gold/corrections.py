"""Corrections: the edits that an annotator made to the span rule's links, one line per example and kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from probe.errors import DataError
from probe.gold.reading import Gold, Link

KINDS = ("split character", "white space", "border", "punctuation", "normalisation")
EDITS = ("remove_sure", "add_sure", "remove_possible", "add_possible")


@dataclass(frozen=True)
class Correction:
    """Edits of one example's links, with the reason and the tokens they touch (index -> display form).

    A link that leaves ``sure`` stays possible unless it is in ``remove_possible`` too.
    """

    id: str
    kind: str
    reason: str
    remove_sure: frozenset[Link]
    add_sure: frozenset[Link]
    remove_possible: frozenset[Link]
    add_possible: frozenset[Link]
    student: Mapping[int, str]
    teacher: Mapping[int, str]

    @property
    def touched(self) -> frozenset[Link]:
        """Every link that this correction changes."""
        return frozenset[Link]().union(*(getattr(self, edit) for edit in EDITS))


def read_corrections(path: Path | str) -> dict[str, list[Correction]]:
    """Corrections by example id, in file order.

    Raises:
        DataError: with file and line: unreadable, broken JSON, a missing key, an unknown kind, an empty correction.
    """
    found: dict[str, list[Correction]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: corrections cannot be read ({error}). Check the path.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            correction = _parse(line, f"{path}:{number}")
            found.setdefault(correction.id, []).append(correction)
    return found


def _parse(line: str, place: str) -> Correction:
    try:
        record = json.loads(line)
        links = {edit: frozenset((i, j) for i, j in record.get(edit, [])) for edit in EDITS}
        sides = {side: {int(k): token for k, token in record[side].items()} for side in ("student", "teacher")}
        correction = Correction(record["id"], record["kind"], record["reason"], **links, **sides)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{place}: not a correction ({type(error).__name__}: {error}); wanted id, kind, reason, student, teacher "
            f"and links under {', '.join(EDITS)}."
        ) from error
    if correction.kind not in KINDS:
        raise DataError(f"{place}: unknown kind {correction.kind!r}; wanted one of {', '.join(KINDS)}.")
    if not correction.touched:
        raise DataError(f"{place}: a correction without links. Delete the line, or say what changes.")
    return correction


def apply_corrections(prefill: Gold, corrections: Sequence[Correction], annotator: str) -> Gold:
    """The prefilled links with every correction applied; nothing may be stale or said twice.

    Raises:
        DataError: a token is not the one that was corrected, a link to remove is not there, a link to add is,
            two corrections touch one link, or a link would be sure without being possible.
    """
    sure, possible = set(prefill.sure), set(prefill.possible)
    seen: set[Link] = set()
    for correction in corrections:
        _check_fresh(prefill, correction, seen)
        seen |= correction.touched
        sure = (sure - correction.remove_sure) | correction.add_sure
        possible = (possible - correction.remove_possible) | correction.add_possible
    if not sure <= possible:
        raise DataError(f"{prefill.id}: {sorted(sure - possible)} would be sure but not possible; mend the correction.")
    note = "corrected: " + ", ".join(dict.fromkeys(c.kind for c in corrections)) if corrections else "as prefilled"
    return replace(prefill, sure=frozenset(sure), possible=frozenset(possible), annotator=annotator, note=note)


def _check_fresh(prefill: Gold, correction: Correction, seen: set[Link]) -> None:
    for side, tokens in (("student", prefill.student_tokens), ("teacher", prefill.teacher_tokens)):
        for index, wanted in getattr(correction, side).items():
            found = tokens[index] if 0 <= index < len(tokens) else "no token"
            if found != wanted:
                raise DataError(
                    f"{prefill.id}: the correction ({correction.kind}) is for {side} token {index} = {wanted!r}, "
                    f"but it is {found!r} now. The tokens changed: read this example again."
                )
    stale = {
        "remove_sure": correction.remove_sure - prefill.sure, "add_sure": correction.add_sure & prefill.sure,
        "remove_possible": correction.remove_possible - prefill.possible,
        "add_possible": correction.add_possible & prefill.possible,
    }  # fmt: skip
    for edit, links in stale.items():
        if links:
            state = "there already" if edit.startswith("add") else "not there"
            raise DataError(f"{prefill.id}: {edit} {sorted(links)}: {state} in the prefill. Take them out.")
    if twice := seen & correction.touched:
        raise DataError(f"{prefill.id}: two corrections touch {sorted(twice)}. Keep one.")
