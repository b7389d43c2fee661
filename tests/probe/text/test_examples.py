"""read_examples: the layouts it takes, and one clear message with file and line for everything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from probe.errors import DataError, UsageError
from probe.text.examples import Example, read_examples


def write(tmp_path: Path, *lines: object, name: str = "some.jsonl") -> Path:
    """A file with these lines: bytes and strings as they are, other objects as JSON."""
    path = tmp_path / name
    rows = [line if isinstance(line, bytes) else _text(line).encode("utf-8") for line in lines]
    path.write_bytes(b"\n".join(rows) + b"\n")
    return path


def _text(line: object) -> str:
    return line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)


GOOD = {"prompt": "p", "output": "o"}


def test_prompt_and_output(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "a", "prompt": "Say hi", "output": "hi", "category": "greeting", "topic": 7})
    assert read_examples(path) == [Example("a", "Say hi", ("hi",), "greeting", {"topic": 7})]


def test_several_outputs_the_first_is_the_output(tmp_path: Path) -> None:
    example = read_examples(write(tmp_path, {"prompt": "p", "output": ["one", "two"]}))[0]
    assert example.outputs == ("one", "two")
    assert example.output == "one"


def test_missing_ids_are_stem_and_line_number_blank_lines_count(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, "", "   ", GOOD, {"id": None, **GOOD}, {"id": 17, **GOOD}, name="dolly.dev.jsonl")
    assert [example.id for example in read_examples(path)] == ["dolly.dev-1", "dolly.dev-4", "dolly.dev-5", "17"]


def test_instruction_layout_becomes_the_template_of_the_papers(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        {"instruction": "Say {hi}.", "input": "", "output": "hi"},
        {"instruction": "Say hi.", "output": "hi"},
    )
    first, second, third = read_examples(path)
    assert first.prompt == (
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n"
        "### Response:\n"
    )
    assert second.prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nSay {hi}.\n\n### Response:\n"
    )
    assert third.prompt == second.prompt.replace("{hi}", "hi")
    assert first.metadata == {"instruction": "Add.", "input": "1, 2"}


def test_prompt_wins_over_instruction(tmp_path: Path) -> None:
    record = {"instruction": "i", "input": "x", "prompt": "whole prompt", "output": "o", "topic": "t"}
    example = read_examples(write(tmp_path, record))[0]
    assert example.prompt == "whole prompt"
    assert example.metadata == {"instruction": "i", "input": "x", "topic": "t"}


def test_text_arrives_as_it_is(tmp_path: Path) -> None:
    output = " e\u0301 é\u00a0👩\u200d👧\r\n\t\u0000 "
    assert read_examples(write(tmp_path, {"prompt": "", "output": output}))[0].output == output
    escaped = b'{"prompt": "", "output": "\\ud83d\\ude42"}'
    assert read_examples(write(tmp_path, escaped))[0].output == "🙂"


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbf{"prompt": "p", "output": "o"}\r', b'{"prompt": "q", "output": "o"}\r')
    assert [example.prompt for example in read_examples(path)] == ["p", "q"]


def test_no_newline_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "p", "output": "o"}')
    assert len(read_examples(path)) == 1


def test_limit_reads_no_further(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, GOOD, "this line is broken")
    assert [example.id for example in read_examples(path, limit=2)] == ["some-1", "some-2"]
    assert len(read_examples(write(tmp_path, GOOD), limit=9)) == 1
    with pytest.raises(UsageError, match="at least 1 example, got 0"):
        read_examples(path, limit=0)


# Each case: the second line of a file whose first line is good; a part of the message.
BROKEN = {
    "not JSON": ('{"prompt": "p", "output": "o"', "wanted one JSON object, but the line is not JSON"),
    "two objects": ('{"prompt": "p", "output": "o"} {}', "Extra data"),
    "object over lines": ("{", "Write each object on one line of its own"),
    "NaN": ('{"prompt": "p", "output": "o", "score": NaN}', "NaN is no JSON number"),
    "nested too deep": ("[" * 100_000, "not JSON"),
    "huge number": ('{"prompt": "p", "output": "o", "n": ' + "9" * 5000 + "}", "not JSON"),
    "array": ('[{"prompt": "p", "output": "o"}]', "got a list. Turn a JSON array into lines"),
    "string": ('"text"', "got a string"),
    "null": ("null", "got null"),
    "no keys": ({}, "wanted 'output', found the keys none"),
    "no output": ({"prompt": "p"}, "wanted 'output', found the keys 'prompt'"),
    "response for output": ({"prompt": "p", "response": "o"}, "Rename 'response' to 'output'"),
    "no prompt": ({"output": "o", "question": "q"}, "wanted 'prompt' or 'instruction', found the keys 'output', 'que"),
    "prompt null": ({"prompt": None, "output": "o"}, "wanted 'prompt' or 'instruction'"),
    "prompt number": ({"prompt": 3, "output": "o"}, "wanted a string as 'prompt', got a number"),
    "prompt list": ({"prompt": ["p"], "output": "o"}, "wanted a string as 'prompt', got a list"),
    "instruction bool": ({"instruction": True, "output": "o"}, "as 'instruction', got true or false"),
    "input number": ({"instruction": "i", "input": 3, "output": "o"}, "wanted a string as 'input', got a number"),
    "output empty": ({"prompt": "p", "output": ""}, "'output' is empty, so there is nothing to align"),
    "output empty list": ({"prompt": "p", "output": []}, "'output' is an empty list"),
    "output with an empty one": ({"prompt": "p", "output": ["o", ""]}, "'output' is empty"),
    "output null": ({"prompt": "p", "output": None}, "list of strings as 'output', got null"),
    "output number": ({"prompt": "p", "output": 3}, "list of strings as 'output', got a number"),
    "output object": ({"prompt": "p", "output": {"text": "o"}}, "got an object"),
    "output mixed": ({"prompt": "p", "output": ["o", 3]}, "got a list with a number"),
    "category number": ({**GOOD, "category": 3}, "wanted a string as 'category', got a number"),
    "id empty": ({**GOOD, "id": ""}, "wanted a non-empty string as 'id', got an empty string"),
    "id list": ({**GOOD, "id": ["a"]}, "as 'id', got a list"),
    "id bool": ({**GOOD, "id": True}, "as 'id', got true or false"),
    "id twice": ({**GOOD, "id": "first"}, "the id 'first' is already that of line 1"),
    "lone high surrogate": (
        b'{"prompt": "p", "output": "a\\ud83d"}',
        "'output' holds half of a surrogate pair (\\ud83d)",
    ),
    "lone low surrogate": (
        b'{"prompt": "\\ude42 p", "output": "a"}',
        "'prompt' holds half of a surrogate pair (\\ude42)",
    ),
    "surrogate in a list": (b'{"prompt": "p", "output": ["a", "\\uD800"]}', "(\\ud800)"),
    "surrogate in metadata": (b'{"prompt": "p", "output": "a", "note": {"x": "\\udfff"}}', "'note' holds half"),
    "surrogate in a key": (b'{"prompt": "p", "output": "a", "\\udfff": 1}', "'\\udfff' holds half"),
    "latin-1": (b'{"prompt": "p", "output": "caf\xe9"}', "wanted UTF-8, but byte 31 of the line (0xE9) is not"),
    "surrogate in UTF-8": (b'{"prompt": "p", "output": "\xed\xa0\x80"}', "wanted UTF-8"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_line_is_named_with_file_and_line(tmp_path: Path, case: str) -> None:
    line, wanted = BROKEN[case]
    path = write(tmp_path, {**GOOD, "id": "first"}, line, GOOD)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: "), message
    assert wanted in message
    assert message.endswith(".") and len(message) < 500, "one message, with what to do at its end"
    message.encode("utf-8")


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n\n\t\n"])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"empty\.jsonl:1: the file holds no example\. Write one JSON object a line"):
        read_examples(path)


def test_utf16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl"
    path.write_bytes('{"prompt": "p", "output": "o"}'.encode("utf-16"))
    with pytest.raises(DataError, match=r"wide\.jsonl:1: wanted UTF-8, but the file is UTF-16"):
        read_examples(path)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.jsonl does not exist. Check the path"):
        read_examples(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="is a directory. Name one"):
        read_examples(tmp_path)
