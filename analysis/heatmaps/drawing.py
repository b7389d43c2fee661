"""Drawing the pictures of an export, by one process or several."""

from __future__ import annotations

import functools
import gc
import math
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.heatmaps.files import Drawing, DrawingJob, ManifestLine
from analysis.heatmaps.pictures import window_name
from probe.errors import ProbeError
from probe.files import sha256_of
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.scoring.aggregation import UNITS, in_unit
from probe.scoring.metrics import MapScore, score_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORTH_A_POOL = 4  # fewer maps are drawn before a second process has imported what it needs
CHUNK = 4  # maps that a worker takes at a time
PRINT_DPI = 300  # of a figure with a width
SCORES = (
    "top1_sure", "top1_possible", "gold_mass_sure", "gold_mass_possible", "chunk_accuracy", "reciprocal_rank",
    "n_positions", "n_tied",
)  # fmt: skip


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

    worker, picture, look = _worker(maps), job.picture, job.picture.look
    shown = [in_unit(worker.store.read(row), None, look.unit)[0] for row in picture.rows]
    gold = in_unit(worker.store.read(picture.rows[0]), job.gold, look.unit)[1]
    amap, score = shown[0], None
    if picture.kind == "map" and gold is not None:
        score = score_map(amap, gold)
    figure = _plain(picture, shown, gold, score) if look.width is None else _for_print(picture, shown, gold, look.width)
    dpi = look.dpi or (plotting.DPI if look.width is None else PRINT_DPI)
    path = plotting.save_figure(figure, out / job.file, dpi=dpi, svg_text=look.svg_text)
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
    labels |= {"unit": look.unit, "window": window_name(picture.window).replace("-t", ",t")}
    return ManifestLine(
        file=job.file, example_id=amap.example_id, **labels, n_student=n, n_teacher=m, **_scores(score),
        source=job.source, sha256=sha256_of(path),
    )  # fmt: skip


def _plain(picture: Drawing, shown: Sequence[AttentionMap], gold: Gold | None, score: MapScore | None) -> Axes | Figure:
    """A figure that is as large as its maps need."""
    from probe import plotting

    look, options = picture.look, _options(picture, gold)
    if picture.kind == "grid":
        return plotting.heatmap_grid(shown, columns=look.columns, titled=look.title, **options)
    options["title"] = None if look.title else ""
    if picture.kind == "difference":
        return plotting.difference_heatmap(*shown, **options)
    return plotting.attention_heatmap(shown[0], score=score, **options)


def _options(picture: Drawing, gold: Gold | None) -> dict[str, Any]:
    unit = "target" if picture.look.unit == UNITS[0] else picture.look.unit
    chosen = {"window": picture.window, "pin": picture.look.pin, "unit": unit}
    return {"gold": gold, "vmax": picture.vmax, **chosen}


def _for_print(picture: Drawing, shown: Sequence[AttentionMap], gold: Gold | None, width: float) -> Figure:
    """A figure of this width in points."""
    from probe.plotting.paper import paper_difference, paper_figure

    look, options = picture.look, _options(picture, gold)
    if picture.kind == "difference":
        return paper_difference(*shown, width=width, titles=look.title, **options)
    return paper_figure(shown, width=width, columns=look.columns, titles=look.title, **options)


def _scores(score: MapScore | None) -> dict[str, Any]:
    values = {name: None if score is None else getattr(score, name) for name in SCORES}
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
