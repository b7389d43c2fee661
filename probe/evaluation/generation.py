"""Responses of a student: batched sampling whose draws depend on the seed and the example alone.

Each response has its own stream of uniform numbers, so batch mates, batch size and order change nothing but the last
bits of the logits. In float64 no draw turned on those (40 responses, 1,379 tokens, 2026); in float32 one did. Two
checkpoints get the same numbers for the same example and seed, which makes their comparison a paired one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probe.errors import UsageError
from probe.evaluation.decoding import Decoding, Way, find_way
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
    """A drawn response. ``ended``: by its end token, not by the limit. ``prompt_cut``: the prompt was too long.

    ``way``: how, where not as usual (:class:`probe.evaluation.decoding.Way`).
    """

    text: str
    n_tokens: int
    ended: bool
    prompt_cut: bool
    way: str = ""


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
    model: PreTrainedModel,
    side: Side,
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    batch_size: int = 16,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[int, Response]]:
    """Yield (index of the request, its response), the shortest prompts first.

    Args:
        model: a causal language model in evaluation mode; one that cannot be run as it is, is changed
            (:func:`probe.evaluation.decoding.find_way`).
        side: its tokenizer.
        report: is told where the model is not run as usual.

    Raises:
        UsageError: prompt and response together would have more positions than the model.
        NonFiniteError: NaN or infinity in the logits.
        DamagedError: the model's own forward fails.
    """
    _check_positions(model, sampling)
    rows = [_row(place, request, side, sampling) for place, request in enumerate(requests)]
    rows.sort(key=lambda row: (len(row.ids), row.place))
    if not rows:
        return
    way = find_way(model, [row.ids for row in rows], side.eos)
    if str(way):
        report(f"{type(model).__name__} cannot be run as usual, so its responses are drawn with {way}")
    size = batch_size if way.batched else 1
    for first in range(0, len(rows), size):
        yield from _batch(model, side, rows[first : first + size], sampling, way)


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
    model: PreTrainedModel, side: Side, rows: Sequence[_Row], sampling: Sampling, way: Way
) -> Iterator[tuple[int, Response]]:
    """Draw one batch, padded on the left; a row that has ended is dropped, so that time goes by tokens drawn.

    A loop of its own: `generate` keeps ended rows to the end, and mixes in the model's generation_config.json (top-k,
    penalties, other end tokens), which must not change what is measured.
    """
    decoding = Decoding(model, way, [row.ids for row in rows], side.eos)
    draws = torch.from_numpy(np.stack([row.draws for row in rows])).to(model.device)
    drawn: list[list[int]] = [[] for _ in rows]
    alive = list(range(len(rows)))
    for step in range(sampling.max_new_tokens):
        tokens = pick(decoding.logits(), draws[:, step], sampling.temperature, sampling.top_p)
        decoding.append(tokens)
        for place, token in zip(alive, tokens.tolist(), strict=True):
            drawn[place].append(token)
        alive = [place for place in alive if drawn[place][-1] != side.eos]
        if not alive:
            break
        going = tokens != side.eos
        if not bool(going.all()):
            draws = draws[going]
            decoding.keep(going)
    for row, ids in zip(rows, drawn, strict=True):
        ended = ids[-1] == side.eos
        kept = ids[:-1] if ended else ids
        yield row.place, Response(side.decode(kept).strip(), len(kept), ended, row.cut, str(way))
