"""Formats of gold that hold links, one or several a line: Pharaoh/Talp, SimAlign, NAACL/WPT, and those of corpora.

- ``pharaoh``: ``id<TAB>0-0 1p2``, 0-based, ``-`` sure, ``p`` possible (Talp); the id and its tab may be left out.
- ``simalign``: ``0-0 1-2``, one sentence a line, neither ids nor levels; an empty line is a sentence without links.
- ``naacl``: ``id 1 1 [S|P] [confidence]``, one link a line, 1-based, sure where no letter stands, 0 is NULL (WPT 2003).
- ``xlwa``, ``clear``, ``pud``, ``wa``: see :mod:`probe.gold.corpora`; they are read, not written.

Lines without ids belong to the texts in their order; indices are counted over target tokens, EOS included.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from probe.errors import DataError
from probe.gold.corpora import READERS, read_corpus
from probe.gold.lines import LinkLine, is_index, lines_of, pharaoh_links
from probe.gold.record import Gold

SUFFIXES = {
    ".jsonl": "jsonl", ".pharaoh": "pharaoh", ".talp": "pharaoh",
    ".naacl": "naacl", ".wpt": "naacl", ".simalign": "simalign", ".wa": "wa",
}  # fmt: skip
FORMATS = (*dict.fromkeys(name for name in SUFFIXES.values() if name not in READERS), *READERS)
# What is done with links to NULL, position 0 of NAACL: an error; left out; kept, so that a metric can count them.
Nulls = Literal["refused", "dropped", "counted"]


def records_of(path: Path, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", JSON object) of every line that is not blank; ``what`` says in errors what a line is."""
    for place, line in lines_of(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: broken JSON ({error}). Each line is {what}.") from error
        if not isinstance(record, dict):
            raise DataError(f"{place}: wanted a JSON object, found {type(record).__name__}.")
        yield place, record


def read_links(path: Path, form: str, *, base: int | None = None, nulls: Nulls = "refused") -> list[LinkLine]:
    """The lines of a file in any format but JSONL.

    Args:
        base: what positions are counted from, where the file does not keep to its format: 0 or 1.
        nulls: what is done with links to NULL, where the format has them.

    Raises:
        DataError: with file and line: no link of this format, or lines with and without an id in one file.
    """
    if form in READERS:
        return list(read_corpus(path, form, base))
    rows, first = list(lines_of(path)), base or 0
    if form == "naacl":
        return [_naacl_line(place, line, 1 if base is None else base, nulls) for place, line in rows if line.strip()]
    if form == "pharaoh" and any("\t" in line for _, line in rows):
        return [_pharaoh_line(place, line, first) for place, line in rows if line.strip()]
    levels = form == "pharaoh"
    return [LinkLine(place, None, *pharaoh_links(place, line, levels=levels, base=first)) for place, line in rows]


def _pharaoh_line(place: str, line: str, base: int) -> LinkLine:
    example_id, tab, links = line.partition("\t")
    if not tab:
        raise DataError(f"{place}: wanted 'id<TAB>0-0 1p2 …' as on the other lines, found no tab.")
    if not example_id:
        raise DataError(f"{place}: wanted an id before the tab, found none.")
    return LinkLine(place, example_id, *pharaoh_links(place, links, levels=True, base=base))


def _naacl_line(place: str, line: str, base: int, nulls: Nulls) -> LinkLine:
    fields = line.split()
    numbers = fields[1:3]
    mark, confidence = _mark_and_confidence(fields[3:])
    if not 3 <= len(fields) <= 5 or mark is None or not all(is_index(number) for number in numbers):
        raise DataError(
            f"{place}: wanted 'id student teacher [S|P] [confidence]', counted from {base}; found {line[:60]!r}."
        )
    i, j = (int(number) - base for number in numbers)
    if min(i, j) >= 0:
        return LinkLine(place, fields[0], ((i, j),), (mark == "S",), confidence)
    if nulls == "refused" or i == j:
        raise DataError(
            f"{place}: position 0 (NULL) is no token, these are counted from 1; remove {line[:60]!r}, or say what is "
            "done with links to NULL: --nulls dropped, or counted."
        )
    kept = (((i, j), mark == "S"),) if nulls == "counted" else ()
    return LinkLine(place, fields[0], (), (), confidence, left_out=nulls == "dropped", nulls=kept)


def _mark_and_confidence(rest: Sequence[str]) -> tuple[str | None, bool]:
    """S or P, S where none stands, None where something else does; and whether a number follows."""
    mark = rest[0].upper() if rest and rest[0].upper() in ("S", "P") else ""
    numbers = rest[bool(mark) :]
    try:
        fine = len([float(number) for number in numbers]) <= 1
    except ValueError:
        fine = False
    return (mark or "S") if fine else None, bool(numbers)


def in_order(path: Path, lines: Sequence[LinkLine], ids: Sequence[str]) -> list[LinkLine]:
    """Lines without ids with those of the texts, one a line. Raises DataError where the numbers of both differ."""
    if len(lines) != len(ids):
        raise DataError(
            f"{path}: {len(lines)} lines for {len(ids)} texts. Lines without ids belong to the texts in their order: "
            "give the texts that were aligned, or write 'id<TAB>' before each line."
        )
    return [replace(line, id=name) for line, name in zip(lines, ids, strict=True)]


def by_number(lines: Sequence[LinkLine], ids: Sequence[str]) -> list[LinkLine]:
    """Lines whose ids are numbers that count the texts from 1. Raises DataError, with file and line, for any other."""
    named = []
    for line in lines:
        if not (line.id and is_index(line.id) and 1 <= int(line.id) <= len(ids)):
            raise DataError(f"{line.place}: wanted a sentence number from 1 to {len(ids)}, found {line.id!r}.")
        named.append(replace(line, id=ids[int(line.id) - 1]))
    return named


def gather(lines: Sequence[LinkLine], form: str, texts: Mapping[str, Gold] | None = None) -> dict[str, Gold]:
    """Gold by id, on the tokens of ``texts`` (whose links are not looked at); without them it has no tokens.

    A link that is said to be sure and possible is sure.

    Raises:
        DataError: with file and line: an id that no text has, or that comes twice where a line is a whole example; a
            link outside the tokens.
    """
    golds: dict[str, Gold] = {}
    places: dict[str, str] = {}
    for line in lines:
        name = line.id or ""
        if name in golds and form != "naacl":
            raise DataError(f"{line.place}: the id {name!r} comes twice, first at {places[name]}. Keep one line of it.")
        if name not in golds:
            golds[name], places[name] = _without_links(line, texts), line.place
        _check_bounds(line, golds[name], texts is not None)
        sure = golds[name].sure.union(link for link, level in zip(line.links, line.sure, strict=True) if level)
        golds[name] = replace(
            golds[name],
            sure=sure,
            possible=golds[name].possible.union(line.links),
            sure_nulls=golds[name].sure_nulls.union(link for link, level in line.nulls if level),
            nulls=golds[name].nulls.union(link for link, _ in line.nulls),
        )
    return golds


def _without_links(line: LinkLine, texts: Mapping[str, Gold] | None) -> Gold:
    name = line.id or ""
    words = line.words or ((), ())
    if texts is None:
        return Gold(name, "", *words, "", "", frozenset(), frozenset())
    if name not in texts:
        known = next(iter(texts), "none at all")
        raise DataError(
            f"{line.place}: the id {name!r} is none of the {len(texts)} texts, which have ids like {known!r}."
        )
    if line.words and line.words != (texts[name].student_tokens, texts[name].teacher_tokens):
        raise DataError(f"{line.place}: its words are not the tokens of {name!r}. Leave the texts out: it holds words.")
    return replace(texts[name], sure=frozenset(), possible=frozenset(), annotator="", note="")


def _check_bounds(line: LinkLine, gold: Gold, bounded: bool) -> None:
    n, m = len(gold.student_tokens), len(gold.teacher_tokens)
    links = (*line.links, *(link for link, _ in line.nulls))
    for i, j in links if bounded or line.words else ():
        if i >= n or j >= m:
            raise DataError(
                f"{line.place}: student {i}, teacher {j} (counted from 0) lies outside the {n} student and {m} teacher "
                f"tokens of {gold.id!r}. The links were made on other tokens."
            )


# --- writing ---


def pharaoh_line(gold: Gold) -> str:
    """``id<TAB>0-0 1p2``. Raises DataError for an id with a tab or a line's end in it."""
    _plain_id(gold.id, "\t\n\r", "Pharaoh")
    links = (f"{i}{'-' if (i, j) in gold.sure else 'p'}{j}" for i, j in sorted(gold.possible))
    return f"{gold.id}\t{' '.join(links)}\n"


def simalign_line(gold: Gold) -> str:
    """``0-0 1-2``, all links alike; the id is the line's place."""
    return " ".join(f"{i}-{j}" for i, j in sorted(gold.possible)) + "\n"


def naacl_lines(gold: Gold) -> str:
    """``id 1 1 S``, a line a link. Raises DataError for an id with white space in it."""
    _plain_id(gold.id, " \t\n\r", "NAACL")
    links = sorted(gold.possible)
    return "".join(f"{gold.id} {i + 1} {j + 1} {'S' if (i, j) in gold.sure else 'P'}\n" for i, j in links)


WRITERS: dict[str, Callable[[Gold], str]] = {
    "pharaoh": pharaoh_line, "simalign": simalign_line, "naacl": naacl_lines,
}  # fmt: skip


def _plain_id(example_id: str, forbidden: str, name: str) -> None:
    if not example_id or any(letter in forbidden for letter in example_id):
        raise DataError(f"the id {example_id!r} cannot be written as {name}: it is empty or holds white space.")
