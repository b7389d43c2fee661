"""Hostile names and tokens on every page, through AppTest: they are sent as text, never where Markdown is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from app.draw.choice import TAME
from tests.app_payloads.rooms import Room, file_name, make_room
from tests.support.dashboard.app_pages import open_page

# The fields of Streamlit's messages that a browser gets as text, data or attribute; all others may be Markdown.
PLAIN = {
    "Text.body", "Code.code_text", "VegaLiteChart.spec", "VegaLiteChart.alt", "VegaLiteChart.id", "Dataframe.alt",
    "Dataframe.id", "Slider.id", "Selectbox.options", "Selectbox.raw_value", "Selectbox.default", "MultiSelect.options",
    "MultiSelect.raw_values", "TextInput.value", "TextInput.default", "TextArea.value", "TextArea.default",
    "PageLink.query_string",
}  # fmt: skip
ROOM = 6  # tokens at once: each page draws a handful of names, and Overview compares every two runs
TYPED = 120  # bytes of a token that are typed: tiny models take short texts


def strings(test: AppTest) -> Iterator[tuple[str, str]]:
    """Every text that the page sends, with the message and field that holds it."""
    for node in _nodes(test._tree):
        if isinstance(node.proto, Message):
            yield from _fields(node.proto)


def _nodes(block: Any) -> Iterator[Any]:
    for child in block.children.values():
        yield child
        if hasattr(child, "children"):
            yield from _nodes(child)


def _fields(message: Message) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        parts = [value] if isinstance(value, (str, bytes, int, float, Message)) else value
        for part in parts.values() if hasattr(parts, "values") else parts:
            if isinstance(part, Message):
                yield from _fields(part)
            elif isinstance(part, str):
                yield f"{type(message).__name__}.{field.name}", part


def check_sent(test: AppTest, tokens: Sequence[str], place: object, *, seen: Sequence[str] = ()) -> int:
    """No token is where it could be Markdown, those of ``seen`` are there as text; how many texts held one.

    Raises AssertionError, naming ``place``.
    """
    assert not test.exception, (place, [error.value for error in test.exception])
    sent, plain = list(strings(test)), []
    for field, text in sent:
        held = [token for token in tokens if token in text]
        if field == "Dataframe.columns":  # column names are drawn, their help is Markdown
            held = [token for token in tokens if token in json.dumps(_helps(text), ensure_ascii=False)]
        if field == "Option.content":  # pills show names in which Markdown finds nothing
            held = [token for token in held if not TAME.fullmatch(token)]
        assert not held or field in PLAIN, (place, field, text[:300])
        plain += [text] if held else []
    for token in seen:
        assert any(token in text for text in plain), (place, "not shown", token[:80])
    return len(plain)


def _helps(columns: str) -> list[object]:
    return [column.get("help") for column in json.loads(columns).values() if isinstance(column, dict)]


def links(room: Room, number: int) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """Pages on which the token of that number is what is looked at: page, link, and what must be there as text."""
    token, other = room.tokens[number], room.tokens[number - 1]
    yield "browse", {"example": token, "checkpoint": token, "category": token, "pin": f"{2 * number}.0"}, [token]
    yield "compare", {"example": token, "reference": token, "runs": other, "direction": "t2s"}, [token, other]
    yield "key_query", {"checkpoint": token}, [token]
    yield "training", {"runs": file_name(token), "example": token, "step": "0"}, [token, file_name(token)]
    yield "annotate", {"example": token, "second": token, "annotator": "Eve"}, [token]
    yield "export", {"category": token, "checkpoint": token, "checkpoints": token, "formats": "csv"}, [token]


def check_token(monkeypatch: pytest.MonkeyPatch, room: Room, number: int) -> tuple[int, int]:
    """Look at one token on every page but Overview and Try a text; pages opened, and texts that held a token."""
    pages = texts = 0
    for name, query, seen in links(room, number):
        test = open_page(monkeypatch, name, *room.arguments, **query)
        texts += check_sent(test, room.tokens, (name, room.tokens[number][:80]), seen=seen)
        pages += 1
    return pages, texts


def check_typed(monkeypatch: pytest.MonkeyPatch, room: Room, number: int) -> int:
    """Type one token as prompt and response, to the checkpoint that is called by it; how many texts held it."""
    token = room.tokens[number]
    typed = token.encode()[:TYPED].decode("utf-8", "ignore")
    test = open_page(monkeypatch, "try_text", *room.arguments, checkpoint=file_name(token))
    for key in ("prompt", "response"):
        test.text_area(key=key).set_value(typed)
    test.button[0].click().run()
    seen = [typed] if token.strip() else []
    return check_sent(test, [typed, file_name(token)], ("try_text", token[:80]), seen=seen)


def check_room(monkeypatch: pytest.MonkeyPatch, room: Room, *, typed: bool) -> tuple[int, int]:
    """Every token of a room on every page; pages opened, and texts that held a token. Raises AssertionError."""
    test = open_page(monkeypatch, "overview", *room.arguments, by="category of the example")
    pages, texts = 1, check_sent(test, room.tokens, "overview", seen=room.tokens)
    for number in range(len(room.tokens)):
        opened, held = check_token(monkeypatch, room, number)
        pages, texts = pages + opened, texts + held
        if typed:
            pages, texts = pages + 1, texts + check_typed(monkeypatch, room, number)
    return pages, texts


def rooms(folder: Path, tokens: Sequence[str], checkpoint: Path | None) -> Iterator[Room]:
    """Rooms of ``ROOM`` tokens each, until all are used."""
    for start in range(0, len(tokens), ROOM):
        yield make_room(folder / f"room-{start:03d}", tuple(tokens[start : start + ROOM]), checkpoint)
