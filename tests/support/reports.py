"""A store and gold made by hand, and the report of them by its real command: `analysis.alignment_report`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis import alignment_report
from probe import cli
from probe.gold.reading import write_gold
from probe.maps.store import MapStoreWriter
from tests.support.aligned import FINGERPRINTS, axis, make_gold, make_map

GAP = {"classifier_accuracy_before": 0.99, "classifier_accuracy_after": 0.75}
PROVENANCE = {
    "student_tokenizer": FINGERPRINTS[0],
    "teacher_tokenizer": FINGERPRINTS[1],
    "checkpoints": {
        "good": {"method": "dskd-cma-ga", "key_query": GAP},
        "bad": {"method": "dskd-cma"},
    },
}  # fmt: skip
TEXTS = {f"e{k}": words for k, words in enumerate(["ab cd", "ab ab ab", "x 12", "cd ef ab", "ab 3.5", "ef ef cd ab"])}


def example_maps(example_id, text):
    """For each direction: the gold itself (good), and weights that always look at the first position (bad)."""
    words = [word if k == 0 else f" {word}" for k, word in enumerate(text.split(" "))]
    letters = [piece for word in words for piece in (word[:-1], word[-1]) if piece]
    student, teacher = axis(text, words), axis(text, letters)
    base = make_map(
        student, teacher, text=text, example_id=example_id, category="ab" if text.startswith("ab") else "rest"
    )
    gold = make_gold(base)
    cells = np.zeros(base.weights.shape)
    cells[tuple(np.array(sorted(gold.possible)).T)] = 1
    for direction, dim in (("t2s", 1), ("s2t", 0)):
        first = np.zeros(cells.shape)
        first[(slice(None), 0) if dim else (0, slice(None))] = 1
        for name, weights in (("good", cells / cells.sum(dim, keepdims=True)), ("bad", first)):
            yield (
                gold,
                replace(
                    base, direction=direction, checkpoint=name, method=f"m-{name}", weights=weights.astype(np.float32)
                ),
            )


def make_store(folder, *, checkpoints=("good", "bad"), name="maps"):
    golds = {}
    with MapStoreWriter(folder / name, provenance=PROVENANCE) as writer:
        for example_id, text in TEXTS.items():
            for gold, amap in example_maps(example_id, text):
                golds[example_id] = gold
                if amap.checkpoint in checkpoints:
                    writer.add(amap)
    write_gold(folder / "gold.jsonl", golds)
    return folder


def report(folder, *options, maps=("maps",), out="report", figures=False):
    argv = [*(str(folder / name) for name in maps), "--gold", str(folder / "gold.jsonl"), "--out", str(folder / out)]
    # the figures are read by tests/probe/plotting/test_breakdowns.py
    argv += ["--resamples", "200", *([] if figures else ["--no-figures"])]
    return cli.main(alignment_report.build_parser, alignment_report.run, [*argv, *options])
