"""Every page from 700 to 1920 pixels, in Chromium: nothing overlaps, nothing is cut, nothing leaves the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probe.gold.reading import write_gold
from tests.support import tiny
from tests.support.dashboard import app_maps, browser
from tests.support.dashboard.app_files import make_clouds, make_run
from tests.support.dashboard.app_layout import faults

WHY_NOT = browser.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"browser tests cannot run: {WHY_NOT}")
WIDTHS = (700, 1024, 1280, 1440, 1920)
RUNS = tuple(f"{method}-seed{seed}" for method in ("dskd-cma", "dskd-cma-ga") for seed in (1, 2, 3))
SET_AGAINST = "&".join(f"runs={name}" for name in RUNS[1:5])
VIEWS = {
    "overview": "overview",
    "a number of the overview": f"overview?n_run={RUNS[0]}&n_score=top1_sure&by=category of the example",
    "browse": "?example=example-001",
    "browse, pinned": "browse?example=example-003&pin=2.1",
    "browse, a long map": "?example=long&size=40&pin=3.2&row=10",
    "compare": "compare?example=example-003",
    "compare, five": f"compare?example=long&size=20&{SET_AGAINST}",
    "tokens": "tokens?result=wrong",
    "key_query": "key_query",
    "training": "training?example=example-001",
    "annotate": "annotate?example=example-001",
    "try_text": "try_text",
    "export": "export",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("layout")
    texts = [*app_maps.example_texts(4), ("long", "prose", app_maps.PROSE * 2)]
    golds = app_maps.make_store(folder / "maps", texts, checkpoints=RUNS, directions=("t2s",))
    write_gold(folder / "gold.jsonl", golds)
    make_clouds(folder / "key_query")
    make_run(folder / "training/cma")
    tiny.checkpoint_directory(folder / "checkpoints/tiny", tiny.model_directory(folder / "teacher", "llama"))
    given = {"maps": "maps", "gold": "gold.jsonl", "checkpoints": "checkpoints"}
    with browser.server(*[part for name, at in given.items() for part in (f"--{name}", str(folder / at))]) as address:
        yield address


@pytest.fixture(scope="module")
def tabs(chrome: Any, address: str) -> dict[str, Any]:
    """All views, each in a tab that stays open: a test only makes the windows wider."""
    opened = {name: chrome.new_page() for name in VIEWS}
    for name, page in opened.items():
        page.goto(f"{address}/{VIEWS[name]}", wait_until="commit")
    for page in opened.values():
        page.get_by_text("Provenance").or_(page.get_by_text("Press the button")).first.wait_for()
    return opened


def lasting_faults(tabs: dict[str, Any], tries: int = 40) -> dict[str, list[str]]:
    """The faults that stay once the pages have told their width and are drawn for it."""
    found: dict[str, list[str]] = {}
    left = dict(tabs)
    for _ in range(tries):
        next(iter(tabs.values())).wait_for_timeout(900)  # the page waits 350 ms before it tells its width
        found = {name: faults(page) for name, page in left.items()}
        left = {name: page for name, page in left.items() if found[name]}
        if not left:
            break
    return {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_leaves_the_page_or_is_cut(tabs, width):
    for page in tabs.values():
        page.set_viewport_size({"width": width, "height": 900})
    assert lasting_faults(tabs) == {}


def test_five_maps_stand_side_by_side(tabs):
    page = tabs["compare, five"]
    page.set_viewport_size({"width": 1280, "height": 900})
    assert lasting_faults({"one": page}) == {}
    charts = page.locator("[data-testid='stVegaLiteChart'][data-testid]").locator("canvas, svg")
    boxes = [chart.bounding_box() for chart in charts.all()][1:6]  # the first is the picture of the whole map
    assert len({round(box["y"]) for box in boxes}) == 1 and len({round(box["x"]) for box in boxes}) == 5


def test_faults_of_a_layout_are_found(page):
    page.set_content(
        "<div data-testid='stMain' style='width: 300px; overflow: auto'>"
        "<div data-testid='stMainBlockContainer' style='width: 300px; position: relative'>"
        "<div data-testid='stText' style='width: 90px'>one</div>"
        "<div data-testid='stText' style='width: 90px; margin-top: -9px'>two</div>"
        "<div data-testid='stText' style='width: 40px; overflow: hidden; white-space: nowrap'>a long line</div>"
        "<div data-testid='stText' style='width: 400px'>wide</div></div></div>"
    )
    said = " ".join(faults(page))
    for fault in ("scrolls sideways", "overlap: one | two", "cut: a long line", "leaves the page: wide"):
        assert fault in said
