"""Responses of a student: batched sampling whose draws depend on the seed and the example alone.

Each response has its own stream of uniform numbers, so batch mates, batch size and order change nothing but the last
bits of the logits. In float64 no draw turned on those (40 responses, 1,379 tokens, 2026); in float32 one did. Two
checkpoints get the same numbers for the same example and seed, which makes their comparison a paired one.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probe.errors import NonFiniteError, UsageError
from probe.evaluation.options import Sampling
from probe.text.examples import Example
from probe.text.one_side import Side

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Request:
    """One response to be drawn."""

    example: Example
    seed: int


@dataclass(frozen=True)
class Response:
    """A drawn response. ``ended``: by its end token, not by the limit. ``prompt_cut``: the prompt was too long."""

    text: str
    n_tokens: int
    ended: bool
    prompt_cut: bool


@dataclass(frozen=True)
class _Row:
    place: int
    ids: tuple[int, ...]
    cut: bool
    draws: Float[np.ndarray, " position"]


def uniform_draws(example: Example, seed: int, count: int) -> Float[np.ndarray, " position"]:
    """The uniform numbers [0, 1) of one response: a function of the seed, the example's id and its prompt."""
    digest = hashlib.sha256(f"{seed}\0{example.id}\0{example.prompt}".encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little"))).random(count)


def pick(
    logits: Float[Tensor, "batch vocab"], uniform: Float[Tensor, " batch"], temperature: float, top_p: float
) -> Int[Tensor, " batch"]:
    """Draw a token of each row by inverting its cumulative distribution at ``uniform``, in double precision.

    Tokens are in order of their ids; with ``top_p`` below 1 only the smallest set of likeliest tokens that holds so
    much probability counts (Holtzman et al. 2020). Temperature 0 gives the likeliest token.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    weights = torch.softmax(logits.double() / temperature, dim=-1)
    if top_p < 1:
        ordered, order = weights.sort(dim=-1, descending=True)
        outside = ordered.cumsum(dim=-1) - ordered >= top_p  # what the likelier tokens hold is enough already
        weights = weights.masked_fill(outside.gather(-1, order.argsort(dim=-1)), 0.0)
    reached = weights.cumsum(dim=-1)
    below = torch.nextafter(reached[:, -1], torch.zeros_like(reached[:, -1]))  # rounding must not step off the end
    sought = torch.minimum(uniform.double() * reached[:, -1], below)
    return torch.searchsorted(reached, sought.unsqueeze(-1), right=True).squeeze(-1)


def respond(
    model: PreTrainedModel, side: Side, requests: Sequence[Request], sampling: Sampling, *, batch_size: int = 16
) -> Iterator[tuple[int, Response]]:
    """Yield (index of the request, its response), the shortest prompts first.

    Args:
        model: a causal language model in evaluation mode.
        side: its tokenizer.

    Raises:
        UsageError: prompt and response together would have more positions than the model.
        NonFiniteError: NaN or infinity in the logits.
    """
    _check_positions(model, sampling)
    rows = [_row(place, request, side, sampling) for place, request in enumerate(requests)]
    rows.sort(key=lambda row: (len(row.ids), row.place))
    for first in range(0, len(rows), batch_size):
        yield from _batch(model, side, rows[first : first + batch_size], sampling)


def _row(place: int, request: Request, side: Side, sampling: Sampling) -> _Row:
    ids, cut = side.prompt_ids(request.example.prompt, sampling.max_prompt_length)
    return _Row(place, ids, cut, uniform_draws(request.example, request.seed, sampling.max_new_tokens))


def _check_positions(model: PreTrainedModel, sampling: Sampling) -> None:
    most = getattr(model.config, "max_position_embeddings", None)
    wanted = sampling.max_prompt_length + sampling.max_new_tokens
    if most is not None and wanted > most:
        raise UsageError(
            f"a prompt of {sampling.max_prompt_length} and a response of {sampling.max_new_tokens} tokens need "
            f"{wanted} positions; the model has {most}. Lower --max-prompt-length or --max-new-tokens."
        )


@torch.inference_mode()
def _batch(
    model: PreTrainedModel, side: Side, rows: Sequence[_Row], sampling: Sampling
) -> Iterator[tuple[int, Response]]:
    """Draw one batch, padded on the left; a row that has ended is dropped, so that time goes by tokens drawn.

    A loop of its own: `generate` keeps ended rows to the end, and mixes in the model's generation_config.json (top-k,
    penalties, other end tokens), which must not change what is measured.
    """
    ids, mask = _left_padded([row.ids for row in rows], side.eos)
    ids, mask = ids.to(model.device), mask.to(model.device)
    draws = torch.from_numpy(np.stack([row.draws for row in rows])).to(model.device)
    drawn: list[list[int]] = [[] for _ in rows]
    alive, cache = list(range(len(rows))), None
    for step in range(sampling.max_new_tokens):
        logits, cache = _next_logits(model, ids, mask, cache)
        ids = pick(logits, draws[:, step], sampling.temperature, sampling.top_p).unsqueeze(-1)
        mask = torch.cat([mask, torch.ones_like(ids)], dim=-1)
        for place, token in zip(alive, ids[:, 0].tolist(), strict=True):
            drawn[place].append(token)
        alive = [place for place in alive if drawn[place][-1] != side.eos]
        if not alive:
            break
        going = ids[:, 0] != side.eos
        if not bool(going.all()):
            ids, mask, draws = ids[going], mask[going], draws[going]
            cache.batch_select_indices(going.nonzero().squeeze(-1))
    for row, tokens in zip(rows, drawn, strict=True):
        ended = tokens[-1] == side.eos
        kept = tokens[:-1] if ended else tokens
        yield row.place, Response(side.decode(kept).strip(), len(kept), ended, row.cut)


def _left_padded(
    sequences: Sequence[Sequence[int]], filler: int
) -> tuple[Int[Tensor, "batch sequence"], Int[Tensor, "batch sequence"]]:
    """Ids and attention mask; every row's next position is the last one."""
    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), filler)
    mask = torch.zeros_like(ids)
    for place, sequence in enumerate(sequences):
        ids[place, width - len(sequence) :] = torch.tensor(sequence)
        mask[place, width - len(sequence) :] = 1
    return ids, mask


def _next_logits(
    model: PreTrainedModel, ids: Int[Tensor, "batch _"], mask: Int[Tensor, "batch sequence"], cache: Any
) -> tuple[Float[Tensor, "batch vocab"], Any]:
    """Logits of the position after ``ids`` (what the cache does not hold yet of the masked sequence), and the cache."""
    accepted = inspect.signature(model.forward).parameters
    options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
    if "position_ids" in accepted:  # padding on the left has no position; where a model takes none, it has none (ALiBi)
        options["position_ids"] = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    made = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **options)
    logits = made.logits[:, -1]
    if not bool(torch.isfinite(logits).all()):
        raise NonFiniteError("the model's logits hold NaN or infinity; no response can be drawn from it.")
    return logits, made.past_key_values
