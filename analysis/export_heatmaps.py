"""Batch export: one heatmap file for each map of a store, drawn by several processes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from analysis.heatmaps import pictures as heatmap_pictures
from analysis.heatmaps.drawing import draw_all
from analysis.heatmaps.files import MANIFEST, Drawing, DrawingJob, Folder
from analysis.heatmaps.options import add_look, look_of
from analysis.heatmaps.pictures import job_of
from probe import cli
from probe.errors import DataError, UsageError
from probe.gold.reading import Gold, GoldSet, read_gold
from probe.maps.attention_map import DIRECTIONS
from probe.maps.store import MapStore

EXAMPLES = """
  python -m analysis.export_heatmaps out/demo/maps --gold analysis/gold/gold.jsonl --out out/demo/heatmaps
  python -m analysis.export_heatmaps maps --out svg --format svg --examples prose-01 code-03 --direction t2s
  python -m analysis.export_heatmaps maps --out png --checkpoint dskd-cma dskd-cma-ga --workers 4 --resume
  python -m analysis.export_heatmaps maps --out grid --grid --format pdf --scale run
  python -m analysis.export_heatmaps maps --out change --difference dskd-cma-ga dskd-cma --long tile
  python -m analysis.export_heatmaps maps --out paper --format pdf --width 3.3in --no-title --examples prose-01"""
FORMATS = ("png", "svg", "pdf")


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
    together.add_argument(
        "--difference", nargs=2, metavar=("A", "B"),
        help="draw checkpoint A minus checkpoint B, as the page Compare draws a run minus its reference",
    )  # fmt: skip
    parser.add_argument(
        "--scale", choices=("0-1", "run", "map"), default="0-1",
        help="darkest colour: weight 1 (default), the greatest of a checkpoint and direction, or of each map",
    )  # fmt: skip
    parser.add_argument(
        "--long", choices=("window", "tile"), default="window",
        help="a map of more than 160 tokens a side: its beginning (default), or several pictures along the text",
    )  # fmt: skip
    add_look(parser)
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
    pictures = heatmap_pictures.looking(pictures, look_of(args))
    if args.long == "tile":
        _refuse_in_tiles(args)
        pictures = list(heatmap_pictures.tiled(store, pictures))
    else:
        pictures = list(heatmap_pictures.windowed(store, pictures, args.window))
    return heatmap_pictures.scaled(store, pictures, args.scale)


def _refuse_in_tiles(args: argparse.Namespace) -> None:
    if args.grid:
        raise UsageError("--grid shows the start of a long text; it cannot be combined with --long tile.")
    for option, value in (("--window", args.window), ("--pin", args.pin)):
        if value is not None:
            raise UsageError(f"{option} chooses one part of a map; it cannot be combined with --long tile.")


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


def _report(args: argparse.Namespace, jobs: list[DrawingJob], kept: int, seconds: float) -> None:
    bare = sum(job.gold is None for job in jobs)
    drawn = len(jobs) - kept
    values = {
        "out": str(args.out), "files": len(jobs), "drawn": drawn, "kept": kept, "without_gold": bare,
        "seconds": round(seconds, 1),
    }  # fmt: skip
    lines = [f"{drawn} heatmaps drawn, {kept} kept, in {seconds:.0f} s; {args.out / MANIFEST} says which is which"]
    cut = sum(job.picture.window not in (None, args.window) for job in jobs)
    if args.width is not None and cut:
        room = f"at {args.width / 72:.3g} in, labels of 6 points leave no room for more"
        lines.append(f"{cut} of them show a part of their map, which is in their names: {room}")
    if args.gold and bare:
        lines.append(f"{bare} of them without outlines: {args.gold} has no gold of their examples")
    cli.report(values, lines, as_json=args.json)


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
