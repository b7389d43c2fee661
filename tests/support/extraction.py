"""The maps of one checkpoint, for tests that need nothing else of an extractor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from probe.extraction.extractor import Extractor
from probe.maps.attention_map import AttentionMap
from probe.models.checkpoint import Checkpoint
from probe.text.examples import Example


def extract_maps(
    checkpoint: Checkpoint | Path | str,
    examples: Sequence[Example],
    *,
    teacher: str | None = None,
    max_length: int | None = None,
    **options: Any,
) -> Iterator[AttentionMap]:
    """Yield the maps of ``examples``, in order; ``options`` as :meth:`Extractor.maps` has them."""
    return Extractor.load([checkpoint], teacher=teacher, max_length=max_length).maps(examples, **options)
