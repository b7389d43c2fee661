"""``python -m probe evaluate``: responses of checkpoints, scored by ROUGE-L and exact match as in the papers."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pandas as pd

from probe import cli
from probe.evaluation.evaluate import evaluate, read_data, write_tables
from probe.evaluation.options import SEEDS, EvaluationOptions, Precision, Sampling
from probe.files import one_writer
from probe.scoring import statistics
from probe.scoring.report_text import aligned, records

DESCRIPTION = """Generate responses and score them against the accepted answers: ROUGE-L (best accepted answer) and
exact match, mean and standard deviation over seeds, for several checkpoints and data sets in one call. The defaults are
those of the DSKD papers: sampling at temperature 1, five seeds, 256 tokens of prompt and 256 of response. A response
depends on the seed and the example alone, not on batches. With --likelihood also the bits per byte of the first
accepted answers, and how far they are from the teacher's. No device but the first GPU, or the CPU, is used."""
EXAMPLES = """
  python -m probe evaluate --checkpoint out/mine --data dolly.jsonl --limit 100 --out out/evaluation
  python -m probe evaluate --checkpoint out/mine out/mine-ga --against checkpoints/sft \\
      --data dolly.jsonl self-inst.jsonl vicuna.jsonl --in-domain dolly.jsonl --out out/evaluation"""
TESTS = ("bootstrap", "permutation", "holm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``evaluate``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--checkpoint", nargs="+", required=True, metavar="DIR", help="checkpoints, or plain model directories")
    add("--data", nargs="+", required=True, metavar="FILE.jsonl", type=Path, help="prompts and accepted answers")
    add("--in-domain", nargs="+", metavar="FILE.jsonl", type=Path, help="which data sets are (default: the first)")
    add("--against", metavar="DIR", help="evaluate this one too, and compare every other with it (paired bootstrap)")
    add("--out", type=Path, metavar="DIR", help="write the CSV files there; responses already there are not made again")
    add("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N", help="one response each (default: 10 … 50)")
    add("--limit", type=cli.positive, metavar="N", help="only the first N examples of each file")
    add("--temperature", type=float, default=1.0, help="0 takes the likeliest token (default: 1)")
    add("--top-p", type=float, default=1.0, help="(default: 1)")
    add("--max-prompt-length", type=cli.positive, default=256, metavar="N",
        help="tokens; a longer prompt loses its beginning (default: 256)")  # fmt: skip
    add("--max-new-tokens", type=cli.positive, default=256, metavar="N", help="of a response (default: 256)")
    add("--batch-size", type=cli.positive, default=16, metavar="N", help="responses drawn together (default: 16)")
    add("--dtype", choices=get_args(Precision), default="float64",
        help="float64 (default): no draw turns on rounding, which batches change; float32: half the time")  # fmt: skip
    add("--likelihood", action="store_true", help="also bits per byte of the answers, and chunk KL to the teacher")
    add("--likelihood-only", action="store_true", help="nothing else: no response is generated")
    add("--teacher", default="", metavar="NAME_OR_DIR", help="where the teacher is, if not where training found it")
    add("--resamples", default=statistics.RESAMPLES, type=cli.at_most(statistics.MOST_RESAMPLES), metavar="N",
        help=f"of the bootstrap (default: {statistics.RESAMPLES})")  # fmt: skip
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """Read, generate, score, write, report."""
    sampling = Sampling(args.temperature, args.top_p, args.max_prompt_length, args.max_new_tokens)
    options = EvaluationOptions(
        sampling, tuple(args.seeds), args.batch_size, args.dtype, args.resamples,
        responses=not args.likelihood_only, likelihood=args.likelihood or args.likelihood_only, teacher=args.teacher,
    )  # fmt: skip
    data = read_data(args.data, args.in_domain, args.limit)
    with one_writer(args.out) if args.out else contextlib.nullcontext():
        frames = evaluate(
            args.checkpoint, data, options, against=args.against, out=args.out, watched=cli.progress, report=_note
        )
        written = write_tables(frames, args.out) if args.out else []
    shown = {name: records(frame) for name, frame in frames.items() if name not in ("responses", "likelihood")}
    lines = [*report_lines(frames), *(f"wrote {path}" for path in written)]
    cli.report({**shown, "written": [str(path) for path in written]}, lines, as_json=args.json)


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr, flush=True)


def report_lines(frames: dict[str, pd.DataFrame]) -> Iterable[str]:
    """The tables that people read: a row per checkpoint, a column per data set and average."""
    if "likelihood_means" in frames:
        from probe.evaluation.likelihoods import likelihood_lines  # torch is loaded by now

        yield from likelihood_lines(frames["likelihood_means"])
    if "evaluation" not in frames:
        return
    frame = frames["evaluation"]
    for name, title in (("rouge_l", "ROUGE-L"), ("exact_match", "exact match")):
        columns = list(dict.fromkeys(frame["dataset"]))
        rows = [[f"{title}, mean ± std over {frame['n_seeds'].iloc[0]} seeds", *columns]]
        for checkpoint, part in frame.groupby("checkpoint", sort=False):
            cells = {row["dataset"]: _cell(row[name], row[f"{name}_std"]) for _, row in part.iterrows()}
            rows.append([str(checkpoint), *(cells[column] for column in columns)])
        yield from (*aligned(rows), "")
    if len(compared := frames.get("comparisons", frame[:0])):
        rows = [["paired difference", "data set", "score", "difference [95 %]", *(f"p {test}" for test in TESTS)]]
        for _, row in compared.iterrows():
            interval = f"{row['difference']:+.2f} [{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"
            tests = [f"{row[f'p_{test}']:.4f}" for test in TESTS]
            rows.append([f"{row['first']} − {row['second']}", row["dataset"], row["score"], interval, *tests])  # noqa: RUF001
        yield from (*aligned(rows), "")


def _cell(mean: float, deviation: float) -> str:
    return f"{mean:.2f}" if math.isnan(deviation) else f"{mean:.2f} ± {deviation:.2f}"
