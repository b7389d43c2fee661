"""Word alignments as published corpora hold them: XL-WA's TSV, Clear's JSON, aligned PUD's JSON, CzEnAli's ``.wa``.

- ``xlwa``: ``source words<TAB>target words<TAB>0-0 1-2``, 0-based, one level; tabs may follow (XL-WA, CLiC-it 2023).
- ``clear``: JSON ``{"records": [{"source": [ids], "target": [ids]}, …]}``; an id is book, chapter, verse, word
  (BBCCCVVVWWW, a letter and a part may stand around it), words counted from 1. An example is a verse
  (Clear-Bible/Alignments).
- ``pud``: a JSON list, a sentence an object ``{"source id": ["target id", …]}``, counted from 1, ``"X"`` for no partner
  (Nikolaev et al., ACL 2020). An example is named by its number, from 1.
- ``wa``: lines ``<english>``, ``<czech>``, ``<sure>1-1</sure>``, ``<possible>1-2</possible>`` within ``<s id="…">``,
  counted from 1 (CzEnAli 1.0, Mareček). Read line by line: what stands in the files is not escaped, so it is no XML.

Source words are student tokens, target words teacher tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from probe.errors import DataError
from probe.gold.lines import LinkLine, is_index, lines_of, pharaoh_links
from probe.gold.record import Link, refuse_surrogates

BASES = {"xlwa": 0, "clear": 1, "pud": 1, "wa": 1}
HOLD_WORDS = ("xlwa", "wa")  # formats with the words of both sides
NO_PARTNER = "X"
BIBLE_WORD = re.compile(r"[a-z]?(\d{8})(\d{3})(\d?)", re.ASCII)
WA_LINE = re.compile(r"\s*<(english|czech|sure|possible)>(.*)</\1>\s*")
WA_SENTENCE = re.compile(r"""\s*<s\b[^>]*?\bid\s*=\s*["']([^"']+)["']""")


def read_xlwa(path: Path, base: int) -> Iterator[LinkLine]:
    """A line a sentence pair; its id is ``<stem>-<line>``. Raises DataError, with file and line."""
    for number, (place, line) in enumerate(lines_of(path), 1):
        fields = [field.strip(" \u00a0") for field in line.split("\t")]
        if not any(fields):
            continue
        if len(fields) < 3 or not (fields[0] and fields[1]) or any(fields[3:]):
            raise DataError(f"{place}: wanted 'source words<TAB>target words<TAB>0-0 1-2 …', found {line[:60]!r}.")
        links, sure = pharaoh_links(place, fields[2], levels=False, base=base)
        words = tuple(fields[0].split()), tuple(fields[1].split())
        yield LinkLine(place, f"{path.stem}-{number}", links, sure, words=words)


def read_clear(path: Path, base: int) -> Iterator[LinkLine]:
    """A line a verse, in order of appearance. Links between two verses are left out, and counted.

    Raises:
        DataError: other JSON, an id that names no word, or a word in several parts, whose order the id does not tell.
    """
    record = _json(path)
    records = record.get("records") if isinstance(record, dict) else None
    if not isinstance(records, list):
        raise DataError(f"{path}: wanted a JSON object with the list 'records', as Clear-Bible/Alignments has it.")
    links: dict[str, list[Link]] = {}
    crossing: dict[str, int] = {}
    for number, one in enumerate(records):
        place = f"{path}, record {number}"
        sources, targets = ([_bible_word(word, place, base) for word in _ids(one, side, place)]
                            for side in ("source", "target"))  # fmt: skip
        for verse, i in sources:
            links.setdefault(verse, []).extend((i, j) for other, j in targets if other == verse)
            crossing[verse] = crossing.get(verse, 0) + sum(other != verse for other, _ in targets)
    for verse, found in links.items():
        yield LinkLine(f"{path}, verse {verse}", verse, tuple(found), (True,) * len(found), left_out=crossing[verse])


def _ids(record: Any, side: str, place: str) -> list[Any]:
    value = record.get(side) if isinstance(record, dict) else None
    if not isinstance(value, list):
        raise DataError(f"{place}: wanted lists of word ids under 'source' and 'target'.")
    return value


def _bible_word(word: Any, place: str, base: int) -> tuple[str, int]:
    found = BIBLE_WORD.fullmatch(word) if isinstance(word, str) else None
    if found is None or found[3] not in ("", "1") or int(found[2]) < base:
        raise DataError(
            f"{place}: wanted a word id BBCCCVVVWWW (one part a word, counted from {base}), found {str(word)[:40]!r}. "
            "Where words have parts (Hebrew), number the parts first and convert the result."
        )
    return found[1], int(found[2]) - base


def read_pud(path: Path, base: int) -> Iterator[LinkLine]:
    """A line a sentence, named by its number. Raises DataError for other JSON, or an id that is no whole number."""
    sentences = _json(path)
    if not isinstance(sentences, list):
        raise DataError(f"{path}: wanted a JSON list of objects {{source id: [target ids]}}, a sentence each.")
    for number, sentence in enumerate(sentences, 1):
        place = f"{path}, sentence {number}"
        if not isinstance(sentence, dict) or not all(isinstance(value, list) for value in sentence.values()):
            raise DataError(f"{place}: wanted an object {{source id: [target ids]}}, found {str(sentence)[:60]}.")
        pairs = [(i, j) for i, targets in sentence.items() for j in targets if NO_PARTNER not in (i, j)]
        links = tuple((_ud_word(i, place, base), _ud_word(j, place, base)) for i, j in pairs)
        yield LinkLine(place, str(number), links, (True,) * len(links))


def _ud_word(word: Any, place: str, base: int) -> int:
    if not (isinstance(word, str) and is_index(word)) or int(word) < base:
        raise DataError(
            f"{place}: wanted the id of a word, counted from {base}, or 'X'; found {str(word)[:40]!r}. Ranges "
            "and empty nodes of CoNLL-U are no words."
        )
    return int(word) - base


def read_wa(path: Path, base: int) -> Iterator[LinkLine]:
    """A line a sentence. Raises DataError, with file and line: no id, no words, or no link of this format."""
    name, start = "", ""
    parts: dict[str, tuple[str, str]] = {}
    for place, line in lines_of(path):
        if found := WA_SENTENCE.match(line):
            name, start, parts = found[1], place, {}
            refuse_surrogates(name, "id", place)
        elif part := WA_LINE.fullmatch(line):
            parts[part[1]] = (place, part[2])
        if "</s>" in line:
            yield _wa_sentence(name, start or place, parts, base)
            name, start, parts = "", "", {}
    if parts or name:
        raise DataError(f"{start}: the sentence {name!r} has no end; wanted </s> after it. The file was cut.")


def _wa_sentence(name: str, place: str, parts: dict[str, tuple[str, str]], base: int) -> LinkLine:
    if not name or not {"english", "czech", "sure"} <= parts.keys():
        raise DataError(
            f"{place}: wanted <s id=…> with <english>, <czech> and <sure>, a line each, found {sorted(parts)}."
        )
    words = tuple(parts["english"][1].split()), tuple(parts["czech"][1].split())
    sure, _ = pharaoh_links(*parts["sure"], levels=False, base=base)
    possible, _ = pharaoh_links(*parts.get("possible", (place, "")), levels=False, base=base)
    return LinkLine(place, name, sure + possible, (True,) * len(sure) + (False,) * len(possible), words=words)


def _json(path: Path) -> Any:
    text = "\n".join(line for _, line in lines_of(path))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: broken JSON ({error}). Download it again.") from error


READERS: dict[str, Callable[[Path, int], Iterator[LinkLine]]] = {
    "xlwa": read_xlwa, "clear": read_clear, "pud": read_pud, "wa": read_wa,
}  # fmt: skip


def read_corpus(path: Path, form: str, base: int | None = None) -> Sequence[LinkLine]:
    """The lines of a file in ``xlwa``, ``clear``, ``pud`` or ``wa``, counted from ``base`` (its own, if None).

    Raises:
        DataError: the file is not of this format; names file and line, or record.
    """
    return list(READERS[form](path, BASES[form] if base is None else base))
