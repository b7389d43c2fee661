"""What the server does before its first visitor: load libraries and maps, begin to score, draw one map unseen."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from pathlib import Path

import PIL.ImageFile  # noqa: F401, this and the next are what Streamlit loads when the first page is drawn
import streamlit.emojis  # noqa: F401, compiles a long pattern
from streamlit import dataframe_util, env_util

from app.data import view
from app.data.listing import Filters, chosen, with_difference
from app.data.source import Source
from app.draw import map as draw_map
from app.draw.palette import LIGHT
from app.server import cache
from app.server.arguments import arguments
from app.server.turns import PAGES
from probe.errors import ProbeError

QUIET = 3.0  # seconds without a page, after which the server has time for more
PATIENCE = 5.0  # seconds; the scores of a bigger store come while people already look


def warm_up(argv: list[str]) -> None:
    """Fill the caches for the page without a query. What is wrong is left for the page to explain."""
    with contextlib.suppress(ProbeError, OSError):
        options = arguments(argv)
        source = cache.open_source(options.maps, None)
        if options.gold is not None:
            with contextlib.suppress(ProbeError, OSError):
                source = cache.open_source(options.maps, options.gold)
        if options.gold is not None and source.golds:
            threading.Thread(target=_prepare_report, args=(source, options.gold), name="report", daemon=True).start()
        cache.board(source).wait(PATIENCE)
        if len(source.store):
            _rehearse(source)
    _set_aside()


def _prepare_report(source: Source, gold: Path) -> None:
    """Begin to make Overview's report once nobody waits for a page: the first one is to be there soon."""
    time.sleep(QUIET)  # the first visitor is about to come
    while PAGES.quiet < QUIET:
        time.sleep(0.2)
    cache.report_is_made(source, gold)


def _set_aside() -> None:
    """Tell the garbage collector that what is loaded by now stays: it stopped all visitors 35 ms to look through it."""
    gc.collect()
    gc.freeze()


def _rehearse(source: Source) -> None:
    """Do what the first page does: 0.2 s the first time and 0.06 s from then on, mostly imports (November 2026)."""
    import app.page_browse  # noqa: F401

    env_util.is_repl()  # looks through all loaded modules, once
    first = cache.all_maps(source).iloc[0]
    rows = cache.examples(source, first["checkpoint"], first["direction"], first["normalisation"])
    listed, _ = chosen(with_difference(rows, rows), Filters())
    amap = source.store.read(int(listed["row"].iloc[0]))
    shown = view.shown(amap, source.golds.get(amap.example_id), "token", 0, view.SIZES[-1])
    spec = draw_map.heatmap(
        shown.cells, shown.amap, shown.window, LIGHT, title="", subtitle=(), scale=draw_map.Scale(1.0), step=12
    )
    dataframe_util.convert_arrow_table_to_arrow_bytes(spec["datasets"]["cells"])
