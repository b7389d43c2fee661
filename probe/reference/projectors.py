"""``projector.pt`` of the public DSKD and DSKD-KQ code to the three affine projectors of cross-model attention.

There it is the state of a ModuleDict of Sequentials: ``query.0.weight``, ``query.0.bias``, and so for ``t2s`` and
``s2t``. A ``projector_config.json`` gives the structures: ``{"query": {"enabled": true, "structure": "2s-2t"}}``. The
published one has one linear layer each. Some layers in a row are folded into one, which is exact; anything that is not
affine is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from probe.errors import DamagedError
from probe.models.attention import CrossModelAttention, SpaceProjectors
from probe.models.checkpoint import load_exactly
from probe.reference.files import read_tensors

NAMES = ("query", "t2s", "s2t")
ROUNDING = 1 + 2**-8  # of a bound that was stored as bfloat16
_ENTRY = re.compile(r"(\w+)(?:\.(\d+))?\.(weight|bias)")


def read_projectors(
    path: Path, config: Path | None, student_dim: int, teacher_dim: int, *, query: bool = True
) -> CrossModelAttention | SpaceProjectors:
    """Read and check the projectors of ``path``; ``config`` is their projector_config.json, where it is at hand.

    Without ``query`` (methods whose alignment is given) a query in the file is left out: the public code makes one for
    every method, and trains it only for some.

    Raises:
        DamagedError: a projector is missing, of another shape than the two models want (gives both), or not affine.
        UnsafeError, NonFiniteError: as :func:`probe.reference.files.read_tensors`.
    """
    if config is not None:
        _check_structures(config)
    layers = _layers(path, read_tensors(path))
    folded: dict[str, Tensor] = {}
    for name in NAMES if query else NAMES[1:]:
        if name not in layers:
            raise DamagedError(
                f"{path} has no projector {name!r}, only {', '.join(sorted(layers))}. Wanted query, t2s and s2t, which "
                "training with cross-model attention saves, or --method of a method that has no query."
            )
        folded[f"{name}.weight"], folded[f"{name}.bias"] = _folded(path, name, layers[name])
    attention = (CrossModelAttention if query else SpaceProjectors)(student_dim, teacher_dim)
    load_exactly(attention, folded, path)
    return attention


def looks_untrained(layer: torch.nn.Linear) -> bool:
    """Whether every weight lies within the bounds of a fresh ``nn.Linear``, ± 1 / sqrt(inputs).

    Training moves the largest ones beyond. A query that was never trained gives maps that look plausible.
    """
    bound = ROUNDING / math.sqrt(layer.in_features)
    return all(bool(tensor.abs().max() <= bound) for tensor in (layer.weight.detach(), layer.bias.detach()))


def _check_structures(path: Path) -> None:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        structures = {name: str(one["structure"]).split("-") for name, one in described.items() if one["enabled"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is not a projector_config.json ({type(error).__name__}: {error}).") from error
    for name, structure in structures.items():
        for layer in structure:
            if not re.fullmatch(r"\d*[st]", layer):
                raise DamagedError(
                    f"{path}: the projector {name!r} has the layer {layer!r} ({'-'.join(structure)}), so it is not "
                    "affine. Wanted linear layers alone: a map of this library is one projection and one softmax."
                )


def _layers(path: Path, state: Mapping[str, Tensor]) -> dict[str, dict[int, dict[str, Tensor]]]:
    """Projector -> place in its Sequential (0 for a bare Linear) -> weight and bias."""
    found: dict[str, dict[int, dict[str, Tensor]]] = {}
    for key, tensor in state.items():
        entry = _ENTRY.fullmatch(key)
        if entry is None or entry[1] not in NAMES:
            raise DamagedError(
                f"{path} holds {key[:80]!r}. Wanted the projectors query, t2s and s2t alone, as in 'query.0.weight'; "
                "this file comes from another method or another version of the code."
            )
        found.setdefault(entry[1], {}).setdefault(int(entry[2] or 0), {})[entry[3]] = tensor
    return found


def _folded(path: Path, name: str, layers: Mapping[int, Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Weight and bias of linear layers in a row, as one: W2 (W1 x + b1) + b2, in double precision."""
    places = sorted(layers)
    if places != list(range(len(places))):
        raise DamagedError(
            f"{path}: the projector {name!r} has weights at the places {places} of its Sequential, so something "
            "without weights (a ReLU) stands between: it is not affine. Wanted linear layers alone."
        )
    weight = bias = None
    for place in places:
        layer = layers[place]
        if set(layer) != {"weight", "bias"} or layer["weight"].ndim != 2 or layer["bias"].ndim != 1:
            shapes = {part: tuple(tensor.shape) for part, tensor in layer.items()}
            raise DamagedError(
                f"{path}: {name}.{place}: wanted a matrix as weight and a vector as bias, found {shapes}."
            )
        step, shift = layer["weight"].double(), layer["bias"].double()
        if weight is not None and bias is not None:
            if step.shape[1] != weight.shape[0]:
                raise DamagedError(
                    f"{path}: {name}.{place} takes {step.shape[1]} numbers, the layer before gives {weight.shape[0]}."
                )
            step, shift = step @ weight, step @ bias + shift
        weight, bias = step, shift
    assert weight is not None and bias is not None
    return weight.to(torch.float32), bias.to(torch.float32)
