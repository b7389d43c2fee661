"""Maps without gold, scored against the span rule: what the pages are given then, and the word beside every number."""

from __future__ import annotations

import dataclasses

import streamlit as st

from app.server import cache
from app.server.context import Context
from probe.errors import ProbeError

ON = "scored by the span rule"


def can_score(context: Context) -> bool:
    """Whether there are maps, and no gold to score them by."""
    return context.source is not None and not context.source.golds and len(context.source.store) > 0


def scored(context: Context) -> Context:
    """The same maps with the links of the span rule as their gold."""
    assert context.source is not None
    try:
        path = cache.rule_file(context.source)
        source = cache.open_source(context.maps, path)
    except ProbeError as error:
        return dataclasses.replace(context, gold_problem=error)
    return dataclasses.replace(context, gold=path, source=source, gold_problem=None)


def switch(on: bool) -> None:
    """Say whether what is on screen is scored by the rule."""
    st.session_state[ON] = on


def is_on() -> bool:
    """Whether what is on screen is scored by the rule."""
    return bool(st.session_state.get(ON))


def said(name: str) -> str:
    """The name of a number, with a word that says so where it is one of the rule's."""
    return f"{name} · rule" if is_on() else name
