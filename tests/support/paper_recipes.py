"""The recipes of the papers, the sizes of the models that they name, and small models of two families."""

from __future__ import annotations

import dataclasses
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from probe.distillation.config import TrainConfig, read_recipe
from probe.distillation.dry_run.architectures import Architecture, architecture, find_config
from tests.support import ROOT

RECIPES = ROOT / "probe/recipes"
PAPERS = sorted(path.stem for path in RECIPES.glob("paper-*.yaml"))
MISTRAL = "paper-mistral-tinyllama-dskd-cma"
PAIR = ("paper-qwen-gpt2-dskd-cma", "paper-qwen-gpt2-dskd-cma-ga")
SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "n_layer": 5, "n_embd": 32, "n_head": 4, "vocab_size": 64, "n_positions": 64},
    "llama": {
        "model_type": "llama", "num_hidden_layers": 5, "hidden_size": 32, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 80, "vocab_size": 64, "max_position_embeddings": 64,
    },
}  # fmt: skip


def recipe(name: str, **values: Any) -> TrainConfig:
    return dataclasses.replace(read_recipe(RECIPES / f"{name}.yaml"), **values)


def sizes(name: str) -> Architecture:
    return architecture(name, *find_config(name))


def small(name: str, **values: Any) -> PretrainedConfig:
    return AutoConfig.for_model(**SMALL[name], **values)
