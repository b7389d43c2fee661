"""The version of this library, a digest of its code (old results are not believed), and how a number was made."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__version__ = "0.1.0"

LIBRARY = Path(__file__).parent


def sign(**parts: object) -> str:
    """``name:value|name:value``: how a number was made, in one line; parts that are empty are left out."""
    return "|".join(f"{name}:{value}" for name, value in parts.items() if value != "")


@functools.cache
def code_digest(*rooms: str, library: Path = LIBRARY) -> str:
    """SHA-256 (hex) of the names and contents of all Python files in ``rooms`` of ``library``, at any depth.

    Without ``rooms``, of the whole library. A file that is moved, renamed, added or changed gives another digest.

    Raises:
        FileNotFoundError: a room that is not there; a digest of nothing would never change.
    """
    digest = hashlib.sha256(__version__.encode())
    for folder in [library / room for room in rooms] or [library]:
        files = sorted(folder.rglob("*.py"))
        if not files:
            raise FileNotFoundError(f"no Python file in {folder}")
        for file in files:
            digest.update(f"\0{file.relative_to(library).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()
