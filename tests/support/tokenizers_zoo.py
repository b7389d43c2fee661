"""Tiny tokenizers of every family, trained in milliseconds on a few sentences; offline, the same each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "the cat sat on the mat, and the other cat sat on the other mat",
    "hello world, the end.  two spaces   three spaces    four",
    "def f(x):\n    return x + 1\n\n\tprint('12345 67890')\r\n",
    "naïve café déjà vu cafe\u0301 ﬁne ﬁsh Ⅳ Straße",
    "漢字かな交じり文 漢字 한국어 Ελληνικά Русский язык हिन्दी ไทย العربية",
    "👩\u200d👩\u200d👧 👩\u200d👩\u200d👦 family ☃\ufe0f 🇩🇪 emoji 🙂🙂",
    "https://example.org/a/b?c=d&e=f snake_case camelCase !!! ??? ...",
] * 4
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


@dataclass(frozen=True)
class Zoo:
    """One tokenizer with the facts that an oracle needs.

    ``spelling``: how pieces spell text. ``added_space``: when a space is put in front of the whole text.
    ``form``: the Unicode normal form that the tokenizer brings its text into ("" for none).
    """

    name: str
    build: Callable[[], Tokenizer]
    spelling: Literal["bytes", "metaspace", "wordpiece"]
    added_space: Literal["never", "unless there", "always"] = "never"
    form: Literal["", "NFC", "NFKC"] = ""

    @property
    def tokenizer(self) -> Tokenizer:
        """The trained tokenizer, built once per test run."""
        return _built(self)


@cache
def _built(zoo: Zoo) -> Tokenizer:
    return zoo.build()


def byte_level(*, prefix: bool = False, trim: bool = True, nfc: bool = False, vocab: int = 420) -> Tokenizer:
    """GPT-2's kind: bytes in a printable alphabet; the post-processor trims spaces from offsets, as GPT-2's does."""
    tokenizer = Tokenizer(models.BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(
        tokenizer, trainers.BpeTrainer, vocab_size=vocab, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet
    )
    return tokenizer


def metaspace_bpe() -> Tokenizer:
    """SentencePiece BPE as Llama 2 has it today: Metaspace, byte fallback, <s> in front."""
    tokenizer = _byte_fallback_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    return _begin_with(_train_fallback(tokenizer), "<s>")


def legacy_llama() -> Tokenizer:
    """The same as older files spell it: the normaliser prepends ▁ and replaces spaces; no pre-tokenizer."""
    tokenizer = _byte_fallback_bpe()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _begin_with(_train_fallback(tokenizer), "<s>")


def unigram() -> Tokenizer:
    """SentencePiece Unigram as T5 has it: NFKC, Metaspace, </s> at the end; unknown characters become bytes."""
    trained = Tokenizer(models.Unigram())
    trained.normalizer = normalizers.NFKC()
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    _train(trained, trainers.UnigramTrainer, vocab_size=200, unk_token="<unk>", special_tokens=["<unk>", "</s>"])
    pieces = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    scored = [(piece, -2.0 - 0.01 * rank) for rank, piece in enumerate(pieces)]
    scored += [(piece, -30.0) for piece in BYTE_TOKENS]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=pieces.index("<unk>"), byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return tokenizer


def wordpiece() -> Tokenizer:
    """BERT uncased: control characters cleaned, accents stripped, white space dropped, [CLS] … [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _train(tokenizer, trainers.WordPieceTrainer, vocab_size=260, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _byte_fallback_bpe() -> Tokenizer:
    return Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))


def _train_fallback(tokenizer: Tokenizer) -> Tokenizer:
    """Train with the 256 byte pieces in the vocabulary; they are pieces, not tokens that a text may name."""
    names = ["<unk>", "<s>", "</s>"]
    settings = {"vocab_size": 460, "special_tokens": names + BYTE_TOKENS, "limit_alphabet": 60}
    _train(tokenizer, trainers.BpeTrainer, **settings)
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = [token for token in described["added_tokens"] if token["content"] in names]
    return Tokenizer.from_str(json.dumps(described))


def _begin_with(tokenizer: Tokenizer, name: str) -> Tokenizer:
    begin = [(name, tokenizer.token_to_id(name))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{name} $A", special_tokens=begin)
    return tokenizer


def _train(tokenizer: Tokenizer, trainer: Callable[..., object], **settings: object) -> None:
    tokenizer.train_from_iterator(CORPUS, trainer(show_progress=False, **settings))


ZOO = (
    Zoo("byte-level", byte_level, "bytes"),
    Zoo("byte-level prefix", lambda: byte_level(prefix=True), "bytes", "unless there"),
    Zoo("byte-level nfc", lambda: byte_level(nfc=True), "bytes", form="NFC"),
    Zoo("metaspace bpe", metaspace_bpe, "metaspace", "unless there"),
    Zoo("legacy llama", legacy_llama, "metaspace", "always"),
    Zoo("unigram nfkc", unigram, "metaspace", "unless there", form="NFKC"),
    Zoo("wordpiece uncased", wordpiece, "wordpiece"),
)
BY_NAME = {zoo.name: zoo for zoo in ZOO}
