"""The list of examples as plain data: what is known of each map; search, filters and order. No Streamlit in here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from rapidfuzz import fuzz, process

from probe.maps.attention_map import AttentionMap, by_rows
from probe.maps.store import MapStore

SORTS = ("worst", "best", "difference", "id", "length")
PAIR_SORTS = ("difference", "apart", *(name for name in SORTS if name != "difference"))  # of two runs
COLUMNS = ("example_id", "category", "checkpoint", "direction", "normalisation", "n_student", "n_teacher", "text")
LABELS = ("category", "checkpoint", "direction", "normalisation")
ALIKE = 75  # of 100: how much of what was typed must be found, in order, where no example has all of it
PLAIN = r"[A-Z][A-Za-z ,.'-]{25,}"  # a text that a stranger can read
FEW = (10, 45)  # targets of a map that one takes in at a glance
SHORTEST = 4  # letters; shorter words resemble everything


@dataclass(frozen=True)
class Run:
    """Whose maps are looked at: a checkpoint, a direction and a normalisation; ``other`` is what it is set against."""

    checkpoint: str
    direction: str
    normalisation: str
    other: str | None = None


@dataclass(frozen=True)
class Filters:
    """Which examples are listed, and how they are sorted; a range that is None lets everything through.

    Attributes:
        text: what the search looks for; see :func:`search`.
        score: lowest and highest top-1 (sure). length: fewest and most targets of the longer side.
        difference: the least that top-1 (sure) must differ between the two runs.
    """

    text: str = ""
    category: str | None = None
    sort: str = SORTS[0]
    score: tuple[float, float] | None = None
    length: tuple[int, int] | None = None
    difference: float = 0.0


@dataclass(frozen=True, eq=False)
class Listing:
    """The example list that a page shows, with what is looked up in it at every click. Not to be changed.

    Attributes:
        ids: the examples that pass the filters, in order. places: where in the list each is.
        rows: the row of each in the store.
        known: all examples of the run, also those that are filtered out.
        similar: whether the search had to make do with similar words.
        table: the columns that are shown, as they are sent.
    """

    ids: list[str]
    places: dict[str, int]
    rows: list[int]
    known: frozenset[str]
    similar: bool
    table: pa.Table

    def row(self, example_id: str) -> int:
        """The example's row in the store."""
        return self.rows[self.places[example_id]]


def listing(frame: pd.DataFrame, filters: Filters) -> Listing:
    """The list of a run's examples ``frame``, filtered and sorted."""
    rows, similar = chosen(frame, filters)
    ids = rows["example_id"].tolist()
    places = {name: place for place, name in enumerate(ids)}
    return Listing(ids, places, rows["row"].tolist(), frozenset(frame["example_id"]), similar, _shown(rows))


def _shown(rows: pd.DataFrame) -> pa.Table:
    columns = ["example_id"]
    columns += [name for name in ("top1_sure", "difference", "distance") if name in rows and rows[name].notna().any()]
    columns += ["size"] if len(columns) < 3 else []
    return pa.Table.from_pandas(rows[columns], preserve_index=False, nthreads=1).replace_schema_metadata(None)


def catalog(store: MapStore) -> pd.DataFrame:
    """One row a map: its labels, its row in the store, its sizes, and what the search looks through."""
    frame = pd.DataFrame({name: store.column(name) for name in COLUMNS})
    haystack = [
        f"{name}\n{category}\n{text}".casefold()
        for name, category, text in zip(frame["example_id"], frame["category"], frame["text"], strict=True)
    ]
    frame = frame.astype(dict.fromkeys(LABELS, "category"))  # every click compares them: numbers, not strings
    return frame.assign(
        row=np.arange(len(frame)),
        size=[f"{n}×{m}" for n, m in zip(frame["n_student"], frame["n_teacher"], strict=True)],
        cells=frame["n_student"] * frame["n_teacher"],
        place=natural_places(frame["example_id"].tolist()),
        length=frame[["n_student", "n_teacher"]].max(axis=1),
        haystack=haystack,
    )


def natural_places(names: Sequence[str]) -> np.ndarray:
    """The place of each name in the order in which people count: example-9 before example-10; equal names share it."""
    ordered = sorted(set(names), key=_natural)
    places = {name: place for place, name in enumerate(ordered)}
    return np.array([places[name] for name in names], dtype=np.int64)


def _natural(name: str) -> tuple[object, ...]:
    """Stretches of digits by their number, what is between them as it is; a name decides where two are equal."""
    parts = re.split(r"([0-9]{1,18})", name)
    return (*(int(part) if place % 2 else part for place, part in enumerate(parts)), name)


def typical(frame: pd.DataFrame) -> str | None:
    """The example that a stranger understands, to open with: a short one in plain letters, whose score is nearest to
    the mean of the run; without scores the first. None where no example is plain and short."""
    plain = frame["text"].str.fullmatch(PLAIN) & frame["length"].between(*FEW)
    found = frame[plain]
    if found.empty:
        return None
    far = (found["top1_sure"] - frame["top1_sure"].mean()).abs().fillna(0)
    order = pd.DataFrame({"far": far.round(3), "place": found["place"]})
    return str(found.loc[order.sort_values(["far", "place"]).index[0], "example_id"])


def search(frame: pd.DataFrame, text: str) -> tuple[pd.DataFrame, bool]:
    """Rows whose id, category or text contain ``text``, and False; if none does, rows that resemble it, and True.

    Case does not matter, and a token may be typed as it is shown: ␣ and ⏎ are the space and the line break they mean.
    """
    wanted = text.replace("␣", " ").replace("⏎", "\n").casefold()
    wanted = wanted if wanted.strip() != wanted and len(wanted.strip()) < SHORTEST else wanted.strip()
    if not wanted.strip():
        return frame, False
    exact = np.array([wanted in hay for hay in frame["haystack"]], dtype=bool)  # an empty list would choose columns
    if exact.any() or len(wanted) < SHORTEST:
        return frame[exact], False
    scores = process.cdist([wanted], frame["haystack"].tolist(), scorer=fuzz.partial_ratio, score_cutoff=ALIKE)[0]
    return frame[scores >= ALIKE], True


def chosen(frame: pd.DataFrame, filters: Filters) -> tuple[pd.DataFrame, bool]:
    """The rows that pass the filters, sorted; and whether the search had to make do with similar words."""
    if filters.category is not None:
        frame = frame[frame["category"] == filters.category]
    if filters.score is not None:
        frame = frame[frame["top1_sure"].between(*filters.score)]
    if filters.length is not None:
        frame = frame[frame["length"].between(*filters.length)]
    if filters.difference and "difference" in frame:
        frame = frame[frame["difference"].abs() >= filters.difference]
    frame, similar = search(frame, filters.text)
    return order(frame, filters.sort), similar


def order(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """The list sorted by a name of ``SORTS``; unscored examples come last, equals in the natural order of their ids.

    ``difference``: where the other run differs most in its score, and without scores in its maps (``apart``).
    """
    keys = {"worst": frame["top1_sure"], "best": -frame["top1_sure"], "length": -frame["cells"]}
    for name, of in (("apart", "distance"), ("difference", "distance"), ("difference", "difference")):
        if of in frame and frame[of].notna().any():
            keys[name] = -frame[of].abs()
    key = keys.get("worst" if by in ("difference", "apart") and by not in keys else by)
    frame = frame.iloc[np.argsort(natural_places(frame["example_id"].tolist()), kind="stable")]
    return frame if key is None else frame.loc[key[frame.index].sort_values(kind="stable", na_position="last").index]


def with_difference(frame: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """The list with ``difference``: top-1 (sure) of this run minus that of the run ``base``."""
    start = frame["example_id"].map(base.set_index("example_id")["top1_sure"])
    return frame.assign(difference=frame["top1_sure"] - start)


def map_distance(one: AttentionMap, two: AttentionMap) -> float:
    """Mean total variation between the lines of two maps of one example: 0 for equal maps, 1 for disjoint ones.

    Half the sum of absolute differences of a line, averaged over lines; NaN where the maps have other tokens.
    """
    if one.weights.shape != two.weights.shape or one.direction != two.direction:
        return float("nan")
    return float(np.abs(by_rows(one, one.weights - two.weights)).sum(axis=1).mean() / 2)
