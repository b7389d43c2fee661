"""The frame of every page: the command line, the menu, and a message for whatever goes wrong at the start."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts app/ on the path, not the project
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

from app import pages  # noqa: E402
from app.draw import links, screen  # noqa: E402
from app.draw import states as draw_states  # noqa: E402
from app.server.arguments import arguments  # noqa: E402
from app.server.context import open_context  # noqa: E402
from app.server.turns import PAGES  # noqa: E402
from probe.errors import UsageError  # noqa: E402

# Our own picture: an icon by name would be fetched from the network.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 3 3"><rect width="3" height="3" fill="#d6e6f4"/>'
    '<path d="M0 0h1v1h1v1h1v1H2V2H1V1H0z" fill="#1d5f99"/></svg>'
)


def main() -> None:
    """Open what the command line names, then draw the page that the address names."""
    st.set_page_config("Attention maps", ICON, layout="wide", initial_sidebar_state=screen.SIDEBAR)
    try:
        context = open_context(arguments(sys.argv[1:]))
    except UsageError as error:
        return draw_states.draw_problem(error, "The page was started with arguments that it does not know.")
    page = pages.current(context)
    screen.draw_screen(pages.name_of(page))
    draw_states.draw_notes(links.unknown())
    page.run()


if __name__ == "__main__":  # a process that multiprocessing spawns runs this file again, under another name
    with PAGES.turn():
        main()
