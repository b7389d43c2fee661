"""The version of this library, and a digest of its code: what is kept on disk under an old formula is not believed."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__version__ = "0.1.0"

LIBRARY = Path(__file__).parent


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
