"""Gold alignments: the manual links of an example, read and written, and the refusal of gold made on other tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probe.errors import DataError
from probe.files import atomic_file
from probe.gold.formats import SUFFIXES, WRITERS, Nulls, by_number, gather, in_order, read_links, records_of
from probe.gold.record import Gold, Link, gold_from_record, gold_record
from probe.maps.attention_map import AttentionMap
from probe.text.axis import TokenAxis

__all__ = [
    "Gold", "GoldSet", "Link", "check_gold", "check_on_texts", "check_same_tokens", "first_difference", "gold_format",
    "gold_from_record", "gold_record", "read_gold", "read_on_texts", "write_gold",
]  # fmt: skip


def gold_format(path: Path | str) -> str:
    """The format that a suffix names. Raises DataError for another suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: wanted gold with a suffix of {', '.join(SUFFIXES)}; found {suffix!r}. Rename it.")
    return SUFFIXES[suffix]


def read_gold(path: Path | str, *, nulls: Nulls = "refused") -> dict[str, Gold]:
    """Read gold by example id; the suffix names the format.

    ``.jsonl`` is the project's own; ``.pharaoh``, ``.talp``: ``id<TAB>0-0 1p2``; ``.naacl``, ``.wpt``: ``id 1 1 S``.
    ``nulls``: what is done with NAACL's links to NULL (:data:`probe.gold.formats.Nulls`).

    Raises:
        DataError: with file and line: missing or empty file, broken JSON, wrong keys or types, links out of range,
            a sure link that is not possible, an id that comes twice, lines without ids.
    """
    return read_on_texts(Path(path), gold_format(path), None, nulls=nulls)


def read_on_texts(
    path: Path,
    form: str,
    texts: Mapping[str, Gold] | None,
    *,
    numbered: bool = False,
    base: int | None = None,
    nulls: Nulls = "refused",
) -> dict[str, Gold]:
    """Read gold of format ``form`` by example id, on the tokens of ``texts`` where the format has none itself.

    ``numbered``: ids are sentence numbers that count the texts from 1. ``base``, ``nulls``: see
    :func:`probe.gold.formats.read_links`. Gold in JSONL keeps its own tokens, held against those of ``texts``.

    Raises:
        DataError: as :func:`read_gold`; an id that no text has, gold on other tokens than its text.
    """
    if form == "jsonl":
        golds = _read_jsonl(path)
        for gold in golds.values() if texts is not None else ():
            check_on_texts(gold, texts or {}, path)
    else:
        lines = read_links(path, form, base=base, nulls=nulls)
        if lines and lines[0].id is None:
            if texts is None:
                raise DataError(
                    f"{lines[0].place}: wanted 'id<TAB>0-0 1p2 …', found no tab. Lines without ids need the texts that "
                    "they belong to: python -m probe gold convert … --texts GOLD_OR_MAPS."
                )
            lines = in_order(path, lines, list(texts))
        elif numbered:
            lines = by_number(lines, list(texts or ()))
        golds = gather(lines, form, texts)
    if not golds:
        raise DataError(f"{path}: no alignment in it; wanted at least one line. Check the path.")
    return golds


def write_gold(path: Path | str, golds: Mapping[str, Gold] | Iterable[Gold], form: str = "") -> None:
    """Write gold atomically in ``form``, by default the format that the suffix names (see :func:`read_gold`).

    Links are sorted. Raises DataError for a suffix that names none, or an id that the format cannot hold.
    """
    form = form or gold_format(path)
    line = _jsonl_line if form == "jsonl" else WRITERS[form]
    lines = [line(gold) for gold in (golds.values() if isinstance(golds, Mapping) else golds)]
    with atomic_file(path) as part:
        part.write_text("".join(lines), encoding="utf-8", newline="\n")


def check_gold(
    gold: Gold,
    student: TokenAxis,
    teacher: TokenAxis,
    fingerprints: tuple[str, str] = ("", ""),
    *,
    text: str | None = None,
) -> None:
    """Refuse gold that was made on other tokens; ``fingerprints`` are (student, teacher), empty where unknown.

    Raises:
        DataError: naming the first difference: side, index, wanted token, found token.
    """
    found = Gold(
        gold.id, gold.text if text is None else text, student.tokens, teacher.tokens, *fingerprints,
        frozenset(), frozenset(),
    )  # fmt: skip
    check_same_tokens(gold, found)


@dataclass(frozen=True)
class GoldSet:
    """Gold by example id for the maps of one pair; ``fingerprints`` are (student, teacher), empty where unknown."""

    golds: Mapping[str, Gold]
    fingerprints: tuple[str, str] = ("", "")

    def __getitem__(self, amap: AttentionMap) -> Gold:
        """The gold of a map. Raises DataError where it is for other tokens (:func:`check_gold`), KeyError for none."""
        gold = self.golds[amap.example_id]
        check_gold(gold, amap.student, amap.teacher, self.fingerprints, text=amap.text)
        return gold

    def of(self, amap: AttentionMap) -> Gold | None:
        """The gold of a map, None if it has none; else like indexing."""
        return self[amap] if amap.example_id in self.golds else None


def check_same_tokens(gold: Gold, other: Gold, place: str = "the map") -> None:
    """Refuse gold that is not on the text and tokens of ``other``, which is found in ``place``.

    What either does not know (no text, tokens or fingerprints) is not compared; links must lie within the tokens.

    Raises:
        DataError: naming the first difference: side, index, wanted token, found token.
    """
    if gold.text and gold.text != other.text:
        at = first_difference(gold.text, other.text)
        raise DataError(
            f"gold {gold.id!r} is for another text: first difference at character {at}: wanted "
            f"{gold.text[at : at + 20]!r}, found {other.text[at : at + 20]!r} in {place}. "
            "Annotate this text, or extract maps of the gold's text."
        )
    sides = (
        ("student", gold.student_tokens, other.student_tokens, gold.student_tokenizer, other.student_tokenizer),
        ("teacher", gold.teacher_tokens, other.teacher_tokens, gold.teacher_tokenizer, other.teacher_tokenizer),
    )
    for index, (side, wanted, found, wanted_print, found_print) in enumerate(sides):
        if wanted:
            _check_tokens(gold.id, side, wanted, found, place)
        if wanted_print and found_print and wanted_print != found_print:
            raise DataError(
                f"gold {gold.id!r} is for another {side} tokenizer: wanted fingerprint {wanted_print}, "
                f"found {found_print} in {place}. Use gold made with this pair, or maps of these tokenizers."
            )
        worst = max((link[index] for link in gold.possible), default=-1)
        if worst >= len(found):
            raise DataError(
                f"gold {gold.id!r}: link to {side} token {worst}, but {place} has {len(found)} (0 to "
                f"{len(found) - 1}). The gold was made on other tokens; annotate it again."
            )


def check_on_texts(gold: Gold, texts: Mapping[str, Gold], path: Path) -> None:
    """Refuse gold, read from ``path``, whose id is none of ``texts``, or that is not on the tokens of its text."""
    if gold.id not in texts:
        known = next(iter(texts), "none at all")
        raise DataError(f"{path}: the id {gold.id!r} is none of the {len(texts)} texts, which have ids like {known!r}.")
    check_same_tokens(gold, texts[gold.id], "its text")


def _check_tokens(example_id: str, side: str, wanted: tuple[str, ...], found: tuple[str, ...], place: str) -> None:
    if wanted == found:
        return
    at = first_difference(wanted, found)
    show = [repr(tokens[at]) if at < len(tokens) else "no token" for tokens in (wanted, found)]
    raise DataError(
        f"gold {example_id!r} is for other {side} tokens: first difference at index {at}: wanted {show[0]}, "
        f"found {show[1]} ({len(wanted)} tokens in the gold, {len(found)} in {place}). Use gold made with this pair."
    )


def first_difference(wanted: Sequence[str], found: Sequence[str]) -> int:
    """The first index at which two sequences differ: the shorter length where one begins the other."""
    pairs = enumerate(zip(wanted, found, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(wanted), len(found)))


# --- JSONL, the project's own ---


def _read_jsonl(path: Path) -> dict[str, Gold]:
    golds: dict[str, Gold] = {}
    for place, gold in _jsonl_golds(path):
        if gold.id in golds:
            raise DataError(f"{place}: the id {gold.id!r} comes twice. Keep one line for each example.")
        golds[gold.id] = gold
    return golds


def _jsonl_golds(path: Path) -> Iterator[tuple[str, Gold]]:
    for place, record in records_of(path, "one JSON object"):
        yield place, gold_from_record(record, place)


def _jsonl_line(gold: Gold) -> str:
    return json.dumps(gold_record(gold), ensure_ascii=False) + "\n"


def gold_hash(golds: Iterable[Gold]) -> str:
    """Eight hexadecimal digits that change when a link, an id or a tokenizer of the gold changes; order does not."""
    lines = sorted(map(_digested, golds))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()[:8]


def _digested(gold: Gold) -> str:
    nulls = (sorted(gold.sure_nulls), sorted(gold.nulls)) if gold.nulls else ()
    links = sorted(gold.sure), sorted(gold.possible)
    return repr((gold.id, gold.student_tokenizer, gold.teacher_tokenizer, *links, *nulls))
