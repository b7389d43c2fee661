"""Tiny random models, tokenizers and checkpoints for tests: five architectures, vocabularies under 400, offline.

``model_directory(path, "llama", "bpe")`` is a plain Hugging Face directory; it works as a student and as a teacher.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probe.distillation.losses.key_query import Discriminator
from probe.extraction.extractor import Extractor
from probe.maps.attention_map import AttentionMap
from probe.models.attention import Normalisation, new_projectors
from probe.models.checkpoint import Checkpoint, CheckpointConfig, embeddings_fingerprint, save_checkpoint
from probe.models.loading import input_embeddings, load_tokenizer
from probe.models.methods import METHODS
from probe.text.tokenization import PairTokenizer

ARCHITECTURES = ("gpt2", "llama", "qwen2", "mistral", "gpt_neox")
CORPUS = (
    "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs!",
    "In 1889 the tower was 312 m tall; in 2022 it was 330.5 m. Call +44 20 7946 0958 before 17:30.",
    "def add(a, b):\n    return a + b  # https://example.org/path?q=1&r=2",
    "naïve café, Ångström, Straße, 北京欢迎你。 Привет мир! 😀👩‍👩‍👧 e\u0301 a\u0308",
    "response answer question instruct below describes task write complete request the the the and and of of to in",
)
TEXTS = (
    ("Say hello.", "Hello, quick brown world!"),
    ("Count.", "1, 2, 3 and 2024."),
    ("中文?", "北京 is 😀 naïve café."),
    ("", "The the the the end"),
    ("One.", "x"),
    ("A long one:", "Pack my box with five dozen liquor jugs; the lazy dog jumps over the fox.\n\n    return a + b"),
)


@functools.cache
def _byte_bpe(size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_bpe(size: int = 320) -> PreTrainedTokenizerFast:
    """GPT-2 style: byte-level BPE, no BOS, ``<|endoftext|>`` ends."""
    return PreTrainedTokenizerFast(tokenizer_object=_byte_bpe(size), eos_token="<|endoftext|>")


@functools.cache  # training breaks ties at random: one vocabulary a process
def _sentencepiece() -> Tokenizer:
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    trainer = trainers.BpeTrainer(vocab_size=390, special_tokens=special, limit_alphabet=60, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    state = json.loads(tokenizer.to_str())  # the byte pieces are ordinary vocabulary, not special tokens
    state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def sentencepiece() -> PreTrainedTokenizerFast:
    """Llama style: ``▁`` markers, ``<s>`` in front, bytes for unknown characters, NFC."""
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=_sentencepiece(), **specials)


@functools.cache
def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def wordpiece() -> PreTrainedTokenizerFast:
    """BERT style: ``##`` continuations, ``[CLS] … [SEP]``; no EOS token, [SEP] has its role."""
    specials = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return PreTrainedTokenizerFast(tokenizer_object=_wordpiece(), **specials)


TOKENIZERS: Mapping[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bpe": byte_bpe,
    "small-bpe": lambda: byte_bpe(280),
    "sentencepiece": sentencepiece,
    "wordpiece": wordpiece,
}


def model(architecture: str, vocabulary: int, *, width: int = 16, seed: int = 0) -> PreTrainedModel:
    """A random causal language model of one or two layers; ``width`` is a multiple of 4."""
    sizes: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if architecture in ("llama", "qwen2", "mistral"):
        sizes["num_key_value_heads"] = 1
    if architecture == "gpt2":  # n_positions is an own name, the rest are aliases
        sizes = {"vocab_size": vocabulary, "n_embd": width, "n_layer": 1, "n_head": 2, "n_positions": 256}
    names = {"gpt2": "GPT2", "llama": "Llama", "qwen2": "Qwen2", "mistral": "Mistral", "gpt_neox": "GPTNeoX"}
    config = getattr(transformers, f"{names[architecture]}Config")(**sizes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = transformers.AutoModelForCausalLM.from_config(config)
        built.get_input_embeddings().weight.data.normal_(0, 1)  # the default 0.02 makes every map almost uniform
    return built.eval()


def model_directory(
    path: Path, architecture: str, tokenizer: str = "bpe", *, width: int = 16, seed: int = 0
) -> Path:
    """Save a tiny model and its tokenizer to ``path`` (a plain Hugging Face directory) and return ``path``."""
    fast = TOKENIZERS[tokenizer]()
    model(architecture, len(fast), width=width, seed=seed).save_pretrained(path)
    fast.save_pretrained(path)
    return path


def checkpoint_directory(
    path: Path,
    teacher: Path,
    *,
    method: str = "dskd-cma",
    architecture: str = "gpt2",
    tokenizer: str = "small-bpe",
    width: int = 12,
    seed: int = 0,
) -> Path:
    """Save a checkpoint of a random student (with random projectors unless ``method`` is sft) and return ``path``."""
    fast, teacher_fast = TOKENIZERS[tokenizer](), load_tokenizer(teacher)
    student = model(architecture, len(fast), width=width, seed=seed)
    table = input_embeddings(teacher)
    pair = PairTokenizer(fast, teacher_fast)
    attention = discriminator = None
    with torch.random.fork_rng():
        torch.manual_seed(1000 + seed)  # not the untrained baseline's projector, which starts from ``seed``
        if method != "sft":
            attention = new_projectors(METHODS[method], width, table.shape[1])
        if method == "dskd-cma-ga":
            discriminator = Discriminator(2 * table.shape[1], 8, 0.0).state_dict()
    config = CheckpointConfig(
        name=path.name,
        method=method,
        teacher=str(teacher),
        student_dim=width,
        teacher_dim=table.shape[1],
        student_vocabulary=len(fast),
        teacher_vocabulary=len(table),
        student_tokenizer=pair.student_fingerprint,
        teacher_tokenizer=pair.teacher_fingerprint,
        teacher_embeddings=embeddings_fingerprint(table),
        normalisation=None if method == "sft" else Normalisation("frozen", sigma_k=0.9, sigma_h=1.1, sigma_e=0.8),
        settings={"seed": seed},
    )
    save_checkpoint(
        path, config, student, fast, attention=attention, discriminator=discriminator, metrics={}, card="# tiny\n"
    )
    return path


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """One JSON object a line, as users write them."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def data_file(path: Path, texts: Iterable[tuple[str, str]] = TEXTS) -> Path:
    """A JSONL file of (prompt, output) texts with ids ``t0``, ``t1``, …"""
    return write_jsonl(
        path,
        ({"id": f"t{i}", "prompt": p, "output": o, "category": "test"} for i, (p, o) in enumerate(texts)),
    )


def extract_maps(
    checkpoint: Checkpoint | Path | str,
    examples: Sequence[Example],
    *,
    teacher: str | None = None,
    max_length: int | None = None,
    **options: Any,
) -> Iterator[AttentionMap]:
    """Yield the maps of one checkpoint for ``examples``, in order; ``options`` as :meth:`Extractor.maps` has them."""
    return Extractor.load([checkpoint], teacher=teacher, max_length=max_length).maps(examples, **options)
