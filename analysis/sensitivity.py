"""How much each number moves when only the making of the maps changes: scale of the keys, padding, direction, links."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probe import cli
from probe.errors import DataError
from probe.gold.reading import Gold, GoldSet, gold_hash, read_gold
from probe.maps.attention_map import AttentionMap, Direction
from probe.scoring.alignment import LinkMethod
from probe.scoring.extractions import WAYS
from probe.scoring.metrics import LinkCounts, MapMetric
from probe.scoring.names import LINK_SCORES
from probe.scoring.report_text import aligned, records
from probe.scoring.tables import SCHEMA_VERSION, write_csv
from probe.text.examples import Example, read_examples

if TYPE_CHECKING:
    from probe.extraction.extractor import Extractor
    from probe.extraction.key_sigmas import NormalisationKind

EXAMPLES = """
  python -m analysis.sensitivity --checkpoint checkpoints/dskd-cma --data analysis/gold/probe_set.jsonl \\
      --gold analysis/gold/gold.jsonl --out out/sensitivity"""
MEASURED_SCORES = ("top1_sure", "top1_possible", "gold_mass_possible", "reciprocal_rank", "entropy")  # over positions
SCORES_IN_FIGURE = ("top1_possible", "gold_mass_possible", "f1")  # in the table and the figure


@dataclass(frozen=True)
class Setting:
    """One way to make and read maps; ``padding`` is how many positions more than needed a batch is padded to."""

    normalisation: NormalisationKind = "frozen"
    batch_size: int = 8
    padding: int = 0
    direction: Direction = "t2s"
    links: LinkMethod = "argmax"


BASE = Setting()
PUBLISHED = Setting(normalisation="batch")
# factor -> the field that it varies, and its settings; the first is what the others are compared with.
FACTORS: dict[str, tuple[str, tuple[Setting, ...]]] = {
    "normalisation": (
        "normalisation",
        (BASE, *(replace(BASE, normalisation=k) for k in ("batch", "masked", "example"))),
    ),
    "padding, frozen": ("padding", tuple(replace(BASE, padding=extra) for extra in (0, 64, 512))),
    "padding, batch": ("padding", tuple(replace(PUBLISHED, padding=extra) for extra in (0, 64, 512))),
    "batch size, frozen": ("batch_size", tuple(replace(BASE, batch_size=size) for size in (8, 1, 32))),
    "batch size, batch": ("batch_size", tuple(replace(PUBLISHED, batch_size=size) for size in (8, 1, 32))),
    "direction": ("direction", (BASE, replace(BASE, direction="s2t"))),
    "links": ("links", tuple(replace(BASE, links=method) for method in WAYS)),
}


@dataclass(frozen=True)
class SensitivityOptions:
    """The checkpoint, its teacher if that has moved, and the texts with gold that it is scored on."""

    checkpoint: Path
    data: Path
    gold: Path
    teacher: str | None = None
    limit: int | None = None


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.sensitivity")
    cli.dress(
        parser,
        "Make the same maps in many ways, change one thing at a time, and say how much each score moves: "
        "sensitivity.csv, sensitivity.png and a table.",
        EXAMPLES,
    )
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="DIR", help="trained by probe")
    parser.add_argument("--data", required=True, type=Path, metavar="FILE.jsonl", help="prompts and outputs")
    parser.add_argument("--gold", required=True, type=Path, help="gold alignments of these examples")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the files go")
    parser.add_argument("--teacher", metavar="NAME_OR_DIR", help="where the teacher is, if not where training found it")
    parser.add_argument("--limit", type=cli.positive, metavar="N", help="only the first N examples")
    cli.add_common(parser, json_report=True)
    return parser


def run(args: argparse.Namespace) -> None:
    """Extract and score under every setting, write, draw, print."""
    frame = measure(cli.options_of(SensitivityOptions, args))
    written = write_files(frame, args.out)
    values = {"settings": records(frame), "written": [str(path) for path in written]}
    cli.report(values, [*_lines(frame), *(f"wrote {path}" for path in written)], as_json=args.json)


def measure(options: SensitivityOptions) -> pd.DataFrame:
    """The frame of :func:`sensitivity_frame` for a checkpoint, and the examples of a file that have gold.

    Raises:
        DataError: unreadable examples or gold, or no example with gold. DamagedError: as :meth:`Extractor.load`.
    """
    golds = read_gold(options.gold)
    examples = [one for one in read_examples(options.data, limit=options.limit) if one.id in golds]
    if not examples:
        raise DataError(f"{options.gold}: none of its {len(golds)} alignments is for an example of {options.data}.")
    import torch

    from probe.extraction.extractor import Extractor

    torch.set_num_threads(1)  # small products; as in probe extract
    extractor = Extractor.load([options.checkpoint], teacher=options.teacher, max_length=512)
    return sensitivity_frame(extractor, examples, golds)


def write_files(frame: pd.DataFrame, out: Path) -> list[Path]:
    """Write the table and its figure into a directory; returns the files. Raises DiskError."""
    from probe.plotting import save_figure
    from probe.plotting.sensitivity import sensitivity_figure

    write_csv(frame, out / "sensitivity.csv")
    return [out / "sensitivity.csv", save_figure(sensitivity_figure(frame, SCORES_IN_FIGURE), out / "sensitivity.png")]


def sensitivity_frame(extractor: Extractor, examples: Sequence[Example], golds: Mapping[str, Gold]) -> pd.DataFrame:
    """One row per factor and value: micro scores, and how they changed from the factor's first value.

    ``largest_weight_change`` is the mean over maps of the largest change of a cell; NaN across directions.
    """
    digest, made = gold_hash(golds.values()), _Made(extractor, examples)
    prints = (extractor.tokenizer.student_fingerprint, extractor.tokenizer.teacher_fingerprint)
    gold_set = GoldSet(golds, prints)
    for amap in made.maps(BASE):
        gold_set.of(amap)  # refuse gold of other tokens now
    rows: list[dict[str, Any]] = []
    for factor, (name, settings) in FACTORS.items():
        first = _scores(settings[0], made, golds)
        for setting in settings:
            maps, scores = made.maps(setting), _scores(setting, made, golds)
            signature = MapMetric(links=setting.links).signature_of(maps[0], gold=digest)
            labels = {"schema_version": SCHEMA_VERSION, "signature": signature, "checkpoint": maps[0].checkpoint}
            labels |= {"factor": factor, "value": str(getattr(setting, name)), **vars(setting)}
            changes = {f"{score}_change": value - first[score] for score, value in scores.items()}
            moved = _moved(made.maps(settings[0]), maps)
            rows.append({**labels, "n_examples": len(examples), **scores, **changes, "largest_weight_change": moved})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Made:
    """Maps by how they were made; every extraction is run once, for both directions."""

    extractor: Extractor
    examples: Sequence[Example]
    known: dict[tuple[Any, ...], list[AttentionMap]] = field(default_factory=dict)

    def maps(self, setting: Setting) -> list[AttentionMap]:
        """The maps of a setting in its direction, by example."""
        key = (setting.normalisation, setting.batch_size, setting.padding)
        if key not in self.known:
            length = self._longest() + setting.padding if setting.padding else None
            self.known[key] = list(
                self.extractor.maps(
                    self.examples, normalisation=setting.normalisation, batch_size=setting.batch_size,
                    padded_length=length,
                )
            )  # fmt: skip
        return [amap for amap in self.known[key] if amap.direction == setting.direction]

    def _longest(self) -> int:
        """Positions of the longest teacher sequence."""
        return max(len(pair.teacher.ids) - 1 for pair in self.extractor.tokenizer.encode(self.examples))


def _scores(setting: Setting, made: _Made, golds: Mapping[str, Gold]) -> dict[str, float]:
    """Micro means: sums over the positions of all maps, divided once."""
    metric = MapMetric(links=setting.links)
    others = made.maps(replace(setting, direction="s2t" if setting.direction == "t2s" else "t2s"))
    pairs = zip(made.maps(setting), others, strict=True)
    scored = [metric.score(amap, golds[amap.example_id], other=other) for amap, other in pairs]
    counts = sum((one.links for one in scored), LinkCounts())
    values = {name: np.concatenate([getattr(one.positions, name) for one in scored]) for name in MEASURED_SCORES}
    means = {name: float(np.nanmean(array)) for name, array in values.items()}
    return {**means, **{name: getattr(counts, name) for name in LINK_SCORES}}


def _moved(first: Sequence[AttentionMap], second: Sequence[AttentionMap]) -> float:
    if first[0].direction != second[0].direction:
        return float("nan")
    return float(np.mean([np.abs(a.weights - b.weights).max() for a, b in zip(first, second, strict=True)]))


def _lines(frame: pd.DataFrame) -> list[str]:
    """A table of the scores that the figure shows, each with its change."""
    rows = [["factor", "value", *SCORES_IN_FIGURE, "largest weight change"]]
    for _, row in frame.iterrows():
        cells = [f"{row[name]:.3f} ({row[f'{name}_change']:+.3f})" for name in SCORES_IN_FIGURE]
        moved = row["largest_weight_change"]
        rows.append([row["factor"], row["value"], *cells, "–" if np.isnan(moved) else f"{moved:.3f}"])
    return aligned(rows)


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
