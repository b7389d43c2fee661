"""Probe cross-model attention in cross-tokenizer distillation (DSKD-CMA, DSKD-CMA-GA)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from probe.version import __version__ as __version__

if TYPE_CHECKING:
    from probe.api import load as load
    from probe.api import open_maps as open_maps


def __getattr__(name: str) -> Any:
    """Give ``probe.load`` and ``probe.open_maps`` when they are asked for: ``import probe`` alone loads no library."""
    if name in ("load", "open_maps"):
        return getattr(importlib.import_module("probe.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
