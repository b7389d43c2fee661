"""The map store beside float lists in JSONL, reading one map, and scoring a thousand."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.frame import Row, at_least, below, command, in_child
from tests.bench.models import checkpoint
from tests.bench.texts import write

if TYPE_CHECKING:
    from probe.gold.reading import Gold

WORDS, SIZES = 31, (4, 3)  # so many words, in pieces of at most 4 and 3 letters: near the wanted 60 x 70 targets


def map_store(quick: bool) -> Iterator[Row]:
    """Bytes and reading time of a store that `probe extract` wrote."""
    count = 20 if quick else 200
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place, called = checkpoint(folder, quick=quick)
        maps, exact = folder / "maps", folder / "maps-32"
        data = write(folder / "texts.jsonl", count, longest=120 if quick else 1800)
        for out, dtype in ((maps, "float16"), (exact, "float32")):
            command(["-m", "probe", "extract", "--checkpoint", str(place), "--data", str(data), "--out", str(out),
                     "--dtype", dtype])  # fmt: skip
        stored = sum(file.stat().st_size for file in maps.iterdir())
        lists = in_child(bytes_as_lists, maps=str(exact))
        read = in_child(read_each, maps=str(maps))
    how = (
        f"{lists['bytes']:,} / {stored:,} bytes for {lists['maps']} maps of {count} texts, all fields in both; float32 "
        f"numbers as JSON prints them / float16 shards, index and manifest; {called}"
    )
    yield at_least("float lists in JSONL / map store, bytes", lists["bytes"] / stored, 10, how)
    how = (
        f"the slowest of {lists['maps']} maps (the first of a shard, whose sha256 is checked then), best of 3 freshly "
        f"opened stores; median {read['median_ms']:.2f} ms; wall clock"
    )
    yield below("reading one map", read["slowest_ms"], 10, how, " ms")


def bytes_as_lists(maps: str) -> dict[str, int]:
    """What the maps of a float32 store take as JSON lines of the same fields and their weights."""
    from dataclasses import asdict

    from probe.maps.store import MapStore

    store = MapStore.open(maps)
    lines = (json.dumps({**asdict(amap), "weights": amap.weights.tolist()}, ensure_ascii=False) for amap in store)
    return {"bytes": sum(len(line.encode()) + 1 for line in lines), "maps": len(store)}


def read_each(maps: str, opens: int = 3) -> dict[str, float]:
    """Milliseconds of reading each map, in a scattered order, the fastest of ``opens`` freshly opened stores."""
    import numpy as np

    from probe.maps.store import MapStore

    times = []
    for _ in range(opens):
        store = MapStore.open(maps)
        order = np.random.default_rng(0).permutation(len(store)).tolist()
        taken = np.zeros(len(store))
        for row in order:
            start = time.perf_counter()
            store.read(row)
            taken[row] = time.perf_counter() - start
        times.append(taken)
    best = np.min(times, axis=0) * 1000
    return {"slowest_ms": float(best.max()), "median_ms": float(np.median(best))}


def scoring(quick: bool) -> Iterator[Row]:
    """Every score of a map, for a thousand maps."""
    done = in_child(score_each, count=20 if quick else 1000)
    how = f"score_map on {done['maps']} maps of {done['n']} x {done['m']} with gold, 1 thread, CPU time"
    yield below(f"scoring {done['maps']:,} maps", done["seconds"], 5, how, " s")


def score_each(count: int) -> dict[str, float]:
    """Seconds to score ``count`` maps; eight different ones, again and again."""
    from probe.maps.store import MapStore
    from probe.scoring.metrics import score_map

    with tempfile.TemporaryDirectory() as folder:
        golds = make_store(folder, 8)
        maps = list(MapStore.open(Path(folder) / "maps"))
    score_map(maps[0], golds[maps[0].example_id])
    start = time.process_time()
    for number in range(count):
        amap = maps[number % len(maps)]
        score_map(amap, golds[amap.example_id])
    seconds = time.process_time() - start
    return {"maps": count, "seconds": seconds, "n": len(maps[0].student), "m": len(maps[0].teacher)}


def make_store(folder: str, count: int) -> dict[str, Gold]:
    """``count`` (an even number) planted maps of about 60 x 70 at ``folder``/maps, and their gold."""
    from tests.support.dashboard import app_maps

    words = (app_maps.PROSE * 4).split(" ")
    texts = [(f"bench-{number:03d}", "prose", " ".join(words[number % 9 :][:WORDS])) for number in range(count // 2)]
    return app_maps.make_store(Path(folder) / "maps", texts, checkpoints=("dskd-cma",), sizes=SIZES)
