"""Who draws maps and gold for a notebook: what can draw (:mod:`probe.api`) says so here, when it is loaded.

These values lie far below all that draws; without a drawer a notebook shows their ``repr``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_DRAWERS: dict[type, Callable[[Any], str]] = {}


def draw_with(kind: type, drawer: Callable[[Any], str]) -> None:
    """From now on, ``drawer`` makes the HTML of values of this kind."""
    _DRAWERS[kind] = drawer


def html_of(value: object) -> str | None:
    """The HTML of a value; None, which a notebook takes for "show the repr", where nobody draws its kind."""
    drawer = next((_DRAWERS[kind] for kind in type(value).__mro__ if kind in _DRAWERS), None)
    return drawer(value) if drawer is not None else None
