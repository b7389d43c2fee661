"""Extraction, against a pass that runs both models and the whole loss densely; and `probe extract` as a process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.frame import Row, at_least, below, command, cpu_seconds, in_child, spread
from tests.bench.models import checkpoint
from tests.bench.texts import write

if TYPE_CHECKING:
    from torch import Tensor, nn

    from probe.text.tokenization import TokenizedSide
    from tests.support.reference import PaddedSide

LENGTH = 512  # the public code pads every batch to it
DENSE_EXAMPLES = 2  # about 7 s each
TOLERANCE = 1e-4


def extraction(quick: bool) -> Iterator[Row]:
    """Examples a second of both, and whether they give the same maps."""
    length, count = (200, 24) if quick else (LENGTH, 512)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place, called = checkpoint(folder, quick=quick)
        data = write(folder / "texts.jsonl", count, longest=120 if quick else 1800)
        given: dict[str, Any] = {"checkpoint": str(place), "data": str(data), "folder": name, "length": length}
        ours = in_child(ours_side, **given, repeats=1 if quick else 3)
        dense = in_child(dense_side, **given, count=DENSE_EXAMPLES)
    how = (
        f"{ours['rate']:.0f}/s (t2s and s2t of {count} texts, tokenization included, loaded) / {dense['rate']:.3f}/s "
        f"(batch of {DENSE_EXAMPLES} x {length}, no gradients; {dense['unpadded_rate']:.3f}/s padded to its longest); "
        f"{called}, responses of {spread(ours['lengths'])} teacher tokens, 1 thread, CPU time"
    )
    yield at_least("extraction / dense pass, examples per second", ours["rate"] / dense["rate"], 2000, how)
    maps = f"largest difference of the t2s weights of {DENSE_EXAMPLES} texts, float32"
    yield below("extraction gives the dense pass's maps, difference", dense["difference"], TOLERANCE, maps)


def ours_side(checkpoint: str, data: str, folder: str, length: int, repeats: int) -> dict[str, Any]:
    """Rate of extraction after loading, and the first examples' t2s maps, left in ``folder`` for the other side."""
    import numpy as np
    import torch

    from probe.extraction.extractor import Extractor
    from probe.text.examples import read_examples

    torch.set_num_threads(1)
    examples = read_examples(data)
    extractor = Extractor.load([checkpoint], max_length=length)
    for amap in extractor.maps(examples[:DENSE_EXAMPLES], direction="t2s"):  # warms up, too
        np.save(Path(folder) / f"{amap.example_id}.npy", amap.weights)
    lengths: list[int] = []

    def extract() -> None:
        lengths[:] = [len(amap.teacher) for amap in extractor.maps(examples)]

    seconds = cpu_seconds(extract, repeats)
    return {"rate": len(examples) / seconds, "lengths": lengths[::2]}


def dense_side(checkpoint: str, data: str, folder: str, length: int, count: int) -> dict[str, float]:
    """Rate of the reference on the first ``count`` examples, and how far its maps are from ours."""
    import numpy as np
    import torch

    from probe.models.checkpoint import load_checkpoint
    from probe.models.loading import load_causal_lm, load_tokenizer, resolve_model
    from probe.text.examples import read_examples
    from probe.text.tokenization import PairTokenizer
    from tests.support.reference import dense_dskd_cma

    torch.set_num_threads(1)
    loaded = load_checkpoint(checkpoint)
    attention, norm, teacher_place = loaded.require_attention(), loaded.config.normalisation, loaded.config.teacher
    assert norm is not None
    teacher = load_causal_lm(resolve_model(teacher_place))
    student = load_causal_lm(loaded.student_directory)
    tokenizer = PairTokenizer(
        load_tokenizer(loaded.student_directory), load_tokenizer(resolve_model(teacher_place)), max_length=length
    )
    examples = read_examples(data, limit=count)
    weights: list[Tensor] = []

    @torch.no_grad()
    def run(width: int | None) -> None:
        pairs = tokenizer.encode(examples)
        sides = (
            padded(student, [pair.student for pair in pairs], width),
            padded(teacher, [pair.teacher for pair in pairs], width),
        )
        terms = dense_dskd_cma(*sides, attention, sigmas=(norm.sigma_k, norm.sigma_h, norm.sigma_e))
        weights[:] = [
            cells[rows][:, columns]
            for cells, rows, columns in zip(terms.weights, sides[0].response, sides[1].response, strict=True)
        ]

    seconds = {width: cpu_seconds(lambda width=width: run(width), 1) for width in (length, None)}
    stored = [np.load(Path(folder) / f"{example.id}.npy") for example in examples]
    difference = max(float(abs(a - b.numpy()).max()) for a, b in zip(stored, weights, strict=True))
    return {"rate": count / seconds[length], "unpadded_rate": count / seconds[None], "difference": difference}


def padded(model: nn.Module, sides: list[TokenizedSide], width: int | None) -> PaddedSide:
    """Sequences as a batch of the reference, padded to ``width`` or to the longest."""
    import torch

    from tests.support.reference import IGNORED, PaddedSide

    shape = len(sides), width or max(len(side.ids) - 1 for side in sides)
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED)
    for row, side in enumerate(sides):
        end = len(side.ids) - 1
        ids[row, :end], mask[row, :end] = torch.tensor(side.ids[:-1]), 1
        labels[row, side.start : end] = torch.tensor(side.targets)
    return PaddedSide(model, ids, labels, mask)


def extract_process(quick: bool) -> Iterator[Row]:
    """The command as people run it: imports, loading, tokenization, maps, the store, all of it."""
    count = 20 if quick else 500
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place, called = checkpoint(folder, quick=quick)
        data = write(folder / "texts.jsonl", count, longest=120 if quick else 1800)
        done = command(
            ["-m", "probe", "extract", "--checkpoint", str(place), "--data", str(data), "--out", str(folder / "maps"),
             "--json"],
            threads=None,
        )  # fmt: skip
        report = json.loads(done.output)
    how = (
        f"wall clock of the whole process, of which {report['seconds']:.1f} s extract and write {report['maps']} maps; "
        f"{done.cpu_seconds:.1f} s of CPU, peak {done.peak_mib:.0f} MiB; {called}, default threads"
    )
    yield below(f"probe extract of {count} examples", done.seconds, 10, how, " s")
