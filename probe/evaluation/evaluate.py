"""Responses of checkpoints, scored by ROUGE-L and exact match as in the papers: :func:`evaluate` and its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probe.errors import UsageError
from probe.evaluation.journal import DrawnResponse, ResponseJournal, response_key
from probe.evaluation.options import EvaluationOptions
from probe.evaluation.rouge import exact_match, metric_signature, rouge_l
from probe.evaluation.tables import Evaluated, ScoredResponse, comparisons_frame, evaluation_frame, responses_frame
from probe.files import MANIFEST, sha256_of
from probe.scoring.tables import write_csv
from probe.text.examples import Example, read_examples
from probe.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from probe.text.one_side import Side

JOURNAL = "responses.jsonl"
Report = Callable[[str], None]
Watched = Callable[..., Iterable[Any]]  # (items, total=, label=): hands the items on, and may count them


def _unwatched(items: Iterable[Any], *, total: int, label: str) -> Iterable[Any]:
    return items


@dataclass(frozen=True)
class Subject:
    """A model to be evaluated: a checkpoint, or a plain Hugging Face directory."""

    name: str
    method: str
    directory: Path
    teacher: str = ""


@dataclass(frozen=True)
class DataSet:
    """A file of examples, or its first ``limit``; ``domain`` is ``in`` or ``out``."""

    name: str
    domain: str
    digest: str
    examples: tuple[Example, ...]
    limit: int | None = None


def evaluate(
    checkpoints: Sequence[str],
    data: Sequence[DataSet],
    options: EvaluationOptions = EvaluationOptions(),  # noqa: B008 (frozen)
    *,
    against: str | None = None,
    out: Path | None = None,
    watched: Watched = _unwatched,
    report: Report = lambda line: None,
) -> dict[str, pd.DataFrame]:
    """The tables ``evaluation`` and ``responses``, and with ``against`` ``comparisons``, by name.

    With ``options.likelihood`` also ``likelihood`` (a row a text) and ``likelihood_means``.

    Args:
        checkpoints: directories of checkpoints, or plain models (:func:`find_subject`).
        data: as :func:`read_data` gives it.
        against: this one is evaluated too, and every other is compared with it.
        out: directory of the journal; responses that are in it are not drawn again. None keeps nothing.
        watched: is handed the stream of responses of a model, ``total`` and ``label``, and hands it on.
        report: is told of models that cannot be run as usual, and of altered lines of the journal.

    Raises:
        UsageError: two checkpoints of one name. DamagedError, UnsafeError: one that cannot be loaded or run.
        NonFiniteError: NaN or infinity in a model's logits. DiskError: the journal cannot be written.
    """
    subjects, reference = find_subjects(checkpoints, against)
    frames = _generated(subjects, data, options, reference, out, watched, report) if options.responses else {}
    return frames | (_likelihoods(subjects, data, options, reference) if options.likelihood else {})


def _generated(
    subjects: Sequence[Subject],
    data: Sequence[DataSet],
    options: EvaluationOptions,
    reference: str | None,
    out: Path | None,
    watched: Watched,
    report: Report,
) -> dict[str, pd.DataFrame]:
    """The tables of generated responses."""
    with ResponseJournal(out / JOURNAL if out else None) as journal:
        if journal.altered:
            report(f"{journal.altered} lines of {out}/{JOURNAL} are altered or torn; their responses are drawn again")
        parts = [part for one in subjects for part in evaluate_subject(one, data, options, journal, watched, report)]
    frames = {"evaluation": evaluation_frame(parts, resamples=options.resamples), "responses": responses_frame(parts)}
    if reference is not None:
        frames["comparisons"] = comparisons_frame(parts, reference, resamples=options.resamples)
    return frames


def _likelihoods(
    subjects: Sequence[Subject], data: Sequence[DataSet], options: EvaluationOptions, reference: str | None
) -> dict[str, pd.DataFrame]:
    """The tables of the answers' likelihood; a teacher is loaded once for all checkpoints that have it."""
    from probe.evaluation.likelihoods import Guide, likelihood_frame, likelihoods, means_frame

    guides: dict[str, Guide] = {}
    length = options.sampling.max_prompt_length + options.sampling.max_new_tokens
    parts = []
    for subject in subjects:
        name = options.teacher or subject.teacher
        if name and name not in guides:
            guides[name] = Guide(name, options.batch_size)
        parts += likelihoods(subject, data, guides.get(name), max_length=length, size=options.batch_size)
    return {"likelihood": likelihood_frame(parts), "likelihood_means": means_frame(parts, reference)}


def write_tables(frames: Mapping[str, pd.DataFrame], out: Path) -> list[Path]:
    """Write each table as ``out/<name>.csv``; returns the files. Raises DiskError."""
    written = [out / f"{name}.csv" for name in frames]
    for path, frame in zip(written, frames.values(), strict=True):
        write_csv(frame, path)
    return written


def read_data(
    paths: Sequence[Path], in_domain: Sequence[Path] | None = None, limit: int | None = None
) -> list[DataSet]:
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
            limit,
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
        config = checkpoint.config
        return Subject(path.resolve().name, config.method, checkpoint.student_directory, config.teacher)
    directory = resolve_model(name)
    return Subject(path.resolve().name if path.exists() else name, "", directory)


def evaluate_subject(
    subject: Subject,
    data: Sequence[DataSet],
    options: EvaluationOptions,
    journal: ResponseJournal,
    watched: Watched,
    report: Report = lambda line: None,
) -> list[Evaluated]:
    """All responses of one model, from the journal or drawn now, with their scores."""
    from probe.distillation.teacher_cache import model_fingerprint
    from probe.models.loading import load_tokenizer
    from probe.text.one_side import Side

    model = model_fingerprint(subject.directory)
    side = Side(load_tokenizer(subject.directory), subject.name)
    settings = f"{options.sampling}|{options.dtype}|{side.fingerprint}"
    wanted = {
        part.name: {
            response_key(model, settings, example, seed): (example, seed)
            for example in part.examples
            for seed in options.seeds
        }
        for part in data
    }
    todo = {key: one for part in wanted.values() for key, one in part.items() if key not in journal.known}
    if todo:
        _draw(subject, side, todo, options, journal, watched, report)
    return [
        Evaluated(
            subject.name, subject.method, part.name, part.domain,
            signature(options, model, part, {journal.known[key].way for key in wanted[part.name]}),
            options.seeds, tuple(_scored(*one, journal.known[key]) for key, one in wanted[part.name].items()),
        )
        for part in data
    ]  # fmt: skip


def _draw(
    subject: Subject,
    side: Side,
    todo: dict[str, tuple[Example, int]],
    options: EvaluationOptions,
    journal: ResponseJournal,
    watched: Watched,
    report: Report,
) -> None:
    from probe.evaluation.generation import Request, respond

    model = _load(subject, options.dtype)
    keys, requests = list(todo), [Request(*wanted) for wanted in todo.values()]
    made = respond(model, side, requests, options.sampling, batch_size=options.batch_size, report=report)
    for place, response in watched(made, total=len(keys), label=f"{subject.name}: responses"):
        journal.add(DrawnResponse(keys[place], *astuple(response)))


def _load(subject: Subject, dtype: str) -> PreTrainedModel:
    import torch

    from probe.models.loading import best_device, load_causal_lm

    model = load_causal_lm(subject.directory, dtype=getattr(torch, dtype))
    return model.to(best_device())  # type: ignore[arg-type]


def _scored(example: Example, seed: int, drawn: DrawnResponse) -> ScoredResponse:
    scores = rouge_l(drawn.response, example.outputs), exact_match(drawn.response, example.outputs)
    return ScoredResponse(
        example.id, example.category, seed, drawn.response, drawn.n_tokens, drawn.ended, drawn.prompt_cut, *scores
    )


def signature(options: EvaluationOptions, model: str, data: DataSet, ways: Iterable[str] = ()) -> str:
    """How a score was made: metric, sampling, limits, seeds, precision, and hashes of weights and data.

    ``ways``: how responses were drawn, where not as usual.
    """
    unusual = "".join(f"|way:{way}" for way in sorted(ways) if way)
    limit = f"+first-{data.limit}" if data.limit else ""
    sampling, seeds = options.sampling, "+".join(map(str, options.seeds))
    return (
        f"{metric_signature()}|sampling:t{sampling.temperature:g}+p{sampling.top_p:g}|prompt:{sampling.max_prompt_length}|"
        f"new:{sampling.max_new_tokens}|seeds:{seeds}|dtype:{options.dtype}|model:{model[:8]}|version:{__version__}|"
        f"data:{data.digest}{limit}{unusual}"
    )


