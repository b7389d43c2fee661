"""What people wait for: a PNG a map, and the second `make demo`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.frame import Finished, Row, at_least, below, command, in_child, skipped
from tests.bench.models import SHIPPED
from tests.bench.store import make_store

GROWTH_MIB = 16  # of the largest process, from the smaller export to the larger: less is noise


def export(quick: bool) -> Iterator[Row]:
    """The command on few and on many maps; `exported(200, 1000)` takes minutes."""
    yield from exported(*((2, 4) if quick else (50, 200)))


def exported(few: int, many: int) -> Iterator[Row]:
    """The command's rate, start included, and whether its memory grows from few maps to many."""
    done: dict[int, Finished] = {}
    with tempfile.TemporaryDirectory() as name:
        for count in (few, many):
            folder = Path(name) / str(count)
            n, m = in_child(make_files, folder=str(folder), count=count)
            done[count] = command(
                ["-m", "analysis.export_heatmaps", str(folder / "maps"), "--gold", str(folder / "gold.jsonl"),
                 "--out", str(folder / "png"), "--workers", "2"]
            )  # fmt: skip
            drawn = len(list((folder / "png").glob("*.png")))
            assert drawn == count, f"wanted {count} pictures, found {drawn}"
    last, first = done[many], done[few]
    steady = (many - few) / max(last.seconds - first.seconds, 1e-9)
    how = (
        f"{many} maps of {n} x {m} with gold in {last.seconds:.1f} s of wall clock, start included "
        f"({steady:.1f}/s once started), {last.cpu_seconds / many * 1000:.0f} ms of CPU a map"
    )
    yield at_least("PNG export with 2 workers", many / last.seconds, 4, how, " maps/s")
    how = f"largest process at its peak: {first.peak_mib:.0f} MiB with {few} maps, {last.peak_mib:.0f} MiB with {many}"
    growth = last.peak_mib - first.peak_mib
    yield below(f"PNG export, memory from {few} to {many} maps", growth, GROWTH_MIB, how, " MiB more")


def demo(quick: bool) -> Iterator[Row]:
    """`analysis.demo` in an empty directory, and again: what `make demo` runs once all is installed and converted."""
    point, target = "second make demo", "< 60 s"
    missing = [name for name in ("dskd-cma", "dskd-cma-ga") if not (SHIPPED.parent / name / "manifest.json").is_file()]
    if missing:
        yield skipped(point, target, f"checkpoints/{missing[0]} is not there")
        return
    if quick:
        yield skipped(point, target, "--quick")
        return
    with tempfile.TemporaryDirectory() as name:
        arguments = ["-m", "analysis.demo", "--out", f"{name}/demo"]
        first, second = (command(arguments, threads=None) for _ in range(2))
        pictures = len(list(Path(name).rglob("*.png")))
    how = (
        f"python -m analysis.demo again, wall clock, maps and {pictures} pictures kept; with an empty directory "
        f"{first.seconds:.0f} s ({first.cpu_seconds:.0f} s of CPU), installed and the teacher converted in both"
    )
    yield below(point, second.seconds, 60, how, " s")


def make_files(folder: str, count: int) -> tuple[int, int]:
    """Maps of about 60 x 70 and ``gold.jsonl`` under ``folder``; returns the first map's size."""
    from probe.gold.reading import write_gold

    golds = make_store(folder, count)
    write_gold(Path(folder) / "gold.jsonl", golds)
    first = next(iter(golds.values()))
    return len(first.student_tokens), len(first.teacher_tokens)
