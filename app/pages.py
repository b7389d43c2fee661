"""The pages of the dashboard, in the order of the menu. Each is a module `app/page_<name>.py` with `draw(context)`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, NoReturn

import streamlit as st

from app.server import rule
from app.server.context import Context

SCORED = ("overview", "browse", "compare", "tokens", "export")  # pages whose numbers and outlines are those of gold
BY_RULE = (
    "Outlines and scores are those of the span rule, not of gold that people made: tokens whose text overlaps are "
    "possible links, those that start at the same letter sure ones. A map that knows the text's bytes has nearly all "
    "of them right, so use these numbers to sort and to find mistakes, and gold to compare methods."
)


@dataclass(frozen=True)
class Entry:
    """A page: its module and address, its title, the icon of links to it, and what one finds there."""

    name: str
    title: str
    icon: str
    help: str

    def page(self, context: Context | None = None) -> Any:
        """The page for the menu, or (without a context) to link to; its module is loaded when it is first drawn."""

        def draw() -> None:
            self._draw(context)

        default = self.name == DEFAULT
        return st.Page(
            draw, title=self.title, url_path=HOME if default else self.name, default=default, help=self.help
        )  # fmt: skip

    def by_name(self, context: Context) -> Any:
        """The page of an address without a name under its own name too, /browse; not in the menu twice."""

        def draw() -> None:
            self._draw(context)

        return st.Page(draw, title=self.title, url_path=self.name, visibility="hidden")

    def _draw(self, context: Context | None) -> None:
        assert context is not None, "a page without a context is only linked to"
        importlib.import_module(f"app.page_{self.name}").draw(_with_gold(context, self.name))


def _with_gold(context: Context, page: str) -> Context:
    """The context of a page; where it has no gold, with a switch that scores by the span rule instead."""
    rule.switch(False)
    if page not in SCORED or not rule.can_score(context):
        return context
    on = st.toggle(
        "Score against the span rule (there is no gold)", key="spans", bind="query-params",
        help="Outlines, scores, sorting and Overview by the links that the tokens' bytes give.",
    )  # fmt: skip
    if not on:
        return context
    rule.switch(True)
    st.info(BY_RULE, icon=":material/straighten:")
    return rule.scored(context)


ENTRIES = (
    Entry(
        "overview", "Overview", ":material/leaderboard:", "Every run beside baselines and ceiling, and where it fails."
    ),
    Entry("browse", "Browse", ":material/grid_on:", "Every map: search, sort, and look at it cell by cell."),
    Entry(
        "compare", "Compare", ":material/compare:", "Runs side by side on one example, and what changed between them."
    ),
    Entry("tokens", "Tokens", ":material/data_object:", "Every position of a run: search tokens, filter by cause."),
    Entry("key_query", "Key-query", ":material/bubble_chart:", "Queries and keys as clouds, before and after."),
    Entry("training", "Training", ":material/show_chart:", "Probe curves, and one example's maps over the steps."),
    Entry("annotate", "Annotate", ":material/edit:", "Say which tokens belong together; saved as you click."),
    Entry("try_text", "Try a text", ":material/text_fields:", "Paste a text and see the map of it, on this machine."),
    Entry("export", "Export", ":material/folder_zip:", "The filtered maps as a zip of pictures and tables."),
)
DEFAULT, HOME = "browse", "home"  # an address without a page, /?example=…, opens this one


def current(context: Context) -> Any:
    """Draw the menu and return the page that the address names, ready to run."""
    menu = [entry.page(context) for entry in ENTRIES]
    return st.navigation([*menu, _entry(DEFAULT).by_name(context)], position="top")


def name_of(page: Any) -> str:
    """The name in ``ENTRIES`` of what :func:`current` returned."""
    return next((entry.name for entry in ENTRIES if entry.title == page.title), DEFAULT)


def go(name: str, **query: str) -> NoReturn:
    """Leave for a page, with what it is to show there."""
    st.switch_page(_entry(name).page(), query_params=query)


def draw_link(name: str, label: str, icon: str | None = None, **query: str) -> None:
    """A link to a page, with what it is to show there, such as ``example="prose-01"``."""
    entry = _entry(name)
    st.page_link(entry.page(), label=label, icon=icon or entry.icon, query_params=query)


def _entry(name: str) -> Entry:
    return next(entry for entry in ENTRIES if entry.name == name)
