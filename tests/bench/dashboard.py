"""The dashboard in Chromium: how soon its first heatmap, the next example and a long map are drawn; its memory."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.frame import Row, below, in_child, skipped

STEPS = 40  # next examples that are timed
LONG = 512  # targets a side
DRAWING = "[data-testid='stVegaLiteChart'] :is(canvas, svg)"
FRESH = f"{DRAWING}:not([data-old])"
LOADED = "headless Chromium, wall clock, load of {:.1f} a core"


def dashboard(quick: bool) -> Iterator[Row]:
    """A fresh server whose first page is timed; then a store of 10,000 maps, stepped through while it is scored."""
    from tests.support.dashboard import browser

    if reason := browser.missing():
        yield skipped("dashboard, first heatmap", "< 2 s", reason)
        return
    with tempfile.TemporaryDirectory() as name:
        count = in_child(make_files, folder=name, count=5 if quick else 86)
        yield _first(browser, name, count)
        yield _overview(browser, name, count)
    with tempfile.TemporaryDirectory() as name:
        count = in_child(make_files, folder=name, count=5 if quick else 2500, long=True)
        yield from _many(browser, name, count, 3 if quick else STEPS)


def _first(browser: Any, folder: str, count: int) -> Row:
    with _server(browser, folder) as address, browser.browser() as context:
        first = browser.open_map(context.new_page(), address)
        again = browser.open_map(context.new_page(), address)
    how = f"fresh server, {count} maps with gold; {again:.2f} s in a second page; {_load()}"
    return below("dashboard, first heatmap", first, 2, how, " s")


def _overview(browser: Any, folder: str, count: int) -> Row:
    """Overview of maps whose report is not kept yet, opened as soon as the server answers; then after another start."""
    waited = []
    for _ in range(2):
        with _server(browser, folder, "another cache") as address, browser.browser() as context:
            waited.append(browser.open_map(context.new_page(), f"{address}/overview"))
    how = (
        f"{count} maps with gold, server started before, report kept on disk; {waited[0]:.1f} s at the first start, "
        f"where a process makes it meanwhile; {_load()}"
    )
    return below("dashboard, Overview", waited[1], 2, how, " s")


def _many(browser: Any, folder: str, count: int, steps: int) -> Iterator[Row]:
    with _server(browser, folder) as address, browser.browser() as context:
        page = context.new_page()
        opened = browser.open_map(page, f"{address}/?sort=id")
        browser.settle(page)
        times = sorted(_seconds_to_next(page) for _ in range(steps))
        how = f"{count} stored maps, key N, {steps} times; the first heatmap took {opened:.2f} s; {_load()}"
        yield below("dashboard, next example, p95", times[int(0.95 * (len(times) - 1))], 0.5, how, " s")
        longest = _seconds_to_long(page)
        how = f"from the search for it to the drawn window of a map of {LONG} x {LONG}; {_load()}"
        yield below(f"dashboard, map of {LONG} x {LONG}", longest, 1.5, how, " s")
        how = f"resident memory of the server after that, {count} maps stored and scored"
        yield below("dashboard, memory", memory_mib(address), 1024, how, " MiB")


@contextlib.contextmanager
def _server(browser: Any, folder: str, cache: str = "cache") -> Iterator[str]:
    """The dashboard of the files in ``folder``, which keeps what it keeps there, too."""
    before = os.environ.get("PROBE_CACHE")
    os.environ["PROBE_CACHE"] = f"{folder}/{cache}"
    try:
        with browser.server("--maps", f"{folder}/maps", "--gold", f"{folder}/gold.jsonl") as address:
            yield address
    finally:
        del os.environ["PROBE_CACHE"]
        os.environ.update({} if before is None else {"PROBE_CACHE": before})


def _seconds_to_next(page: Any) -> float:
    """Press N and wait for another map."""
    _mark(page)
    start = time.perf_counter()
    page.locator("body").press("n")
    page.wait_for_selector(FRESH)
    seconds = time.perf_counter() - start
    page.wait_for_timeout(150)
    return seconds


def _seconds_to_long(page: Any) -> float:
    """Search for the long example and wait until its window is drawn; the search waits 0.3 s for further letters."""
    _mark(page)
    start = time.perf_counter()
    page.get_by_placeholder("id, category or words of the text").fill("the-long-one")
    page.wait_for_selector(FRESH)
    seconds = time.perf_counter() - start
    page.get_by_text(f"the-long-one   ·   prose   ·   {LONG} × {LONG} targets").wait_for()
    return seconds


def _mark(page: Any) -> None:
    """Mark the drawing that is there, so that a new one can be told from it."""
    page.evaluate(f"document.querySelectorAll(\"{DRAWING}\").forEach(drawing => drawing.setAttribute('data-old', ''))")


def memory_mib(address: str) -> float:
    """Resident memory of the process that listens at ``address`` (Linux)."""
    status = (_process(address) / "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def cpu_seconds(address: str) -> float:
    """Seconds of processor time that the process that listens at ``address`` has used (Linux)."""
    fields = (_process(address) / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _process(address: str) -> Path:
    """The entry in /proc of the dashboard at ``address``."""
    port = address.rsplit(":", 1)[1]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode().split("\0")
            if "streamlit" in command and port in command:
                return entry
    raise RuntimeError(f"no process of this machine serves {address}")


def _load() -> str:
    return LOADED.format(os.getloadavg()[0] / (os.cpu_count() or 1))


def make_files(folder: str, count: int, long: bool = False) -> int:
    """The maps of ``count`` examples by two checkpoints in both directions, and gold; returns the number of maps."""
    from probe.gold.reading import write_gold
    from tests.support.dashboard import app_maps

    texts = [(f"example-{k:05d}", *text[1:]) for k, text in enumerate(app_maps.example_texts(58) * (count // 58 + 1))]
    texts = texts[:count]
    if long:
        pieces = app_maps.cut(app_maps.PROSE * 20, 3)[: LONG - 1]
        texts.append(("the-long-one", "prose", "".join(pieces)))
    golds = app_maps.make_store(Path(folder) / "maps", texts, sizes=(3, 3) if long else (3, 5))
    write_gold(Path(folder) / "gold.jsonl", golds)
    return 4 * len(texts)
