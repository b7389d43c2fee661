"""A tokenizer alone, without weights: from a directory, a tokenizer.json, a GGUF file, an alias or a hub name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from probe.errors import DamagedError

HUB_FILES = ["tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model",
             "chat_template*"]  # fmt: skip


def load_any_tokenizer(name: str | Path) -> Any:
    """The fast tokenizer that ``name`` stands for; nothing of a model is loaded but its tokenizer.

    A file ``*.json`` is a tokenizers file (a tokenizer_config.json beside it is read too), ``*.gguf`` a GGUF model,
    whose tokenizer is rebuilt once and kept in the cache directory (GGUF holds no normaliser: Qwen's NFC is lost). A
    directory needs a tokenizer.json.

    Raises:
        DamagedError: nothing of that name, or nothing in it that gives offsets. UnsafeError: it wants code run.
    """
    path = Path(name)
    if path.is_file():
        return _of_gguf(path) if path.suffix.lower() == ".gguf" else _of_file(path)
    if path.is_dir():
        return _of_directory(path)
    return _of_name(str(name))


def _of_directory(path: Path) -> Any:
    from probe.models.loading import load_tokenizer  # transformers: a second, so only when it is needed
    from probe.models.safety import refuse_code

    refuse_code(path)
    ggufs = sorted(path.glob("*.gguf"))
    if not (path / "tokenizer.json").is_file() and len(ggufs) == 1:
        return _of_gguf(ggufs[0])
    return load_tokenizer(path)


def _of_file(path: Path) -> Any:
    from tokenizers import Tokenizer

    if (path.parent / "tokenizer_config.json").is_file() and path.name == "tokenizer.json":
        return _of_directory(path.parent)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception
        raise DamagedError(
            f"{path}: wanted a tokenizer.json or a *.gguf, found a file that is neither ({error}). Check the path."
        ) from error


def _of_gguf(path: Path) -> Any:
    from probe.models.loading import load_tokenizer
    from probe.models.packaged import cache_directory

    state = path.stat()
    key = hashlib.sha256(f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}".encode()).hexdigest()[:24]
    kept = cache_directory() / "gguf-tokenizers" / key
    if not (kept / "tokenizer.json").is_file():
        _rebuild(path, kept)
    return load_tokenizer(kept)


def _rebuild(path: Path, kept: Path) -> None:
    """Write the tokenizer of a GGUF file as a directory (2 to 15 s for a vocabulary of 32,000 to 150,000, 2026)."""
    from transformers import AutoTokenizer

    from probe.files import atomic_directory

    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
    except Exception as error:
        raise DamagedError(
            f"{path}: its tokenizer cannot be rebuilt ({type(error).__name__}: {error}). transformers reads the GGUF "
            "of some architectures only; give the tokenizer.json of the model instead."
        ) from error
    with atomic_directory(kept) as part:
        tokenizer.save_pretrained(part)


def _of_name(name: str) -> Any:
    from huggingface_hub import snapshot_download

    from probe.models.loading import resolve_model
    from probe.models.packaged import ALIASES

    if name in ALIASES:
        return _of_directory(resolve_model(name))
    try:
        return _of_directory(Path(snapshot_download(name, allow_patterns=HUB_FILES)))
    except DamagedError:
        raise
    except Exception as error:
        raise DamagedError(
            f"wanted a directory, a tokenizer.json, a *.gguf, one of the aliases {sorted(ALIASES)}, or a hub name; "
            f"{name!r} is none that can be reached ({type(error).__name__}). Check the spelling or the network."
        ) from error
