"""Tidy frames and the CSV schemas: tokens and examples here, the others in :mod:`probe.scoring.runs`.

Every row carries ``schema_version`` and ``signature``. Cells that a spreadsheet would run as a formula are neutralised.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from probe.files import atomic_file
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap, column_axis, row_axis
from probe.scoring.alignment import chunks
from probe.scoring.extractions import Extraction
from probe.scoring.metrics import LinkCounts, MapScore
from probe.scoring.names import LINK_SCORES, MAP_SCORES, POSITION_SCORES
from probe.text.axis import TokenAxis

SCHEMA_VERSION = 1  # rises when a column goes or changes its meaning; a new column or file leaves it
LINK_COUNTS = tuple(f"links_{field.name}" for field in fields(LinkCounts))
LENGTH_BINS = ((16, "1-16"), (64, "17-64"), (256, "65-256"), (np.inf, "257 and more"))
PLACES = ("first quarter", "second quarter", "third quarter", "last quarter")


@dataclass(frozen=True)
class Described:
    """What is known about a map's rows before any weight is looked at; shared by all maps of an example and direction.

    All are tuples [rows]: display form, token class, chunk relation, place in the response, sure and possible columns.
    """

    tokens: tuple[str, ...]
    classes: tuple[str, ...]
    relations: tuple[str, ...]
    places: tuple[str, ...]
    sure: tuple[str, ...]
    possible: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """One map's labels and scores, without its weights; ``extractions`` are its links taken in every way."""

    checkpoint: str
    method: str
    direction: str
    normalisation: str
    signature: str
    example_id: str
    category: str
    n_student: int
    n_teacher: int
    truncated: bool
    score: MapScore
    described: Described
    column_tokens: tuple[str, ...]
    extractions: tuple[Extraction, ...] = ()


def describe(amap: AttentionMap, gold: Gold) -> Described:
    """Describe the rows of a map (student targets of t2s, teacher targets of s2t)."""
    axis, side = row_axis(amap), 0 if amap.direction == "t2s" else 1
    relations = [""] * len(axis)
    for chunk in chunks(amap.student.spans, amap.teacher.spans):
        for index in chunk.student if side == 0 else chunk.teacher:
            relations[index] = chunk.relation
    return Described(
        tokens=axis.tokens,
        classes=token_classes(amap.text, axis),
        relations=tuple(relations),
        places=tuple(PLACES[4 * index // len(axis)] for index in range(len(axis))),
        sure=_columns_of(gold.sure, side, len(axis)),
        possible=_columns_of(gold.possible, side, len(axis)),
    )


def _columns_of(links: Iterable[tuple[int, int]], side: int, rows: int) -> tuple[str, ...]:
    found: list[list[int]] = [[] for _ in range(rows)]
    for link in sorted(links):
        found[link[side]].append(link[1 - side])
    return tuple(" ".join(map(str, columns)) for columns in found)


def scored(
    amap: AttentionMap,
    score: MapScore,
    described: Described,
    signature: str,
    extractions: tuple[Extraction, ...] = (),
) -> Scored:
    """Keep what the tables need of a scored map."""
    return Scored(
        amap.checkpoint, amap.method, amap.direction, amap.normalisation, signature, amap.example_id, amap.category,
        len(amap.student), len(amap.teacher), amap.truncated, score, described, column_axis(amap).tokens, extractions,
    )  # fmt: skip


def token_classes(text: str, axis: TokenAxis) -> tuple[str, ...]:
    """Class of each target: EOS, part of a character, white space, number, punctuation, word start, continuation.

    An empty last span is the EOS. Tokens that share their span with a neighbour are parts of a character. The others
    are judged by the text they cover without white space at its ends: all digits (with separators) is a number, no
    letter or digit is punctuation; a word starts where the character before it is neither letter, mark nor digit.
    """
    data, spans = text.encode("utf-8", "surrogatepass"), axis.spans
    found = []
    for index, (start, end) in enumerate(spans):
        shared = start < end and (start, end) in (spans[index - 1] if index else None, (*spans, None)[index + 1])
        if start == end and index == len(spans) - 1:
            found.append("EOS")
        elif shared:
            found.append("part of a character")
        else:
            before = data[max(0, start - 4) : start].decode("utf-8", "ignore")
            found.append(_class_of(data[start:end].decode("utf-8", "replace"), before))
    return tuple(found)


def _class_of(piece: str, before: str) -> str:
    core = piece.strip()
    if not core:
        return "white space"
    if not any(_is_word(letter) for letter in core):
        return "punctuation"
    if all(letter.isnumeric() or letter in ".,:/'-" for letter in core):
        return "number"
    joined = _is_word(piece[0]) and before != "" and _is_word(before[-1])
    return "continuation" if joined else "word start"


def _is_word(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LNM"


def length_bin(rows: int) -> str:
    """Name of the response-length bin of a map with so many rows."""
    return next(name for most, name in LENGTH_BINS if rows <= most)


def tokens_frame(maps: Sequence[Scored]) -> pd.DataFrame:
    """One row per student target of each t2s map and per teacher target of each s2t map."""
    if not maps:
        return pd.DataFrame()
    sizes = [one.score.n_rows for one in maps]

    def label(values: Iterable[Any]) -> pd.Categorical:
        codes, names = pd.factorize(np.array(list(values), dtype=object))
        return pd.Categorical.from_codes(np.repeat(codes, sizes), categories=names)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(one.score.positions, name) for one in maps])

    def described(name: str) -> list[str]:
        return [value for one in maps for value in getattr(one.described, name)]

    labels = ("signature", "checkpoint", "method", "direction", "normalisation", "example_id", "category")
    return pd.DataFrame(
        {
            "schema_version": SCHEMA_VERSION,
            **{name: label(getattr(one, name) for one in maps) for name in labels},
            "length": label(length_bin(size) for size in sizes),
            "position": np.concatenate([np.arange(size) for size in sizes]),
            "token": described("tokens"),
            "token_class": pd.Categorical(described("classes")),
            "relation": pd.Categorical(described("relations")),
            "place": pd.Categorical(described("places")),
            "tied": joined("tied"),
            "gold_sure": described("sure"),
            "gold_possible": described("possible"),
            "heaviest": joined("best"),
            "heaviest_token": [one.column_tokens[k] for one in maps for k in one.score.positions.best],
            "heaviest_weight": joined("best_weight"),
            **{name: joined(name) for name in POSITION_SCORES},
        }
    )


def examples_frame(maps: Sequence[Scored]) -> pd.DataFrame:
    """One row per map: its sizes, mean scores, link scores and link counts."""
    rows = [
        {
            "schema_version": SCHEMA_VERSION,
            "signature": one.signature,
            "checkpoint": one.checkpoint,
            "method": one.method,
            "direction": one.direction,
            "normalisation": one.normalisation,
            "example_id": one.example_id,
            "category": one.category,
            "length": length_bin(one.score.n_rows),
            "truncated": one.truncated,
            "n_student": one.n_student,
            "n_teacher": one.n_teacher,
            **{name: getattr(one.score, name) for name in ("n_positions", "n_sure", "n_tied")},
            **{name: getattr(one.score, name) for name in (*POSITION_SCORES, *MAP_SCORES, *LINK_SCORES)},
            **{name: getattr(one.score.links, name.removeprefix("links_")) for name in LINK_COUNTS},
        }
        for one in maps
    ]
    return pd.DataFrame(rows)


# --- CSV ---

FORMULA_STARTS = "=+-@＝＋－＠﹢﹣﹦﹫−"  # noqa: RUF001
_SKIPPED = (  # what a spreadsheet may skip before a formula: blanks, controls, invisible characters, double quotes
    r"[\s\x00-\x20\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff" + '"]*'
)
_LIVE = re.compile(f"[\t\r\n]|{_SKIPPED}[{re.escape(FORMULA_STARTS)}]")
# A reader that splits at semicolons or tabs does not see that a cell which holds one is quoted (2026-11).
_LIVE_WITHIN = re.compile(f"([;\t\r\n]{_SKIPPED})(?=[{re.escape(FORMULA_STARTS)}])")


def safe_cell(value: str) -> str:
    """A string that no spreadsheet runs as a formula and that UTF-8 can hold.

    An apostrophe is put before a string that begins with ``= + - @`` (full-width and small forms too), also behind
    blanks, invisible characters or double quotes; and within the string before such a sign that follows a semicolon,
    tab or line break, where another reader would begin a cell. Lone surrogates and NUL become ``\\udc80`` and
    ``\\x00`` in letters.
    """
    value = value.encode("utf-8", "backslashreplace").decode("utf-8")
    first = "'" if _LIVE.match(value) else ""
    return (first + _LIVE_WITHIN.sub(r"\1'", value)).replace("\x00", "\\x00")


def write_csv(frame: pd.DataFrame, path: Path | str) -> None:
    """Write a frame as UTF-8 CSV, atomically: strings quoted and safe, numbers as numbers, missing values empty."""
    safe = frame.rename(columns=lambda name: safe_cell(str(name)))
    for place, (_, column) in enumerate(frame.items()):
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(object)
        if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
            known = {value: safe_cell(value) for value in set(column) if isinstance(value, str)}
            safe.isetitem(place, column.map(lambda value, known=known: known.get(value, value)).astype(object))
    with atomic_file(path) as part:
        safe.to_csv(part, index=False, encoding="utf-8", quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
