"""What one screen shows, as plain data: the window, its cells with rank and gold status, and the list of examples.

No Streamlit in here. The page, the CSV and the tests all read these frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from probe.attention_map import AttentionMap, TokenAxis
from probe.gold import Gold
from probe.measures import TIE
from probe.metrics import gold_cells

MAX_WINDOW = 80  # targets per side drawn at once: below 10 px a cell its label cannot be read
MAX_BESIDE = 36  # the same for two maps side by side
SORTS = ("worst", "best", "difference", "id", "length")
# What the page shows of a MapScore, in this order: field -> (label, what it means).
SCORES = {
    "top1_sure": ("top-1, sure", "share of positions whose heaviest cell is a sure link; ties share the credit"),
    "top1_possible": ("top-1, possible", "share of positions whose heaviest cell is a possible link"),
    "gold_mass_sure": ("gold mass, sure", "mean weight on sure links"),
    "gold_mass_possible": ("gold mass, possible", "mean weight on possible links"),
    "reciprocal_rank": ("reciprocal rank", "mean of 1 / rank of the best possible link"),
    "chunk_accuracy": ("chunk accuracy", "share of positions whose heaviest cell lies in the right chunk"),
    "ceiling_sure": ("position-free ceiling", "the most top-1 (sure) that any map without positions can reach here"),
    "entropy": ("entropy", "0: all weight on one cell; 1: spread evenly"),
    "coverage": ("coverage", "1 when every target of the other side receives a whole position's weight"),
    "collapse": ("collapse", "share of positions whose heaviest cell is one and the same column"),
}


@dataclass(frozen=True)
class Window:
    """The part of a map on screen: half-open ranges of student rows and teacher columns."""

    rows: tuple[int, int]
    columns: tuple[int, int]


def window_at(student: TokenAxis, teacher: TokenAxis, start: int, size: int = MAX_WINDOW) -> Window:
    """The window of at most ``size`` targets per side that begins at target ``start`` of the longer side.

    The shorter side follows by bytes, so that both show the same text.
    """
    longer, shorter = (student, teacher) if len(student) >= len(teacher) else (teacher, student)
    start = max(0, min(start, len(longer) - size))
    lead = (start, min(start + size, len(longer)))
    first = 0 if start == 0 else _first_reaching(shorter, longer.spans[start][0])
    if lead[1] == len(longer):
        first = len(shorter)
    first = max(0, min(first, len(shorter) - size))
    follow = (first, min(first + size, len(shorter)))
    return Window(lead, follow) if longer is student else Window(follow, lead)


def _first_reaching(axis: TokenAxis, byte: int) -> int:
    """Index of the first target that ends after ``byte``; the last target if none does."""
    return next((index for index, (_, end) in enumerate(axis.spans) if end > byte), len(axis) - 1)


def map_cells(amap: AttentionMap, gold: Gold | None, window: Window) -> pd.DataFrame:
    """One row a cell of the window: indices, tokens, weight, rank, gold status, outcome of the heaviest cells.

    Ranks and heaviest cells are those of the whole map, also when only a window of it is shown. ``rank`` counts within
    the student row (t2s) or the teacher column (s2t): 1 + the number of weights heavier by more than 1e-6.
    ``outcome`` is empty except on the heaviest cells of each row (t2s) or column (s2t), ties included.
    """
    (top, bottom), (left, right) = window.rows, window.columns
    ranks = line_ranks(amap)[top:bottom, left:right]
    rows, columns = np.meshgrid(np.arange(top, bottom), np.arange(left, right), indexing="ij")
    status = _status(amap, gold)[top:bottom, left:right].ravel()
    frame = pd.DataFrame(
        {
            "student_index": rows.ravel(),
            "teacher_index": columns.ravel(),
            "student_token": np.repeat(np.array(amap.student.tokens[top:bottom], dtype=object), right - left),
            "teacher_token": np.tile(np.array(amap.teacher.tokens[left:right], dtype=object), bottom - top),
            "weight": amap.weights[top:bottom, left:right].ravel().astype(float),
            "rank": ranks.ravel(),
            "gold": status,
        }
    )
    frame["outcome"] = np.where(frame["rank"] == 1, _outcomes(amap, gold, frame), "")
    return frame


def line_ranks(amap: AttentionMap) -> np.ndarray:
    """Rank of each weight within the line that sums to one; equal weights (within 1e-6) share the smallest rank."""
    lines = amap.weights if amap.direction == "t2s" else amap.weights.T
    ordered = np.sort(lines, axis=1)
    pairs = zip(ordered, lines, strict=True)
    lighter = np.stack([np.searchsorted(row, line + TIE, side="right") for row, line in pairs])
    ranks = 1 + lines.shape[1] - lighter
    return ranks if amap.direction == "t2s" else ranks.T


def _status(amap: AttentionMap, gold: Gold | None) -> np.ndarray:
    sure, possible = gold_cells(amap, gold)
    return np.select([sure, possible], ["sure", "possible"], "" if gold is None else "none").astype(object)


def _outcomes(amap: AttentionMap, gold: Gold | None, frame: pd.DataFrame) -> np.ndarray:
    """What it means if a cell is the heaviest of its line; 'no gold' where the line has no link to hit."""
    if gold is None:
        return np.full(len(frame), "no gold", dtype=object)
    side = 0 if amap.direction == "t2s" else 1
    linked = {link[side] for link in gold.possible | gold.sure}
    lines = frame["student_index" if side == 0 else "teacher_index"].isin(linked)
    hit = frame["gold"].isin(["sure", "possible"])
    return np.where(hit, frame["gold"], np.where(lines, "miss", "no gold"))


def heaviest_outside(amap: AttentionMap, window: Window) -> int:
    """How many lines of the window have none of their heaviest cells in it."""
    (top, bottom), (left, right) = window.rows, window.columns
    best = line_ranks(amap)[top:bottom, left:right] == 1
    return int((~best.any(axis=1 if amap.direction == "t2s" else 0)).sum())


def search(frame: pd.DataFrame, text: str, category: str | None) -> pd.DataFrame:
    """Rows of the example list whose id, category, text or tokens contain ``text`` (case does not matter)."""
    if category is not None:
        frame = frame[frame["category"] == category]
    wanted = text.strip().casefold()
    if wanted:
        frame = frame[[wanted in hay for hay in frame["haystack"]]]
    return frame


def order(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """The example list sorted by a name of ``SORTS``; unscored examples come last, equals in the order of their ids.

    ``difference``: the examples on which the second checkpoint differs most from the first; without one, worst.
    """
    keys = {"worst": frame["top1_sure"], "best": -frame["top1_sure"], "length": -frame["cells"]}
    if "difference" in frame:
        keys["difference"] = -frame["difference"].abs()
    key = keys.get("worst" if by == "difference" and by not in keys else by)
    frame = frame.sort_values("example_id", kind="stable")
    return frame if key is None else frame.loc[key[frame.index].sort_values(kind="stable", na_position="last").index]


def with_difference(frame: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The example list with ``difference``: top-1 (sure) of the second run minus that of the first."""
    second = frame["example_id"].map(other.set_index("example_id")["top1_sure"])
    return frame.assign(difference=second - frame["top1_sure"])


def example_rows(index: pd.DataFrame) -> pd.DataFrame:
    """The example list from index rows of one run: id, category, size, text, and what the search looks through."""
    frame = index[["example_id", "category", "text", "n_student", "n_teacher"]].copy()
    frame["row"] = index.index
    frame["size"] = [f"{n}×{m}" for n, m in zip(frame["n_student"], frame["n_teacher"], strict=True)]
    frame["cells"] = frame["n_student"] * frame["n_teacher"]
    frame["haystack"] = [
        "\n".join([str(name), str(category), str(text), " ".join(student), " ".join(teacher)]).casefold()
        for name, category, text, student, teacher in zip(
            index["example_id"],
            index["category"],
            index["text"],
            index["student_tokens"],
            index["teacher_tokens"],
            strict=True,
        )
    ]
    return frame


def joined(tokens: Sequence[str]) -> str:
    """Tokens in one line with a bar between them, to see where a tokenizer cuts."""
    return "│".join(tokens)
