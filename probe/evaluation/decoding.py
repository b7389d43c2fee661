"""Next logits of a model, token after token: batched and cached where that is sound for it, else one by one.

Not every family can do all: Bart's learned positions shift with padding on the left, BLOOM and MPT give NaN for it in
float64, the caches of Mamba lose no rows, Mixtral's grouped experts refuse float64. So a model is tried first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probe.errors import DamagedError, NonFiniteError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHES = ("past_key_values", "cache_params", "cache", "state")  # what families call the cache, taken and given
TOLERANCE = {torch.bfloat16: 0.05, torch.float16: 0.01}  # of the largest logit; some layers round in float32 anyway
ROUNDING = 1e-4
Sequences = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Way:
    """How next logits are computed: several rows padded on the left or one alone; with a cache or all over again.

    ``whole_mask``: the mask is that of all tokens; a state, which has no positions, wants that of the new ones alone.
    ``model`` says what of the model had to be changed for it, such as ``dtype:float32``.
    """

    batched: bool = True
    cached: bool = True
    whole_mask: bool = True
    model: str = ""

    def __str__(self) -> str:
        """What differs from the usual way, for signatures; empty where nothing does."""
        parts = (self.model, "" if self.batched else "batch:1", "" if self.cached else "cache:none")
        return "+".join(part for part in parts if part)


STEPS = 3  # tokens from the cache that are tried: some caches fail at the second one
# The fastest first.
WAYS = (Way(), Way(whole_mask=False), Way(batched=False), Way(batched=False, whole_mask=False), Way(False, False))


class Decoding:
    """One batch under way: its sequences so far, and what the model keeps of them."""

    def __init__(self, model: PreTrainedModel, way: Way, sequences: Sequences, filler: int) -> None:
        self._model, self._way, self._cache = model, way, None
        ids, mask = _left_padded(sequences, filler)
        self._ids, self._mask = ids.to(model.device), mask.to(model.device)
        self._new = self._ids
        accepted = inspect.signature(model.forward).parameters
        self._named = next((name for name in CACHES if name in accepted), None) if way.cached else None
        self._options: dict[str, Any] = {"use_cache": self._named is not None} if "use_cache" in accepted else {}
        self._options |= {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        # Padding on the left has no position; where a model takes none, it has none (ALiBi).
        self._positions = "position_ids" in accepted

    def logits(self) -> Float[Tensor, "batch vocab"]:
        """Logits of the position after what is there.

        Raises:
            NonFiniteError: NaN or infinity in them. DamagedError: the model's own forward fails.
        """
        ids = self._new if self._cache is not None else self._ids
        options = dict(self._options)
        if self._positions:
            options["position_ids"] = (self._mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        if self._cache is not None:
            options[str(self._named)] = self._cache
        with _blamed_on(self._model):
            mask = self._mask if self._way.whole_mask else self._mask[:, -ids.shape[1] :]
            made = self._model(input_ids=ids, attention_mask=mask, **options)
            logits = made.logits[:, -1]
            self._cache = getattr(made, self._named) if self._named else None
        if not bool(torch.isfinite(logits).all()):
            raise NonFiniteError("the model's logits hold NaN or infinity; no response can be drawn from it.")
        return logits

    def append(self, tokens: Int[Tensor, " batch"]) -> None:
        """Go on by one token of each row."""
        self._new = tokens.unsqueeze(-1)
        self._ids = torch.cat([self._ids, self._new], dim=-1)
        self._mask = torch.cat([self._mask, torch.ones_like(self._new)], dim=-1)

    def keep(self, going: Bool[Tensor, " batch"]) -> None:
        """Drop the other rows."""
        self._ids, self._mask, self._new = self._ids[going], self._mask[going], self._new[going]
        if self._cache is not None:
            with _blamed_on(self._model):
                self._cache.batch_select_indices(going.nonzero().squeeze(-1))


@torch.inference_mode()
def find_way(model: PreTrainedModel, prompts: Sequences, filler: int) -> Way:
    """The fastest way that gives the logits that the model gives for one whole sequence alone.

    The shortest and the longest prompt are tried, alone and padded, with STEPS tokens more from the cache. Where the
    model itself fails, its experts are computed one by one (which any dtype can), or it is turned to float32, in place.

    Raises:
        DamagedError: its forward fails however it is called.
    """
    ordered = sorted(prompts, key=lambda ids: len(ids))
    short, long = list(ordered[0]), list(ordered[-1])
    if len(short) == len(long):
        short, long = (long, [*long, *long]) if len(long) == 1 else (long[len(long) // 2 :], long)
    short = short[-max(1, len(long) - STEPS) :]  # which leaves the steps as many positions as the prompt has
    failure: DamagedError | None = None
    for change, name in CHANGES:
        if not change(model):
            continue
        try:
            wanted = [_alone(model, ids, filler) for ids in (long, *_begun(short, filler))]
        except DamagedError as error:
            failure = failure or error
            continue
        except NonFiniteError:  # which its responses will explain
            return Way(model=name)
        for way in (replace(one, model=name) for one in WAYS):  # the fastest first
            if _is_sound(model, way, short, long, wanted, filler):
                return way
    raise failure or DamagedError("the model gives other logits for one sequence when it is asked again.")


def _begun(ids: Sequence[int], filler: int) -> list[list[int]]:
    """The sequence, and with each of STEPS tokens more."""
    return [[*ids, *[filler] * step] for step in range(STEPS + 1)]


def _alone(model: PreTrainedModel, ids: Sequence[int], filler: int) -> Float[Tensor, " vocab"]:
    return Decoding(model, Way(False, False), [ids], filler).logits()[0]


def _is_sound(
    model: PreTrainedModel, way: Way, short: Sequence[int], long: Sequence[int], wanted: Sequence[Tensor], filler: int
) -> bool:
    """Whether ``way`` gives the ``wanted`` logits of long, of short, and of short and each token more."""
    if not way.cached:
        return True
    try:
        decoding = Decoding(model, way, [short, long] if way.batched else [short], filler)
        first = decoding.logits()
        found = [first[-1] if way.batched else wanted[0], first[0]]
        for step in range(STEPS):
            decoding.append(torch.full((1 if step else len(first),), filler, device=first.device))
            if way.batched and not step:
                decoding.keep(torch.tensor([True, False], device=first.device))
            found.append(decoding.logits()[0])
    except (DamagedError, NonFiniteError):
        return False
    return all(map(_near, found, wanted))


def _near(found: Tensor, wanted: Tensor) -> bool:
    most = TOLERANCE.get(wanted.dtype, ROUNDING) * float(wanted.abs().max())
    return float((found - wanted).abs().max()) <= most


def _as_it_is(model: Any) -> bool:
    return True


def _eager_experts(model: Any) -> bool:
    """One expert after the other, in any dtype; False for a model that has none."""
    text = model.config.get_text_config()
    if not any(getattr(text, name, 0) for name in ("num_local_experts", "num_experts", "n_routed_experts")):
        return False
    model.set_experts_implementation("eager")
    return True


def _float32(model: Any) -> bool:
    changes = model.dtype == torch.float64
    model.float()
    return bool(changes)


CHANGES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (_as_it_is, ""),
    (_eager_experts, "experts:eager"),
    (_float32, "dtype:float32"),
)


@contextmanager
def _blamed_on(model: Any) -> Iterator[None]:
    """What fails inside a model's forward is the model's; too little memory is nobody's."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        if "not enough memory" in str(error):
            raise
        raise DamagedError(
            f"{type(model).__name__} fails in its own forward pass ({type(error).__name__}: {error}). Try another "
            "--dtype; otherwise no response can be drawn from this model."
        ) from error


def _left_padded(
    sequences: Sequences, filler: int
) -> tuple[Int[Tensor, "batch sequence"], Int[Tensor, "batch sequence"]]:
    """Ids and attention mask; every row's next position is the last one."""
    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), filler)
    mask = torch.zeros_like(ids)
    for place, sequence in enumerate(sequences):
        ids[place, width - len(sequence) :] = torch.tensor(sequence)
        mask[place, width - len(sequence) :] = 1
    return ids, mask
