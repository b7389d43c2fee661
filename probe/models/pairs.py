"""The two tokenizers of a pair: each from a directory, an alias or a hub name, or both from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from probe.models.checkpoint import load_checkpoint
from probe.models.loading import load_tokenizer, resolve_model
from probe.text.tokenization import MAX_LENGTH, PairTokenizer


def load_pair(student: str, teacher: str, max_length: int = MAX_LENGTH) -> PairTokenizer:
    """Two tokenizers, each from a directory (weights are not needed), an alias or a hub name.

    Raises:
        DamagedError: no such model, or a tokenizer without offsets. UnsafeError: a directory that wants code run.
    """
    def load(name: str) -> Any:
        folder = Path(name)
        if (folder / "tokenizer.json").is_file():
            return load_tokenizer(folder)
        return load_tokenizer(resolve_model(name))

    return PairTokenizer(load(student), load(teacher), max_length=max_length)


def pair_of_checkpoint(directory: Path, teacher: str | None, max_length: int = MAX_LENGTH) -> PairTokenizer:
    """The tokenizers of a checkpoint: its student's, and that of its teacher, or of ``teacher`` where given."""
    checkpoint = load_checkpoint(directory)
    return load_pair(str(checkpoint.student_directory), teacher or checkpoint.config.teacher, max_length)
