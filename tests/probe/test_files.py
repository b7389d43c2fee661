"""Writing is all or nothing, and a manifest notices every flipped bit."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probe import files
from probe.errors import DamagedError, DiskError, UnsafeError
from probe.files import (
    SEAL,
    atomic_directory,
    atomic_file,
    check_seal,
    read_manifest,
    sealed,
    sha256_of,
    write_json,
    write_manifest,
)


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "new/a.txt"
    for text in ("one", "two"):
        with atomic_file(path) as part:
            part.write_text(text)
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_file(path) as part:
        part.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(files.os, step, full)
    message = "No space left on device; nothing was left half written"
    with pytest.raises(DiskError, match=message), atomic_file(path) as part:
        part.write_text("new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_disk_that_is_full_for_safetensors(tmp_path: Path) -> None:
    """Its writer is not Python's: the error is a SafetensorError, here by a real limit on the size of a file."""
    code = f"""
import resource, signal, torch
from safetensors.torch import save_file
from probe.errors import DiskError
from probe.files import atomic_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    with atomic_file({str(tmp_path / "a.safetensors")!r}) as part:
        save_file({{"a": torch.zeros(10000)}}, part)
except DiskError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "nothing was left half written" in done.stdout
    assert os.listdir(tmp_path) == []


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for name in ("one", "two"):
        with atomic_directory(path) as part:
            (part / name).write_text(name)
        assert os.listdir(path) == [name]
    assert os.listdir(tmp_path) == ["store"]


@pytest.mark.parametrize("fault", ["body", "sync", "exchange", "rename"])
def test_a_failure_leaves_the_old_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    path = tmp_path / "store"
    path.mkdir()
    (path / "old").write_text("old")
    replace, calls = os.replace, []

    def second_fails(source: Path, target: Path) -> None:
        """The old directory moves away, then the new one cannot move in."""
        calls.append(source)
        if len(calls) == 2:
            full()
        replace(source, target)

    if fault == "sync":
        monkeypatch.setattr(files.os, "fsync", full)
    if fault == "exchange":
        monkeypatch.setattr(files, "_exchange", full)
    if fault == "rename":  # where names cannot be swapped in one step
        monkeypatch.setattr(files, "_exchange", lambda one, two: False)
        monkeypatch.setattr(files.os, "replace", second_fails)
    with pytest.raises(DiskError), atomic_directory(path) as part:
        (part / "new").write_text("new")
        if fault == "body":
            full()
    assert (path / "old").read_text() == "old"
    assert os.listdir(path) == ["old"]
    assert os.listdir(tmp_path) == ["store"]


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.fixture
def store(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    (directory / "inner").mkdir(parents=True)
    (directory / "a.bin").write_bytes(bytes(range(48)))
    (directory / "inner/b.txt").write_text("b")
    write_manifest(directory, "toy", 3, {"by": "test"})
    return directory


def test_a_whole_store_is_read(store: Path) -> None:
    manifest = read_manifest(store, "toy", 3)
    assert manifest["provenance"] == {"by": "test"}
    assert manifest["files"] == {name: sha256_of(store / name) for name in ("a.bin", "inner/b.txt")}


def test_every_flipped_bit_is_noticed(store: Path) -> None:
    path = store / "a.bin"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
            with pytest.raises(DamagedError, match=r"a\.bin is altered: sha256 [0-9a-f]{12}…, manifest says"):
                read_manifest(store, "toy", 3)
    path.write_bytes(whole)
    read_manifest(store, "toy", 3)


def test_a_shortened_or_missing_file_is_noticed(store: Path) -> None:
    (store / "a.bin").write_bytes(b"")
    with pytest.raises(DamagedError, match="altered"):
        read_manifest(store, "toy", 3)
    (store / "a.bin").unlink()
    with pytest.raises(DamagedError, match=r"lacks a\.bin"):
        read_manifest(store, "toy", 3, verify=False)


@pytest.mark.parametrize(("kind", "version"), [("other", 3), ("toy", 4)])
def test_another_kind_or_version_gives_both(store: Path, kind: str, version: int) -> None:
    with pytest.raises(DamagedError, match=f"wanted a {kind} of schema version {version}, found toy of version 3"):
        read_manifest(store, kind, version)


def test_no_directory_and_no_manifest_are_told_apart(store: Path) -> None:
    with pytest.raises(DamagedError, match="does not exist"):
        read_manifest(store / "none", "toy", 3)
    with pytest.raises(DamagedError, match="has no manifest"):
        read_manifest(store / "inner", "toy", 3)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"kind": "toy"}', '{"files": 3}', '{"files": {}}'])
def test_a_broken_manifest_is_explained(store: Path, text: str) -> None:
    (store / "manifest.json").write_text(text)
    with pytest.raises(DamagedError, match="cannot be read"):
        read_manifest(store, "toy", 3)


def test_links_and_paths_that_lead_outside_are_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("b")
    (store / "inner/b.txt").unlink()
    (store / "inner/b.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeError, match="is a link or lies outside"):
        read_manifest(store, "toy", 3)
    for name in ("../secret", str(tmp_path / "secret")):
        files.write_json(
            store / "manifest.json",
            {"kind": "toy", "schema_version": 3, "provenance": {}, "files": {name: sha256_of(tmp_path / "secret")}},
        )
        with pytest.raises(UnsafeError, match="is a link or lies outside"):
            read_manifest(store, "toy", 3)


def test_a_seal_is_the_digest_of_the_rest() -> None:
    """By hand: sorted keys, ASCII, as `json.dumps` writes them."""
    value = {"b": [1, "é"], "a": None}
    wanted = hashlib.sha256(b'{"a": null, "b": [1, "\\u00e9"]}').hexdigest()
    assert sealed(value) == {**value, SEAL: wanted}
    check_seal(sealed(value), ("a", "b"), Path("place"))


@pytest.mark.parametrize(
    "change", [{"a": 2}, {"a": "1"}, {"b": []}, {SEAL: "0" * 64}, {SEAL: ""}, {SEAL: None}, {"c": 3}]
)
def test_a_seal_rings(change: dict[str, object]) -> None:
    with pytest.raises(DamagedError, match="place.*damaged"):
        check_seal({**sealed({"a": 1, "b": [1]}), **change}, ("a", "b"), Path("place"))


def test_a_seal_that_must_be_there() -> None:
    check_seal({"a": 1}, ("a",), Path("place"))
    with pytest.raises(DamagedError, match="has no sha256_of_the_rest"):
        check_seal({"a": 1}, ("a",), Path("place"), required=True)


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_manifest_whose_own_values_are_altered_is_noticed(store: Path) -> None:
    import json

    whole = json.loads((store / "manifest.json").read_text())
    for changed in ({**whole, "provenance": {"by": "another"}}, {**whole, "provenance": {}}):
        (store / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(DamagedError, match="is altered"):
            read_manifest(store, "toy", 3)
