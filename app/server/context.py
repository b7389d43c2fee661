"""What every page is given: the opened maps with their gold, where other files lie, and what went wrong on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.data.source import Source
from app.server import cache
from app.server.arguments import Arguments
from probe.errors import ProbeError
from probe.files import MANIFEST


@dataclass(frozen=True)
class Context:
    """The data behind the pages.

    Attributes:
        maps, gold: the paths that the dashboard was started with.
        source: the opened maps with the gold that could be read; None where there are no maps, or broken ones.
        problem: why the maps cannot be shown; None where they can, and where there simply are none yet.
        gold_problem: why the gold cannot be read; the maps are shown without it.
        key_query, training, checkpoints, annotations: see :class:`app.server.arguments.Arguments`.
    """

    maps: Path
    gold: Path | None
    source: Source | None
    problem: ProbeError | None
    gold_problem: ProbeError | None
    key_query: Path | None
    training: Path | None
    checkpoints: Path
    annotations: Path | None


def open_context(options: Arguments) -> Context:
    """Open the maps and read the gold; whatever is wrong with them is kept, for the pages to explain."""
    source, problem, gold_problem = None, None, None
    try:
        if _is_there(options.maps):
            source = cache.open_source(options.maps, None)
    except ProbeError as error:
        problem = error
    if source is not None and options.gold is not None:
        try:
            source = cache.open_source(options.maps, options.gold)
        except ProbeError as error:
            gold_problem = error
    return Context(
        options.maps,
        options.gold,
        source,
        problem,
        gold_problem,
        options.key_query,
        options.training,
        options.checkpoints,
        options.annotations,
    )


def _is_there(maps: Path) -> bool:
    """Whether there is something that wants to be a map store; an empty folder does not."""
    return (maps / MANIFEST).is_file() or maps.is_file() or (maps.is_dir() and any(maps.iterdir()))
