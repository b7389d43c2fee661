"""What each training method needs of a run: a teacher, one tokenizer, projectors, a query, scales, a discriminator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """``query`` is what an attention map comes from; ``scaled``: teacher states are divided by measured σ."""

    teacher: bool = True
    same_tokenizer: bool = False
    projectors: bool = False  # t2s and s2t
    query: bool = False
    scaled: bool = False
    discriminator: bool = False


METHODS = {
    "sft": Method(teacher=False),
    "kd": Method(same_tokenizer=True),
    "dskd": Method(same_tokenizer=True, projectors=True),
    "dskd-cma": Method(projectors=True, query=True, scaled=True),
    "dskd-cma-ga": Method(projectors=True, query=True, scaled=True, discriminator=True),
    "dskd-cla": Method(projectors=True, query=True, scaled=True),
    "dskd-clp": Method(projectors=True, scaled=True),
    "dskd-imposed": Method(projectors=True, scaled=True),
    "dskd-eta": Method(projectors=True),
    "uld": Method(),
    "mined": Method(),
}
