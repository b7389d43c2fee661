"""Writing that is all or nothing, and manifests that notice a flipped bit."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from probe.errors import DamagedError, DiskError, ProbeError, UnsafeError, UsageError
from probe.held import PART, Seen, held, is_held, look_at, remove_left_parts

MANIFEST = "manifest.json"
MANIFEST_KEYS = ("kind", "schema_version", "provenance", "files")
SEAL = "sha256_of_the_rest"


def cache_directory() -> Path:
    """Where converted models, teacher states and kept reports live: ``$PROBE_CACHE``, else ``~/.cache/probe``."""
    return Path(os.environ.get("PROBE_CACHE") or Path.home() / ".cache" / "probe")


@contextlib.contextmanager
def disk_errors(place: Path | str) -> Iterator[None]:
    """Turn an operating-system write error into a :class:`DiskError` that names the place.

    A file where a directory is to go, or a name that no disk takes, is a :class:`UsageError`; a pipe that nobody reads
    is no matter of the disk.
    """
    try:
        yield
    except (BrokenPipeError, ProbeError):
        raise
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {place}: {error.filename} is a file. Choose another --out.") from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise UsageError(f"cannot write {place}: {error.strerror}. Choose another --out.") from error
        raise DiskError(
            f"cannot write {place}: {error.strerror or error}; nothing was left half written. "
            "Free some space or choose another --out, then run the command again."
        ) from error
    except Exception as error:
        if "(os error " not in str(error):  # how safetensors, written in Rust, passes a full disk on
            raise
        raise DiskError(
            f"cannot write {place}: {error}; nothing was left half written. "
            "Free some space or choose another --out, then run the command again."
        ) from error


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed over ``path``.

    On any exception the temporary file is removed and ``path`` is as it was.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_parts(path.parent, path.name)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        os.close(handle)
    part = Path(name)
    try:
        with disk_errors(path), held(part):
            yield part
            _sync(part)
            os.chmod(part, 0o644)
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: Path | str, *, since: Seen | None = None, shared: bool = False) -> Iterator[Path]:
    """Yield an empty directory beside ``path`` that replaces ``path`` on success and vanishes on error.

    What comes to be at ``path`` meanwhile is not replaced: that is a :class:`DiskError`.

    Args:
        since: what lay at ``path`` when the run that this ends began; by default it began just now.
        shared: several runs make the same directory here, and any of theirs will do.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_parts(path.parent, path.name)
        before = since or look_at(path)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent))
    try:
        with disk_errors(path), held(part):
            yield part
            for file in sorted(part.rglob("*")):
                if file.is_file():
                    _sync(file)
                    os.chmod(file, 0o644)
            os.chmod(part, 0o755)
            if not shared and look_at(path) != before:
                raise DiskError(
                    f"{path} was written by something else while this run was under way, so it is not replaced. Look "
                    "which of the two you want, and choose another --out."
                )
            _swap(part, path)
    finally:
        if not is_held(part, unknown=False):  # by a reader of what was there: the next run removes it
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def one_writer(path: Path | str) -> Iterator[None]:
    """Be the only run that writes to ``path``, which need not exist, until the block ends.

    Raises:
        DiskError: another run, of this or another process, writes there.
    """
    path = Path(path)
    missing = [folder for folder in path.parents if not folder.exists()]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            if not os.path.lexists(lock.lock_file):  # it could not be made, which filelock takes for waiting
                raise DiskError(f"cannot write {path}: no lock can be made beside it. Choose another --out.") from error
            raise DiskError(f"another run writes to {path}. Wait until it ends, or choose another --out.") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # while it is held: who waits then takes a new one, as filelock sees to
            os.unlink(lock.lock_file)
        lock.release()
        with contextlib.suppress(OSError):  # folders that were made for nothing
            for folder in missing:
                folder.rmdir()


def _swap(part: Path, path: Path) -> None:
    """Rename ``part`` to ``path``; what was there is left at ``part``."""
    if not path.exists():
        os.replace(part, path)
        return
    if _exchange(part, path):
        return
    old = part.with_suffix(".old")
    os.replace(path, old)
    try:
        os.replace(part, path)
    except BaseException:
        os.replace(old, path)
        raise
    os.replace(old, part)


def _exchange(one: Path, two: Path) -> bool:
    """Swap the names of two directories in one step, so that no moment is without either; False where that is unknown.

    Linux's renameat2: with two renames, a kill or a dying disk between them leaves nothing at ``two``.
    """
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if rename is None:
        return False
    if rename(at_cwd, os.fsencode(one), at_cwd, os.fsencode(two), exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):  # an old kernel, or a file system that cannot
        return False
    raise OSError(number, os.strerror(number), str(two))


def _sync(path: Path) -> None:
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def sha256_of(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON, atomically; NaN and infinity are refused."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """``value`` with a digest of itself, so that a flipped bit in the file that lists all digests is noticed too."""
    return {**value, SEAL: _digest(value)}


def check_seal(value: dict[str, Any], known: Collection[str], place: Path, *, required: bool = False) -> None:
    """Raise DamagedError if the seal of ``value``, read from ``place``, is broken, or a key is not ``known``.

    An unknown key may be a seal whose own name was altered. Files of before November 2026 have no seal, but where one
    is ``required``.
    """
    if required and SEAL not in value:
        raise DamagedError(f"{place} has no {SEAL}: it is damaged, or of an older version. Make it again.")
    rest = {key: part for key, part in value.items() if key != SEAL}
    if unknown := sorted(rest.keys() - set(known)):
        raise DamagedError(f"{place}: wanted the keys {', '.join(known)}, found {unknown[0]!r}; it is damaged.")
    if SEAL in value and value[SEAL] != _digest(rest):
        raise DamagedError(f"{place} is altered: its contents do not have the sha256 that it names. It is damaged.")


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


def write_manifest(directory: Path, kind: str, schema_version: int, provenance: dict[str, Any]) -> None:
    """Write ``manifest.json`` (last): the kind, schema version, provenance, and sha256 of every other file."""
    names = sorted(
        file.relative_to(directory).as_posix()
        for file in directory.rglob("*")
        if file.is_file() and file != directory / MANIFEST  # one of a store inside it is a file like others
    )
    manifest = {
        "kind": kind,
        "schema_version": schema_version,
        "provenance": provenance,
        "files": {name: sha256_of(directory / name) for name in names},
    }
    write_json(directory / MANIFEST, sealed(manifest))


def read_manifest(directory: Path | str, kind: str, schema_version: int, *, verify: bool = True) -> dict[str, Any]:
    """Read and check ``manifest.json`` of ``directory``; with ``verify`` every listed file's sha256 too.

    Raises:
        DamagedError: no directory or manifest, another kind or schema version, a missing or altered file.
        UnsafeError: a listed file lies outside the directory or is a symbolic link.
    """
    directory = Path(directory)
    path = directory / MANIFEST
    if not directory.is_dir():
        raise DamagedError(f"no {kind} at {directory}: the directory does not exist. Check the path.")
    if not path.is_file():
        raise DamagedError(f"{directory} is not a {kind}: it has no {MANIFEST}. It may be unfinished; make it again.")
    refuse_outside(directory, MANIFEST, kind)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = dict(manifest["files"])
        found = (manifest["kind"], manifest["schema_version"])
        if not isinstance(manifest["provenance"], dict):
            raise TypeError(f"provenance is {type(manifest['provenance']).__name__}, not key: value")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read ({error}); the {kind} is damaged. Make it again.") from error
    if found != (kind, schema_version):
        raise DamagedError(
            f"{path}: wanted a {kind} of schema version {schema_version}, found {found[0]} of version {found[1]}."
        )
    for name, digest in files.items():
        check_file(directory, name, digest if verify else None, kind)
    check_seal(manifest, MANIFEST_KEYS, path)
    return manifest


def refuse_outside(directory: Path, name: str, kind: str) -> None:
    """Raise UnsafeError where ``name`` is a link or not inside ``directory``."""
    path = directory / name
    try:
        outside = path.is_symlink() or not path.resolve().is_relative_to(directory.resolve())
    except (ValueError, OSError, RuntimeError) as error:  # a NUL, 300 letters, a loop of links
        raise DamagedError(f"{directory}: {name[:40]!r} is no name of a file ({error}); it is damaged.") from error
    if outside:
        raise UnsafeError(f"{directory}/{name} is a link or lies outside the {kind}; refused.")


def check_file(directory: Path, name: str, digest: str | None, kind: str) -> Path:
    """Return the path of a manifest entry after checking that it is inside, present and (with ``digest``) unaltered."""
    path = directory / name
    refuse_outside(directory, name, kind)
    if not path.is_file():
        raise DamagedError(f"{directory} lacks {name}, which its manifest lists; the {kind} is damaged. Make it again.")
    if digest is not None and (found := sha256_of(path)) != digest:
        raise DamagedError(
            f"{path} is altered: sha256 {found[:12]}…, manifest says {str(digest)[:12]}…. Make the {kind} again."
        )
    return path
