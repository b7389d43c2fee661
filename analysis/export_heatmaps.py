"""Batch export: one heatmap file for each map of a store, drawn by several processes."""

from __future__ import annotations

import argparse
import functools
import gc
import math
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.heatmaps import pictures as heatmap_pictures
from analysis.heatmaps.files import MANIFEST, Drawing, DrawingJob, Folder, ManifestLine
from analysis.heatmaps.pictures import job_of
from probe import cli
from probe.errors import DataError, ProbeError, UsageError
from probe.files import sha256_of
from probe.gold.reading import Gold, GoldSet, read_gold
from probe.maps.attention_map import DIRECTIONS
from probe.maps.store import MapStore
from probe.scoring.metrics import MapScore, score_map

EXAMPLES = """
  python -m analysis.export_heatmaps out/demo/maps --gold analysis/gold/gold.jsonl --out out/demo/heatmaps
  python -m analysis.export_heatmaps maps --out svg --format svg --examples prose-01 code-03 --direction t2s
  python -m analysis.export_heatmaps maps --out png --checkpoint dskd-cma dskd-cma-ga --workers 4 --resume
  python -m analysis.export_heatmaps maps --out grid --grid --format pdf --scale run
  python -m analysis.export_heatmaps maps --out change --difference dskd-cma-ga dskd-cma --long tile"""
FORMATS = ("png", "svg", "pdf")
WORTH_A_POOL = 4  # fewer maps are drawn before a second process has imported what it needs
CHUNK = 4  # maps that a worker takes at a time
SCORES_IN_MANIFEST = (
    "top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "chunk_accuracy", "reciprocal_rank",
    "n_positions", "n_tied",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.export_heatmaps")
    cli.dress(parser, "Draw a store's maps: gold outlined, hits and misses told apart, scores in the title.", EXAMPLES)
    parser.add_argument("maps", metavar="MAPS", type=Path, help="a map store, written by probe extract")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help=f"where the files and {MANIFEST} go")
    parser.add_argument("--gold", type=Path, metavar="GOLD", help="manual alignments of the examples")
    parser.add_argument("--format", choices=FORMATS, default="png", help="file format (default: png)")
    parser.add_argument("--workers", type=cli.positive, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument("--resume", action="store_true", help="keep files that are there and would come out the same")
    parser.add_argument("--limit", type=cli.positive, metavar="N", help="only the first N of the chosen maps")
    parser.add_argument("--examples", nargs="+", metavar="ID", help="only these examples")
    parser.add_argument("--checkpoint", nargs="+", metavar="NAME", help="only these checkpoints")
    parser.add_argument("--direction", choices=(*DIRECTIONS, "both"), default="both", help="(default: both)")
    together = parser.add_mutually_exclusive_group()
    together.add_argument("--grid", action="store_true", help="one picture an example: its checkpoints side by side")
    together.add_argument("--difference", nargs=2, metavar=("A", "B"), help="draw checkpoint A minus checkpoint B")
    parser.add_argument(
        "--scale", choices=("0-1", "run", "map"), default="0-1",
        help="darkest colour: weight 1 (default), the greatest of a checkpoint and direction, or of each map",
    )  # fmt: skip
    parser.add_argument(
        "--long", choices=("window", "tile"), default="window",
        help="a map of more than 160 tokens a side: its beginning (default), or several pictures along the text",
    )  # fmt: skip
    cli.add_common(parser, json_report=True)
    return parser


def run(args: argparse.Namespace) -> None:
    """Choose the maps, draw those that are not there yet, write the manifest, and say what was done."""
    started = time.monotonic()
    store = MapStore.open(args.maps)
    store.verify()  # before anything is drawn; the workers then trust the bytes
    rows = chosen_rows(store, args)
    golds = _golds(store, rows, args.gold) if args.gold else {}
    pictures, ids = _pictures(store, rows, args), store.column("example_id")
    with Folder(args.out, resume=args.resume) as folder:
        jobs = [job_of(store, picture, golds.get(ids[picture.rows[0]]), args.format) for picture in pictures]
        kept = {job.file: line for job in jobs if (line := folder.kept(job))}
        fresh = [job for job in jobs if job.file not in kept]
        lines = dict(kept)
        for drawn in cli.progress(draw_all(args.maps, fresh, args.out, args.workers), total=len(fresh), label="maps"):
            folder.note(drawn)
            lines[drawn.file] = drawn
        folder.finish(lines[job.file] for job in jobs)
    _report(args, jobs, len(kept), time.monotonic() - started)


def _pictures(store: MapStore, rows: list[int], args: argparse.Namespace) -> list[Drawing]:
    """What the options ask for: a grid, a difference, or single maps; whole, cut or in tiles; on which scale."""
    if args.grid:
        pictures = heatmap_pictures.grids(store, rows, args.format)
    elif args.difference:
        pictures = heatmap_pictures.differences(store, rows, args.difference, args.format)
    else:
        pictures = heatmap_pictures.single_maps(store, rows, args.format)
    if args.long == "tile":
        if args.grid:
            raise UsageError("--grid shows the start of a long text; it cannot be combined with --long tile.")
        pictures = list(heatmap_pictures.tiled(store, pictures))
    return heatmap_pictures.scaled(store, pictures, args.scale)


def chosen_rows(store: MapStore, args: argparse.Namespace) -> list[int]:
    """Rows of the maps that the options choose, in the store's order.

    Raises:
        UsageError: an example or checkpoint that the store does not have, or nothing left.
    """
    options = (("--examples", "example_id", args.examples), ("--checkpoint", "checkpoint", args.checkpoint))
    for option, column, wanted in options:
        known = dict.fromkeys(store.column(column))
        if unknown := [value for value in wanted or () if value not in known]:
            shown = ", ".join([*known][:6])
            raise UsageError(f"{option} {unknown[0]}: {args.maps} has no map of it, but for instance of {shown}.")
    direction = None if args.direction == "both" else args.direction
    rows = store.select(example_id=args.examples, checkpoint=args.checkpoint, direction=direction)
    if not rows:
        raise UsageError(f"{args.maps} has no map for these options ({len(store)} maps in all). Choose others.")
    return rows[: args.limit]


def _golds(store: MapStore, rows: list[int], path: Path) -> dict[str, Gold]:
    """The gold of the chosen maps; gold made on other tokens is refused now, not after an hour of drawing."""
    golds, ids = read_gold(path), store.column("example_id")
    first = {ids[row]: row for row in reversed(rows) if ids[row] in golds}
    if not first:
        raise DataError(
            f"{path}: none of its {len(golds)} alignments is for a chosen map, such as {ids[rows[0]]!r}. "
            "Use the gold of these examples, or leave --gold out."
        )
    gold_set = GoldSet(golds, store.fingerprints)
    return {example_id: gold_set[store.read(row)] for example_id, row in first.items()}


# ---- drawing, in the workers ----


@dataclass
class _Worker:
    """What a process keeps between maps."""

    store: MapStore
    since_collection: int = 0


@functools.lru_cache(maxsize=1)
def _worker(maps: Path) -> _Worker:
    return _Worker(MapStore.open(maps, verify=False))


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides


def _draw(job: DrawingJob, *, maps: Path, out: Path) -> ManifestLine:
    """Draw one picture; returns its line of the manifest."""
    from probe import plotting  # here, so that the parent and --help do without matplotlib

    worker, picture = _worker(maps), job.picture
    shown = [worker.store.read(row) for row in picture.rows]
    amap, options = shown[0], {"gold": job.gold, "vmax": picture.vmax}
    score, figure = None, None
    if picture.kind == "grid":
        figure = plotting.heatmap_grid(shown, **options)
    elif picture.kind == "difference":
        figure = plotting.difference_heatmap(*shown, window=picture.window, **options)
    else:
        score = score_map(amap, job.gold) if job.gold is not None else None
        figure = plotting.attention_heatmap(amap, score=score, window=picture.window, **options)
    path = plotting.save_figure(figure, out / job.file)
    del figure
    worker.since_collection += 1
    if worker.since_collection % 4 == 0:
        gc.collect()  # figures are cycles, and large
    n, m = amap.weights.shape
    joined = {"grid": " + ", "difference": " - "}.get(picture.kind, "")
    labels: dict[str, Any] = {
        name: joined.join(dict.fromkeys(getattr(one, name) for one in shown)) for name in ("checkpoint", "method")
    }
    labels |= {name: getattr(amap, name) for name in ("category", "direction", "normalisation")}
    return ManifestLine(
        file=job.file, example_id=amap.example_id, **labels, n_student=n, n_teacher=m, **_scores(score),
        source=job.source, sha256=sha256_of(path),
    )  # fmt: skip


def _scores(score: MapScore | None) -> dict[str, Any]:
    values = {name: None if score is None else getattr(score, name) for name in SCORES_IN_MANIFEST}
    return {name: None if value is None or math.isnan(value) else value for name, value in values.items()}


def draw_all(maps: Path, jobs: list[DrawingJob], out: Path, workers: int) -> Iterator[ManifestLine]:
    """Draw the jobs with up to ``workers`` processes; yields in their order, each when it is done."""
    draw = functools.partial(_draw, maps=maps, out=out)
    if workers == 1 or len(jobs) < WORTH_A_POOL:
        yield from map(draw, jobs)
        return
    # Spawned, not forked: pyarrow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_start)
    try:
        yield from pool.map(draw, jobs, chunksize=min(CHUNK, max(1, len(jobs) // (2 * workers))))
    except BrokenProcessPool as error:
        raise ProbeError(
            "a drawing process died, perhaps for want of memory. Run again with --resume and fewer --workers."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _report(args: argparse.Namespace, jobs: list[DrawingJob], kept: int, seconds: float) -> None:
    bare = sum(job.gold is None for job in jobs)
    drawn = len(jobs) - kept
    values = {
        "out": str(args.out), "files": len(jobs), "drawn": drawn, "kept": kept, "without_gold": bare,
        "seconds": round(seconds, 1),
    }  # fmt: skip
    lines = [f"{drawn} heatmaps drawn, {kept} kept, in {seconds:.0f} s; {args.out / MANIFEST} says which is which"]
    if args.gold and bare:
        lines.append(f"{bare} of them without outlines: {args.gold} has no gold of their examples")
    cli.report(values, lines, as_json=args.json)


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
