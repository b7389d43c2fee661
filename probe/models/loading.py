"""Load a student or teacher: from a directory, a hub name, or an alias for a model that a package ships."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from probe.errors import DamagedError, DiskError, UnsafeError
from probe.files import atomic_file, cache_directory
from probe.models.delta import assembled, delta_embeddings, is_delta, read_delta
from probe.models.packaged import ALIASES, packaged_model
from probe.models.safety import refuse_adapter, refuse_code

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# How configurations name their numbers of layers.
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers", "encoder_layers")
MOST_LAYERS = 10_000  # the deepest models of 2026 have a few hundred; a billion would be built for ever
# What a directory without a tokenizer.json may hold its vocabulary in.
VOCABULARIES = ("vocab.json", "vocab.txt", "*.model", "*.tiktoken", "tekken.json")


def resolve_model(name: str | Path) -> Path:
    """Turn a directory, an alias or a hub name into a local directory of safetensors and tokenizer files.

    Of a checkpoint directory it is the student: ``student/``, a plain model directory or a delta
    (:mod:`probe.models.delta`).

    Raises:
        DamagedError: nothing of that name can be found, or the directory is not a model.
        UnsafeError: the directory wants its own Python code run, or holds pickled weights only.
    """
    if str(name) in ALIASES:
        return packaged_model(str(name), ALIASES[str(name)])
    path = Path(name)
    if not path.exists():
        path = _from_hub(str(name))
    if (path / "student" / "config.json").is_file():
        path = path / "student"
    check_safe(path)
    return path


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except Exception as error:
        raise DamagedError(
            f"wanted a model directory, one of the aliases {sorted(ALIASES)}, or a hub name; "
            f"{name!r} is none that can be reached ({type(error).__name__}). Check the spelling or the network."
        ) from error


def check_safe(path: Path) -> None:
    """Refuse a model directory that would run code; complain about one that is not a model."""
    _read_config(path)
    refuse_code(path)
    refuse_adapter(path)
    if not any(path.glob("*.safetensors")):
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for file in path.glob(pattern))
        if pickled:
            raise UnsafeError(
                f"{path} has only pickled weights ({pickled[0]}), which can execute code; refused. "
                "Save the model as safetensors first."
            )
        raise DamagedError(f"{path} has no *.safetensors weights; it is not a complete model directory.")


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise DamagedError(f"{path} is not a model directory: it has no config.json.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{file} is not valid JSON ({error}); the model directory is damaged.") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise DamagedError(f"{file} names no model_type; it is not the configuration of a model.")
    parts: list[dict[str, Any]] = [part for part in (config, config.get("text_config")) if isinstance(part, dict)]
    for part in parts:
        for name in LAYERS:
            if isinstance(number := part.get(name), (int, float)) and not 0 <= number <= MOST_LAYERS:
                raise DamagedError(f"{file}: {name} is {number}, wanted at most {MOST_LAYERS}; the file is damaged.")
    return config


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a model directory; a slow one has no offsets, so no spans, and is an error."""
    from transformers import PreTrainedTokenizerFast

    path = Path(path)
    if not path.is_dir():
        raise DamagedError(f"wanted a directory with a tokenizer, found none at {path}. Check the path.")
    refuse_code(path)
    loader: Any = PreTrainedTokenizerFast
    # AutoTokenizer rebuilds some families (Qwen2, Llama) by their own recipe, which changes a tokenizer that differs;
    # and importing it takes a second.
    whole = (path / "tokenizer.json").is_file()
    if not whole:
        if not (path / "tokenizer_config.json").is_file():
            _refuse_no_vocabulary(path)
        from transformers import AutoTokenizer

        loader = AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise DamagedError(f"{path}: its tokenizer cannot be loaded ({type(error).__name__}: {error}).") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise DamagedError(
            f"{path}: wanted a fast tokenizer (tokenizer.json), found {type(tokenizer).__name__}, which gives no "
            "offsets, so tokens cannot be placed in the text. Convert it to a fast tokenizer."
        )
    if not whole:  # a class in Python may need no vocabulary; a fast one does
        _refuse_no_vocabulary(path)
    return tokenizer


def _refuse_no_vocabulary(path: Path) -> None:
    """Without any of a tokenizer's files transformers makes an empty one, of which every text has no tokens."""
    if not any(file.is_file() for pattern in VOCABULARIES for file in path.glob(pattern)):
        raise DamagedError(
            f"{path} has no tokenizer: wanted tokenizer.json there (or {', '.join(VOCABULARIES)}). Save the tokenizer "
            "beside the model: tokenizer.save_pretrained(DIR); model.save_pretrained alone leaves it out."
        )


def best_device() -> torch.device:
    """This process's accelerator where there is one (a GPU), else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def load_causal_lm(path: Path | str, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """The causal language model of a directory, in ``dtype``, in evaluation mode, without any code of its own."""
    from transformers import AutoModelForCausalLM

    path = Path(path)
    check_safe(path)
    if is_delta(path):
        return _load_delta(path).to(dtype)  # type: ignore[arg-type]
    try:
        loader: Any = AutoModelForCausalLM  # its annotations do not know output_loading_info
        model, info = loader.from_pretrained(
            path, dtype=dtype, trust_remote_code=False, use_safetensors=True, local_files_only=True,
            output_loading_info=True, ignore_mismatched_sizes=True,  # so that both shapes can be named below
        )
    except Exception as error:
        raise DamagedError(f"{path}: the model cannot be loaded ({type(error).__name__}: {error}).") from error
    missing = sorted(info["missing_keys"])
    if missing or info["mismatched_keys"]:
        raise DamagedError(
            f"{path}: weights missing {missing[:3]}, of another shape {sorted(map(str, info['mismatched_keys']))[:3]}; "
            "they would stay random. The model directory is damaged."
        )
    return model.eval()


def _load_delta(path: Path) -> PreTrainedModel:
    delta = read_delta(path)
    return assembled(delta, resolve_model(delta.base.name(path)), load_causal_lm)


@functools.lru_cache(maxsize=8)
def embedding_name(path: Path) -> str:
    """The state-dict name of the input embedding, remembered in the cache directory.

    Asking the architecture imports most of transformers (2 s); the answer depends on the configuration alone.
    """
    version = importlib.metadata.version("transformers").encode()
    digest = hashlib.sha256(version + (path / "config.json").read_bytes()).hexdigest()[:32]
    note = cache_directory() / "embedding-names" / f"{digest}.txt"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if (name := note.read_text(encoding="utf-8")).endswith(".weight"):
            return name
    name = _ask_architecture(path)
    with contextlib.suppress(DiskError), atomic_file(note) as part:
        part.write_text(name, encoding="utf-8")
    return name


def _ask_architecture(path: Path) -> str:
    """The name of ``get_input_embeddings().weight`` on a model without memory (meta device)."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path, trust_remote_code=False))
    except Exception as error:
        raise DamagedError(f"{path}: not a causal language model that can be built ({error}).") from error
    table = model.get_input_embeddings().weight
    return next(name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is table)


def input_embeddings(path: Path | str, rows: torch.Tensor | None = None) -> torch.Tensor:
    """The input embedding table [vocabulary, width] in float32, or only its ``rows``; nothing else is read.

    Raises:
        DamagedError: no such tensor, or a damaged file.
    """
    path = Path(path)
    check_safe(path)
    name = embedding_name(path)
    if is_delta(path):
        table = _delta_embeddings(path, name)
        return table if rows is None else table[rows]
    file, key = _locate(path, name)
    try:
        with safe_open(file, framework="pt") as handle:
            table = handle.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{file}: the embedding table {key} cannot be read ({error}).") from error
    return (table if rows is None else table[rows]).float()


def _delta_embeddings(path: Path, name: str) -> torch.Tensor:
    delta = read_delta(path)
    base = path if delta.has_tables else resolve_model(delta.base.name(path))  # its own tables need no base
    return delta_embeddings(delta, base, name, input_embeddings)


def _locate(path: Path, name: str) -> tuple[Path, str]:
    """The safetensors file and key of a parameter; some checkpoints drop or add the base-model prefix."""
    short = name.split(".", 1)[-1]
    for file in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as handle:
                keys = set(handle.keys())
        except (SafetensorError, OSError) as error:
            raise DamagedError(f"{file} is not a readable safetensors file ({error}); it is damaged.") from error
        for key in (name, short):
            if key in keys:
                return file, key
    raise DamagedError(f"{path}: its weights have no tensor {name}, the input embedding. The model is incomplete.")
