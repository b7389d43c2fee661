"""Conversations on both sides, each by its own template: by hand, with tiny tokenizers; old files stay as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from probe.errors import DataError, UsageError
from probe.text.chat import Message, plain_prompt
from probe.text.examples import Example, read_examples
from probe.text.tokenization import PairTokenizer
from tests.support import tiny

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} {{ eos_token }}"
    "{% else %}{{ raise_exception('no role ' + m.role) }}{% endif %}{% endfor %}"
)
TRIMS = "{% for m in messages %}<|im_start|>{{ m.content | trim }}<|im_end|>{% endfor %}"
TURNS = [
    {"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2"},
    {"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "Hello, naïve world!"},
]  # fmt: skip


def student(template: str = CHATML) -> PreTrainedTokenizerFast:
    fast = tiny.byte_bpe(280)
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    fast.chat_template = template
    return fast


def teacher(template: str = INST) -> PreTrainedTokenizerFast:
    fast = tiny.sentencepiece()
    fast.chat_template = template
    return fast


def examples(tmp_path: Path, *records: dict[str, Any]) -> list[Example]:
    return read_examples(tiny.write_jsonl(tmp_path / "chat.jsonl", records))


def spelled(tokenizer: PreTrainedTokenizerFast, ids: Any) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False)


def test_each_answer_is_an_example_with_the_turns_before_it(tmp_path) -> None:
    first, second = examples(tmp_path, {"id": "c", "category": "x", "messages": TURNS, "source": "s"})
    assert (first.id, first.output, second.id, second.output) == ("c.1", "1, 2", "c.2", "Hello, naïve world!")
    assert first.messages == (Message("user", "Count."),) and len(second.messages) == 3
    assert first.prompt == "Count.\n\n" and second.prompt == "Count.\n\n1, 2\n\nSay hello.\n\n"
    assert second.category == "x" and second.metadata == {"source": "s"}
    (alone,) = examples(tmp_path, {"messages": TURNS[:2]})
    assert alone.id == "chat-1"  # one answer: the id needs no number
    assert [one.id for one in read_examples(tmp_path / "chat.jsonl", limit=1)] == ["chat-1"]


def test_a_prompt_beside_messages_is_read_as_before(tmp_path) -> None:
    (one,) = examples(tmp_path, {"prompt": "P", "output": "O", "messages": TURNS})
    assert (one.prompt, one.output, one.messages) == ("P", "O", ()) and one.metadata == {"messages": TURNS}


def test_each_side_sees_its_own_template_and_the_same_answer(tmp_path) -> None:
    tokenizers = student(), teacher()
    second = examples(tmp_path, {"id": "c", "messages": TURNS})[1]
    (pair,) = PairTokenizer(*tokenizers).encode([second])
    chatml = (
        "<|im_start|>user\nCount.<|im_end|>\n<|im_start|>assistant\n1, 2<|im_end|>\n"
        "<|im_start|>user\nSay hello.<|im_end|>\n<|im_start|>assistant\n"
    )
    start = pair.student.start + 1
    assert spelled(tokenizers[0], pair.student.ids[:start]) == chatml
    assert spelled(tokenizers[0], pair.student.targets) == "Hello, naïve world!<|im_end|>"
    assert pair.teacher.ids.count(tokenizers[1].bos_token_id) == 1  # the template writes it; encoding adds no second
    assert spelled(tokenizers[1], pair.teacher.ids[: pair.teacher.start + 1]).replace(" ", "") == (
        "<s>[INST]Count.[/INST]1,2</s>[INST]Sayhello.[/INST]"
    )
    size = len("Hello, naïve world!".encode())
    for side in (pair.student, pair.teacher):
        spans = side.axis.spans
        assert spans[0][0] == 0 and spans[-2][1] == size and spans[-1] == (size, size)
        assert all(end == after[0] or end == after[1] for (_, end), after in zip(spans, spans[1:], strict=False))
    assert pair.text == second.output and not pair.truncated


def test_what_ends_the_turn_pairs_with_what_ends_it_on_the_other_side(tmp_path) -> None:
    tokenizers = student(), teacher()
    (pair,) = PairTokenizer(*tokenizers).encode(examples(tmp_path, {"messages": TURNS[:2]}))
    ends = pair.student.targets[-1], pair.teacher.targets[-1]
    assert ends == (tokenizers[0].convert_tokens_to_ids("<|im_end|>"), tokenizers[1].eos_token_id)
    assert pair.student.axis.spans[-1] == pair.teacher.axis.spans[-1] == (4, 4)


def test_without_templates_both_sides_read_the_same_prompt(tmp_path) -> None:
    plain = tiny.byte_bpe(280), tiny.sentencepiece()
    first, second = examples(tmp_path, {"messages": TURNS})
    pairs = PairTokenizer(*plain, chat_template="none").encode([first, second])
    same = [Example(one.id, plain_prompt(one.messages), (one.output,)) for one in (first, second)]
    assert pairs == PairTokenizer(*plain).encode(same)


def test_other_examples_do_not_see_the_template_and_keep_their_order(tmp_path) -> None:
    chat = examples(tmp_path, {"id": "c", "messages": TURNS})
    plain = [Example(f"t{i}", prompt, (output,)) for i, (prompt, output) in enumerate(tiny.TEXTS)]
    mixed = [plain[0], chat[0], *plain[1:], chat[1]]
    pairer = PairTokenizer(student(), teacher())
    pairs = pairer.encode(mixed)
    assert [pair.example_id for pair in pairs] == [one.id for one in mixed]
    bare = student(), teacher()
    for one in bare:
        one.chat_template = None
    assert [pair for pair in pairs if pair.example_id[0] == "t"] == PairTokenizer(*bare).encode(plain)


def test_a_long_answer_is_cut_and_a_long_conversation_is_not(tmp_path) -> None:
    chat = examples(tmp_path, {"id": "c", "messages": TURNS})[1]
    whole = PairTokenizer(student(), teacher()).encode([chat])[0]
    most = max(len(whole.student.ids), len(whole.teacher.ids)) - 3
    (cut,) = PairTokenizer(student(), teacher(), max_length=most).encode([chat])
    assert cut.truncated and chat.output.startswith(cut.text) and len(cut.text) < len(chat.output)
    assert cut.student.start == whole.student.start and cut.student.axis.spans[-1][1] == len(cut.text.encode())
    with pytest.raises(DataError, match=r"example 'c\.2': the turns before the answer leave no room.*max_length 12"):
        PairTokenizer(student(), teacher(), max_length=12).encode([chat])


@pytest.mark.parametrize(
    ("tokenizers", "change", "error", "message"),
    [
        ((student, tiny.sentencepiece), {}, UsageError, "the teacher tokenizer has no chat template.*none"),
        ((lambda: student(TRIMS), teacher), {"outputs": (" padded",)}, DataError, "student tokenizer does not write"),
        ((student, teacher), {"messages": (Message("tool", "x"),)}, DataError, r"tool, assistant.*no role tool"),
        ((lambda: student("{{ nothing.of.this }}"), teacher), {}, DataError, "'c': the chat template of the student"),
        ((lambda: student("{% broken"), teacher), {}, DataError, "TemplateSyntaxError"),
        ((lambda: student("no answer at all"), teacher), {}, DataError, "does not write the answer"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_do_is_said(tokenizers, change, error, message) -> None:
    example = Example("c", "Hi\n\n", ("there",), messages=(Message("user", "Hi"),))
    with pytest.raises(error, match=message):
        PairTokenizer(*(make() for make in tokenizers)).encode([replace(example, **change)])


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("x", r"chat.jsonl:1: wanted \"messages\" as a list .* got str"),
        ([{"role": "user", "content": "x"}], "has the role 'assistant', whose answer is aligned; found none"),
        ([{"role": "user"}], "message 0 is"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "message 0 is .* Join contents in parts"),
        ([{"role": "assistant", "content": ""}], "message 0 is an empty answer"),
    ],
)
def test_messages_that_are_none_are_refused(messages, message, tmp_path) -> None:
    with pytest.raises(DataError, match=message):
        examples(tmp_path, {"messages": messages})
