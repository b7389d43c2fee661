"""How far queries are from keys: every distance, and pictures of both clouds, before and after training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probe import cli
from probe.errors import DataError
from probe.files import MANIFEST, atomic_file, sha256_of
from probe.scoring.tables import SCHEMA_VERSION, write_csv
from probe.text.examples import read_examples
from probe.version import __version__, sign

if TYPE_CHECKING:
    from torch import Tensor

    from probe.extraction.embedding_maps import MapSource
    from probe.text.tokenization import PairedTokens

DESCRIPTION = """Measure the mismatch of queries and keys over all response positions of a file, for each checkpoint:
`trained` as it is, `untrained` with its query projector as initialised (before), `control` keys against keys (what the
measures give for two samples of one cloud). Give a checkpoint without and one with key-query matching to see what the
matching term does. Writes key_query.csv, clouds.parquet, clouds-<checkpoint>.png and mismatch.png."""
EXAMPLES = """
  python -m analysis.key_query --checkpoint checkpoints/dskd-cma checkpoints/dskd-cma-ga \\
      --data analysis/gold/probe_set.jsonl --out out/key_query
  python -m analysis.key_query --checkpoint my/run --data held-out.jsonl --out out/kq --json"""
# Enough to tell the shipped checkpoints apart: accuracy is 1.00 with 50 steps, and with 300.
CLASSIFIER_STEPS, CLASSIFIER_BATCH = 50, 128
PCA_BEFORE_TSNE = 50  # dimensions, as its authors advise
DISTANCES_SHOWN = ("classifier_accuracy", "energy_distance", "mmd", "sliced_wasserstein", "frechet", "query_norm",
                   "key_norm", "cosine", "cosine_of_means")  # fmt: skip


@dataclass(frozen=True)
class KeyQueryOptions:
    """What is measured: the examples, the teacher if it has moved, points drawn a side, positions compared a side."""

    data: Path
    teacher: str | None = None
    limit: int | None = None
    seed: int = 0
    points: int = 400
    most: int = 1000


@dataclass(frozen=True)
class KeyQuerySpace:
    """What was found: a row per checkpoint and stage, and the drawn points of both clouds."""

    figures: pd.DataFrame
    clouds: pd.DataFrame


@dataclass(frozen=True)
class Sides:
    """Queries [student, d_key] and keys [teacher, d_key] of one checkpoint and stage, over all pairs."""

    queries: Tensor
    keys: Tensor


@dataclass(frozen=True)
class VectorPlace:
    """Which position a vector is of."""

    example_id: str
    position: int
    token: str


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.key_query")
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("--checkpoint", required=True, nargs="+", type=Path, metavar="DIR", help="checkpoints")
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="examples (.jsonl)")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="directory for the files")
    parser.add_argument("--teacher", help="the teacher, if it is not where the checkpoint says")
    parser.add_argument("--limit", type=cli.positive, help="only the first examples")
    parser.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")
    parser.add_argument("--points", type=cli.positive, default=400, help="of each side in the pictures (default 400)")
    parser.add_argument("--most", type=cli.positive, default=1000,
                        help="positions of each side for the energy distance and the MMD (default 1000)")  # fmt: skip
    cli.add_common(parser, json_report=True)
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, write, print."""
    found = measure(args.checkpoint, cli.options_of(KeyQueryOptions, args))
    written = write_files(found, args.out)
    rows, change = found.figures.to_dict("records"), matching_change(found.figures)
    values = {"rows": rows, "matching": change, "written": [*map(str, written)]}
    cli.report(values, lines_of(found.figures, written), as_json=args.json)


def measure(checkpoints: Sequence[Path], options: KeyQueryOptions) -> KeyQuerySpace:
    """Load the checkpoints, measure and project their queries and keys.

    Raises:
        DataError: unreadable examples, or too few positions. DamagedError: as :meth:`Extractor.load`.
    """
    examples = read_examples(options.data, limit=options.limit)
    from probe.extraction.extractor import Extractor

    extractor = Extractor.load(checkpoints, teacher=options.teacher)
    pairs = list(extractor.tokenizer.encode(examples))
    rows, clouds = [], []
    for checkpoint, source in zip(extractor.checkpoints, extractor.sources, strict=True):
        stages = stages_of(source, pairs, int(checkpoint.config.settings.get("seed", 0)))
        labels = {
            "schema_version": SCHEMA_VERSION,
            "data": options.data.name,
            "n_texts": len(examples),
            "signature": signature(options, source, sha256_of(checkpoint.directory / MANIFEST)),
            "checkpoint": source.checkpoint,
            "method": source.method,
        }
        rows += [{**labels, **row} for row in measured(stages, options)]
        clouds.append(cloud_frame(source.checkpoint, stages, pairs, options))
    return KeyQuerySpace(pd.DataFrame(rows), pd.concat(clouds, ignore_index=True))


def write_files(found: KeyQuerySpace, out: Path) -> list[Path]:
    """Write both tables and the figures into a directory; returns the files. Raises DiskError."""
    from probe.plotting import save_figure
    from probe.plotting.clouds import clouds_figure, mismatch_figure

    written = [out / "key_query.csv", out / "clouds.parquet"]
    write_csv(found.figures, written[0])
    with atomic_file(written[1]) as part:
        found.clouds.to_parquet(part, index=False)
    for name, cloud in found.clouds.groupby("checkpoint", sort=False):
        title = f"{name}: queries and keys"
        written.append(save_figure(clouds_figure(cloud, title), out / f"clouds-{name}.png"))
    return [*written, save_figure(mismatch_figure(found.figures), out / "mismatch.png")]


def stages_of(source: MapSource, pairs: Sequence[PairedTokens], seed: int) -> dict[str, Sides]:
    """Both clouds with the projector as initialised and as trained; embeddings and keys are its own in both."""
    from probe.extraction.embedding_maps import untrained

    found = {"untrained": sides_of(untrained(source, seed), pairs), "trained": sides_of(source, pairs)}
    fewest = min(len(found["trained"].queries), len(found["trained"].keys) // 2)
    if fewest < 2:
        raise DataError("wanted at least 2 student and 4 teacher response positions to compare; give longer examples.")
    return found


def sides_of(source: MapSource, pairs: Sequence[PairedTokens]) -> Sides:
    """q and k of every response position, pair after pair."""
    import torch
    from torch.nn.functional import linear

    from probe.models.attention import keys, queries

    inputs, targets = (torch.tensor([i for p in pairs for i in getattr(p.student, n)]) for n in ("inputs", "targets"))
    with torch.no_grad():
        query = queries(source.student_table[inputs], source.student_table[targets],
                        lambda both: linear(both, source.weight, source.bias))  # fmt: skip
        inputs, targets = (
            torch.tensor([i for p in pairs for i in getattr(p.teacher, n)]) for n in ("inputs", "targets")
        )
        return Sides(query, keys(source.teacher_table[inputs], source.teacher_table[targets], source.sigma_k))


def measured(stages: dict[str, Sides], options: KeyQueryOptions) -> Iterator[dict[str, Any]]:
    """One row a stage, and the control: one random half of the keys against the other."""
    import torch

    from probe.distillation.measure import classifier_accuracy
    from probe.extraction.mismatch import mismatch

    keys = stages["trained"].keys
    order = torch.randperm(len(keys), generator=torch.Generator().manual_seed(options.seed))
    control = Sides(keys[order[::2]], keys[order[1::2]])
    for stage, sides in {**stages, "control": control}.items():
        training = {"steps": CLASSIFIER_STEPS, "batch": CLASSIFIER_BATCH}
        accuracy = classifier_accuracy(sides.queries, sides.keys, seed=options.seed, **training)
        found = asdict(mismatch(sides.queries, sides.keys, seed=options.seed, most=options.most))
        sizes = {"n_queries": len(sides.queries), "n_keys": len(sides.keys), "n_compared": found.pop("positions")}
        yield {"stage": stage, **sizes, "classifier_accuracy": accuracy, **found}


def cloud_frame(
    name: str, stages: dict[str, Sides], pairs: Sequence[PairedTokens], options: KeyQueryOptions
) -> pd.DataFrame:
    """The drawn points: one PCA and one t-SNE over both stages and the keys, so that both pictures share their axes."""
    rng = np.random.default_rng(options.seed)
    sizes = {"query": len(stages["trained"].queries), "key": len(stages["trained"].keys)}
    drawn = {side: np.sort(rng.permutation(size)[: options.points]) for side, size in sizes.items()}
    blocks = [stages[stage].queries[drawn["query"]].numpy() for stage in stages]
    blocks.append(stages["trained"].keys[drawn["key"]].numpy())
    pca, tsne = projections(np.concatenate(blocks), options.seed)
    ends = np.cumsum([len(block) for block in blocks])
    places = {side: places_of(pairs, side) for side in drawn}
    parts = []
    for number, stage in enumerate(stages):
        for side, end in (("query", ends[number]), ("key", ends[-1])):
            cells = slice(end - len(drawn[side]), end)
            frame = pd.DataFrame([vars(places[side][i]) for i in drawn[side]])
            frame[["pca_x", "pca_y"]], frame[["tsne_x", "tsne_y"]] = pca[cells], tsne[cells]
            parts.append(frame.assign(checkpoint=name, stage=stage, side=side))
    first = ["checkpoint", "stage", "side"]
    frame = pd.concat(parts, ignore_index=True)
    return frame[[*first, *(column for column in frame if column not in first)]]


def places_of(pairs: Sequence[PairedTokens], side: str) -> list[VectorPlace]:
    """Example, position and target token (as shown) of every vector of a side, in order."""
    axes = ((pair, pair.student.axis if side == "query" else pair.teacher.axis) for pair in pairs)
    return [VectorPlace(pair.example_id, i, token) for pair, axis in axes for i, token in enumerate(axis.tokens)]


def projections(vectors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """[n, 2] of the first two principal components, and of t-SNE on the first 50; the signs of a PCA are fixed."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    vectors = vectors.astype(np.float64)
    size = min(PCA_BEFORE_TSNE, *vectors.shape)
    reduced = PCA(size, svd_solver="full").fit_transform(vectors)
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init=reduced[:, :2] / reduced[:, 0].std() * 1e-4, random_state=seed)
    return reduced[:, :2], tsne.fit_transform(reduced)


def signature(options: KeyQueryOptions, source: MapSource, digest: str) -> str:
    """How the row was made."""
    return sign(
        method=source.method, checkpoint=digest[:8], data=sha256_of(options.data)[:8],
        classifier=f"discriminator@{CLASSIFIER_STEPS}x{CLASSIFIER_BATCH}", most=options.most, seed=options.seed,
        version=__version__,
    )  # fmt: skip


def matching_change(figures: pd.DataFrame) -> list[dict[str, Any]]:
    """Each pair of a checkpoint without (before) and one with key-query matching (after): the trained figures."""
    trained = figures[figures["stage"] == "trained"]
    before, after = (trained[trained["method"].str.endswith("-ga") == with_] for with_ in (False, True))
    return [
        {"before": b["checkpoint"], "after": a["checkpoint"], **{name: a[name] - b[name] for name in DISTANCES_SHOWN}}
        for b in before.to_dict("records")
        for a in after.to_dict("records")
    ]


def lines_of(figures: pd.DataFrame, written: Sequence[Path]) -> Iterator[str]:
    """The printed table: a column for each checkpoint and stage; then what the matching term changed."""
    columns = [f"{row.checkpoint} {row.stage}" for row in figures.itertuples()]
    if "data" in figures:
        yield f"of the {figures['n_texts'].iloc[0]} texts of {figures['data'].iloc[0]}"
    yield f"{'':22}" + "".join(f"{name:>24}" for name in columns)
    for name in DISTANCES_SHOWN:
        yield f"{name:22}" + "".join(f"{value:>24.4f}" for value in figures[name])
    for change in matching_change(figures):
        yield f"\n{change['before']} -> {change['after']} (before and after the matching term), trained:"
        yield "  " + ", ".join(f"{name} {change[name]:+.4f}" for name in DISTANCES_SHOWN)
    yield "\nwrote " + ", ".join(map(str, written))


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
