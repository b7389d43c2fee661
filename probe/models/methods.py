"""What each training method needs of a run: a teacher, one tokenizer, projectors, a query, scales, a discriminator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """``query`` is what an attention map comes from; ``scaled``: teacher states are divided by measured σ.

    ``reads_bytes``: maps see the byte gap of two targets; ``in_order``: they come of monotone paths.
    """

    teacher: bool = True
    same_tokenizer: bool = False
    projectors: bool = False  # t2s and s2t
    query: bool = False
    scaled: bool = False
    discriminator: bool = False
    reads_bytes: bool = False
    in_order: bool = False


METHODS = {
    "sft": Method(teacher=False),
    "kd": Method(same_tokenizer=True),
    "dskd": Method(same_tokenizer=True, projectors=True),
    "dskd-cma": Method(projectors=True, query=True, scaled=True),
    "dskd-cma-ga": Method(projectors=True, query=True, scaled=True, discriminator=True),
    "dskd-cma-b": Method(projectors=True, query=True, scaled=True, reads_bytes=True),
    "dskd-cma-m": Method(projectors=True, query=True, scaled=True, in_order=True),
    "dskd-cla": Method(projectors=True, query=True, scaled=True),
    "dskd-clp": Method(projectors=True, scaled=True),
    "dskd-imposed": Method(projectors=True, scaled=True),
    "dskd-eta": Method(projectors=True),
    "uld": Method(),
    "mined": Method(),
    "alm": Method(),
}


def has_discriminator(method: str, matching: str) -> bool:
    """Whether a run trains a discriminator: key-query matching does, but for its contrastive form."""
    return METHODS[method].discriminator and matching != "contrastive"
