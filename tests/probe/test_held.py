"""Two runs, one place: one writer, no result that is silently gone, readers that keep what they opened, no litter."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from probe.errors import DiskError
from probe.files import atomic_directory, atomic_file, one_writer
from probe.held import FRESH, HeldDirectory, held, is_held, look_at, remove_left_parts
from tests.support import ROOT


def test_a_second_writer_is_refused_and_a_third_may_begin(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    with one_writer(out):
        with pytest.raises(DiskError, match=r"another run writes to .*run"), one_writer(out):
            pass
        with one_writer(tmp_path / "deep" / "other"):
            pass
    with one_writer(out):
        pass
    assert os.listdir(tmp_path) == [], "neither locks nor folders that were made for nothing stay"


def test_the_lock_goes_with_a_killed_run(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from probe.files import one_writer
with one_writer({str(tmp_path / "run")!r}):
    print("held", flush=True)
    input()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    with pytest.raises(DiskError, match="another run"), one_writer(tmp_path / "run"):
        pass
    child.kill()
    child.wait()
    with one_writer(tmp_path / "run"):
        pass


@pytest.mark.parametrize("there", ["nothing", "a directory"])
def test_what_came_meanwhile_is_not_replaced(tmp_path: Path, there: str) -> None:
    path = tmp_path / "store"
    if there == "a directory":
        path.mkdir()
    with pytest.raises(DiskError, match="written by something else"), atomic_directory(path) as part:
        (part / "mine").write_text("mine")
        with atomic_directory(path) as other:
            (other / "theirs").write_text("theirs")
    assert os.listdir(path) == ["theirs"]
    assert os.listdir(tmp_path) == ["store"]


def test_a_run_may_have_begun_long_before_it_publishes(tmp_path: Path) -> None:
    since = look_at(tmp_path / "store")
    with atomic_directory(tmp_path / "store"):
        pass
    with pytest.raises(DiskError, match="written by something else"), atomic_directory(tmp_path / "store", since=since):
        pass
    with atomic_directory(tmp_path / "store", since=since, shared=True) as part:
        (part / "any").write_text("will do")
    assert os.listdir(tmp_path / "store") == ["any"]


def old(path: Path) -> Path:
    """As a run that was killed some time ago left it."""
    then = time.time() - 10 * FRESH
    os.utime(path, (then, then))
    return path


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".store.abcdefgh.part").mkdir()
    (tmp_path / ".store.abcdefgh.part" / "half").write_text("half")
    (tmp_path / ".a.txt.12345678.part").write_text("half")
    (tmp_path / ".other.12345678.part").write_text("of another name")
    (tmp_path / ".store.young123.part").mkdir()
    for path in list(tmp_path.iterdir()):
        if "young" not in path.name:
            old(path)
    with atomic_directory(tmp_path / "store"), atomic_file(tmp_path / "a.txt"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".other.12345678.part", ".store.young123.part", "a.txt", "store"]
    remove_left_parts(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".store.young123.part", "a.txt", "store"]


def test_what_is_in_use_or_a_link_is_left(tmp_path: Path) -> None:
    part, target = tmp_path / ".store.abcdefgh.part", tmp_path / "target"
    part.mkdir()
    target.write_text("mine")
    (tmp_path / ".store.linklink.part").symlink_to(target)
    old(part)
    with held(part):
        assert is_held(part)
        remove_left_parts(tmp_path, "store")
        assert part.exists()
    assert not is_held(part)
    remove_left_parts(tmp_path, "store")
    assert not part.exists() and target.read_text() == "mine" and (tmp_path / ".store.linklink.part").is_symlink()


def test_names_with_stars_are_names(tmp_path: Path) -> None:
    old_part = tmp_path / ".b.abcdefgh.part"
    old_part.write_text("of b")
    old(old_part)
    with atomic_file(tmp_path / "*"):
        pass
    assert old_part.exists()


def test_a_directory_that_is_read_outlives_its_replacement(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for name in ("one", "two"):
        with atomic_directory(path) as part:
            (part / "file").write_text(name)
        if name == "one":
            reader = HeldDirectory(path)
            assert not reader.replaced and reader.place == path
    assert reader.replaced
    assert (reader.place / "file").read_text() == "one"
    assert (path / "file").read_text() == "two"
    (left,) = [file for file in tmp_path.iterdir() if file != path]
    del reader
    old(left)
    with atomic_directory(path):
        pass
    assert os.listdir(tmp_path) == ["store"], "the next run removes what nobody reads"
