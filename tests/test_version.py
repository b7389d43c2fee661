"""The digest of the code: whatever is kept on disk under it must not outlive a change of the code that made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.heatmaps import files as heatmap_files
from app.server import kept
from probe.version import LIBRARY, code_digest


@pytest.fixture
def library(tmp_path) -> Path:
    """A library with one file at the top and one three folders deep."""
    for name in ("top.py", "room/inner/deep.py", "other/file.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    code_digest.cache_clear()
    yield tmp_path
    code_digest.cache_clear()


def digests(library: Path) -> tuple[str, str]:
    """Of all of it, and of the one room."""
    code_digest.cache_clear()
    return code_digest(library=library), code_digest("room", library=library)


CHANGES = {
    "changed": lambda room: (room / "inner/deep.py").write_text("# other\n"),
    "renamed": lambda room: (room / "inner/deep.py").rename(room / "inner/deeper.py"),
    "moved": lambda room: (room / "inner/deep.py").rename(room / "deep.py"),
    "added": lambda room: (room / "inner/new.py").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_changed_renamed_moved_or_added_gives_another_digest(library, change):
    before = digests(library)
    CHANGES[change](library / "room")
    after = digests(library)
    assert before[0] != after[0] and before[1] != after[1]


def test_a_room_is_told_from_its_neighbours(library):
    whole, room = digests(library)
    (library / "other/file.py").write_text("# other\n")
    assert digests(library)[0] != whole and digests(library)[1] == room


def test_a_room_without_files_is_no_room(library):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        code_digest("nowhere", library=library)


def test_what_is_kept_goes_by_the_digest_of_the_code(monkeypatch):
    """The dashboard's kept reports and the pictures of an export: both ask for the digest when they name a thing."""
    before = kept.name("report", "maps")
    monkeypatch.setattr(kept, "code_digest", lambda: "other code")
    assert kept.name("report", "maps") != before
    assert all((LIBRARY / room).is_dir() for room in heatmap_files.DRAWN_BY)
