"""Annotations on disk: one gold record an annotator and example, with a version, so that two editors lose nothing.

`FOLDER/<annotator>/<example>.jsonl` is a gold file of one line with two more keys: `version`, which grows by one with
every save, and `disputed`, the cells on which two editors of one annotator's file differ until someone decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock

from probe.errors import DataError, UnsafeError
from probe.files import atomic_file, disk_errors
from probe.gold.reading import Gold, Link, gold_from_record, gold_record
from probe.held import remove_left_parts

LEVELS = ("none", "possible", "sure")
NAME = re.compile(r"\w[\w .'-]{0,39}")  # of an annotator
HASHED = re.compile(r"_[0-9a-f]{8}$")
Links = Mapping[Link, str]  # cells that are linked, each "sure" or "possible"


@dataclass(frozen=True)
class Dispute:
    """A cell that two editors set differently: what the file holds, and what the one who saved later wanted."""

    cell: Link
    kept: str
    wanted: str


@dataclass(frozen=True)
class Saved:
    """An annotation as it is on disk; version 0 is one that nobody has saved yet."""

    gold: Gold
    version: int = 0
    disputed: tuple[Dispute, ...] = ()

    @property
    def links(self) -> Links:
        return links_of(self.gold)


def links_of(gold: Gold) -> Links:
    """The level of every linked cell."""
    return MappingProxyType({link: "sure" if link in gold.sure else "possible" for link in gold.possible})


def with_links(gold: Gold, links: Links) -> Gold:
    """The gold with other links."""
    sure = frozenset(link for link, level in links.items() if level == "sure")
    return replace(gold, sure=sure, possible=frozenset(links))


def merge(base: Links, mine: Links, theirs: Links) -> tuple[Links, tuple[Dispute, ...]]:
    """Both editors' changes to ``base``, cell by cell; where both changed a cell differently ``theirs`` stays."""
    merged: dict[Link, str] = {}
    disputes = []
    for cell in sorted({*base, *mine, *theirs}):
        before, here, there = (links.get(cell, "none") for links in (base, mine, theirs))
        level = here if there == before else there
        if here not in (before, level):
            disputes.append(Dispute(cell, level, here))
        if level != "none":
            merged[cell] = level
    return MappingProxyType(merged), tuple(disputes)


class Annotations:
    """The annotations in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, annotator: str, example_id: str) -> Path:
        """The file of an annotation, always inside the folder. Raises UnsafeError where a link leads out of it."""
        path = self.folder / file_name(annotator) / f"{file_name(example_id)}.jsonl"
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise UnsafeError(f"{path} leads out of {self.folder}; refused. Remove the symbolic link.")
        return path

    def load(self, annotator: str, example_id: str) -> Saved | None:
        """What is saved, None if nothing is. Raises DataError for a file that is no annotation of that example."""
        path = self.path(annotator, example_id)
        return _read(path, example_id, annotator) if path.is_file() else None

    def save(self, annotator: str, links: Links, base: Saved, settled: frozenset[Link] = frozenset()) -> Saved:
        """Save ``links``, which were made from ``base``; returns what is on disk then.

        If someone else saved in the meantime, both changes are merged (:func:`merge`), and cells that both changed
        differently are kept as disputed. ``settled`` are disputed cells that were decided.

        Raises:
            DataError: the file on disk is no annotation of this example, or one of other tokens.
            DiskError: it cannot be written; what was there is intact.
        """
        path = self.path(annotator, base.gold.id)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            remove_left_parts(path.parent)
            disk = _read(path, base.gold.id, annotator) if path.is_file() else None
            fresh: tuple[Dispute, ...] = ()
            if disk is not None and disk.version != base.version:
                if _tokens(disk.gold) != _tokens(base.gold):
                    raise DataError(
                        f"{path} was made on other tokens. Annotate into another folder: --annotations DIR."
                    )
                links, fresh = merge(base.links, links, disk.links)
            old = disk.disputed if disk is not None else ()
            taken = {dispute.cell for dispute in fresh} | settled
            disputed = (*(dispute for dispute in old if dispute.cell not in taken), *fresh)
            gold = replace(with_links(base.gold, links), annotator=annotator)
            saved = Saved(gold, (disk.version if disk else base.version) + 1, disputed)
            _write(path, saved)
        return saved

    def annotators(self) -> list[str]:
        """Names under which something is saved; whose first file cannot be read is passed over."""
        if not self.folder.is_dir():
            return []
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink())
        firsts = (next(iter(sorted(folder.glob("*.jsonl"))), None) for folder in folders)
        names = []
        for first in firsts:
            with contextlib.suppress(DataError):
                names += [_read(first).gold.annotator] if first is not None else []
        return names

    def all_of(self, annotator: str) -> dict[str, Gold]:
        """All gold of one annotator by example id."""
        golds = [_read(path).gold for path in self.examples_of(annotator)]
        return {gold.id: gold for gold in golds}

    def examples_of(self, annotator: str) -> list[Path]:
        """The files of one annotator."""
        folder = self.folder / file_name(annotator)
        if folder.is_symlink():
            raise UnsafeError(f"{folder} is a symbolic link; refused. Annotations lie in the folder itself.")
        return sorted(path for path in folder.glob("*.jsonl") if not path.is_symlink())


def file_name(text: str) -> str:
    """A file name for any text: letters, digits, dash and dot; a hash tells apart what that does not.

    A text that itself ends like such a hash gets one too: or "anna_bf4fccd6" would be the file of "Anna".
    """
    plain = re.sub(r"[^a-z0-9.-]+", "_", text.casefold()).strip("._-")[:60]
    if plain and plain == text and not HASHED.search(plain):
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{plain or 'x'}_{digest}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, in this process or another; the lock goes with the process that holds it."""
    lock = FileLock(path.with_suffix(".lock"))
    with disk_errors(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _tokens(gold: Gold) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return gold.text, gold.student_tokens, gold.teacher_tokens


def _read(path: Path, example_id: str | None = None, annotator: str | None = None) -> Saved:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(record, ensure_ascii=False).encode()  # halves of characters, which no page can show, raise here
        gold = gold_from_record(record, str(path))
        disputed = tuple(_dispute(*fields) for fields in record["disputed"])
        saved = Saved(gold, int(record["version"]), disputed)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is no annotation ({error}). Move it away, then annotate again.") from error
    if example_id is not None and gold.id != example_id:
        raise DataError(f"{path}: wanted an annotation of {example_id!r}, found {gold.id!r}. Move it away.")
    if annotator is not None and gold.annotator != annotator:
        raise DataError(f"{path}: wanted the work of {annotator!r}, found that of {gold.annotator!r}. Move it away.")
    return saved


def _dispute(i: object, j: object, kept: object, wanted: object) -> Dispute:
    """A dispute as a file has it. Raises ValueError for levels that there are not: they would become buttons."""
    if kept not in LEVELS or wanted not in LEVELS:
        raise ValueError(f"wanted two of {', '.join(LEVELS)}, found {kept!r} and {wanted!r}")
    return Dispute((int(str(i)), int(str(j))), str(kept), str(wanted))


def _write(path: Path, saved: Saved) -> None:
    disputed = [[*dispute.cell, dispute.kept, dispute.wanted] for dispute in saved.disputed]
    record = {**gold_record(saved.gold), "version": saved.version, "disputed": disputed}
    with atomic_file(path) as part:
        part.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
