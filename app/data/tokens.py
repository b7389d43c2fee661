"""Every position of a run as a row: its token, what it looks at, what was wanted, right or wrong, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from app.data.view import Pin
from probe.errors import DataError
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap, by_rows, column_axis, row_axis
from probe.scoring.alignment import chunks
from probe.scoring.causes import wrong_links
from probe.scoring.measures import heaviest_shares
from probe.scoring.metrics import gold_cells
from probe.scoring.tables import token_classes

COLUMNS = (
    "example_id", "category", "position", "token", "looks at", "wanted", "result", "cause", "weight", "class",
    "relation", "pin",
)  # fmt: skip
WORDS = ("example_id", "category", "token", "looks at", "result", "cause", "class", "relation")  # kept as categories
RESULTS = ("right", "wrong", "shared", "no link")  # shared: heaviest cells that tie, of which some are right
MATCHES = ("whole token", "part of a token", "regular expression")
SPACE = "␣"
LONGEST_PATTERN = 100


@dataclass(frozen=True)
class Query:
    """Which positions are listed; what is empty lets everything through.

    Attributes:
        token, looks_at: what the two tokens are searched for, as ``match`` of ``MATCHES`` says; see :func:`matches`.
        results, causes, classes, relations: values of those columns.
    """

    token: str = ""
    looks_at: str = ""
    match: str = MATCHES[0]
    results: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()


def positions(amap: AttentionMap, gold: Gold | None) -> list[tuple[object, ...]]:
    """The rows of ``COLUMNS`` of one map; without gold those of gold are empty.

    ``looks at`` is the heaviest cell; of cells that tie the first wrong one, so that a row without full credit shows
    what is wrong with it. Raises DataError for gold of other tokens.
    """
    rows, columns = row_axis(amap), column_axis(amap)
    weights = by_rows(amap, amap.weights)
    best = weights.argmax(axis=1).tolist()
    results, causes, wanted = ([""] * len(rows) for _ in range(3))
    if gold is not None:
        possible = by_rows(amap, gold_cells(amap, gold)[1])
        credit = (heaviest_shares(weights) * possible).sum(axis=1)
        linked = np.asarray(possible.any(axis=1))
        results = _results(credit, linked)
        wanted = [" ".join(columns.tokens[j] for j in np.flatnonzero(row)) for row in possible]
        for link in reversed(wrong_links(amap, gold)):
            best[link.row], causes[link.row] = link.column, link.cause
    pins = [str(Pin(i, j) if amap.direction == "t2s" else Pin(j, i)) for i, j in enumerate(best)]
    return list(
        zip(
            [amap.example_id] * len(rows), [amap.category] * len(rows), range(len(rows)), rows.tokens,
            [columns.tokens[j] for j in best], wanted, results, causes,
            weights[np.arange(len(rows)), best].astype(float).round(4).tolist(),
            token_classes(amap.text, rows), relations(amap), pins, strict=True,
        )
    )  # fmt: skip


def _results(credit: np.ndarray, linked: np.ndarray) -> list[str]:
    places = np.select([~linked, credit >= 1 - 1e-9, credit <= 1e-9], [3, 0, 1], 2)
    return [RESULTS[place] for place in places]


def relations(amap: AttentionMap) -> list[str]:
    """Relation of the chunk of each row."""
    found = [""] * len(row_axis(amap))
    for chunk in chunks(amap.student.spans, amap.teacher.spans):
        for index in chunk.student if amap.direction == "t2s" else chunk.teacher:
            found[index] = chunk.relation
    return found


def frame_of(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """The table of :func:`positions`; words that come again and again are kept once."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(WORDS, "category"))


def matches(words: Sequence[str], wanted: str, match: str) -> np.ndarray:
    """Which of some tokens are what was typed.

    whole token: the token itself, large or small letters, with a space before it or not; typed with a space (or ␣)
    before it, only with one. part of a token: it holds what was typed. regular expression: RE2, of the token as shown.

    Raises:
        DataError: no regular expression, or one of more than 100 letters.
    """
    shown = wanted.replace(" ", SPACE).replace("\n", "⏎")
    if match == MATCHES[2]:
        return _regex(words, wanted)
    folded = [word.casefold() for word in words]
    if match == MATCHES[1]:
        return np.array([shown.casefold() in word for word in folded], dtype=bool)
    if not shown.startswith(SPACE):
        folded = [word.removeprefix(SPACE) for word in folded]
    return np.array([word == shown.casefold() for word in folded], dtype=bool)


def _regex(words: Sequence[str], pattern: str) -> np.ndarray:
    """RE2 takes time in proportion to the text, whatever a visitor types; Python's own engine need not end."""
    if len(pattern) > LONGEST_PATTERN:
        raise DataError(f"a regular expression of {len(pattern)} letters; wanted at most {LONGEST_PATTERN}.")
    try:
        found = pc.match_substring_regex(pa.array(words, pa.string()), pattern)
    except pa.ArrowInvalid as error:
        raise DataError(f"{pattern!r} is no regular expression ({error}). Choose another kind of search.") from error
    return found.to_numpy(zero_copy_only=False).astype(bool)


def chosen(frame: pd.DataFrame, query: Query) -> pd.DataFrame:
    """The rows that pass, wrong ones first, the heaviest of them at the top. Raises DataError as :func:`matches`."""
    keep = np.ones(len(frame), dtype=bool)
    for column, wanted in (("token", query.token), ("looks at", query.looks_at)):
        if wanted.strip():
            words = frame[column].cat
            keep &= np.append(matches(words.categories.tolist(), wanted, query.match), False)[words.codes]
    choices = {"result": query.results, "cause": query.causes, "class": query.classes, "relation": query.relations}
    for column, values in choices.items():
        if values:
            keep &= frame[column].isin(values).to_numpy()
    found = frame[keep]
    order = pd.DataFrame({"right": found["result"] != RESULTS[1], "weight": -found["weight"]})
    return found.loc[order.sort_values(["right", "weight"], kind="stable").index]


def counts(frame: pd.DataFrame) -> dict[str, int]:
    """How many rows have each result, and each cause, where there are any."""
    found: dict[str, int] = {}
    for column in ("result", "cause"):
        found |= {str(name): int(count) for name, count in frame[column].value_counts().items() if name and count}
    return found
