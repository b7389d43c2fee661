"""Conversations: messages with roles, and what a tokenizer's own chat template writes around an answer in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from probe.errors import DataError, UsageError

ANSWERS = "assistant"  # the role whose messages are responses
MARK = "\ue000\ue001answer\ue001\ue000"  # private characters: it stands for the answer where a template is read


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Frame:
    """What a template writes before an answer (earlier turns, markers, BOS) and after it (what ends the turn)."""

    before: str
    after: str


def messages_of(value: Any, place: str) -> tuple[Message, ...]:
    """The messages of an example's JSON. Raises DataError, naming ``place``: not roles and contents, or no answer."""
    wanted = f'{place}: wanted "messages" as a list of {{"role": str, "content": str}}'
    if not isinstance(value, list):
        raise DataError(f"{wanted}, got {type(value).__name__}.")
    found = []
    for number, one in enumerate(value):
        role, content = (one.get(key) if isinstance(one, dict) else None for key in ("role", "content"))
        if not (isinstance(role, str) and role and isinstance(content, str)):
            raise DataError(f"{wanted}; message {number} is {str(one)[:60]}. Join contents in parts.")
        if role == ANSWERS and not content:
            raise DataError(f"{place}: message {number} is an empty answer: nothing to align. Drop the turn.")
        found.append(Message(role, content))
    if not any(message.role == ANSWERS for message in found):
        raise DataError(f"{wanted} of which one has the role {ANSWERS!r}, whose answer is aligned; found none.")
    return tuple(found)


def plain_prompt(messages: Sequence[Message]) -> str:
    """The turns before an answer without any template: each content, and an empty line behind it."""
    return "".join(f"{message.content}\n\n" for message in messages)


def frame(tokenizer: Any, messages: Sequence[Message], answer: str, side: str) -> Frame:
    """What the chat template of ``tokenizer`` writes around ``answer``, given after ``messages``.

    transformers runs templates in jinja's sandbox: they see the messages and the special tokens, and can call nothing.

    Raises:
        UsageError: the tokenizer has no template.
        DataError: the template refuses these messages, or does not write the answer as it is.
    """
    template = getattr(tokenizer, "chat_template", None)
    if not template:
        raise UsageError(
            f"the {side} tokenizer has no chat template, so it cannot write messages. Give a model that has one (an "
            "instruct model), or say that none is used: chat_template none."
        )
    before, mark, after = _written(tokenizer, messages, MARK, side).partition(MARK)
    if not mark or _written(tokenizer, messages, answer, side) != before + answer + after:
        raise DataError(
            f"the chat template of the {side} tokenizer does not write the answer {answer[:40]!r} as it is (it may "
            "trim white space, or hide a part): tokens cannot be placed. Strip the answer, or use chat_template none."
        )
    return Frame(before, after)


def _written(tokenizer: Any, messages: Sequence[Message], answer: str, side: str) -> str:
    turns = [{"role": message.role, "content": message.content} for message in (*messages, Message(ANSWERS, answer))]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception as error:  # a template may raise anything: jinja's errors, TypeError of a missing key, …
        raise DataError(
            f"the chat template of the {side} tokenizer refuses these messages "
            f"({', '.join(message.role for message in messages)}, {ANSWERS}): {type(error).__name__}: {error}. "
            "Change the roles or their order, or use chat_template none."
        ) from error
