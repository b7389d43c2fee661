"""The gold of one example as a value, its JSON object, and what that object must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from probe.errors import DataError
from probe.maps.notebook import html_of

Link = tuple[int, int]  # (student index, teacher index), 0-based over targets


@dataclass(frozen=True)
class Gold:
    """Manual links of one example: ``sure`` is a subset of ``possible``.

    Gold read from Pharaoh or NAACL files has no text, tokens or fingerprints (empty): only its bounds can be checked.

    ``nulls`` are the tokens that the annotator linked to NULL, ``sure_nulls`` those that she was sure of: (i, -1) and
    (-1, j). Only NAACL files hold them, and only a metric that counts them looks at them.
    """

    id: str
    text: str
    student_tokens: tuple[str, ...]
    teacher_tokens: tuple[str, ...]
    student_tokenizer: str  # fingerprint
    teacher_tokenizer: str
    sure: frozenset[Link]
    possible: frozenset[Link]
    annotator: str = ""
    note: str = ""
    sure_nulls: frozenset[Link] = frozenset()
    nulls: frozenset[Link] = frozenset()

    def __repr__(self) -> str:
        size = f"{len(self.student_tokens)} × {len(self.teacher_tokens)}"
        return f"Gold({self.id!r}, {size}, {len(self.sure)} sure, {len(self.possible)} possible)"

    def _repr_html_(self) -> str | None:
        return html_of(self)


def gold_from_record(record: dict[str, Any], place: str) -> Gold:
    """The gold of one JSON object; other keys are passed over. Raises DataError, naming ``place`` (file and line)."""
    strings = {key: _string(record, key, place) for key in ("id", "text", "student_tokenizer", "teacher_tokenizer")}
    tokens = {key: _tokens(record, key, place) for key in ("student_tokens", "teacher_tokens")}
    bounds = (len(tokens["student_tokens"]), len(tokens["teacher_tokens"]))
    sure, possible = (_links(record, key, bounds, place) for key in ("sure", "possible"))
    if not sure <= possible:
        first = list(min(sure - possible))
        raise DataError(f"{place}: the sure link {first} is not in 'possible'. Every sure link is possible too.")
    extra = {key: _string(record, key, place) if key in record else "" for key in ("annotator", "note")}
    return Gold(**strings, **tokens, sure=sure, possible=possible, **extra)  # type: ignore[arg-type]


def _get(record: dict[str, Any], key: str, place: str) -> Any:
    if key not in record:
        raise DataError(f"{place}: the key {key!r} is missing; found {', '.join(sorted(map(str, record))) or 'none'}.")
    return record[key]


def _string(record: dict[str, Any], key: str, place: str) -> str:
    value = _get(record, key, place)
    if not isinstance(value, str):
        raise DataError(f"{place}: {key!r} must be a string, found {type(value).__name__}.")
    refuse_surrogates(value, key, place)
    return value


def refuse_surrogates(value: str, key: str, place: str) -> None:
    """Raise DataError, naming ``place`` and ``key``, for half of a surrogate pair: no UTF-8 file can hold it."""
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise DataError(f"{place}: {key!r} holds a lone surrogate, which no UTF-8 text has. Write the whole character.")


def _tokens(record: dict[str, Any], key: str, place: str) -> tuple[str, ...]:
    value = _get(record, key, place)
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise DataError(f"{place}: {key!r} must be a list of strings.")
    refuse_surrogates("".join(value), key, place)
    return tuple(value)


def _links(record: dict[str, Any], key: str, bounds: tuple[int, int], place: str) -> frozenset[Link]:
    value = _get(record, key, place)
    if not isinstance(value, list):
        raise DataError(f"{place}: {key!r} must be a list of [student, teacher] pairs, found {type(value).__name__}.")
    for link in value:
        whole = isinstance(link, list) and len(link) == 2 and all(type(index) is int for index in link)
        if not whole:
            raise DataError(f"{place}: {key!r} holds {str(link)[:40]}; wanted [student, teacher], two whole numbers.")
        if not (0 <= link[0] < bounds[0] and 0 <= link[1] < bounds[1]):
            size = f"{bounds[0]} student and {bounds[1]} teacher tokens"
            raise DataError(f"{place}: {key!r} holds {link}, outside the {size} (counted from 0).")
    return frozenset((link[0], link[1]) for link in value)


def gold_record(gold: Gold) -> dict[str, Any]:
    """The JSON object of gold, links sorted. Raises DataError for a sure link that is not possible."""
    if not gold.sure <= gold.possible:
        raise DataError(f"gold {gold.id!r}: the sure link {list(min(gold.sure - gold.possible))} is not in 'possible'.")
    links = {key: [list(link) for link in sorted(getattr(gold, key))] for key in ("sure", "possible")}
    return {
        "id": gold.id, "text": gold.text,
        "student_tokens": list(gold.student_tokens), "teacher_tokens": list(gold.teacher_tokens),
        "student_tokenizer": gold.student_tokenizer, "teacher_tokenizer": gold.teacher_tokenizer,
        **links, "annotator": gold.annotator, "note": gold.note,
    }  # fmt: skip
