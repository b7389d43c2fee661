"""Architectures of student and teacher without their weights: a config.json that is there, else a published one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from probe.distillation.config import TrainConfig
from probe.errors import DamagedError, UsageError
from probe.files import cache_directory
from probe.models.packaged import ALIASES

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# What the config.json of each of these says about its size (read in November 2026; the rest is transformers' default).
GPT2 = {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}
KNOWN: dict[str, dict[str, Any]] = {
    "openai-community/gpt2": GPT2,
    "gpt2": GPT2,
    "Qwen/Qwen1.5-1.8B": {
        "model_type": "qwen2", "num_hidden_layers": 24, "hidden_size": 2048, "num_attention_heads": 16,
        "num_key_value_heads": 16, "intermediate_size": 5504, "vocab_size": 151936, "max_position_embeddings": 32768,
        "tie_word_embeddings": False,
    },
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": {
        "model_type": "llama", "num_hidden_layers": 22, "hidden_size": 2048, "num_attention_heads": 32,
        "num_key_value_heads": 4, "intermediate_size": 5632, "vocab_size": 32000, "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
    "meta-llama/Llama-2-7b-hf": {
        "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 32, "intermediate_size": 11008, "vocab_size": 32000, "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    },
    "mistralai/Mistral-7B-v0.1": {
        "model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000, "max_position_embeddings": 32768,
        "tie_word_embeddings": False,
    },
    "HuggingFaceTB/SmolLM2-360M-Instruct": {
        "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 960, "num_attention_heads": 15,
        "num_key_value_heads": 5, "intermediate_size": 2560, "vocab_size": 49152, "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    "smollm2-135m": {
        "model_type": "llama", "num_hidden_layers": 30, "hidden_size": 576, "num_attention_heads": 9,
        "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A causal language model's size, counted on a model without memory.

    ``linear`` counts the weights of the layers' linear maps, each of which costs two operations a token; ``source``
    says where the configuration comes from.
    """

    name: str
    source: str
    model_type: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions: int | None
    tied: bool
    parameters: int
    linear: int

    @property
    def table(self) -> int:
        """Entries of the input embeddings, and of the output head."""
        return self.vocabulary * self.width


def find_config(name: str) -> tuple[PretrainedConfig, str]:
    """The configuration of a model that a recipe names, and where it was found; nothing is downloaded.

    Looked for in a directory of that name (or its ``student/``), the cache of converted models, the hub's cache on this
    machine, and ``KNOWN``.

    Raises:
        UsageError: found in none of them.
        DamagedError: a config.json that cannot be read.
    """
    from transformers import AutoConfig

    path = Path(name)
    converted = [cache_directory() / "models" / name] if name in ALIASES else []
    for directory in (path / "student", path, *converted):
        if (directory / "config.json").is_file():
            return _read(directory), str(directory / "config.json")
    if path.is_dir():
        raise DamagedError(f"{path} is not a model directory: it has no config.json.")
    if cached := _hub_cache(name):
        return _read(cached), "the hub's cache"
    if name in KNOWN:
        return AutoConfig.for_model(**KNOWN[name]), "published sizes"
    raise UsageError(
        f"the architecture of {name!r} is not known here: wanted a model directory, a model in the hub's cache, or one "
        f"of {', '.join(KNOWN)}. Download its config.json to a directory, and name that."
    )


def _hub_cache(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    return Path(file).parent if isinstance(file, str) else None


def _read(directory: Path) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise DamagedError(f"{directory / 'config.json'} cannot be read ({type(error).__name__}: {error}).") from error


def student_config(config: TrainConfig) -> tuple[PretrainedConfig, str]:
    """Configuration and source of the student: ``new`` by the recipe's ``new_*``, ``transplant`` by the teacher's."""
    if config.student == "transplant":
        body, source = find_config(config.teacher)
        return resized(body, vocab_size=config.transplant_vocabulary or body.vocab_size), source
    if config.student != "new":
        return find_config(config.student)
    from transformers import AutoConfig

    sizes = {
        "n_layer": config.new_layers, "n_embd": config.new_width, "n_head": config.new_heads,
        "vocab_size": config.new_vocabulary, "n_positions": config.new_positions,
    }  # fmt: skip
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return AutoConfig.for_model("gpt2", **sizes, **dropouts), "the recipe's new_* settings"


def resized(config: PretrainedConfig, **sizes: Any) -> PretrainedConfig:
    """The same architecture with other ``sizes``, which are named as in most configurations (GPT-2 has other names)."""
    from transformers import AutoConfig

    names = type(config).attribute_map
    values = {key: value for key, value in config.to_dict().items() if key not in ("layer_types", "dtype")}
    values.update({names.get(key, key): value for key, value in sizes.items()})
    return AutoConfig.for_model(**values)


def meta_model(config: PretrainedConfig) -> PreTrainedModel:
    """The model without memory."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def architecture(name: str, config: PretrainedConfig, source: str) -> Architecture:
    """Count a model's weights. Linear maps are the layers' matrices: everything but tables, biases and norms."""
    sizes: Any = config
    model = meta_model(config)
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    outside = {id(table.weight) for table in tables if table is not None}
    outside |= {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    return Architecture(
        name=name,
        source=source,
        model_type=config.model_type,
        layers=sizes.num_hidden_layers,
        width=sizes.hidden_size,
        heads=sizes.num_attention_heads,
        kv_heads=getattr(sizes, "num_key_value_heads", None) or sizes.num_attention_heads,
        vocabulary=sizes.vocab_size,
        positions=getattr(sizes, "max_position_embeddings", None),
        tied=tables[1] is None or tables[0].weight is tables[1].weight,  # type: ignore[union-attr]
        parameters=sum(p.numel() for p in model.parameters()),
        linear=sum(p.numel() for p in model.parameters() if p.ndim >= 2 and id(p) not in outside),
    )
