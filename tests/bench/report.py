"""The alignment report of two checkpoints on hundreds of examples, and the intervals of a thousand maps' scores."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.frame import Row, below, command, in_child


def report(quick: bool) -> Iterator[Row]:
    """The command with its 10,000 resamples, as a whole process."""
    count = 8 if quick else 500
    with tempfile.TemporaryDirectory() as name:
        in_child(make_room, folder=name, count=count)
        done = command(
            ["-m", "analysis.alignment_report", f"{name}/maps", "--gold", f"{name}/gold.jsonl",
             "--out", f"{name}/report"]
        )  # fmt: skip
        size = (Path(name) / "report/report.html").stat().st_size / 2**20
    how = (
        f"2 checkpoints x {count} examples, both directions, wall clock, start included; {done.cpu_seconds:.0f} s of "
        f"CPU, {done.peak_mib:.0f} MiB at its peak; report.html of {size:.1f} MiB"
    )
    yield below("alignment report", done.seconds, 60, how, " s")


def make_room(folder: str, count: int) -> None:
    """Maps of two checkpoints in both directions, and their gold."""
    from probe.gold.reading import write_gold
    from tests.support.dashboard import app_maps

    write_gold(Path(folder) / "gold.jsonl", app_maps.make_store(Path(folder) / "maps", app_maps.example_texts(count)))


def intervals(quick: bool) -> Iterator[Row]:
    """All BCa intervals that a report's row has, at the resamples that it draws."""
    maps = 20 if quick else 1000
    found = in_child(interval_seconds, maps=maps)
    how = (
        f"runs_frame: {found['scores']} scores of {found['maps']} maps ({found['positions']:,} positions), each with "
        f"its BCa interval of {found['resamples']:,} resamples; one score alone {found['one']:.2f} s; 1 thread, CPU"
    )
    yield below(f"intervals of {maps:,} maps", found["seconds"], 2, how, " s")


def interval_seconds(maps: int) -> dict[str, float]:
    """Seconds of a report's row for a checkpoint with ``maps`` maps: eight scored ones, under many names."""
    from dataclasses import replace

    from probe.maps.store import MapStore
    from probe.scoring.metrics import MapMetric
    from probe.scoring.report import score_stores
    from probe.scoring.runs import runs_frame, split_runs
    from probe.scoring.statistics import RESAMPLES, bca_interval
    from probe.scoring.tables import examples_frame, tokens_frame
    from tests.bench.frame import cpu_seconds
    from tests.bench.store import make_store

    with tempfile.TemporaryDirectory() as folder:
        golds = make_store(folder, 16)
        found = list(score_stores([MapStore.open(Path(folder) / "maps")], golds, MapMetric()))
    one_way = [one for one in found if (one.checkpoint, one.direction) == ("dskd-cma", "t2s")]
    corpus = [replace(one_way[i % len(one_way)], example_id=f"map-{i}") for i in range(maps)]
    (run,) = split_runs(tokens_frame(corpus), examples_frame(corpus))
    start = time.process_time()
    row = runs_frame([run])
    seconds = time.process_time() - start
    counts = run.counts("top1_sure")
    return {
        "seconds": seconds,
        "one": cpu_seconds(lambda: bca_interval(counts), 3),
        "scores": sum(str(name).endswith("_low") for name in row.columns),
        "maps": maps,
        "positions": len(run.tokens),
        "resamples": RESAMPLES,
    }
