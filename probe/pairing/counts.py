"""What two tokenizers do to the same texts, counted: chunks by relation, tied positions, texts that are changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probe.aligners import ALIGNERS
from probe.aligners.cells import dropped, has_eos, spelled
from probe.aligners.making import CutText
from probe.pairing.kinds import KINDS, kind_of
from probe.scoring.alignment import Chunk, chunks, span_links
from probe.scoring.ties import pair_classes, tied_rows
from probe.text.axis import TokenAxis

RELATIONS = ("1:1", "1:n", "n:1", "n:m", "n:0", "0:n")
MOST_FOR_ALIGNERS = 100  # texts: dynamic programming over strings costs 10 ms a text of 100 tokens (2026)
LEFT_OUT = ("uniform", "diagonal", "span", "byte-overlap", "exact-boundary")  # nothing of them is dropped by design


@dataclass(frozen=True)
class Longest:
    """The longest chunk: where it is, its text, and how many tokens each side has in it."""

    example_id: str
    text: str
    student: int
    teacher: int


def chunk_frame(texts: Iterable[CutText]) -> pd.DataFrame:
    """One row a chunk: example, category, kind of writing, relation, and its tokens on both sides."""
    rows: list[tuple[str, str, str, str, int, int]] = []
    for one in texts:
        data = one.text.encode("utf-8", "surrogatepass")
        for chunk in chunks(one.student.spans, one.teacher.spans):
            kind = kind_of(_covered(data, one, chunk))
            rows.append((one.example_id, one.category, kind, chunk.relation, len(chunk.student), len(chunk.teacher)))
    return pd.DataFrame(rows, columns=["example_id", "category", "kind", "relation", "student", "teacher"])


def _covered(data: bytes, one: CutText, chunk: Chunk) -> str:
    spans = [one.student.spans[k] for k in chunk.student] + [one.teacher.spans[k] for k in chunk.teacher]
    return data[min(low for low, _ in spans) : max(high for _, high in spans)].decode("utf-8", "replace")


def shares(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """A row a group of column ``by``: chunks, positions, the share of student and of teacher positions by relation."""
    rows = []
    for group, part in frame.groupby(by, sort=False):
        row: dict[str, object] = {"breakdown": by, "group": str(group), "chunks": len(part)}
        for side in ("student", "teacher"):
            total = int(part[side].sum())
            row[f"{side}_positions"] = total
            for relation in RELATIONS:
                held = int(part.loc[part["relation"] == relation, side].sum())
                row[f"{side}_{relation}"] = held / total if total else float("nan")
        row["largest_chunk"] = int((part["student"] + part["teacher"]).max())
        rows.append(row)
    if by == "kind":
        rows.sort(key=lambda row: KINDS.index(str(row["group"])))
    return pd.DataFrame(rows)


def longest_chunk(texts: Sequence[CutText], frame: pd.DataFrame) -> Longest:
    """The chunk with the most tokens, of equal ones the first; ``frame`` is the :func:`chunk_frame` of the texts."""
    best = frame.loc[(frame["student"] + frame["teacher"]).idxmax()]
    one = next(text for text in texts if text.example_id == best["example_id"])
    found = chunks(one.student.spans, one.teacher.spans)
    chunk = max(found, key=lambda chunk: len(chunk.student) + len(chunk.teacher))
    covered = _covered(one.text.encode("utf-8", "surrogatepass"), one, chunk)
    return Longest(one.example_id, covered, len(chunk.student), len(chunk.teacher))


def tied_shares(texts: Sequence[CutText]) -> tuple[float, float]:
    """Share of the student's and of the teacher's positions that no position-free map can tell apart from others."""
    tied, total = np.zeros(2), np.zeros(2)
    for one in texts:
        cells = np.zeros((len(one.student), len(one.teacher)), dtype=bool)
        _, possible = span_links(one.student.spans, one.teacher.spans)
        if possible:
            cells[tuple(np.array(list(possible)).T)] = True
        classes = [pair_classes(axis.ids) for axis in (one.student, one.teacher)]
        tied += [tied_rows(cells, *classes).sum(), tied_rows(cells.T, *classes[::-1]).sum()]
        total += cells.shape
    return tuple(np.divide(tied, total, out=np.zeros(2), where=total > 0).tolist())


def changed_texts(texts: Sequence[CutText], side: str) -> tuple[int, str]:
    """How many texts a side's tokens do not spell as they are (a normaliser, a lost character), and the first one's id.

    A space that is added in front is no change.
    """
    found = [one.example_id for one in texts if _changed(one.text, getattr(one, side))]
    return len(found), found[0] if found else ""


def _changed(text: str, axis: TokenAxis) -> bool:
    made, data = b"".join(spelled(text, axis)), text.encode("utf-8", "surrogatepass")
    return made not in (data, b" " + data)


def covered_by(texts: Sequence[CutText], side: str, vocabulary: frozenset[str]) -> float:
    """Share of a side's positions (EOS apart) whose token is in the other side's ``vocabulary`` of display forms."""
    inside = total = 0
    for one in texts:
        axis: TokenAxis = getattr(one, side)
        tokens = axis.tokens[: len(axis) - has_eos(axis)]
        inside, total = inside + sum(token in vocabulary for token in tokens), total + len(tokens)
    return inside / total if total else float("nan")


def aligner_frame(texts: Sequence[CutText]) -> pd.DataFrame:
    """What each aligner would drop of both sides, and its largest group, over the first 100 texts."""
    rows = []
    for one in ALIGNERS.values():
        if one.name in LEFT_OUT or one.align is None:
            continue
        lost, total, largest = np.zeros(2), np.zeros(2), 0
        for text in texts[:MOST_FOR_ALIGNERS]:
            cells = one.align(text.text, text.student, text.teacher)
            lost += dropped(cells)
            total += cells.shape
            largest = max(largest, largest_group(cells))
        gone = np.divide(lost, total, out=np.zeros(2), where=total > 0)
        rows.append(
            {
                "aligner": one.name, "source": one.source, "version": one.version, "dropped_student": gone[0],
                "dropped_teacher": gone[1], "largest_group": largest, "texts": min(len(texts), MOST_FOR_ALIGNERS),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def largest_group(cells: np.ndarray) -> int:
    """Tokens of both sides in the largest set that links hold together; cells [student, teacher], in order."""
    linked = cells > 0
    size = largest = 0
    reach = -1
    for row in linked:
        columns = np.flatnonzero(row)
        if not len(columns):
            continue
        fresh = int((columns > reach).sum())
        size = size + 1 + fresh if columns[0] <= reach else 1 + len(columns)
        reach, largest = max(reach, int(columns[-1])), max(largest, size)
    return largest
