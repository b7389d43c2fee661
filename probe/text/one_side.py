"""One tokenizer's side of a text: ids, targets, byte spans and display forms; and the tokenizer's fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokenizers import Encoding, Tokenizer

from probe.errors import DamagedError
from probe.text.axis import TokenAxis
from probe.text.display import vocabulary_displays
from probe.text.spans import (
    Span,
    beginning_dropped,
    byte_offsets,
    changed_groups,
    is_plain,
    snap,
    spread_bytes,
    units,
    without_added_markers,
)

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


class Side:
    """One tokenizer: a private copy that keeps whole offsets, its special tokens by role, its display table."""

    def __init__(self, tokenizer: Any, role: str) -> None:
        self._backend, described = _private_copy(tokenizer, role)
        _refuse_empty(self._backend, role)
        self._eos = _end_id(tokenizer, self._backend, role)
        self.fingerprint = _fingerprint(self._backend, self._eos)
        mask = self._backend.encode("a").special_tokens_mask
        self._prefix = (mask + [0]).index(0)
        self._suffix = 0 if self._prefix == len(mask) else (mask[::-1] + [0]).index(0)
        self._bos = _role_id(tokenizer, ("bos_token_id", "cls_token_id"), BEGIN_NAMES)
        self._byte_level = _mentions(described, "ByteLevel")
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        marker = "Ġ" if self._byte_level else "▁"
        self._marker_ids = {vocabulary[marker]} if marker in vocabulary else set()
        bytes_wanted = [] if self._byte_level else [f"<0x{byte:02X}>" for byte in range(256)]
        self._byte_ids = {vocabulary[name]: byte for byte, name in enumerate(bytes_wanted) if name in vocabulary}

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._backend.encode_batch(list(texts))

    @property
    def eos(self) -> int:
        """The token that ends a text, by role."""
        return self._eos

    def prompt_ids(self, prompt: str, most: int) -> tuple[tuple[int, ...], bool]:
        """What a response is generated from: [BOS?] + prompt, without what ends a text; and whether it was cut.

        A prompt above ``most`` ids loses its beginning, as in training. Where nothing is left before the response (an
        empty prompt), the token that begins a text stands there, else the one that ends it.
        """
        begun = beginning_dropped(prompt, most)
        ids = self.encode([begun])[0].ids
        head, body = ids[: self._prefix], ids[self._prefix : len(ids) - self._suffix]
        kept = body[max(0, len(body) - max(0, most - len(head))) :]
        begin = self._eos if self._bos is None else self._bos
        return tuple(head + kept) or (begin,), len(kept) < len(body) or begun != prompt

    def token_id(self, piece: str) -> int | None:
        """The id of a raw vocabulary piece; None where the vocabulary has no such piece."""
        return self._backend.token_to_id(piece)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of ``ids``."""
        return str(self._backend.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def tokenized(self, encoding: Encoding, prompt: str, text: str, *, cut: bool) -> TokenizedSide:
        """The side of one encoded prompt + text; with ``cut`` the text goes on, and there is no EOS target."""
        ids, last, at = encoding.ids, len(encoding.ids) - self._suffix, byte_offsets(text)
        first, spans = self._byte_spans(ids, encoding.offsets[:last], prompt, text, at)
        kept = ids[:last]
        if not cut:
            kept.append(self._eos)
            spans.append((at[-1], at[-1]))
        targets = kept[first:]
        if first == 0:  # nothing stands before the first target: it gets the token that begins a text as its input
            kept, first = [self._eos if self._bos is None else self._bos, *kept], 1
        pieces, displays = self._vocabulary
        axis = TokenAxis(
            tokens=tuple([displays[i] for i in targets]),
            pieces=tuple([pieces[i] for i in targets]),
            ids=tuple(targets),
            spans=tuple(spans),
        )
        return TokenizedSide(tuple(kept), first - 1, axis)

    def _byte_spans(
        self, ids: Sequence[int], offsets: Sequence[Span], prompt: str, text: str, at: Sequence[int]
    ) -> tuple[int, list[Span]]:
        """The index of the first response token, and the spans [start, end) of all, in bytes of the response.

        ``offsets`` are characters of prompt + text; ``at`` gives the byte of each character boundary of the text.
        """
        border, joint = len(prompt), prompt + text
        changed: list[Span] = []
        if not self._byte_ids.keys().isdisjoint(ids):
            offsets = spread_bytes(offsets, [self._byte_ids.get(i) for i in ids], joint, self._normal)
        if not text.isascii() and self._backend.normalizer is not None:
            changed = changed_groups(joint, border, self._normal)
        first = self._first_of_response(offsets, border, min([border, *(low for low, _ in changed[:1])]))
        offsets = snap(offsets[first:], changed) if changed else offsets[first:]
        if not is_plain(offsets):
            marked = [i in self._marker_ids for i in ids[first:]]
            offsets = units(without_added_markers(offsets, marked, joint, self._is_space))
            while offsets and offsets[0][0] == offsets[0][1] < border:  # the marker of a letter that the prompt begins
                first, offsets = first + 1, offsets[1:]
        if offsets and offsets[0][0] < border:  # the first unit straddles the border, and is clipped to the response
            offsets = [(max(start, border), max(end, border)) for start, end in offsets]
        return first, [(at[start - border], at[end - border]) for start, end in offsets]

    def _first_of_response(self, offsets: Sequence[Span], border: int, reach: int) -> int:
        """Index of the first token that covers a response character; ``reach``: a letter begun in the prompt counts."""
        first = len(offsets)
        while first > self._prefix and (offsets[first - 1][1] > reach or offsets[first - 1][0] >= border):
            first -= 1
        return first

    def _normal(self, text: str) -> str:
        """What the normaliser makes of ``text`` inside a longer text (a 0 stands before it)."""
        if self._backend.normalizer is None:
            return text
        return str(self._backend.normalizer.normalize_str("0" + text)).partition("0")[2]

    def _is_space(self, character: str) -> bool:
        return self._normal(character)[:1] in (" ", "▁")

    def offset_of_kept(self, encoding: Encoding, start: int, budget: int) -> int:
        """First character of the prompt to keep, if at most ``budget`` of its ``start + 1`` ids may stay."""
        dropped = start + 1 - budget
        return encoding.offsets[self._prefix + dropped][0] if dropped > 0 else 0

    @property
    def displays(self) -> list[str]:
        """Display form of every id."""
        return self._vocabulary[1]

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
    backend, _ = _private_copy(tokenizer, "given")
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


def _private_copy(tokenizer: Any, role: str) -> tuple[Tokenizer, dict[str, Any]]:
    """A copy with no padding, truncation, dropout or trimmed offsets; and the copy's description without its model."""
    try:
        described = json.loads(_backend(tokenizer, role).to_str())
    except Exception as error:  # tokenizers raises a bare Exception for parts written in Python
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(
            f"the {role} tokenizer cannot be copied ({error}). Wanted one that a tokenizer.json can describe whole."
        ) from error
    described["padding"] = described["truncation"] = None
    if "dropout" in described["model"]:
        described["model"]["dropout"] = None
    _keep_whole_offsets(described.get("post_processor"))
    model = described.pop("model")
    return Tokenizer.from_str(json.dumps({**described, "model": model})), described


def _refuse_empty(backend: Tokenizer, role: str) -> None:
    """A tokenizer without a vocabulary gives no ids for any text, and its maps would have one row or column."""
    plain = FINGERPRINT_TEXT.partition("<s>")[0]  # the rest spells out special tokens, which are no vocabulary
    if not backend.encode(plain, add_special_tokens=False).ids:
        raise DamagedError(
            f"the {role} tokenizer turns a text of {len(plain)} characters into no tokens: its vocabulary "
            f"has {backend.get_vocab_size()} entries. Put the tokenizer.json that belongs to the model beside it."
        )


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
