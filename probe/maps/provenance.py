"""What a map store says of its own making; tokenizers' fingerprints and hashes are what later stages check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probe.version import __version__


def provenance(
    tokenizers: tuple[str, str], checkpoints: Mapping[str, Mapping[str, Any]], *, command: str = "", **made: Any
) -> dict[str, Any]:
    """The provenance of a :class:`probe.maps.store.MapStoreWriter`.

    Args:
        tokenizers: fingerprints of student and teacher tokenizer.
        checkpoints: by the name in the store's column, each with its ``method`` and what else is known of it.
        command: how to make the same store again, if a command made it.
        made: all else that decided the maps (``teacher``, ``data``, ``normalisation``, …), as JSON.
    """
    student, teacher = tokenizers
    found = {"student_tokenizer": student, "teacher_tokenizer": teacher, **made, "checkpoints": dict(checkpoints)}
    return {**found, "version": __version__, **({"command": command} if command else {})}
