"""One text, two tokenizers: PairedTokens with byte spans of the response, both sides cut at the same byte."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Encoding

from probe.errors import DamagedError, DataError, UsageError
from probe.text.examples import Example
from probe.text.one_side import Side, TokenizedSide, tokenizer_fingerprint
from probe.text.spans import LONGEST_TOKEN, Span, beginning_dropped, byte_offsets

__all__ = ["PairTokenizer", "PairedTokens", "TokenizedSide", "tokenizer_fingerprint"]

TEXTS_A_TASK = 16  # a few milliseconds of a thread's work
MAX_LENGTH = 512  # tokens a side where a command is not told otherwise, as in the published training
SHORTEST = 8  # smallest max_length: a begin token, some prompt, and one character of four byte tokens


@dataclass(frozen=True)
class PairedTokens:
    """Both sides' tokens of one example, over the same response text."""

    example_id: str
    category: str
    prompt: str
    text: str
    student: TokenizedSide
    teacher: TokenizedSide
    truncated: bool


class PairTokenizer:
    """Tokenizes prompt and response for a student and a teacher at once.

    Prompt and response are encoded in one pass, so no merge across the border is lost and no space is added. The
    result depends on the text and the tokenizers alone, never on the other examples of a call.

    Args:
        student_tokenizer, teacher_tokenizer: fast transformers tokenizers, or `tokenizers.Tokenizer` objects. They are
            copied; the caller's padding, truncation and offset trimming have no influence, and are not changed.
        max_length: most ids a side may have. A longer example loses the end of its response, at the same byte on both
            sides (and then has no EOS target, for the text does not end there); where the prompt leaves no room for
            the response, the prompt first loses its beginning. Either way it is marked as truncated.

    Raises:
        DamagedError: a tokenizer without character offsets (a slow one) or without a token that ends a text.
        UsageError: a ``max_length`` below 8.
    """

    def __init__(self, student_tokenizer: Any, teacher_tokenizer: Any, *, max_length: int | None = None) -> None:
        if max_length is not None and max_length < SHORTEST:
            raise UsageError(f"wanted a max_length of at least {SHORTEST} tokens, got {max_length}. Raise it.")
        self.max_length = max_length
        self._student = Side(student_tokenizer, "student")
        self._teacher = Side(teacher_tokenizer, "teacher")

    @property
    def student_fingerprint(self) -> str:
        """:func:`tokenizer_fingerprint` of the student's tokenizer."""
        return self._student.fingerprint

    @property
    def teacher_fingerprint(self) -> str:
        """:func:`tokenizer_fingerprint` of the teacher's tokenizer."""
        return self._teacher.fingerprint

    @property
    def displays(self) -> tuple[list[str], list[str]]:
        """Display form of every id of the student's vocabulary, and of the teacher's."""
        return self._student.displays, self._teacher.displays

    def encode(self, examples: Sequence[Example]) -> list[PairedTokens]:
        """PairedTokens of every example, in order; the response is the example's first output.

        Raises:
            DataError: a text that is not Unicode (half of a surrogate pair), or one of which nothing fits.
            DamagedError: a side that has no token for a response with letters or digits.
        """
        for example in examples:
            _check_unicode(example, example.prompt + example.output)
        parts = [self._bounded(example) for example in examples]
        pairs = []
        encoded = self._encoded([prompt + text for prompt, text in parts])
        for example, (prompt, text), (student, teacher) in zip(examples, parts, encoded, strict=True):
            pair = self._pair(example, prompt, text, student, teacher, cut=len(text) < len(example.output))
            if len(prompt) < len(example.prompt):
                pair = replace(pair, truncated=True)
            pairs.append(pair if self._fits(pair) else self._shorten(pair, example))
        return pairs

    def _bounded(self, example: Example) -> tuple[str, str]:
        """Prompt and response, without what is so far above ``max_length`` that no token of it can stay."""
        prompt, text = example.prompt, example.output
        if self.max_length is None:
            return prompt, text
        return beginning_dropped(prompt, self.max_length), text[: LONGEST_TOKEN * self.max_length]

    def _encoded(self, texts: Sequence[str]) -> Iterator[tuple[Encoding, Encoding]]:
        """Both sides' encodings of each text, made ahead by as many threads as there are cores for them.

        Encoding needs no interpreter lock, so it runs beside what the caller does with the last ones. The tokenizers'
        own threads would outlive the call, and could not be forked.
        """
        sides, cores = (self._student, self._teacher), usable_cores()
        if cores == 1 or len(texts) <= TEXTS_A_TASK:
            yield from zip(*(side.encode(texts) for side in sides), strict=True)
            return
        waiting: deque[list[Future[list[Encoding]]]] = deque()
        with ThreadPoolExecutor(cores) as pool:
            for start in range(0, len(texts), TEXTS_A_TASK):
                part = texts[start : start + TEXTS_A_TASK]
                waiting.append([pool.submit(side.encode, part) for side in sides])
                if len(waiting) > cores:
                    yield from zip(*(task.result() for task in waiting.popleft()), strict=True)
            while waiting:
                yield from zip(*(task.result() for task in waiting.popleft()), strict=True)

    def _pair(
        self, example: Example, prompt: str, text: str, student: Encoding, teacher: Encoding, *, cut: bool = False
    ) -> PairedTokens:
        pair = PairedTokens(
            example_id=example.id,
            category=example.category,
            prompt=prompt,
            text=text,
            student=self._student.tokenized(student, prompt, text, cut=cut),
            teacher=self._teacher.tokenized(teacher, prompt, text, cut=cut),
            truncated=cut,
        )
        if not cut:  # of a piece of a token's text there may be none
            _check_tokens(pair)
        return pair

    def _again(self, example: Example, prompt: str, text: str, *, cut: bool) -> PairedTokens:
        student, teacher = self._student.encode([prompt + text])[0], self._teacher.encode([prompt + text])[0]
        return self._pair(example, prompt, text, student, teacher, cut=cut)

    def _fits(self, pair: PairedTokens) -> bool:
        longest = max(len(pair.student.ids), len(pair.teacher.ids))
        return self.max_length is None or longest <= self.max_length

    def _shorten(self, pair: PairedTokens, example: Example) -> PairedTokens:
        """Cut the response; where not even its first character fits behind the prompt, cut the prompt first."""
        shortened = self._cut_response(pair, example)
        if shortened is None:
            pair = self._cut_prompt(pair, example)
            shortened = pair if self._fits(pair) else self._cut_response(pair, example)
        if shortened is None:
            raise DataError(
                f"example {example.id!r}: no character of the response fits into max_length {self.max_length}. "
                "Raise max_length, or remove the example."
            )
        return shortened

    def _cut_response(self, pair: PairedTokens, example: Example) -> PairedTokens | None:
        """The longest beginning of the response that fits on both sides, ending where both have a token boundary."""
        assert self.max_length is not None
        rooms = [self.max_length - side.start - 1 for side in (pair.student, pair.teacher)]
        if min(rooms) < 1:
            return None
        spans = [side.axis.spans for side in (pair.student, pair.teacher)]
        for length in _cuts(pair.text, spans, rooms):
            shorter = self._again(example, pair.prompt, pair.text[:length], cut=True)
            if self._fits(shorter) and shorter.student.targets and shorter.teacher.targets:
                return shorter
        return None

    def _cut_prompt(self, pair: PairedTokens, example: Example) -> PairedTokens:
        """Drop the beginning of the prompt: it keeps what the response leaves free, or half of max_length."""
        assert self.max_length is not None
        response = max(len(pair.student.axis), len(pair.teacher.axis))
        budget = max(self.max_length // 2, self.max_length - response)
        joint = [pair.prompt + pair.text]
        first = max(
            side.offset_of_kept(side.encode(joint)[0], tokenized.start, budget)
            for side, tokenized in ((self._student, pair.student), (self._teacher, pair.teacher))
        )
        while True:
            first = min(first, len(pair.prompt))
            cut = len(pair.text) < len(example.output)
            shorter = self._again(example, pair.prompt[first:], pair.text, cut=cut)
            if first == len(pair.prompt) or max(shorter.student.start, shorter.teacher.start) < budget:
                return replace(shorter, truncated=True)
            first += 1


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_tokens(pair: PairedTokens) -> None:
    """A side that has no token for letters or digits has another tokenizer than its texts need, or a damaged one."""
    for role, side in (("student", pair.student), ("teacher", pair.teacher)):
        if len(side.axis) == 1 and any(character.isalnum() for character in pair.text):  # its end token alone
            raise DamagedError(
                f"example {pair.example_id!r}: the {role} tokenizer has no token for its response "
                f"{pair.text[:20]!r}. Put the tokenizer.json that belongs to the {role} beside its model, or remove "
                "the example."
            )


def _check_unicode(example: Example, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"example {example.id!r}: wanted Unicode text, but prompt + output holds half of a surrogate pair "
            f"(U+{ord(text[error.start]):04X}) at character {error.start}. Repair or remove it."
        ) from error


def _cuts(text: str, spans: Sequence[Sequence[Span]], rooms: Sequence[int]) -> Iterator[int]:
    """Lengths (in characters) at which to cut, best first: shared token boundaries, then any character boundary."""
    reachable = [_boundaries(side, room) for side, room in zip(spans, rooms, strict=True)]
    shared = set.intersection(*reachable) - {0}
    limit = min(max(ends, default=0) for ends in reachable)
    position = {offset: i for i, offset in enumerate(byte_offsets(text))}
    yield from (position[end] for end in sorted(shared, reverse=True))
    yield from (position[end] for end in sorted(position, reverse=True) if 0 < end <= limit and end not in shared)


def _boundaries(spans: Sequence[Span], room: int) -> set[int]:
    """Byte offsets at which the first so many tokens, at most ``room``, end and no later token has begun."""
    return {spans[i][1] for i in range(min(room, len(spans))) if i + 1 == len(spans) or spans[i + 1][0] >= spans[i][1]}
