"""Prefill: the span rule's links for every example of the probe set, where the annotators start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from probe.errors import DataError
from probe.gold.reading import Gold
from probe.scoring.alignment import span_gold
from probe.text.examples import read_examples
from probe.text.tokenization import PairedTokens, PairTokenizer

FOLDER = Path(__file__).parent
PROBE_SET = FOLDER / "probe_set.jsonl"
PREFILL = FOLDER / "prefill.jsonl"
CORRECTIONS = FOLDER / "corrections.jsonl"
GOLD = FOLDER / "gold.jsonl"
CHANGES = FOLDER / "CHANGES.md"
STUDENT = FOLDER.parents[1] / "checkpoints" / "dskd-cma" / "student"
TEACHER = "smollm2-135m"
ANNOTATOR = "maintainers"


def load_pair(student: Path | str = STUDENT, teacher: Path | str = TEACHER) -> PairTokenizer:
    """The pair of tokenizers that the gold is made for; each a directory, an alias or a hub name."""
    from probe.models.loading import load_tokenizer, resolve_model

    def load(name: Path | str):  # a tokenizer directory needs no weights
        is_tokenizer = (Path(name) / "tokenizer.json").is_file()
        return load_tokenizer(Path(name) if is_tokenizer else resolve_model(str(name)))

    return PairTokenizer(load(student), load(teacher))


def encode_probe_set(pair: PairTokenizer) -> list[PairedTokens]:
    """Both sides' tokens of every probe example, in file order."""
    return pair.encode(read_examples(PROBE_SET))


def prefill(pair: PairTokenizer, tokens: Sequence[PairedTokens]) -> dict[str, Gold]:
    """The span rule's links by example id."""
    prints = (pair.student_fingerprint, pair.teacher_fingerprint)
    golds = (
        span_gold(t.example_id, t.text, t.student.axis, t.teacher.axis, prints, annotator="span rule") for t in tokens
    )
    return {gold.id: replace(gold, note="") for gold in golds}


def check_unchanged(stored: dict[str, Gold], fresh: dict[str, Gold]) -> None:
    """Refuse to go on when the stored prefill is not what these tokenizers and texts give now.

    Raises:
        DataError: naming the first example and field that differ.
    """
    if missing := stored.keys() ^ fresh.keys():
        raise DataError(f"the stored prefill and the probe set differ in {sorted(missing)[:5]}. Use --renew-prefill.")
    for example_id, gold in fresh.items():
        for field in (
            "text",
            "student_tokens",
            "teacher_tokens",
            "student_tokenizer",
            "teacher_tokenizer",
            "sure",
            "possible",
        ):
            if getattr(gold, field) != getattr(stored[example_id], field):
                raise DataError(
                    f"{example_id}: {field} is not what the stored prefill has: the texts, the tokenizers or the rule "
                    "changed. The corrections were made for the old ones; with --renew-prefill they are checked anew."
                )
