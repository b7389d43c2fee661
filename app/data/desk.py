"""The annotator's desk as plain data: links in work, what a click does to them, undo and redo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.data.annotations import Annotations, Links, Saved
from probe.gold.reading import Link

NEXT = {"none": "sure", "sure": "possible", "possible": "none"}  # a click on a cell moves it one on


@dataclass(frozen=True)
class Change:
    """One cell's step from a level to another."""

    cell: Link
    before: str
    after: str

    def reversed(self) -> Change:
        return Change(self.cell, self.after, self.before)


Edit = tuple[Change, ...]


@dataclass(frozen=True)
class Desk:
    """An annotation in work.

    Attributes:
        saved: what was last read from or written to disk.
        links: the links on screen.
        done, undone: edits that can be taken back, and made again; the last one comes first in line.
        merged: how many changes of another editor came in with the last save.
        settled: disputed cells that were decided since.
    """

    saved: Saved
    links: Links
    done: tuple[Edit, ...] = ()
    undone: tuple[Edit, ...] = ()
    merged: int = 0
    settled: frozenset[Link] = frozenset()

    def level(self, cell: Link) -> str:
        return self.links.get(cell, "none")

    def set(self, levels: Iterable[tuple[Link, str]]) -> Desk:
        """One edit: these cells get these levels. Also decides about disputed cells, changed or not."""
        wanted = dict(levels)
        edit = tuple(
            Change(cell, self.level(cell), level) for cell, level in wanted.items() if level != self.level(cell)
        )
        desk = replace(self, settled=self.settled | set(wanted))
        return replace(desk._apply(edit), done=(*self.done, edit), undone=()) if edit else desk

    def undo(self) -> Desk:
        """Take the last edit back; cells that someone else has changed since stay."""
        if not self.done:
            return self
        *done, edit = self.done
        back = tuple(change.reversed() for change in edit)
        return replace(self._apply(back), done=tuple(done), undone=(*self.undone, edit))

    def redo(self) -> Desk:
        """Make the edit again that was taken back last."""
        if not self.undone:
            return self
        *undone, edit = self.undone
        return replace(self._apply(edit), done=(*self.done, edit), undone=tuple(undone))

    def store(self, annotations: Annotations, annotator: str) -> Desk:
        """Save, and go on from what is on disk then, which may hold changes of another editor."""
        saved = annotations.save(annotator, self.links, self.saved, self.settled)
        cells = {*saved.links, *self.links}
        merged = sum(saved.links.get(cell, "none") != self.level(cell) for cell in cells)
        return replace(self, saved=saved, links=saved.links, merged=merged, settled=frozenset())

    def _apply(self, edit: Edit) -> Desk:
        links = dict(self.links)
        for change in edit:
            if self.level(change.cell) != change.before:
                continue
            if change.after == "none":
                links.pop(change.cell)
            else:
                links[change.cell] = change.after
        return replace(self, links=MappingProxyType(links))


def unlinked(links: Links, students: int, teachers: int) -> tuple[list[int], list[int]]:
    """Student and teacher targets without any link: what an annotator should look at once more."""
    rows, columns = {i for i, _ in links}, {j for _, j in links}
    return [i for i in range(students) if i not in rows], [j for j in range(teachers) if j not in columns]
