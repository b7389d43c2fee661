"""`python -m app.server.export_worker JOB.json`: draws maps into a zip in its own process: no visitor waits."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import math
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from app.data import view
from app.data.downloads import file_stem
from app.server.scores import SCORES
from probe import cli
from probe.errors import DiskError
from probe.files import sha256_of, write_json
from probe.gold.reading import Gold, GoldSet, read_gold
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.scoring.metrics import MapScore, score_map
from probe.scoring.tables import write_csv
from probe.version import __version__

FORMATS = ("png", "svg", "csv")
SCHEMA_VERSION = 1
PROGRESS = "progress"  # a file beside the job that grows by one byte a map
LABELS = ("example_id", "category", "checkpoint", "method", "direction", "normalisation")


@dataclass(frozen=True)
class Job:
    """What to draw: rows of a store, with the gold, in which formats, into which zip; ``chosen`` says how they were."""

    maps: str
    gold: str | None
    rows: list[int]
    formats: list[str]
    out: str
    chosen: dict[str, Any]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.server.export_worker")
    cli.dress(parser, "Draw the maps of a job file into a zip. The dashboard's page Export starts this.")
    parser.add_argument("job", type=Path, metavar="JOB.json")
    cli.add_common(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Draw the maps one by one; the zip gets its name when it is whole."""
    job = Job(**json.loads(args.job.read_text(encoding="utf-8")))
    folder, out = args.job.parent, Path(job.out)
    store = MapStore.open(job.maps)
    golds = read_gold(job.gold) if job.gold else {}
    part = out.with_suffix(".part")
    lines = []
    try:
        with zipfile.ZipFile(part, "w") as archive, open(folder / PROGRESS, "ab", buffering=0) as progress:
            for row, stem in zip(job.rows, stems(store, job.rows), strict=True):
                lines += add_map(archive, folder, store, row, golds, stem, job.formats)
                progress.write(b".")
            add_manifest(archive, folder, store, job, lines)
        part.replace(out)
    except OSError as error:
        raise DiskError(
            f"cannot write the zip: {error.strerror or error}. Free some space, or choose fewer maps."
        ) from error


def stems(store: MapStore, rows: list[int]) -> list[str]:
    """A file name without suffix for each row; a number tells apart what letters and digits do not."""
    plain = [file_stem(store.read(row)) for row in rows]
    times = Counter(name.casefold() for name in plain)
    return [f"{name}_{row}" if times[name.casefold()] > 1 else name for name, row in zip(plain, rows, strict=True)]


def add_map(
    archive: zipfile.ZipFile, folder: Path, store: MapStore, row: int, golds: dict[str, Gold], stem: str,
    formats: list[str],
) -> list[dict[str, Any]]:  # fmt: skip
    """Draw one map in every format; returns its lines of the manifest."""
    amap = store.read(row)
    gold = GoldSet(golds, store.fingerprints).of(amap)
    score = score_map(amap, gold) if gold is not None else None
    lines = []
    for suffix in formats:
        path = draw(folder / f"map.{suffix}", amap, gold, score)
        name = f"{suffix}/{stem}.{suffix}"
        archive.write(path, name, zipfile.ZIP_STORED if suffix == "png" else zipfile.ZIP_DEFLATED)
        lines.append(manifest_line(name, amap, score, sha256_of(path)))
    gc.collect()  # figures are cycles, and large
    return lines


def draw(path: Path, amap: AttentionMap, gold: Gold | None, score: MapScore | None) -> Path:
    """The whole map as a picture, or as a table of its cells."""
    if path.suffix == ".csv":
        whole = view.Window((0, len(amap.student)), (0, len(amap.teacher)))
        write_csv(view.map_cells(amap, gold, whole), path)
        return path
    from probe import plotting

    return plotting.save_figure(plotting.attention_heatmap(amap, gold=gold, score=score), path)


def manifest_line(name: str, amap: AttentionMap, score: MapScore | None, digest: str) -> dict[str, Any]:
    labels = {label: getattr(amap, label) for label in LABELS}
    numbers = {label: math.nan if score is None else getattr(score, label) for label in SCORES}
    size = {"n_student": len(amap.student), "n_teacher": len(amap.teacher)}
    return {"file": name, **labels, **size, **numbers, "sha256": digest, "schema_version": SCHEMA_VERSION}


def add_manifest(
    archive: zipfile.ZipFile, folder: Path, store: MapStore, job: Job, lines: list[dict[str, Any]]
) -> None:
    """manifest.csv, a line a file; and manifest.json: where the maps come from and how they were chosen."""
    write_csv(pd.DataFrame(lines), folder / "manifest.csv")
    facts = {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "maps": {"name": Path(job.maps).name, "provenance": store.provenance},
        "gold": Path(job.gold).name if job.gold else None,
        "chosen": job.chosen,
        "files": len(lines),
    }
    write_json(folder / "manifest.json", facts)
    for name in ("manifest.csv", "manifest.json"):
        archive.write(folder / name, name, zipfile.ZIP_DEFLATED)


def job_text(job: Job) -> str:
    """The job as the file that :func:`run` reads."""
    return json.dumps(dataclasses.asdict(job))


if __name__ == "__main__":
    raise SystemExit(cli.main(build_parser, run))
