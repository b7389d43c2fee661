"""``python -m probe evaluate``: responses of checkpoints, scored by ROUGE-L and exact match as in the papers."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from probe import cli
from probe.errors import UsageError
from probe.evaluation.journal import Drawn, Journal, response_key
from probe.evaluation.rouge import exact_match, metric_signature, rouge_l
from probe.evaluation.tables import Evaluated, Scored, comparisons_frame, evaluation_frame, responses_frame
from probe.files import MANIFEST, sha256_of
from probe.scoring import statistics
from probe.scoring.report_text import aligned, records
from probe.scoring.tables import write_csv
from probe.text.examples import Example, read_examples
from probe.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from probe.evaluation.generation import Sampling
    from probe.text.one_side import Side

DESCRIPTION = """Generate responses and score them against the accepted answers: ROUGE-L (best accepted answer) and
exact match, mean and standard deviation over seeds, for several checkpoints and data sets in one call. The defaults are
those of the DSKD papers: sampling at temperature 1, five seeds, 256 tokens of prompt and 256 of response. A response
depends on the seed and the example alone, not on batches. No device but the first GPU, or the CPU, is used."""
EXAMPLES = """
  python -m probe evaluate --checkpoint out/mine --data dolly.jsonl --limit 100 --out out/evaluation
  python -m probe evaluate --checkpoint out/mine out/mine-ga --against checkpoints/sft \\
      --data dolly.jsonl self-inst.jsonl vicuna.jsonl --in-domain dolly.jsonl --out out/evaluation"""
JOURNAL = "responses.jsonl"
SEEDS = (10, 20, 30, 40, 50)
TESTS = ("bootstrap", "permutation", "holm")


@dataclass(frozen=True)
class Subject:
    """A model to be evaluated: a checkpoint, or a plain Hugging Face directory."""

    name: str
    method: str
    directory: Path


@dataclass(frozen=True)
class DataSet:
    """A file of examples; ``domain`` is ``in`` or ``out``."""

    name: str
    domain: str
    digest: str
    examples: tuple[Example, ...]


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
    add("--dtype", choices=("float64", "float32", "bfloat16"), default="float64",
        help="float64 (default): no draw turns on rounding, which batches change; float32: half the time")  # fmt: skip
    add("--resamples", default=statistics.RESAMPLES, type=cli.positive, metavar="N",
        help=f"of the bootstrap (default: {statistics.RESAMPLES})")  # fmt: skip
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """Read, generate, score, write, report."""
    if min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        raise UsageError(f"wanted different seeds of at least 0, got {' '.join(map(str, args.seeds))}.")
    data = read_data(args.data, args.in_domain, args.limit)
    from probe.evaluation.generation import Sampling  # torch: seconds, so only when the input is readable

    sampling = Sampling(args.temperature, args.top_p, args.max_prompt_length, args.max_new_tokens)
    subjects, against = find_subjects(args.checkpoint, args.against)
    with Journal(args.out / JOURNAL if args.out else None) as journal:
        parts = [part for subject in subjects for part in evaluate(subject, data, sampling, args, journal)]
    frames = {"evaluation": evaluation_frame(parts, resamples=args.resamples), "responses": responses_frame(parts)}
    if against is not None:
        frames["comparisons"] = comparisons_frame(parts, against, resamples=args.resamples)
    written = [args.out / f"{name}.csv" for name in frames] if args.out else []
    for path, frame in zip(written, frames.values(), strict=False):
        write_csv(frame, path)
    shown = {name: records(frame) for name, frame in frames.items() if name != "responses"}
    lines = [*report_lines(frames), *(f"wrote {path}" for path in written)]
    cli.report({**shown, "written": [str(path) for path in written]}, lines, as_json=args.json)


def read_data(paths: Sequence[Path], in_domain: Sequence[Path] | None, limit: int | None) -> list[DataSet]:
    """The data sets by the stem of their files. Raises UsageError where two have one name, DataError as the reader."""
    inside = {path.resolve() for path in in_domain or paths[:1]}
    if strangers := inside - {path.resolve() for path in paths}:
        raise UsageError(f"--in-domain names {min(strangers)}, which is not among the files of --data. Add it there.")
    names = [path.stem for path in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two files of --data are called {twice[0]!r}; the name tells their rows apart. Rename one.")
    return [
        DataSet(
            path.stem,
            "in" if path.resolve() in inside else "out",
            sha256_of(path)[:8] if path.is_file() else "",
            tuple(read_examples(path, limit=limit)),
        )
        for path in paths
    ]


def find_subjects(names: Sequence[str], against: str | None) -> tuple[list[Subject], str | None]:
    """The models to evaluate, each once, and the name of the one that the others are compared with."""
    subjects = {str(found.directory): found for found in map(find_subject, names)}
    reference = None if against is None else find_subject(against)
    if reference is not None:
        subjects.setdefault(str(reference.directory), reference)
    found = list(subjects.values())
    called = [subject.name for subject in found]
    if twice := [name for name in called if called.count(name) > 1]:
        raise UsageError(f"two checkpoints are called {twice[0]!r}; the name tells their rows apart. Rename one.")
    return found, None if reference is None else reference.name


def find_subject(name: str) -> Subject:
    """A checkpoint of this library (checked whole), else a model directory, alias or hub name.

    Raises:
        DamagedError, UnsafeError: as :func:`probe.models.checkpoint.load_checkpoint` and
            :func:`probe.models.loading.resolve_model`.
    """
    from probe.models.checkpoint import KIND, load_checkpoint
    from probe.models.loading import resolve_model

    path = Path(name)
    if (path / MANIFEST).is_file() and f'"kind": "{KIND}"' in (path / MANIFEST).read_text(errors="replace"):
        checkpoint = load_checkpoint(path)
        return Subject(path.resolve().name, checkpoint.config.method, checkpoint.student_directory)
    directory = resolve_model(name)
    return Subject(path.resolve().name if path.exists() else name, "", directory)


def evaluate(
    subject: Subject, data: Sequence[DataSet], sampling: Sampling, args: argparse.Namespace, journal: Journal
) -> list[Evaluated]:
    """All responses of one model, from the journal or drawn now, with their scores."""
    from probe.distillation.teacher_cache import model_fingerprint
    from probe.models.loading import load_tokenizer
    from probe.text.one_side import Side

    model = model_fingerprint(subject.directory)
    side = Side(load_tokenizer(subject.directory), subject.name)
    settings = f"{sampling}|{args.dtype}|{side.fingerprint}"
    wanted = {
        part.name: {
            response_key(model, settings, example, seed): (example, seed)
            for example in part.examples
            for seed in args.seeds
        }
        for part in data
    }
    todo = {key: one for part in wanted.values() for key, one in part.items() if key not in journal.known}
    if todo:
        _draw(subject, side, todo, sampling, args, journal)
    return [
        Evaluated(
            subject.name, subject.method, part.name, part.domain, signature(sampling, args, model, part.digest),
            tuple(args.seeds), tuple(_scored(*one, journal.known[key]) for key, one in wanted[part.name].items()),
        )
        for part in data
    ]  # fmt: skip


def _draw(
    subject: Subject,
    side: Side,
    todo: dict[str, tuple[Example, int]],
    sampling: Sampling,
    args: argparse.Namespace,
    journal: Journal,
) -> None:
    from probe.evaluation.generation import Request, respond

    model = _load(subject, args.dtype)
    keys, requests = list(todo), [Request(*wanted) for wanted in todo.values()]
    made = respond(model, side, requests, sampling, batch_size=args.batch_size)
    for place, response in cli.progress(made, total=len(keys), label=f"{subject.name}: responses"):
        journal.add(Drawn(keys[place], response.text, response.n_tokens, response.ended, response.prompt_cut))


def _load(subject: Subject, dtype: str) -> PreTrainedModel:
    import torch

    from probe.models.loading import best_device, load_causal_lm

    model = load_causal_lm(subject.directory, dtype=getattr(torch, dtype))
    return model.to(best_device())  # type: ignore[arg-type]


def _scored(example: Example, seed: int, drawn: Drawn) -> Scored:
    scores = rouge_l(drawn.response, example.outputs), exact_match(drawn.response, example.outputs)
    return Scored(
        example.id, example.category, seed, drawn.response, drawn.n_tokens, drawn.ended, drawn.prompt_cut, *scores
    )


def signature(sampling: Sampling, args: argparse.Namespace, model: str, data: str) -> str:
    """How a score was made: metric, sampling, limits, seeds, precision, and hashes of weights and data."""
    limit = f"+first-{args.limit}" if args.limit else ""
    return (
        f"{metric_signature()}|sampling:t{sampling.temperature:g}+p{sampling.top_p:g}|prompt:{sampling.max_prompt_length}|"
        f"new:{sampling.max_new_tokens}|seeds:{'+'.join(map(str, args.seeds))}|dtype:{args.dtype}|model:{model[:8]}|"
        f"version:{__version__}|data:{data}{limit}"
    )


def report_lines(frames: dict[str, pd.DataFrame]) -> Iterable[str]:
    """The tables that people read: a row per checkpoint, a column per data set and average."""
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
