"""Last hidden states of the positions that count, computing little padding: texts of unlike length run apart.

Two causal facts: no valid position sees padding on its right, and each text is alone in its row. So a batch may be cut
into groups of rows, and nothing but rounding changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from probe.distillation.dataset import SideBatch

# Padding that another call of the model is worth, in tokens: on a CPU the calls of a GPT-2 4 x 256 cost some 30 tokens
# each (November 2026), and larger models relatively less. On a GPU one call is best.
TOKENS_A_CALL = 32


def response_states(model: nn.Module, side: SideBatch) -> Float[Tensor, "position d"]:
    """Last hidden states (after the final norm, what the head reads) of the positions that count, flat, in order.

    The same as one padded batch gives, up to rounding (and to the draws of dropout): values, and the gradients of all
    parameters. The embedding is looked up once, for its gradient has the size of the whole table.
    """
    ends = list(side.ends)
    places = side.places.split(list(side.lengths))
    groups = even_groups(ends) if side.ids.device.type == "cpu" else [list(range(len(ends)))]
    table: Any = model.get_input_embeddings()  # type: ignore[operator]
    looked_up = None
    if len(groups) > 1 and torch.is_grad_enabled() and table.weight.requires_grad:
        if _takes_embeddings(model):
            looked_up = table(side.ids[side.attention_mask.bool()]).split(ends)
        else:
            groups = [list(range(len(ends)))]
    states: list[Tensor] = [side.places.new_empty(0)] * len(ends)
    for group in groups:
        width = max(ends[row] for row in group)
        padded = any(ends[row] < width for row in group)
        given = {"attention_mask": side.attention_mask[group, :width] if padded else None, "use_cache": False}
        if looked_up is None:
            given["input_ids"] = side.ids[group, :width]
        else:
            given["inputs_embeds"] = pad_sequence([looked_up[row] for row in group], batch_first=True)
        hidden = model.base_model(**given).last_hidden_state  # type: ignore[operator]
        for row, one in zip(group, hidden, strict=True):
            states[row] = one[places[row]]
    return torch.cat(states)


def even_groups(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by group, longest first; a group ends where its padding would exceed what another call costs."""
    groups: list[list[int]] = []
    padding = width = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        padding += width - lengths[row]
        if not groups or padding > TOKENS_A_CALL:
            groups.append([])
            padding, width = 0, lengths[row]
        groups[-1].append(row)
    return groups


def _takes_embeddings(model: nn.Module) -> bool:
    """Whether looked-up embeddings may stand for the ids: where every layer looks ids up (Gemma 3n), they may not."""
    base: Any = model.base_model
    every_layer = bool(getattr(base.config, "hidden_size_per_layer_input", 0))
    return "inputs_embeds" in inspect.signature(base.forward).parameters and not every_layer
