"""The texts that gold is about, with both sides' tokens: from a map store, or from a pair of tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.errors import DataError
from probe.gold.reading import read_gold
from probe.gold.record import Gold
from probe.text.axis import TokenAxis
from probe.text.examples import read_examples

if TYPE_CHECKING:
    from probe.text.tokenization import PairTokenizer


@dataclass(frozen=True)
class TextTokens:
    """One text (the response, or the beginning of it that was kept) and the target tokens of both sides."""

    text: str
    student: TokenAxis
    teacher: TokenAxis
    truncated: bool


@dataclass(frozen=True)
class TokenSource:
    """Texts by example id, in order, of one pair of tokenizers; ``name`` says in messages where they come from."""

    name: str
    fingerprints: tuple[str, str]  # student, teacher
    texts: Mapping[str, TextTokens]

    def templates(self) -> dict[str, Gold]:
        """Gold of every text, with no links yet."""
        return {
            name: Gold(
                name, one.text, one.student.tokens, one.teacher.tokens, *self.fingerprints, frozenset(), frozenset()
            )
            for name, one in self.texts.items()
        }


def from_store(path: Path) -> TokenSource:
    """The texts of a map store; no map is read. Raises DamagedError for what is no whole store."""
    from probe.maps.store import MapStore

    store = MapStore.open(path)
    index = store.index
    texts = {}
    for row in index[~index["example_id"].duplicated()].to_dict("records"):
        axes = (_axis(row, "student"), _axis(row, "teacher"))
        texts[str(row["example_id"])] = TextTokens(row["text"], *axes, bool(row["truncated"]))
    return TokenSource(str(path), (store.student_fingerprint, store.teacher_fingerprint), texts)


def _axis(row: dict[str, Any], side: str) -> TokenAxis:
    tokens, pieces, ids = (tuple(row[f"{side}_{part}"]) for part in ("tokens", "pieces", "ids"))
    spans = tuple((int(start), int(end)) for start, end in row[f"{side}_spans"])
    return TokenAxis(tokens, pieces, tuple(map(int, ids)), spans)


def from_tokenizers(pair: PairTokenizer, data: Path, name: str) -> TokenSource:
    """The responses of ``data`` as ``pair`` cuts them. Raises DataError for bad data, naming file and line."""
    tokens = pair.encode(read_examples(data))
    texts = {one.example_id: TextTokens(one.text, one.student.axis, one.teacher.axis, one.truncated) for one in tokens}
    return TokenSource(name, (pair.student_fingerprint, pair.teacher_fingerprint), texts)


def read_texts(path: Path) -> dict[str, Gold]:
    """The texts of a gold file in JSONL or of a map store, as gold without links in the order that they have there."""
    if path.is_dir():
        return from_store(path).templates()
    if path.suffix.lower() != ".jsonl":
        raise DataError(f"{path}: wanted texts with tokens: gold as .jsonl, or a map store (a directory).")
    return read_gold(path)
