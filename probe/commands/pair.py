"""``python -m probe pair``: two tokenizers on the same texts, before any training; no checkpoint, no weights."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe import cli
from probe.text.tokenization import MAX_LENGTH

if TYPE_CHECKING:
    from probe.pairing.report import PairReport

DESCRIPTION = """Say what two tokenizers have in common, before any training.

Each is a model's directory (weights are not read), a tokenizer.json, a GGUF file, an alias, or a hub name. Without
--data a small set of texts that comes with the package is used: prose, code, numbers, accents, scripts, emoji."""
EXAMPLES = """
  python -m probe pair gpt2 Qwen/Qwen3-0.6B
  python -m probe pair ./student/tokenizer.json ./teacher.gguf --data texts.jsonl --out out/pair
  python -m probe pair checkpoints/sft/student smollm2-135m --json"""
TEXTS = Path(__file__).parent.parent / "pairing" / "texts.jsonl"
BUILT_IN = "built-in texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``probe pair``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("student", metavar="STUDENT", help="the student's tokenizer: directory, file, alias, hub name")
    parser.add_argument("teacher", metavar="TEACHER", help="the teacher's tokenizer")
    parser.add_argument("--data", metavar="FILE.jsonl", type=Path, help="texts (default: a small built-in set)")
    parser.add_argument("--limit", type=cli.positive, metavar="N", help="only the first N texts")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write the CSV files and pair.html there")
    parser.add_argument(
        "--max-length", type=cli.positive, default=MAX_LENGTH, metavar="N",
        help=f"tokens a side; a longer text is cut at one byte for both (default: {MAX_LENGTH})",
    )  # fmt: skip
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> None:
    """Read, cut, count, write and report."""
    from probe.commands.align import cut_texts
    from probe.pairing.facts import facts_of
    from probe.pairing.report import pair_report
    from probe.pairing.sources import load_any_tokenizer
    from probe.text.examples import read_examples
    from probe.text.tokenization import PairTokenizer

    examples = read_examples(args.data or TEXTS, limit=args.limit)
    tokenizers = [load_any_tokenizer(name) for name in (args.student, args.teacher)]
    pair = PairTokenizer(*tokenizers, max_length=args.max_length)
    texts = list(cut_texts(pair, examples))
    prints, displays = (pair.student_fingerprint, pair.teacher_fingerprint), pair.displays
    names = (args.student, args.teacher)
    student, teacher = (facts_of(*one) for one in zip(names, tokenizers, prints, strict=True))
    report = pair_report(student, teacher, texts, displays, args.data.name if args.data else BUILT_IN)
    written = _write(report, texts, args.out) if args.out else []
    cli.report(values(report, written), lines(report, written), as_json=args.json)


def _write(report: PairReport, texts: Any, out: Path) -> list[Path]:
    from probe.files import atomic_file
    from probe.pairing.page import render_pair
    from probe.pairing.report import pair_frames
    from probe.scoring.tables import write_csv

    written = []
    for name, frame in pair_frames(report).items():
        write_csv(frame, out / f"{name}.csv")
        written.append(out / f"{name}.csv")
    page = render_pair(report, texts)
    with atomic_file(out / "pair.html") as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return [*written, out / "pair.html"]


def values(report: PairReport, written: list[Path]) -> dict[str, Any]:
    """The report as one JSON object: the row of pair.csv, the tables, the verdict."""
    from probe.pairing.report import pair_row
    from probe.scoring.report_text import records

    row = {name: value.item() if hasattr(value, "item") else value for name, value in pair_row(report).items()}
    tables = {name: records(getattr(report, name)) for name in ("kinds", "categories", "aligners")}
    return {**row, **tables, "verdict": list(report.verdict), "written": [str(path) for path in written]}


def lines(report: PairReport, written: list[Path]) -> Iterator[str]:
    """The report for people: verdict first, then the tables."""
    from probe.scoring.report_text import aligned

    yield f"{report.student.name} and {report.teacher.name}: {report.texts} texts ({report.data})"
    yield from (f"- {sentence}" for sentence in report.verdict)
    heads = ("1:1", "1:n", "n:1", "n:m")
    for name, table in (("kind of writing", report.kinds), ("category", report.categories)):
        rows = [[name, "student", "teacher", *heads, "largest chunk"]]
        for _, row in table.iterrows():
            shares = [f"{row[f'student_{relation}']:.0%}" for relation in heads]
            rows.append([row["group"] or "–", f"{row['student_positions']:,}", f"{row['teacher_positions']:,}", *shares,
                         str(row["largest_chunk"])])  # fmt: skip
        yield from ("", *aligned(rows))
    rows = [["aligner", "student dropped", "teacher dropped", "largest group"]]
    for _, row in report.aligners.iterrows():
        dropped = [f"{row[f'dropped_{side}']:.1%}" for side in ("student", "teacher")]
        rows.append([row["aligner"], *dropped, str(row["largest_group"])])
    yield from ("", *aligned(rows), f"tied positions: {report.student_tied:.0%} of the student's, "
                f"{report.teacher_tied:.0%} of the teacher's; {report.signature}")  # fmt: skip
    yield from (f"wrote {path}" for path in written)
