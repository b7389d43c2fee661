"""Tokenization of both sides: batched against one text at a time, and its share of an extraction."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.frame import Row, at_least, below, in_child
from tests.bench.models import checkpoint
from tests.bench.texts import write


def tokenization(quick: bool) -> Iterator[Row]:
    """Examples a second both ways, in turn in one process, and the part of an extraction that is tokenization."""
    count = 64 if quick else 2000
    with tempfile.TemporaryDirectory() as name:
        place, called = checkpoint(Path(name), quick=quick)
        data = write(Path(name) / "texts.jsonl", count, longest=120 if quick else 1800)
        given = {"checkpoint": str(place), "data": str(data), "length": 200 if quick else 512}
        found = in_child(both_ways, threads=None, **given, repeats=1 if quick else 5)
        share = in_child(share_of_extraction, threads=None, **given, count=count // 4)
    batched, single = count / found["batched"], count / found["single"]
    how = (
        f"{batched:,.0f}/s / {single:,.0f}/s, {count} texts at once / one encode each; spans and display forms "
        f"included; {called}; wall clock, {found['cores']} cores, the best of {found['repeats']} in turn"
    )
    yield at_least("tokenization of both sides, batched / one by one", batched / single, 1.3, how)
    how = (
        f"{share['tokenization']:.2f} of {share['extraction']:.2f} s for the maps of {count // 4} texts, both "
        "directions, loaded, nothing written; default threads, wall clock"
    )
    part = share["tokenization"] / share["extraction"]
    yield below("tokenization's share of an extraction", 100 * part, 50, how, " %")


def both_ways(checkpoint: str, data: str, length: int, repeats: int) -> dict[str, Any]:
    """Seconds of the fastest of ``repeats`` encodings of all texts, at once and one by one."""
    from probe.extraction.extractor import Extractor
    from probe.text.examples import read_examples
    from probe.text.tokenization import usable_cores

    examples, pairer = read_examples(data), Extractor.load([checkpoint], max_length=length).tokenizer
    ways: dict[str, Callable[[], Any]] = {
        "batched": lambda: pairer.encode(examples),
        "single": lambda: [pairer.encode([example]) for example in examples],
    }
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return {**seconds, "cores": usable_cores(), "repeats": repeats}


def share_of_extraction(checkpoint: str, data: str, length: int, count: int) -> dict[str, float]:
    """Seconds of an extraction once it is loaded, and of its calls of the tokenizers."""
    from probe.extraction.extractor import Extractor
    from probe.text.examples import read_examples

    examples = read_examples(data, limit=count)
    extractor = Extractor.load([checkpoint], max_length=length)
    encode, spent = extractor.tokenizer.encode, [0.0]

    def timed(texts: Any) -> Any:
        start = time.perf_counter()
        pairs = encode(texts)
        spent[0] += time.perf_counter() - start
        return pairs

    for _ in extractor.maps(examples[:8]):  # warms up
        pass
    extractor.tokenizer.encode = timed  # type: ignore[method-assign]
    start = time.perf_counter()
    for _ in extractor.maps(examples):
        pass
    return {"tokenization": spent[0], "extraction": time.perf_counter() - start}
