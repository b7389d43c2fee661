"""Examples from JSON-lines files; what is wrong with a file is said with its name and line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from probe.errors import DataError, UsageError
from probe.text.chat import ANSWERS, Message, messages_of, plain_prompt

LAYOUTS = (
    '{"prompt": str, "output": str or [str, …]} or {"instruction": str, "input": str, "output": …} or '
    '{"messages": [{"role": str, "content": str}, …]}'
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
OFTEN_MEANT = ("response", "completion", "answer", "target", "outputs")


@dataclass(frozen=True)
class Example:
    """One prompt with its accepted responses; ``metadata`` keeps the keys besides id, category, prompt and output.

    Of a conversation ``messages`` are the turns before the response, which each tokenizer's chat template writes in its
    own way; ``prompt`` then holds them without any template.
    """

    id: str
    prompt: str
    outputs: tuple[str, ...]
    category: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()

    @property
    def output(self) -> str:
        """The first accepted response: the one that is trained on and probed."""
        return self.outputs[0]


def read_examples(path: Path | str, *, limit: int | None = None) -> list[Example]:
    """Read the examples of a ``*.jsonl`` file (UTF-8, one object a line; blank lines are passed over).

    Layouts: ``prompt`` and ``output``, or ``instruction``, ``input``, ``output``, which are put into the Alpaca
    template (``prompt`` wins where both are there). ``output`` is a string or a list of accepted strings. Or
    ``messages``, where there is neither prompt nor instruction: each turn of the assistant is an example, whose prompt
    are the turns before it; of several, the id is followed by their number, ``.1``, ``.2``, …. A missing ``id`` becomes
    ``<file stem>-<line number>``. With ``limit`` only the first so many examples are read and checked.

    Raises:
        DataError: no such file, no example in it, or a line that is not such an object; names file and line.
        UsageError: a limit below 1.
    """
    path = Path(path)
    if limit is not None and limit < 1:
        raise UsageError(f"wanted a limit of at least 1 example, got {limit}. Leave it out to read the whole file.")
    examples: list[Example] = []
    lines: dict[str, int] = {}
    for number, record in _records(path):
        for example in _examples(record, f"{path}:{number}", f"{path.stem}-{number}"):
            if example.id in lines:
                raise DataError(
                    f"{path}:{number}: the id {example.id!r} is already that of line {lines[example.id]}. "
                    "Give every example an id of its own, or leave the ids out."
                )
            lines[example.id] = number
            examples.append(example)
        if limit is not None and len(examples) >= limit:
            break
    if not examples:
        raise DataError(f"{path}:1: the file holds no example. Write one JSON object a line: {LAYOUTS}.")
    return examples[:limit]


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The line number and object of every line that is not blank."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(f"wanted a file of examples, but {path} is a pipe or device. Save what it gives as a file.")
        with open(path, "rb") as handle:
            for number, raw in enumerate(handle, start=1):
                if raw.strip():
                    yield number, _record(raw, f"{path}:{number}", first=number == 1)
    except FileNotFoundError as error:
        raise DataError(f"wanted a file of examples, but {path} does not exist. Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"wanted a file of examples, but {path} is a directory. Name one *.jsonl file.") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}. Check its permissions.") from error


def _record(raw: bytes, place: str, *, first: bool) -> dict[str, Any]:
    """Parse one line strictly: UTF-8, one JSON object, no NaN, no half of a surrogate pair."""
    if first and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{place}: wanted UTF-8, but the file is UTF-16. Save it as UTF-8.")
    try:
        line = raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: wanted UTF-8, but byte {error.start + 1} of the line (0x{raw[error.start]:02X}) is not. "
            "Save the file as UTF-8."
        ) from error
    try:
        record = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{place}: wanted one JSON object, but the line is not JSON ({error}). "
            "Write each object on one line of its own, and check quotes, commas and braces."
        ) from error
    if not isinstance(record, dict):
        hint = " Turn a JSON array into lines, one element each." if isinstance(record, list) else ""
        raise DataError(f"{place}: wanted a JSON object {LAYOUTS}, got {_kind(record)}.{hint}")
    if b"\\u" in raw:
        _refuse_surrogates(record, place)
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _refuse_surrogates(record: dict[str, Any], place: str) -> None:
    for key, value in record.items():
        try:
            json.dumps([key, value], ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(error.object[error.start])
            raise DataError(
                f"{place}: '{key.encode('ascii', 'backslashreplace').decode()}' holds half of a surrogate pair "
                f"(\\u{code:04x}), which is no character. Write the whole pair, or the character itself in UTF-8."
            ) from error


def _examples(record: dict[str, Any], place: str, default_id: str) -> list[Example]:
    """The example of a line; of a conversation one for each answer."""
    if "messages" not in record or any(record.get(key) is not None for key in ("prompt", "instruction")):
        outputs = _outputs(record, place)
        return [_example(record, _prompt(record, place), outputs, place, default_id)]
    messages = messages_of(record.pop("messages"), place)
    answers = [number for number, message in enumerate(messages) if message.role == ANSWERS]
    found = []
    for turn, number in enumerate(answers, 1):
        before, text = messages[:number], messages[number].content
        one = _example(record, plain_prompt(before), (text,), place, default_id)
        found.append(replace(one, id=f"{one.id}.{turn}" if len(answers) > 1 else one.id, messages=before))
    return found


def _example(
    record: dict[str, Any], prompt: str, outputs: tuple[str, ...], place: str, default_id: str
) -> Example:
    name = record.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    category = _string(record, "category", place)
    if name is not None and (not isinstance(name, str) or not name):
        raise DataError(f"{place}: wanted a non-empty string as 'id', got {_kind(name)}. Change it, or leave it out.")
    rest = {key: value for key, value in record.items() if key not in ("id", "category", "prompt", "output")}
    return Example(default_id if name is None else name, prompt, outputs, category, rest)


def _prompt(record: dict[str, Any], place: str) -> str:
    if record.get("prompt") is not None:
        return _string(record, "prompt", place)
    if record.get("instruction") is None:
        raise DataError(
            f"{place}: wanted 'prompt' or 'instruction', found the keys {_keys(record)}. Use the layout {LAYOUTS}."
        )
    instruction, given = _string(record, "instruction", place), _string(record, "input", place)
    return (WITH_INPUT if given else WITHOUT_INPUT).format(instruction=instruction, input=given)


def _outputs(record: dict[str, Any], place: str) -> tuple[str, ...]:
    if "output" not in record:
        meant = next((key for key in OFTEN_MEANT if key in record), None)
        advice = f"Rename {meant!r} to 'output'." if meant else f"Use the layout {LAYOUTS}."
        raise DataError(f"{place}: wanted 'output', found the keys {_keys(record)}. {advice}")
    value = record["output"]
    outputs = value if isinstance(value, list) else [value]
    if not outputs:
        raise DataError(f"{place}: 'output' is an empty list. Give at least one response, or remove the line.")
    for output in outputs:
        if not isinstance(output, str):
            raise DataError(
                f"{place}: wanted a string or a list of strings as 'output', got {_kind(value)}"
                f"{f' with {_kind(output)}' if value is outputs else ''}. Put quotes around it, or remove the line."
            )
        if not output:
            raise DataError(f"{place}: 'output' is empty, so there is nothing to align. Fill it in, or drop the line.")
    return tuple(outputs)


def _string(record: dict[str, Any], key: str, place: str) -> str:
    """The string under ``key``; "" where it is missing or null."""
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{place}: wanted a string as {key!r}, got {_kind(value)}. Put quotes around it.")
    return value


def _keys(record: dict[str, Any]) -> str:
    shown = ", ".join(repr(key) for key in list(record)[:8]) or "none"
    return shown + (", …" if len(record) > 8 else "")


def _kind(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    if value is None:
        return "null"
    return "an empty string" if value == "" else names.get(type(value), "a string")
