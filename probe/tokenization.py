"""One text, two tokenizers: PairedTokens with byte spans of the response, and the fingerprint of a tokenizer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tokenizers import Encoding, Tokenizer

from probe.attention_map import TokenAxis
from probe.data import Example
from probe.display import vocabulary_displays
from probe.errors import DamagedError, DataError, UsageError
from probe.spans import Span, byte_offsets, clusters, is_plain, snap, units, without_added_markers

SHORTEST = 8  # smallest max_length: a begin token, some prompt, and one character of four byte tokens
FINGERPRINT_TEXT = (
    "The quick brown fox, 1234.5%\n\tdef f(x): return x**2  # naïve cafe\u0301 ﬁne\u00a0Ⅳ\r\n"
    "漢字かな 한국어 Ελληνικά Русский العربية हिन्दी ไทย 👩\u200d👩\u200d👧 🇩🇪 ☃\ufe0f <s></s> [SEP] <|endoftext|>"
)
# Names that end a text, for a bare `tokenizers.Tokenizer`, which has no roles.
END_NAMES = ("</s>", "<|endoftext|>", "<eos>", "<|end_of_text|>", "<|im_end|>", "[SEP]")
BEGIN_NAMES = ("<s>", "<|startoftext|>", "<bos>", "<|begin_of_text|>", "<|im_start|>", "[CLS]")


@dataclass(frozen=True)
class TokenizedSide:
    """One side's token sequence for prompt + response + EOS.

    Attributes:
        ids: the whole sequence, [BOS?] + prompt + response + EOS (no EOS where the response was cut).
        start: index p of the first response position: its input is ids[p], its target ids[p + 1].
        axis: the response targets (ids[start + 1:]), with display forms, pieces and byte spans.
    """

    ids: tuple[int, ...]
    start: int
    axis: TokenAxis

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input ids x_i of the response positions."""
        return self.ids[self.start : -1]

    @property
    def targets(self) -> tuple[int, ...]:
        """Target ids y_i of the response positions; EOS is the last."""
        return self.ids[self.start + 1 :]


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
        self._student = _Side(student_tokenizer, "student")
        self._teacher = _Side(teacher_tokenizer, "teacher")

    @property
    def student_fingerprint(self) -> str:
        """:func:`tokenizer_fingerprint` of the student's tokenizer."""
        return self._student.fingerprint

    @property
    def teacher_fingerprint(self) -> str:
        """:func:`tokenizer_fingerprint` of the teacher's tokenizer."""
        return self._teacher.fingerprint

    def encode(self, examples: Sequence[Example]) -> list[PairedTokens]:
        """PairedTokens of every example, in order; the response is the example's first output.

        Raises:
            DataError: a text that is not Unicode (half of a surrogate pair), or one of which nothing fits.
        """
        texts = [example.prompt + example.output for example in examples]
        for example, text in zip(examples, texts, strict=True):
            _check_unicode(example, text)
        pairs = []
        encoded = zip(self._student.encode(texts), self._teacher.encode(texts), strict=True)
        for example, (student, teacher) in zip(examples, encoded, strict=True):
            pair = self._pair(example, example.prompt, example.output, student, teacher)
            pairs.append(pair if self._fits(pair) else self._shorten(pair, example))
        return pairs

    def _pair(
        self, example: Example, prompt: str, text: str, student: Encoding, teacher: Encoding, *, cut: bool = False
    ) -> PairedTokens:
        return PairedTokens(
            example_id=example.id,
            category=example.category,
            prompt=prompt,
            text=text,
            student=self._student.tokenized(student, prompt, text, cut=cut),
            teacher=self._teacher.tokenized(teacher, prompt, text, cut=cut),
            truncated=cut,
        )

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
            shorter = self._again(example, pair.prompt[first:], pair.text, cut=False)
            if first == len(pair.prompt) or max(shorter.student.start, shorter.teacher.start) < budget:
                return replace(shorter, truncated=True)
            first += 1


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


class _Side:
    """One tokenizer: a private copy that keeps whole offsets, its special tokens by role, its display table."""

    def __init__(self, tokenizer: Any, role: str) -> None:
        self._backend, described = _private_copy(_backend(tokenizer, role))
        self._eos = _end_id(tokenizer, self._backend, role)
        self.fingerprint = _fingerprint(self._backend, self._eos)
        mask = self._backend.encode("a").special_tokens_mask
        self._prefix = (mask + [0]).index(0)
        self._suffix = 0 if self._prefix == len(mask) else (mask[::-1] + [0]).index(0)
        self._bos = _role_id(tokenizer, ("bos_token_id", "cls_token_id"), BEGIN_NAMES)
        self._byte_level = _mentions(described, "ByteLevel")
        self._marker = "Ġ" if self._byte_level else "▁"

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._backend.encode_batch(list(texts))

    def tokenized(self, encoding: Encoding, prompt: str, text: str, *, cut: bool) -> TokenizedSide:
        """The side of one encoded prompt + text; with ``cut`` the text goes on, and there is no EOS target."""
        ids, offsets, border = encoding.ids, encoding.offsets, len(prompt)
        last = len(ids) - self._suffix
        first = last
        while first > self._prefix and (offsets[first - 1][1] > border or offsets[first - 1][0] >= border):
            first -= 1
        pieces, displays = self._vocabulary
        kept = ids[:last] if cut else [*ids[:last], self._eos]
        targets = kept[first:]
        target_pieces = tuple([pieces[i] for i in targets])
        spans = self._byte_spans(offsets[first:last], target_pieces, prompt, text)
        if not cut:
            end = byte_offsets(text)[len(text)]
            spans.append((end, end))
        if first == 0:  # nothing stands before the first target: it gets the token that begins a text as its input
            kept, first = [self._eos if self._bos is None else self._bos, *kept], 1
        axis = TokenAxis(tuple([displays[i] for i in targets]), target_pieces, tuple(targets), tuple(spans))
        return TokenizedSide(tuple(kept), first - 1, axis)

    def _byte_spans(self, offsets: Sequence[Span], pieces: Sequence[str], prompt: str, text: str) -> list[Span]:
        """Byte spans of the response, [start, end), of tokens with these character offsets in prompt + text."""
        border = len(prompt)
        plain = is_plain(offsets)
        if not text.isascii() and self._backend.normalizer is not None:
            indivisible = clusters(prompt + text, border, self._changes)
            if indivisible:
                offsets, plain = snap(offsets, indivisible), False
        if not plain:
            offsets = units(without_added_markers(offsets, pieces, prompt + text, self._marker))
        at = byte_offsets(text)
        return [(at[max(start - border, 0)], at[max(end - border, 0)]) for start, end in offsets]

    def _changes(self, cluster: str) -> bool:
        normalizer = self._backend.normalizer
        return normalizer is not None and not normalizer.normalize_str(cluster).endswith(cluster)

    def offset_of_kept(self, encoding: Encoding, start: int, budget: int) -> int:
        """First character of the prompt to keep, if at most ``budget`` of its ``start + 1`` ids may stay."""
        dropped = start + 1 - budget
        return encoding.offsets[self._prefix + dropped][0] if dropped > 0 else 0

    @cached_property
    def _vocabulary(self) -> tuple[list[str], list[str]]:
        """Raw pieces and display forms by id."""
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        size = max([*vocabulary.values(), self._eos]) + 1
        pieces: list[str | None] = [None] * size
        for piece, number in vocabulary.items():
            pieces[number] = piece
        added = self._backend.get_added_tokens_decoder()
        displays = vocabulary_displays(
            pieces,
            byte_level=self._byte_level,
            literal={number: token.content for number, token in added.items() if not token.special},
            specials={number: token.content for number, token in added.items() if token.special},
            eos=self._eos,
        )
        return [piece or "" for piece in pieces], displays


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """16 hexadecimal digits that name a tokenizer: its vocabulary, its end token, and its ids of a fixed text.

    The same before and after ``save_pretrained`` / ``from_pretrained``; padding and truncation settings do not count.

    Raises:
        DamagedError: a tokenizer without character offsets, or without a token that ends a text.
    """
    backend, _ = _private_copy(_backend(tokenizer, "given"))
    return _fingerprint(backend, _end_id(tokenizer, backend, "given"))


def _fingerprint(backend: Tokenizer, eos: int) -> str:
    vocabulary = sorted((number, piece) for piece, number in backend.get_vocab(with_added_tokens=True).items())
    described = [vocabulary, eos, backend.encode(FINGERPRINT_TEXT).ids]
    return hashlib.sha256(json.dumps(described).encode("ascii")).hexdigest()[:16]


def _backend(tokenizer: Any, role: str) -> Tokenizer:
    backend = tokenizer if isinstance(tokenizer, Tokenizer) else getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise DamagedError(
            f"the {role} tokenizer ({type(tokenizer).__name__}) gives no character offsets, which spans are made of. "
            "Wanted a fast tokenizer: save one with a tokenizer.json (PreTrainedTokenizerFast) beside the model."
        )
    return backend


def _private_copy(backend: Tokenizer) -> tuple[Tokenizer, dict[str, Any]]:
    """A copy with no padding, truncation, dropout or trimmed offsets; and the copy's description."""
    described = json.loads(backend.to_str())
    described["padding"] = described["truncation"] = None
    if "dropout" in described["model"]:
        described["model"]["dropout"] = None
    _keep_whole_offsets(described.get("post_processor"))
    model = described.pop("model")
    return Tokenizer.from_str(json.dumps({**described, "model": model})), described


def _keep_whole_offsets(processor: Any) -> None:
    """Undo `trim_offsets`, which takes the space of " the" out of the span of its token."""
    if isinstance(processor, dict):
        if "trim_offsets" in processor:
            processor["trim_offsets"] = False
        for part in processor.get("processors", []):
            _keep_whole_offsets(part)


def _mentions(described: dict[str, Any], kind: str) -> bool:
    text = json.dumps([described.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")])
    return re.search(f'"type": "{kind}"', text) is not None


def _role_id(tokenizer: Any, roles: Sequence[str], names: Sequence[str]) -> int | None:
    if isinstance(tokenizer, Tokenizer):
        found = (tokenizer.token_to_id(name) for name in names)
    else:
        found = (getattr(tokenizer, role, None) for role in roles)
    return next((number for number in found if number is not None), None)


def _end_id(tokenizer: Any, backend: Tokenizer, role: str) -> int:
    """The token that ends a text: what the tokenizer itself puts there, else its EOS, else its separator."""
    encoding = backend.encode("a")
    end = _role_id(tokenizer, ("eos_token_id", "sep_token_id"), END_NAMES)
    trailing = []
    for number, special in zip(encoding.ids[::-1], encoding.special_tokens_mask[::-1], strict=True):
        if not special:
            break
        trailing.append(number)
    if trailing and end not in trailing:
        end = trailing[-1]
    if end is None:
        raise DamagedError(
            f"the {role} tokenizer has no token that ends a text. Set its eos_token (or sep_token), and save it again."
        )
    return end
