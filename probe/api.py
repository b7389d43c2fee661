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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probe.errors import DataError, UsageError
from probe.gold.reading import Gold, GoldSet, gold_hash, read_gold
from probe.maps.attention_map import AttentionMap, by_rows, column_axis, row_axis
from probe.maps.notebook import draw_with
from probe.maps.store import MapStore
from probe.notebook.one_map import Map, cells, labels
from probe.scoring.alignment import span_gold
from probe.scoring.extractions import WAYS
from probe.scoring.metrics import MapMetric
from probe.scoring.tables import describe, examples_frame, scored, write_csv
from probe.text.examples import Example, read_examples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from probe.extraction.embedding_maps import DirectionChoice
    from probe.extraction.extractor import Extractor
    from probe.extraction.key_sigmas import NormalisationKind

Texts = str | Path | Example | tuple[str, str] | Sequence["str | tuple[str, str] | Example"]
GoldLike = Path | str | Gold | Mapping[str, Gold]
LABELS = ("example_id", "category", "checkpoint", "method", "direction", "normalisation", "text")  # to select by
SHOWN = 12  # maps in the table of a notebook
SPAN_RULE = "span-rule"  # in a signature, where no people's gold was given


@dataclass(frozen=True, repr=False)
class Maps(Sequence[AttentionMap]):
    """A sequence of attention maps, read when they are asked for; ``maps[0].weights`` is [student, teacher].

    Attributes:
        size: how many. read: gives the map of a number.
        fingerprints: of the student's and the teacher's tokenizer.
        golds: alignments by example id, which the maps then know.
        columns: gives a label of all maps without reading them.
    """

    size: int
    read: Callable[[int], AttentionMap]
    fingerprints: tuple[str, str]
    golds: Mapping[str, Gold] = field(default_factory=dict)
    columns: Callable[[str], list[str]] | None = None

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Map]:
        return map(self._one, range(self.size))

    def __getitem__(self, item: Any) -> Any:
        """A map by its number; a slice gives Maps; the id of an example gives its map, or Maps where there are several.

        Raises:
            DataError: no map of this example; names some that there are.
        """
        if isinstance(item, str):
            found = self.select(example_id=item)
            if not len(found):
                known = ", ".join(dict.fromkeys(self.column("example_id")[:60]))
                raise DataError(
                    f"none of the {self.size} maps is of example {item!r}, but for instance of {known:.90}."
                )
            return found[0] if len(found) == 1 else found
        numbers = range(self.size)[item]
        return self._one(numbers) if isinstance(numbers, int) else self._part(numbers)

    def _one(self, number: int) -> Map:
        amap = self.read(number)
        return Map.of(amap, self.golds.get(amap.example_id))

    def _part(self, numbers: Sequence[int]) -> Maps:
        def column(name: str) -> list[str]:
            values = self.column(name)
            return [values[number] for number in numbers]

        return replace(self, size=len(numbers), read=lambda number: self.read(numbers[number]), columns=column)

    def column(self, name: str) -> list[str]:
        """``example_id``, ``checkpoint``, ``direction``, … of every map. Raises UsageError for another name."""
        if name not in LABELS:
            raise UsageError(f"maps have no label {name!r}; wanted one of {', '.join(LABELS)}.")
        return self.columns(name) if self.columns is not None else [getattr(amap, name) for amap in self]

    def select(self, **wanted: str) -> Maps:
        """The maps whose ``example_id``, ``checkpoint``, ``direction``, … are as wanted."""
        known = {name: self.column(name) for name in wanted}
        kept = [k for k in range(self.size) if all(known[name][k] == value for name, value in wanted.items())]
        return self._part(kept)

    def show(self, which: int | str = 0, *, gold: GoldLike | None = None, unit: str = "token") -> Map:
        """A map for a notebook to show, by its number or its example's id, with its gold, by token, chunk or word.

        Raises:
            UsageError: several maps are of this example: ``select`` a checkpoint and a direction first.
        """
        amap = self[which]
        if isinstance(amap, Maps):
            raise UsageError(f"{len(amap)} maps are of example {which!r}; select a checkpoint and a direction first.")
        golds = self._golds(gold) if gold is not None else self.golds
        return amap.show(golds.get(amap.example_id)).grouped(unit)

    def to_csv(self, path: Path | str) -> Path:
        """Write :meth:`to_frame`; no cell runs as a formula in a spreadsheet. Raises DiskError."""
        write_csv(self.to_frame(), path)
        return Path(path)

    def __repr__(self) -> str:
        names = [", ".join(dict.fromkeys(self.column(name))) for name in ("checkpoint", "direction")]
        examples = len(set(self.column("example_id")))
        return f"Maps({self.size} maps of {examples} examples; {'; '.join(names)})"

    def _repr_html_(self) -> str:
        from probe.notebook.picture import maps_html

        shown = [self[number] for number in range(min(self.size, SHOWN))]
        return maps_html(repr(self)[5:-1], shown, self.size, shown[0].gold if shown else None)

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: labels of the map, ``student``, ``teacher``, their tokens and the ``weight``."""
        frames = [cells(amap) for amap in self]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def links(self) -> pd.DataFrame:
        """One row per position: its token, the heaviest token of the other side, and how heavy that is."""
        frames = [_heaviest(amap) for amap in self]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def score(self, gold: GoldLike | None = None, *, links: str = "argmax") -> pd.DataFrame:
        """One row per map that has gold: the scores of ``examples.csv``, and the signature that says how they came.

        Args:
            gold: a gold file, one alignment, or alignments by example id. None: what the maps were opened with, else
                the span rule stands in for people.
            links: how links are taken from a map: any of :func:`probe.scoring.alignment.links_from_map` but
                ``both-directions``.

        Raises:
            DataError: no map has gold, or gold is for other tokens. UsageError: ``links`` needs more than one map.
        """
        if links not in (ways := [way for way in WAYS if way != "both-directions"]):
            raise UsageError(f"links={links!r}: wanted {', '.join(ways)} (one map at a time).")
        metric, golds = MapMetric(links=links), self._golds(gold)  # type: ignore[arg-type]
        digest = SPAN_RULE if gold is None and not self.golds else gold_hash(golds.values())
        gold_set, rows = GoldSet(golds, self.fingerprints), []
        for amap in self:
            if (one := gold_set.of(amap)) is not None:
                signature = metric.signature_of(amap, gold=digest)
                rows.append(scored(amap, metric.score(amap, one), describe(amap, one), signature))
        if not rows:
            raise DataError(f"none of the {len(self)} maps has gold; the gold has ids like {next(iter(golds), '–')!r}.")
        return examples_frame(rows)

    def _golds(self, gold: GoldLike | None) -> Mapping[str, Gold]:
        if gold is None and self.golds:
            return self.golds
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
        known = self._golds(gold).get(amap.example_id) if gold is not None else amap.gold
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


def open_maps(path: Path | str, gold: GoldLike | None = None) -> Maps:
    """The maps of a store that ``probe extract`` wrote, with their gold; neither torch nor a model is needed.

    Raises:
        DamagedError: no map store, or a damaged one. DataError: gold that cannot be read.
    """
    store = MapStore.open(path)
    prints = (store.student_fingerprint, store.teacher_fingerprint)
    maps = Maps(len(store), store.read, prints, columns=store.column)
    return maps if gold is None else replace(maps, golds=maps._golds(gold))


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


def _heaviest(amap: AttentionMap) -> pd.DataFrame:
    weights = by_rows(amap, amap.weights)
    best = weights.argmax(axis=1)
    other = [column_axis(amap).tokens[column] for column in best]
    return pd.DataFrame(
        {
            **labels(amap), "position": np.arange(len(best)), "token": row_axis(amap).tokens, "heaviest": best,
            "heaviest_token": other, "weight": weights.max(axis=1),
        }
    )  # fmt: skip


def _map_html(amap: AttentionMap) -> str:
    from probe.notebook.picture import map_html

    return map_html(amap, amap.gold, amap.unit) if isinstance(amap, Map) else map_html(amap)


def _gold_html(gold: Gold) -> str:
    from probe.notebook.picture import gold_html

    return gold_html(gold)


draw_with(AttentionMap, _map_html)
draw_with(Gold, _gold_html)
