"""The link in the address bar: every view has one. What it says is checked here, and what does not fit is said once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

import pandas as pd
import streamlit as st

# Every parameter of every page; "compare" is one of version 0.1.
PARAMETERS = (
    "against", "annotator", "base", "brush", "by", "category", "cause", "checkpoint", "checkpoints", "class", "column",
    "compare", "differ", "direction", "directions", "example", "format", "formats", "from", "least", "length", "looks",
    "maps", "match", "measures", "n_by", "n_group", "n_run", "n_score", "normalisation", "of", "pin", "projection", "q",
    "reference", "relation", "result", "row", "run", "runs", "scale", "score", "second", "size", "sort", "spans",
    "step", "token", "top", "unit", "weights",
)  # fmt: skip
NOTES = "notes of the link"
INSIDE = ("from", "row", "column", "pin")  # parameters that choose inside an example


Range = tuple[float, float]


def note_misfits(
    page: str, allowed: Mapping[str, Sequence[str]], ranges: Mapping[str, Range] | None = None
) -> list[str]:
    """What the link says that does not fit, said once, when the page is opened.

    Args:
        page: names what is opened; each has its own notes.
        allowed: the values that each parameter may have; one that is given several times is looked at each time.
        ranges: the lowest and highest number of each parameter that is one number, or two.
    """
    notes = st.session_state.setdefault(NOTES, {})
    if page not in notes:
        found = [(name, value) for name in allowed for value in _given(name) if value not in allowed[name]]
        ends = ranges or {}
        found += [(name, value) for name in ends for value in _given(name) if not _is_within(value, ends[name])]
        notes[page] = [f"{name} = {value[:200]}{_near(value, allowed.get(name, ()))}" for name, value in found]
    return notes[page]


def unknown(known: Collection[str] = PARAMETERS) -> list[str]:
    """Parameters of the link that no page has, each with the one that was meant, if one is like it."""
    names = [name for name in st.query_params if name not in known]
    return [f"{name[:60]} = {st.query_params[name][:60]}{_near(name, known)}" for name in names]


def _near(word: str, known: Collection[str]) -> str:
    """What was meant, if something is alike."""
    found = difflib.get_close_matches(word[:60], [one for one in known if one], 1, 0.7)
    return f"   (did you mean {found[0]}?)" if found else ""


def list_ranges(maps: pd.DataFrame) -> dict[str, Range]:
    """The parameters of the example list that are numbers: lowest and highest."""
    length = (float(maps["length"].min()), float(maps["length"].max()))
    return {"score": (0.0, 1.0), "differ": (0.0, 1.0), "length": length}


def _given(name: str) -> list[str]:
    return st.query_params.get_all(name)


def _is_within(text: str, ends: Range) -> bool:
    try:
        return ends[0] <= float(text) <= ends[1]  # which NaN is not
    except ValueError:
        return False


def number(name: str, low: int, high: int, default: int) -> tuple[int, list[str]]:
    """A whole number of the link, and a note if it is none or leaves the range."""
    text = st.query_params.get(name)
    if text is None:
        return default, []
    if text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text), []
    return default, [f"{name} = {text[:200]}"]


def put(**values: object) -> None:
    """Write values into the link; None takes a name out of it. New ones are one step back, however many they are."""
    for name in [name for name, value in values.items() if value is None]:
        st.query_params.pop(name, None)
    fresh = {name: str(value) for name, value in values.items() if value is not None}
    fresh = {name: value for name, value in fresh.items() if st.query_params.get(name) != value}
    if fresh:
        st.query_params.update(fresh)


def show(example_id: str) -> None:
    """Name another example; what was chosen inside the last one is over."""
    put(**{"example": example_id, **dict.fromkeys(INSIDE)})
