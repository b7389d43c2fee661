"""The switch "score against the span rule", for maps without gold, and the word that it puts beside every number."""

from __future__ import annotations

import dataclasses

import streamlit as st

from app.server import cache
from app.server.context import Context
from probe.errors import ProbeError

KEY, ON = "spans", "scored by the span rule"
SCORED = ("overview", "browse", "compare", "tokens", "export")  # pages whose numbers and outlines are those of gold
WHAT = (
    "Outlines and scores are those of the span rule, not of gold that people made: tokens whose text overlaps are "
    "possible links, those that start at the same letter sure ones. A map that knows the text's bytes has nearly all "
    "of them right, so use these numbers to sort and to find mistakes, and gold to compare methods."
)


def draw_switch(context: Context, page: str) -> Context:
    """The switch, on pages that score maps which have no gold; and what the page is given then: gold by the rule."""
    st.session_state[ON] = False
    source = context.source
    if page not in SCORED or source is None or source.golds or not len(source.store):
        return context
    on = st.toggle(
        "Score against the span rule (there is no gold)", key=KEY, bind="query-params",
        help="Outlines, scores, sorting and Overview by the links that the tokens' bytes give.",
    )  # fmt: skip
    if not on:
        return context
    try:
        path = cache.rule_file(source)
        scored = cache.open_source(context.maps, path)
    except ProbeError as error:
        return dataclasses.replace(context, gold_problem=error)
    st.session_state[ON] = True
    st.info(WHAT, icon=":material/straighten:")
    return dataclasses.replace(context, gold=path, source=scored, gold_problem=None)


def is_on() -> bool:
    """Whether what is on screen is scored by the rule."""
    return bool(st.session_state.get(ON))


def said(name: str) -> str:
    """The name of a number, with a word that says so where it is one of the rule's."""
    return f"{name} · rule" if is_on() else name
