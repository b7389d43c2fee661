"""Refuses models whose logits are not their output head applied to their last hidden states.

All losses here make logits as `states @ head.weightᵀ + bias`. Gemma 2 caps its logits after the head, Cohere, Granite
and Falcon H1 scale them, MiniCPM scales the states before, BERT has a layer between: their numbers would be wrong, and
nothing would say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probe.distillation.finite import first_broken
from probe.errors import NonFiniteError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS = 8
FAR = 1000.0  # no cap leaves such a logit alone; those of a short text may be too small for a cap to show
# Settings of transformers 5 that change logits, beside their neutral values; the check itself knows none of them.
KNOWN = {
    "final_logit_softcapping": (None,),
    "logits_soft_cap": (None,),
    "output_logit_soft_cap": (None,),
    "softcap": (None,),
    "logit_scale": (None, 1),
    "logits_scaling": (None, 1),
    "lm_head_multiplier": (None, 1),
    "output_multiplier": (None, 1),
    "logits_mup_width_multiplier": (None, 1),
}


def check_plain_head(model: PreTrainedModel, name: str) -> None:
    """Run ``model`` on TOKENS ids as the losses do and as it does itself; both must give the same logits.

    The head's output is also replaced by logits from −1000 to 1000, which must come out as they are: so a cap is seen
    that is far above the logits of these ids. Costs two forward passes; the modes of all modules are restored.

    Args:
        name: how errors call the model, such as ``the teacher smollm2-135m``.

    Raises:
        UsageError: the logits differ; names the largest deviation, and the setting behind it where it is known.
        NonFiniteError: the logits hold NaN or infinity; names the weight that does.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise UsageError(f"{name} has no output head; wanted a causal language model.")
    with _evaluating(model), torch.no_grad():
        deviation = _deviation(model, head, name)
    if deviation != deviation:
        broken = first_broken(model.state_dict())
        found = f"its weight {broken} does too" if broken else "its weights do not; a wider dtype may help"
        raise NonFiniteError(f"{name}: its logits hold NaN or infinity, and {found}.")
    if deviation:
        blame = f" (its configuration: {', '.join(settings)})" if (settings := _settings(model.config)) else ""
        raise UsageError(
            f"{name}: wanted logits that are the output head applied to the last hidden states, as the losses compute "
            f"them; its own differ by {deviation:.3g} of the largest{blame}. Take a model without scaled or capped "
            "logits; a constant factor can also be multiplied into an untied head's weight, and its setting made "
            "neutral."
        )


def _deviation(model: Any, head: nn.Module, name: str) -> float:
    """The largest relative difference between the model's logits and the losses' logits; 0 for one of rounding."""
    weight: Any = head.weight
    ids = _ids(model.get_input_embeddings().weight)
    states = getattr(model.base_model(input_ids=ids, use_cache=False), "last_hidden_state", None)
    if states is None or states.shape[-1] != weight.shape[1]:
        found = "none" if states is None else f"states {states.shape[-1]} wide"
        raise UsageError(
            f"{name}: wanted a base model whose last hidden states are {weight.shape[1]} wide, as its output head is; "
            f"found {found}. The losses cannot compute its logits."
        )
    wanted = F.linear(states.to(weight), weight, getattr(head, "bias", None))
    far = torch.linspace(-FAR, FAR, len(weight), device=weight.device, dtype=weight.dtype).expand_as(wanted)
    of_head: list[Tensor] = []

    def plant(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
        of_head.append(output)
        return far.clone()

    hook = head.register_forward_hook(plant)
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    epsilon = torch.finfo(weight.dtype).eps
    rounding = max(1e-4, 4 * epsilon)
    if not of_head:  # the head's weight is read without calling the module
        return _relative(logits, wanted, rounding)
    return _relative(of_head[0], wanted, rounding) or _relative(logits, far, epsilon)


def _relative(found: Tensor, wanted: Tensor, rounding: float) -> float:
    """The largest difference in parts of the largest value wanted; 0 up to ``rounding``, infinite for other shapes."""
    if found.shape != wanted.shape:
        return float("inf")
    largest = wanted.float().abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    difference = float((found.to(wanted).float() - wanted.float()).abs().max() / largest)
    return 0.0 if difference <= rounding else difference


def _ids(table: Tensor) -> Tensor:
    """[1, TOKENS] ids from the middle of the vocabulary, where no special tokens are."""
    return (torch.arange(TOKENS, device=table.device) + len(table) // 2)[None] % len(table)


def _settings(config: Any) -> list[str]:
    """Settings known to change logits that are not neutral, as ``name = value``."""
    text = config.get_text_config()
    values = {key: getattr(text, key, getattr(config, key, None)) for key in KNOWN}
    return [f"{key} = {value}" for key, value in values.items() if value not in KNOWN[key]]


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode inside, every module in its own mode after."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
