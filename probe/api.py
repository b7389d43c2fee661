"""The whole task in a few lines of Python: ``probe.load(checkpoint).maps(text)``, or ``probe.open_maps(path)``.

Maps come as numpy arrays, everything that is counted as a pandas frame; pictures are drawn on demand.

Examples:
    >>> import probe
    >>> maps = probe.load("checkpoints/dskd-cma").maps(("Why yellow?", "They lose their green."), direction="both")
    >>> [amap.direction for amap in maps], maps[0].weights.shape == (len(maps[0].student), len(maps[0].teacher))
    (['t2s', 's2t'], True)
    >>> maps.score()["top1_sure"].between(0, 1).tolist()  # against the span rule; give gold of your own
    [True, True]
    >>> len(maps.to_frame()) == maps[0].weights.size + maps[1].weights.size
    True
    >>> maps.plot(0).get_xlabel()[:15]
    'teacher targets'
    >>> probe.open_maps("out/demo/maps").score("analysis/gold/gold.jsonl").columns[0]  # stored maps, without torch
    'schema_version'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probe.errors import DataError, UsageError
from probe.gold.reading import Gold, GoldSet, gold_hash, read_gold
from probe.maps.attention_map import AttentionMap, by_rows, column_axis, row_axis
from probe.maps.store import MapStore
from probe.scoring.alignment import span_gold
from probe.scoring.extractions import WAYS
from probe.scoring.metrics import MapMetric
from probe.scoring.tables import describe, examples_frame, scored
from probe.text.examples import Example, read_examples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probe.extraction.embedding_maps import DirectionChoice
    from probe.extraction.extractor import Extractor
    from probe.extraction.key_sigmas import NormalisationKind

Texts = str | Path | Example | tuple[str, str] | Sequence["str | tuple[str, str] | Example"]
GoldLike = Path | str | Gold | Mapping[str, Gold]
SPAN_RULE = "span-rule"  # in a signature, where no people's gold was given


@dataclass(frozen=True)
class Maps(Sequence[AttentionMap]):
    """A sequence of attention maps, read when they are asked for; ``maps[0].weights`` is [student, teacher].

    Attributes:
        size: how many. read: gives the map of a number.
        fingerprints: of the student's and the teacher's tokenizer.
    """

    size: int
    read: Callable[[int], AttentionMap]
    fingerprints: tuple[str, str]

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[AttentionMap]:
        return map(self.read, range(self.size))

    def __getitem__(self, item: Any) -> Any:
        """A map by its number; a slice gives Maps."""
        numbers = range(self.size)[item]
        if isinstance(numbers, int):
            return self.read(numbers)
        return replace(self, size=len(numbers), read=lambda number: self.read(numbers[number]))

    def select(self, **wanted: str) -> Maps:
        """The maps whose ``example_id``, ``checkpoint``, ``direction``, … are as wanted."""
        kept = [k for k, amap in enumerate(self) if all(getattr(amap, name) == value for name, value in wanted.items())]
        return replace(self, size=len(kept), read=lambda number: self.read(kept[number]))

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: labels of the map, ``student``, ``teacher``, their tokens and the ``weight``."""
        frames = [_cells(amap) for amap in self]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def links(self) -> pd.DataFrame:
        """One row per position: its token, the heaviest token of the other side, and how heavy that is."""
        frames = [_heaviest(amap) for amap in self]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def score(self, gold: GoldLike | None = None, *, links: str = "argmax") -> pd.DataFrame:
        """One row per map that has gold: the scores of ``examples.csv``, and the signature that says how they came.

        Args:
            gold: a gold file, one alignment, or alignments by example id. None: the span rule stands in for people.
            links: how links are taken from a map: any of :func:`probe.scoring.alignment.links_from_map` but
                ``both-directions``.

        Raises:
            DataError: no map has gold, or gold is for other tokens. UsageError: ``links`` needs more than one map.
        """
        if links not in (ways := [way for way in WAYS if way != "both-directions"]):
            raise UsageError(f"links={links!r}: wanted {', '.join(ways)} (one map at a time).")
        metric, golds = MapMetric(links=links), self._golds(gold)  # type: ignore[arg-type]
        digest = SPAN_RULE if gold is None else gold_hash(golds.values())
        gold_set, rows = GoldSet(golds, self.fingerprints), []
        for amap in self:
            if (one := gold_set.of(amap)) is not None:
                signature = metric.signature_of(amap, gold=digest)
                rows.append(scored(amap, metric.score(amap, one), describe(amap, one), signature))
        if not rows:
            raise DataError(f"none of the {len(self)} maps has gold; the gold has ids like {next(iter(golds), '–')!r}.")
        return examples_frame(rows)

    def _golds(self, gold: GoldLike | None) -> Mapping[str, Gold]:
        if gold is None:
            prints = self.fingerprints
            return {a.example_id: span_gold(a.example_id, a.text, a.student, a.teacher, prints) for a in self}
        if isinstance(gold, Gold):
            return {gold.id: gold}
        return gold if isinstance(gold, Mapping) else read_gold(Path(gold))

    def plot(self, number: int = 0, *, gold: GoldLike | None = None, **options: Any) -> Axes:
        """The heatmap of a map; ``options`` are those of :func:`probe.plotting.attention_heatmap`.

        ``.figure`` of what is returned shows in a notebook; :func:`probe.plotting.save_figure` writes it.
        """
        from probe.plotting import attention_heatmap

        amap = self[number]
        known = self._golds(gold).get(amap.example_id) if gold is not None else None
        return attention_heatmap(amap, gold=known, **options)


@dataclass(frozen=True)
class Probe:
    """A loaded checkpoint, ready to make maps of any text."""

    extractor: Extractor

    def maps(
        self, texts: Texts, *, direction: DirectionChoice = "t2s", normalisation: NormalisationKind = "frozen"
    ) -> Maps:
        """Maps of a response, a ``(prompt, response)`` pair, an Example, a sequence of these, or a ``.jsonl`` path.

        A string is a response, a ``pathlib.Path`` a file. Texts of your own are numbered ``text-1``, ``text-2``, …

        Raises:
            DataError: an empty response, or an unreadable file. NonFiniteError: NaN or infinity in what a map needs.
        """
        found = list(self.extractor.maps(_examples(texts), direction=direction, normalisation=normalisation))
        pair = self.extractor.tokenizer
        return Maps(len(found), found.__getitem__, (pair.student_fingerprint, pair.teacher_fingerprint))


def load(checkpoint: Path | str, *, teacher: str | None = None, max_length: int | None = 512) -> Probe:
    """Load a checkpoint directory, and its teacher's embeddings and tokenizer; no transformer is run.

    Raises:
        DamagedError: a piece is missing, damaged or of another model; gives both numbers.
    """
    from probe.extraction.extractor import Extractor  # torch: seconds

    return Probe(Extractor.load([checkpoint], teacher=teacher, max_length=max_length))


def open_maps(path: Path | str) -> Maps:
    """The maps of a store that ``probe extract`` wrote; neither torch nor a model is needed.

    Raises:
        DamagedError: no map store, or a damaged one.
    """
    store = MapStore.open(path)
    return Maps(len(store), store.read, (store.student_fingerprint, store.teacher_fingerprint))


def _examples(texts: Texts) -> list[Example]:
    if isinstance(texts, Path):
        return read_examples(texts)
    one = isinstance(texts, str | Example) or _is_pair(texts)
    listed: Any = [texts] if one else texts
    return [_example(text, number) for number, text in enumerate(listed, start=1)]


def _is_pair(texts: Any) -> bool:
    return isinstance(texts, tuple) and len(texts) == 2 and all(isinstance(part, str) for part in texts)


def _example(text: str | tuple[str, str] | Example, number: int) -> Example:
    if isinstance(text, Example):
        return text
    if not (isinstance(text, str) or _is_pair(text)):
        raise DataError(f"text {number}: wanted a string, a (prompt, response) pair or an Example, got {text!r:.60}.")
    prompt, response = ("", text) if isinstance(text, str) else text
    if not response:
        raise DataError(f"text {number}: the response is empty; there is nothing to align.")
    return Example(f"text-{number}", prompt, (response,))


def _labels(amap: AttentionMap) -> dict[str, str]:
    return {name: getattr(amap, name) for name in ("example_id", "checkpoint", "direction")}


def _cells(amap: AttentionMap) -> pd.DataFrame:
    rows, columns = np.indices(amap.weights.shape).reshape(2, -1)
    tokens = (np.array(axis.tokens, dtype=object) for axis in (amap.student, amap.teacher))
    student, teacher = (names[index] for names, index in zip(tokens, (rows, columns), strict=True))
    cells = {"student": rows, "teacher": columns, "student_token": student, "teacher_token": teacher}
    return pd.DataFrame({**_labels(amap), **cells, "weight": amap.weights.ravel()})


def _heaviest(amap: AttentionMap) -> pd.DataFrame:
    weights = by_rows(amap, amap.weights)
    best = weights.argmax(axis=1)
    other = [column_axis(amap).tokens[column] for column in best]
    return pd.DataFrame(
        {
            **_labels(amap), "position": np.arange(len(best)), "token": row_axis(amap).tokens, "heaviest": best,
            "heaviest_token": other, "weight": weights.max(axis=1),
        }
    )  # fmt: skip
