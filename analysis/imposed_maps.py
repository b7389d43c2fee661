"""Imposed maps: quality of a checkpoint's t2s branch under its own map, gold, uniform, permuted, another's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probe import cli
from probe.files import MANIFEST, sha256_of
from probe.gold.reading import read_gold
from probe.scoring import statistics
from probe.scoring.statistics import bca_interval, compare, holm
from probe.scoring.tables import SCHEMA_VERSION, write_csv
from probe.text.examples import read_examples
from probe.version import __version__, sign

if TYPE_CHECKING:
    from torch import Tensor

    from probe.distillation.setup import Setup
    from probe.gold.reading import Gold
    from probe.models.checkpoint import Checkpoint
    from probe.text.tokenization import PairedTokens

DESCRIPTION = """Replace the t2s map of a trained checkpoint and measure its t2s branch on held-out text: cross-entropy
and accuracy of the target, and KL of the t2s distribution to the student's own, at every position (temperature and
factor as in training). Maps: own,
span (the span rule), gold (with --gold), chunk, uniform, permuted (gold or span with shuffled columns), and those of
other checkpoints. The projectors stay: they were trained with the own map, so another map's worth is a lower bound.
Writes imposed_maps.csv and imposed_maps.png."""
EXAMPLES = """
  python -m analysis.imposed_maps --checkpoint checkpoints/dskd-cma --data analysis/gold/probe_set.jsonl \\
      --gold analysis/gold/gold.jsonl --other checkpoints/dskd-cma-ga --out out/imposed
  python -m analysis.imposed_maps --checkpoint my/run --data held-out.jsonl --out out/imposed --json"""
MEASURES = ("t2s_ce", "t2s_kl", "t2s_accuracy")
UNITS = {  # of each measure, and which way is better
    "t2s_ce": "nats a position, lower is better",
    "t2s_kl": "nats a position, lower is closer",
    "t2s_accuracy": "share of positions, higher is better",
}
OWN = "own"


@dataclass(frozen=True)
class ImposedOptions:
    """The held-out text, which maps are tried beside the own one, and how the numbers are made."""

    data: Path
    gold: Path | None = None
    other: tuple[Path, ...] = ()  # checkpoints whose maps are tried too
    teacher: str | None = None
    max_length: int | None = None  # tokens of each side; None: as trained
    resamples: int = statistics.RESAMPLES
    seed: int = 0


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.imposed_maps")
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("--checkpoint", required=True, nargs="+", type=Path, metavar="DIR", help="checkpoints")
    parser.add_argument("--data", required=True, type=Path, metavar="FILE", help="held-out examples (.jsonl)")
    parser.add_argument("--gold", type=Path, help="gold alignments that have every example")
    parser.add_argument("--other", nargs="+", type=Path, default=[], metavar="DIR", help="their maps are tried too")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="directory for the files")
    parser.add_argument("--teacher", help="the teacher, if it is not where the checkpoint says")
    parser.add_argument("--max-length", type=cli.positive, help="tokens of each side (default: as trained)")
    parser.add_argument(
        "--resamples", type=cli.at_most(statistics.MOST_RESAMPLES), default=statistics.RESAMPLES,
        help="bootstrap resamples",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the permutation and the resampling (default 0)")
    cli.add_common(parser, json_report=True)
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure every map under every checkpoint, write, print."""
    options = replace(cli.options_of(ImposedOptions, args), other=tuple(args.other))
    frame = measure(args.checkpoint, options, say=cli.note)
    written = [str(path) for path in write_files(frame, args.out)]
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    cli.report({"rows": rows, "written": written}, lines_of(frame, written), as_json=args.json)


def measure(
    checkpoints: Sequence[Path], options: ImposedOptions, *, say: Callable[[str], None] = lambda line: None
) -> pd.DataFrame:
    """One row per checkpoint, map and measure, each compared with the checkpoint's own map.

    Raises:
        DataError: unreadable examples or gold, or gold that lacks one. DamagedError: as :meth:`Extractor.load`.
    """
    read_examples(options.data)  # bad data is an error before torch is loaded
    golds = read_gold(options.gold) if options.gold else {}
    frame = pd.concat([checkpoint_rows(one, golds, options, say) for one in checkpoints], ignore_index=True)
    frame["p_holm"] = holm(frame["p_permutation"].tolist())
    return frame


def write_files(frame: pd.DataFrame, out: Path) -> list[Path]:
    """Write the table and its figure into a directory; returns the files. Raises DiskError."""
    from probe.plotting import save_figure
    from probe.plotting.worth import imposed_figure

    write_csv(frame, out / "imposed_maps.csv")
    return [out / "imposed_maps.csv", save_figure(imposed_figure(frame), out / "imposed_maps.png")]


def checkpoint_rows(
    directory: Path, golds: Mapping[str, Gold], options: ImposedOptions, say: Callable[[str], None]
) -> pd.DataFrame:
    """One row per map and measure of one checkpoint."""
    from probe.extraction.extractor import Extractor

    others = [other for other in options.other if other.resolve() != directory.resolve()]
    extractor = Extractor.load([directory, *others], teacher=options.teacher)
    setup = setup_of(extractor.checkpoints[0], options, say)
    maps = maps_by_kind(setup.training, extractor, golds, options.seed)
    counts = {kind: counts_of(setup, weights) for kind, weights in maps.items()}
    labels = {
        "schema_version": SCHEMA_VERSION,
        "signature": signature(options, directory, setup.config.max_length),
        "checkpoint": extractor.sources[0].checkpoint,
    }
    rows = [
        {**labels, "map": kind, "measure": name, **numbers(counts, kind, name, options)}
        for name in MEASURES
        for kind in maps
    ]
    return pd.DataFrame(rows)


def setup_of(checkpoint: Checkpoint, options: ImposedOptions, say: Callable[[str], None]) -> Setup:
    """The checkpoint ready to run on the data, teacher states from the cache, with its own projectors and σ."""
    from probe.distillation.config import TrainConfig
    from probe.distillation.setup import prepare

    settings = checkpoint.config.settings
    config = TrainConfig(
        name=checkpoint.config.name,
        method="dskd-cma",
        student=str(checkpoint.directory),
        teacher=options.teacher or checkpoint.config.teacher,
        data=(str(options.data),),
        held_out=0,
        max_length=options.max_length or int(settings.get("max_length", 256)),
        temperature=float(settings.get("temperature", 2.0)),
    )
    setup = prepare(config, say)
    trained = replace(setup.trained, attention=checkpoint.require_attention())
    return replace(setup, trained=trained, normalisation=checkpoint.config.normalisation)


def maps_by_kind(
    pairs: Sequence[PairedTokens],
    extractor,
    golds: Mapping[str, Gold],
    seed: int,  # type: ignore[no-untyped-def]
) -> dict[str, list[Tensor]]:
    """The t2s maps [student, teacher] of all pairs, by kind; the own first."""
    import torch

    from probe.distillation.imposed import check_covered, imposed_map
    from probe.extraction.embedding_maps import maps_of_pairs

    if golds:
        check_covered(golds, pairs)
    found = {}
    for number, source in enumerate(extractor.sources):
        kind = OWN if number == 0 else source.checkpoint
        found[kind] = [torch.from_numpy(one.weights) for one in maps_of_pairs(source, pairs, direction="t2s")]
    if golds:
        found["gold"] = [imposed_map(pair, "gold", seed, golds[pair.example_id]).t2s for pair in pairs]
    found["span"] = [imposed_map(pair, "span").t2s for pair in pairs]
    for kind in ("chunk", "uniform", "permuted"):
        found[kind] = [imposed_map(pair, kind, seed, golds.get(pair.example_id)).t2s for pair in pairs]
    return found


def counts_of(setup: Setup, maps: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Per example the sum over its positions, and their number: [examples, 2] for each measure."""
    import torch

    from probe.distillation.dataset import paired_batch
    from probe.distillation.losses.divergences import forward_kl
    from probe.distillation.losses.student_head import StudentTerms, student_side
    from probe.distillation.steps import paired_states
    from probe.models.attention import values_t2s
    from probe.models.map_rule import with_offsets

    sigmas, attention, teacher = setup.normalisation, setup.attention, setup.teacher
    assert sigmas is not None and attention is not None and teacher is not None
    student = setup.trained.student.eval()
    head = student.get_output_embeddings()  # type: ignore[operator]
    terms = StudentTerms(0.5, 0.5, setup.config.temperature, forward_kl, everywhere=True)
    sums: dict[str, list[tuple[float, int]]] = {name: [] for name in MEASURES}
    with torch.no_grad():
        for pair, weights in zip(setup.training, maps, strict=True):
            batch = paired_batch([pair])
            hidden = teacher.hidden([pair])
            states = paired_states(student, batch.student, batch.teacher, teacher.embeddings, hidden)
            values = values_t2s(hidden, states.teacher_target_emb, sigmas.sigma_h, sigmas.sigma_e, attention.t2s)
            spans = pair.student.axis.spans, pair.teacher.axis.spans
            mixed = with_offsets(weights.to(values) @ values, attention, weights, spans)
            side = student_side(states.student_hidden, head.weight, mixed, states.student_targets, terms, head.bias)
            for name, value in zip(MEASURES, (side.t2s_ce, side.t2s_kd, side.t2s_correct), strict=True):
                sums[name].append((float(value), len(states.student_targets)))
    return {name: np.array(values) for name, values in sums.items()}


def numbers(
    counts: Mapping[str, Mapping[str, np.ndarray]], kind: str, measure: str, options: ImposedOptions
) -> dict[str, float]:
    """A measure with its interval over examples, and its paired difference from the own map."""
    mine, own = counts[kind][measure], counts[OWN][measure]
    interval = bca_interval(mine, resamples=options.resamples, seed=options.seed)
    found = {"n_examples": len(mine), "n_positions": int(mine[:, 1].sum()), "value": interval.value,
             "low": interval.low, "high": interval.high}  # fmt: skip
    nan = float("nan")
    if kind == OWN:
        return found | dict.fromkeys(("difference", "difference_low", "difference_high", "p_bootstrap",
                                      "p_permutation"), nan)  # fmt: skip
    paired = compare(mine, own, resamples=options.resamples, seed=options.seed)
    change = paired.difference
    return found | {"difference": change.value, "difference_low": change.low, "difference_high": change.high,
                    "p_bootstrap": paired.p_bootstrap, "p_permutation": paired.p_permutation}  # fmt: skip


def signature(options: ImposedOptions, directory: Path, length: int) -> str:
    """How the rows of a checkpoint were made."""
    gold = sha256_of(options.gold)[:8] if options.gold else "none"
    return sign(
        checkpoint=sha256_of(directory / MANIFEST)[:8], data=sha256_of(options.data)[:8], gold=gold, length=length,
        seed=options.seed, version=__version__,
    )  # fmt: skip


def lines_of(frame: pd.DataFrame, written: Sequence[str]) -> Iterator[str]:
    """A printed table for each checkpoint: values with intervals, and the difference from the own map."""
    for name, rows in frame.groupby("checkpoint", sort=False):
        first = rows.iloc[0]
        yield f"{name}: {first['n_examples']} examples, {first['n_positions']} positions; difference from its own map"
        yield f"  {'map':14}" + "".join(f"{measure:>44}" for measure in MEASURES)
        yield f"  {'':14}" + "".join(f"{UNITS[measure]:>44}" for measure in MEASURES)
        for kind, part in rows.groupby("map", sort=False):
            cells = part.set_index("measure").loc[list(MEASURES)].itertuples()
            yield f"  {kind:14}" + "".join(f"{_cell(cell):>44}" for cell in cells)
    yield "wrote " + ", ".join(written)


def _cell(row) -> str:  # type: ignore[no-untyped-def]
    shown = f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
    return shown if np.isnan(row.difference) else f"{shown} {row.difference:+.3f} p={row.p_holm:.4f}"


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
