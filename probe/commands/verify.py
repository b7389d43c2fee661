"""``python -m probe verify PATH``: read a checkpoint, map store or cache to its last byte; is it whole?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe import cli
from probe.errors import DamagedError, UnsafeError
from probe.files import MANIFEST, check_file, read_manifest

if TYPE_CHECKING:
    from probe.models.checkpoint import Checkpoint

DESCRIPTION = """Check a checkpoint, a map store, a converted model, cached teacher states, or a whole cache directory:
every file's sha256 against the manifest, every tensor's shape, every map's sums. Nothing is changed."""
EXAMPLES = """
  python -m probe verify checkpoints/dskd-cma
  python -m probe verify out/maps --json
  python -m probe verify ~/.cache/probe"""
CACHE_PARTS = ("models", "teacher-states")


@dataclass(frozen=True)
class Verified:
    """One directory that passed: its kind, files and bytes read, and files that its manifest does not list."""

    path: str
    kind: str
    files: int
    megabytes: float
    detail: str
    unlisted: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``verify``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("path", type=Path, metavar="PATH", help="a checkpoint, map store or cache directory")
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """Verify and report; damage is an error (exit code 4, or 7 where a file is unsafe)."""
    found = list(verify(args.path))
    lines = [f"ok: {v.path} is a whole {v.kind}: {v.files} files, {v.megabytes:.1f} MB{v.detail}" for v in found]
    lines += [f"note: {v.path} also has {name}, which its manifest does not list" for v in found for name in v.unlisted]
    cli.report({"ok": True, "verified": [asdict(v) for v in found]}, lines, as_json=args.json)


def verify(path: Path) -> Iterator[Verified]:
    """Verify ``path``, or each part of a cache directory; yield what passed.

    Raises:
        DamagedError: not a directory of ours, or something in it is missing or altered.
        UnsafeError: a link that leads outside, or pickled weights.
        NonFiniteError: NaN or infinity in a tensor.
    """
    if not path.is_dir():
        raise DamagedError(f"wanted a directory to verify; {path} {'is a file' if path.exists() else 'is not there'}.")
    if (path / MANIFEST).is_file():
        yield _by_manifest(path)
    elif any((path / part).is_dir() for part in CACHE_PARTS):
        for part in sorted(part for name in CACHE_PARTS for part in (path / name).glob("[!.]*") if part.is_dir()):
            yield from verify(part)
    elif path.parent.name == "teacher-states":
        yield _teacher_states(path)
    else:
        raise DamagedError(
            f"{path} has no {MANIFEST}: it is neither a checkpoint, nor a map store, nor a cache. "
            "If a command was to write it, it did not finish; run that command again."
        )


def _by_manifest(path: Path) -> Verified:
    try:
        kind = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["kind"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path / MANIFEST} is not a manifest ({error}); the directory is damaged.") from error
    checks = {
        "checkpoint": _checkpoint,
        "map store": _map_store,
        "converted model": _model,
        "packed teacher": _model,
    }
    if kind not in checks:
        raise DamagedError(f"{path / MANIFEST}: wanted one of the kinds {', '.join(checks)}, found {kind!r}.")
    return checks[kind](path)


def _checkpoint(path: Path) -> Verified:
    from probe.models.checkpoint import load_checkpoint
    from probe.models.loading import input_embeddings, load_causal_lm, load_tokenizer

    checkpoint = load_checkpoint(path)
    load_tokenizer(checkpoint.student_directory)
    load_causal_lm(checkpoint.student_directory)  # refuses weights that are missing or of another shape
    wanted = (checkpoint.config.student_vocabulary, checkpoint.config.student_dim)
    found = tuple(input_embeddings(checkpoint.student_directory).shape)
    if wanted != found:
        raise DamagedError(f"{path}: config.json says student embeddings of {wanted}, the student has {found}.")
    _check_discriminator(checkpoint)
    return _passed(path, checkpoint.manifest, "checkpoint", f", {checkpoint.config.method}")


def _check_discriminator(checkpoint: Checkpoint) -> None:
    """Maps do not need it, so nothing else looks at the shapes of the network that matched keys and queries."""
    from probe.distillation.losses.key_query import Discriminator
    from probe.distillation.losses.transport import ConditionalTransport
    from probe.models.checkpoint import DISCRIMINATOR, load_exactly

    settings = checkpoint.config.settings
    if checkpoint.discriminator is None or "discriminator_width" not in settings:
        return
    kind = ConditionalTransport if settings.get("matching") == "ct" else Discriminator
    network = kind(2 * checkpoint.config.teacher_dim, int(settings["discriminator_width"]), 0.0)
    load_exactly(network, checkpoint.discriminator, checkpoint.directory / DISCRIMINATOR)


def _map_store(path: Path) -> Verified:
    from probe.maps.store import MapStore

    store = MapStore.open(path)
    store.verify()
    count = sum(1 for _ in cli.progress(store, total=len(store), label="maps"))
    return _passed(path, store.manifest, "map store", f", {count} maps")


def _model(path: Path) -> Verified:
    """A converted model or a packed teacher: a model directory with a manifest of either kind."""
    from probe.models.loading import check_safe

    kind = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["kind"]
    manifest = read_manifest(path, kind, 1)
    check_safe(path)
    return _passed(path, manifest, kind)


def _teacher_states(path: Path) -> Verified:
    """Every entry names a shard and its digest; an interrupted fill leaves whole entries only."""
    entries = {}
    for entry in sorted(path.glob("*.json")):
        try:
            described = json.loads(entry.read_text(encoding="utf-8"))
            entries[str(described["file"])] = str(described["sha256"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(f"{entry}: a damaged entry of the teacher cache ({error}). Delete it.") from error
    for name, digest in entries.items():
        check_file(path, name, digest, "teacher cache")
    return _passed(path, {"files": entries}, "teacher cache")


def _passed(path: Path, manifest: dict[str, Any], kind: str, detail: str = "") -> Verified:
    listed = manifest["files"]
    size = sum((path / name).stat().st_size for name in listed)
    present = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file() or file.is_symlink()}
    unlisted = sorted(name for name in present - set(listed) - {MANIFEST} if kind != "teacher cache")
    for name in unlisted:
        if Path(name).suffix in (".bin", ".pt", ".pth", ".pkl", ".py"):
            raise UnsafeError(f"{path / name} is not in the manifest and can execute code when loaded; remove it.")
    return Verified(str(path), kind, len(listed), round(size / 1e6, 1), detail, tuple(unlisted))
