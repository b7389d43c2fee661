"""Fixtures of tests that train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.held_out_runs import TEXTS


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A student, a teacher of another tokenizer, and a few texts; the cache is the room's own."""
    root = tmp_path_factory.mktemp("training")
    tiny.model_directory(root / "student-gpt2", "gpt2", "small-bpe", width=8, seed=1)
    tiny.model_directory(root / "teacher-llama", "llama", "bpe", width=12, seed=2)
    tiny.data_file(root / "data.jsonl", TEXTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBE_CACHE", str(root / "cache"))
        patch.setattr("probe.distillation.trainer.key_query_gap", lambda *given: None)  # seconds, and tests of its own
        yield root
