"""Models that the public code saved: a Hugging Face directory (pickled or not), with a LoRA adapter merged into it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from probe.errors import DamagedError, UnsafeError
from probe.models.loading import load_causal_lm
from probe.models.safety import refuse_adapter, refuse_code
from probe.reference.files import read_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What of an adapter_config.json decides the merged weights. peft is given these alone: others can name modules to load.
LORA_SETTINGS = (
    "r", "target_modules", "lora_alpha", "fan_in_fan_out", "bias", "use_rslora", "use_dora", "modules_to_save",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "exclude_modules", "lora_bias",
)  # fmt: skip
HARMLESS = (
    "task_type", "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "init_lora_weights", "megatron_core", "runtime_config", "qalora_group_size",
)  # fmt: skip


def read_model(directory: Path, adapter: Path | None = None) -> PreTrainedModel:
    """The causal language model of ``directory`` in float32, ``adapter`` merged into it.

    ``pytorch_model*.bin`` is read where there is no safetensors file: the public DSKD code saves its models so.

    Raises:
        DamagedError: not a model or adapter, or a piece is missing or of another shape.
        UnsafeError: it would run code or reach outside.
    """
    if any(directory.glob("*.safetensors")):
        model = load_causal_lm(directory)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            model = load_causal_lm(_without_pickles(directory, Path(scratch)))
    return model if adapter is None else _merged(model, adapter)


def embedding_table(model: PreTrainedModel) -> Float[Tensor, "vocab d"]:
    """The input embeddings of a model, in float32."""
    table: Tensor = model.get_input_embeddings().weight  # type: ignore[operator, union-attr, assignment]
    return table.detach().float()


def _without_pickles(directory: Path, scratch: Path) -> Path:
    """The same model as safetensors, in ``scratch``."""
    if not (directory / "config.json").is_file():
        raise DamagedError(f"{directory} is not a model directory: it has no config.json.")
    refuse_code(directory)
    refuse_adapter(directory)
    files = sorted(directory.glob("pytorch_model*.bin"))
    if not files:
        raise DamagedError(f"{directory} has neither *.safetensors nor pytorch_model*.bin; it is not a complete model.")
    shutil.copyfile(directory / "config.json", scratch / "config.json")
    for number, file in enumerate(files):
        state = {name: tensor.clone().contiguous() for name, tensor in read_tensors(file).items()}
        save_file(state, scratch / f"model-{number:05d}.safetensors", {"format": "pt"})
    if len(files) == 1:
        (scratch / "model-00000.safetensors").rename(scratch / "model.safetensors")
    else:
        _write_index(scratch)
    return scratch


def _write_index(scratch: Path) -> None:
    from safetensors import safe_open

    weight_map: dict[str, str] = {}
    for file in sorted(scratch.glob("*.safetensors")):
        with safe_open(file, framework="pt") as handle:
            weight_map |= dict.fromkeys(handle.keys(), file.name)
    described = {"metadata": {}, "weight_map": weight_map}
    (scratch / "model.safetensors.index.json").write_text(json.dumps(described), encoding="utf-8")


def _merged(model: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """W + scaling · B A for every adapted layer (arXiv 2106.09685), by peft."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    if not (adapter / "adapter_config.json").is_file():
        raise DamagedError(f"{adapter} is not a LoRA adapter: it has no adapter_config.json.")
    refuse_code(adapter)
    settings = _lora_settings(adapter / "adapter_config.json")
    files = [file for name in ("safetensors", "bin") if (file := adapter / f"adapter_model.{name}").is_file()]
    if not files:
        raise DamagedError(f"{adapter} has neither adapter_model.safetensors nor adapter_model.bin.")
    state = read_tensors(files[0])
    try:
        wrapped: Any = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", inference_mode=True, **settings))
        wanted = {name for name in wrapped.state_dict() if "lora_" in name or "modules_to_save" in name}
        result: Any = set_peft_model_state_dict(wrapped, state)
    except Exception as error:  # peft raises whatever its parts raise
        raise DamagedError(f"{adapter} does not fit the model ({type(error).__name__}: {error}).") from error
    missing = sorted(wanted & set(result.missing_keys))
    if missing or result.unexpected_keys:
        raise DamagedError(
            f"{adapter}: wanted {len(wanted)} adapter tensors, found {len(state)}; missing {missing[:2]}, not wanted "
            f"{sorted(result.unexpected_keys)[:2]}. The adapter belongs to another model."
        )
    merged: PreTrainedModel = wrapped.merge_and_unload()
    return merged.eval()


def _lora_settings(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind, settings = values.get("peft_type"), {name: values[name] for name in LORA_SETTINGS if name in values}
    except (ValueError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is not the configuration of an adapter ({error}).") from error
    if kind != "LORA":
        raise DamagedError(f"{path}: wanted a LORA adapter, found {kind!r}. Merge it with its own code first.")
    if others := sorted(name for name, value in values.items() if value and name not in (*LORA_SETTINGS, *HARMLESS)):
        raise UnsafeError(f"{path} sets {', '.join(map(repr, others))}, which this import does not know; refused.")
    if not isinstance(settings.get("target_modules"), list):  # a string is a pattern, which can take for ever to match
        raise DamagedError(f"{path}: wanted a list of names as target_modules, got {settings.get('target_modules')!r}.")
    return settings
