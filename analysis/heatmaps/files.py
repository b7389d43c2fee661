"""The files of a heatmap export: their names, and the journal by which an export is resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import pandas as pd

from probe.files import disk_errors, sha256_of
from probe.gold.reading import Gold, Link
from probe.journal import Journal, read_journal, write_journal
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.scoring.tables import write_csv
from probe.version import code_digest

if TYPE_CHECKING:
    from probe.plotting.layout import CellRanges

MANIFEST = "manifest.csv"
DRAWN_BY = ()  # rooms of the library whose code decides what a picture looks like; none named: all of it
JOURNAL = ".journal.jsonl"
SCHEMA_VERSION = 1
NAME_LENGTH = 60  # of the example's part of a file name
IDENTITY = ("example_id", "checkpoint", "direction", "method", "normalisation")


@dataclass(frozen=True)
class Look:
    """How all files of an export are drawn.

    Attributes:
        unit: what a row and a column are: token, chunk or word.
        width: of the figure in points, for print; None: as large as the map needs.
        title: whether there is one. columns: of a grid. pin: a cell to frame.
        dpi: of a png and of the cells of a large map; None: 110, or 300 where there is a width.
        svg_text: the text of an svg stays text.
    """

    unit: str = "token"
    width: float | None = None
    title: bool = True
    columns: int = 3
    pin: Link | None = None
    dpi: int | None = None
    svg_text: bool = False


@dataclass(frozen=True)
class Drawing:
    """What a file shows: rows of the store (one map; two to subtract; any number as a grid), its scale, its window."""

    rows: tuple[int, ...]
    file: str
    kind: Literal["map", "grid", "difference"] = "map"
    vmax: float = 1.0
    window: CellRanges | None = None
    look: Look = Look()

    def named(self, *parts: str) -> Drawing:
        """The picture with more parts in its file's name."""
        stem, dot, suffix = self.file.rpartition(".")
        return dataclasses.replace(self, file="--".join([stem, *parts]) + dot + suffix)


@dataclass(frozen=True)
class DrawingJob:
    """A picture to draw, its gold, and the hash of all that decides it."""

    picture: Drawing
    gold: Gold | None
    source: str

    @property
    def file(self) -> str:
        return self.picture.file


@dataclass(frozen=True)
class ManifestLine:
    """A line of the manifest; scores are None without gold or where no position counts.

    ``window`` is the part that is drawn, as ``--window`` takes it; empty where that is all.
    """

    file: str
    example_id: str
    category: str
    checkpoint: str
    method: str
    direction: str
    normalisation: str
    unit: str
    window: str
    n_student: int
    n_teacher: int
    top1_sure: float | None
    top1_possible: float | None
    gold_mass_sure: float | None
    gold_mass_possible: float | None
    chunk_accuracy: float | None
    reciprocal_rank: float | None
    n_positions: int | None
    n_tied: int | None
    source: str
    sha256: str


def file_names(store: MapStore, suffix: str) -> list[str]:
    """A file name for each map: safe on any file system, unique, the same whichever maps are chosen.

    ``example--checkpoint--direction.png``; where that is not the whole truth (other characters in an id, a long one,
    a second normalisation, two names that differ in case) eight digits of a hash tell the maps apart.
    """
    return unique_names(list(zip(*(store.column(name) for name in IDENTITY), strict=True)), suffix)


def unique_names(identities: Sequence[tuple[str, ...]], suffix: str) -> list[str]:
    """A safe file name of the first three parts of each identity, and a hash of all parts where that is ambiguous."""
    plain = ["--".join(_slug(part) for part in identity[:3]) for identity in identities]
    times = Counter(name.casefold() for name in plain)
    names = []
    for name, identity in zip(plain, identities, strict=True):
        if times[name.casefold()] > 1 or name != "--".join(identity[:3]):
            name += "--" + hashlib.sha256(repr(identity).encode()).hexdigest()[:8]
        names.append(f"{name}.{suffix}")
    return names


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:NAME_LENGTH] or "_"


def source_hash(amap: AttentionMap, gold: Gold | None, suffix: str, *settings: object) -> str:
    """Sixteen digits that change whenever the picture would: the map, its gold, the format, settings, the code."""
    parts = [getattr(amap, field.name) for field in dataclasses.fields(amap) if field.name != "weights"]
    links = (sorted(gold.sure), sorted(gold.possible)) if gold else None
    text = repr((parts, links, suffix, settings, code_digest(*DRAWN_BY), version("matplotlib"), SCHEMA_VERSION))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace") + amap.weights.tobytes()).hexdigest()[:16]


class Folder:
    """The directory of an export: every finished file is noted in a journal, so that nothing is drawn twice.

    Used as a context manager. The manifest is written by :meth:`finish`; after an error or an interruption the journal
    still knows the finished files. A directory that was made for nothing is removed.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path, self._resume = path, resume
        self._known: dict[str, ManifestLine] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Folder:
        journal = self.path / JOURNAL
        self._known = _read_known(journal) if self._resume else {}
        if not self._known:
            with disk_errors(journal):
                journal.unlink(missing_ok=True)
        self._journal = self._stack.enter_context(Journal(journal))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if (self.path / JOURNAL).stat().st_size == 0:
            with contextlib.suppress(OSError):  # the directory holds something else
                (self.path / JOURNAL).unlink()
                self.path.rmdir()

    def kept(self, job: DrawingJob) -> ManifestLine | None:
        """The line of a file that is there, unaltered, and would come out the same; else None."""
        found = self._known.get(job.file)
        if found is None or found.source != job.source or not (self.path / job.file).is_file():
            return None
        return found if sha256_of(self.path / job.file) == found.sha256 else None

    def note(self, drawn: ManifestLine) -> None:
        """Write a finished file into the journal."""
        self._journal.add(dataclasses.asdict(drawn))

    def finish(self, done: Iterable[ManifestLine]) -> None:
        """Write the manifest of all files of this run, and a journal without what is gone."""
        done = list(done)
        self._stack.close()
        columns = [field.name for field in dataclasses.fields(ManifestLine)]
        frame = pd.DataFrame([dataclasses.astuple(drawn) for drawn in done], columns=columns)
        frame = frame.astype({"n_positions": "Int64", "n_tied": "Int64"})
        write_csv(frame.assign(schema_version=SCHEMA_VERSION), self.path / MANIFEST)
        others = {name: drawn for name, drawn in self._known.items() if (self.path / name).is_file()}
        write_journal(self.path / JOURNAL, map(dataclasses.asdict, (others | {d.file: d for d in done}).values()))


def _read_known(path: Path) -> dict[str, ManifestLine]:
    """The files that a journal knows; a line that is none is a file to draw again."""
    known: dict[str, ManifestLine] = {}
    for record in read_journal(path):
        with contextlib.suppress(TypeError):
            drawn = ManifestLine(**record)
            known[drawn.file] = drawn
    return known
