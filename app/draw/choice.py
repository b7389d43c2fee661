"""Choosing several of a list: all of it in sight where it is short and its names are plain, else a box to pick from."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

import streamlit as st

SHORT = 12  # options that are shown at once
# Pills render their labels as Markdown; these are names in which Markdown finds nothing, and most names are so.
TAME = re.compile(r"(?!.*www\.)[A-Za-z0-9]+(?:(?:[-_/. ]|, )[A-Za-z0-9]+)*", re.IGNORECASE | re.ASCII)


def several(
    label: str, options: Sequence[str], default: Sequence[str], key: str, *, ours: Collection[str] = (),
    named: Callable[[str], str] = str, most: int | None = None, width: int | str = "stretch", tip: str | None = None,
) -> list[str]:  # fmt: skip
    """The chosen options, in their order; the choice is in the link under ``key``.

    Args:
        ours: options whose names were written here, which are plain whatever letters they have.
        named: what an option is called.
        most: how many may be chosen; the first are taken.
    """
    if len(options) <= SHORT and all(option in ours or TAME.fullmatch(named(option)) for option in options):
        place = st.container() if width == "stretch" else st.container(width=width)
        found = place.pills(  # of a width of its own, because others do not wrap
            label, options, selection_mode="multi", default=list(default), key=key, bind="query-params",
            format_func=named, width="stretch", help=tip,
        )  # fmt: skip
    else:
        found = st.multiselect(
            label, options, default=list(default), key=key, bind="query-params", format_func=named,
            max_selections=most, width=width, help=tip,
        )  # fmt: skip
    return [option for option in found or [] if option in options][:most]
