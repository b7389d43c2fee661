"""Digests of all that a run reads, so that it does not go on, when resumed, from other data than it began with."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import nn

from probe.distillation.config import TrainConfig
from probe.errors import UsageError
from probe.files import sha256_of
from probe.models.delta import digest_of, weights_digest
from probe.text.tokenization import PairedTokens

FILES = ("gold", "probe_data", "probe_gold", "stop_data")  # settings that name a file whose contents count


def input_digests(
    config: TrainConfig,
    student: nn.Module,
    training: Sequence[PairedTokens],
    held_out: Sequence[PairedTokens],
    teacher: Mapping[str, str],
) -> dict[str, str]:
    """What a run began with: name -> 16 hexadecimal digits.

    Examples count by their ids, texts and tokens, in order; files by their bytes. Settings, which name all of these,
    are compared by themselves.

    Args:
        student: with its starting weights, which are read once (120 million numbers: 0.3 s).
        teacher: fingerprints of its weights by name, such as those of its embeddings and its files.
    """
    paths = {name: Path(path) for name in FILES if (path := getattr(config, name))}
    files = {name: sha256_of(path)[:16] if path.is_file() else "" for name, path in paths.items()}
    return {
        "training examples": digest_of(_words(training)),
        "held-out examples": digest_of(_words(held_out)),
        **files,
        "starting weights of the student": weights_digest(student),
        **teacher,
    }


def check_inputs(begun: Mapping[str, str], now: Mapping[str, str], directory: Path) -> None:
    """Refuse to go on from a state that was begun with other inputs.

    Raises:
        UsageError: names what changed.
    """
    if changed := [name for name in {**now, **begun} if begun.get(name) != now.get(name)]:
        raise UsageError(
            f"{directory} was begun with other contents of: {', '.join(changed)}. Put them back as they were, or "
            "delete it to start again."
        )


def _words(pairs: Sequence[PairedTokens]) -> Iterable[bytes]:
    """Everything of the pairs that training sees, in parts that no other pairs give."""
    for pair in pairs:
        for text in (pair.example_id, pair.text):
            yield text.encode()
        for side in (pair.student, pair.teacher):
            yield struct.pack(f"<q{len(side.ids)}q", side.start, *side.ids)
