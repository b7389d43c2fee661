"""What the server does before its first visitor: load the libraries, the maps, and the scores of the first view."""

from __future__ import annotations

import contextlib

from app import cache, draw_list, draw_map, view
from app.arguments import arguments
from probe.errors import ProbeError


def warm_up(argv: list[str]) -> None:
    """Fill the caches for the page without a query. What is wrong is left for the page to explain."""
    with contextlib.suppress(ProbeError, OSError):
        maps, gold = arguments(argv)
        source = cache.open_source(maps, gold)
        if not len(source.store):
            return
        options = draw_list.allowed_links(source.store.index)
        rows = cache.examples(source, options["checkpoint"][0], options["direction"][0], options["normalisation"][0])
        amap = source.store.read(int(rows["row"].iloc[0]))
        cell = view.Window((0, 1), (0, 1))
        draw_map.heatmap(
            view.map_cells(amap, None, cell),
            amap.student.tokens,
            amap.teacher.tokens,
            direction=amap.direction,
            title="",
            subtitle=(),
            vmax=1.0,
            step=11,
        ).to_dict()  # Altair reads its schema here
