"""What only a browser shows: the heatmap is drawn, in time, tells about its cells, and no token of it runs."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probe.gold.reading import write_gold
from tests.support.dashboard import app_maps, browser

WHY_NOT = browser.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"browser tests cannot run: {WHY_NOT}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    texts = [*app_maps.example_texts(85), ("hostile", "<b>bad</b>", " ".join(app_maps.HOSTILE))]
    write_gold(folder / "gold.jsonl", app_maps.make_store(folder / "maps", texts))  # 344 maps
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with browser.server("--maps", str(folder / "maps"), "--gold", str(folder / "gold.jsonl")) as address:
        yield address


def hover_text(page: Any, x: float = 0.6, y: float = 0.5, attempts: int = 300) -> str:
    """The tooltip at these fractions of the part of the chart that is in the window; "" where no cell lies."""
    box = page.locator(browser.MAP).first.bounding_box()
    bottom = min(box["y"] + box["height"], 900)
    place = (box["x"] + x * box["width"], box["y"] + y * (bottom - box["y"]))
    tooltip = page.locator("#vg-tooltip-element.visible")
    for attempt in range(attempts):  # the chart hears the pointer only once its scripts run
        page.mouse.move(place[0] + attempt % 3, place[1])
        page.wait_for_timeout(100)
        if tooltip.count():
            break
    return tooltip.inner_text() if tooltip.count() else ""


def test_the_first_heatmap_comes_soon_after_the_page_opens(page, address):
    for _ in range(3):  # other work on the machine only ever adds time: the best of at most three openings
        seconds = browser.open_map(page, address)
        browser.settle(page)
        if seconds < 2:
            break
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"\nfirst heatmap of 344 maps after {seconds:.2f} s, load {load:.1f} a core")
    assert seconds < 2 * max(1.0, 2 * load), "wanted under 2 s on an idle machine"


def test_resting_on_a_cell_tells_about_it(page, address):
    browser.open_map(page, f"{address}/?example=example-005")
    text = hover_text(page)
    sides = [f"{side} {what}" for side in ("student", "teacher") for what in ("token", "piece", "bytes", "index")]
    for name in (*sides, "weight", "rank", "gold link"):
        assert name in text
    assert re.search(r"student piece:?\s+.* \(id \d+\)", text) and re.search(r"teacher bytes:?\s+\d+ to \d+", text)
    assert re.search(r"\d+ in its row of \d+", text) and re.search(r"gold link:?\s+(none|sure|possible)", text)


def test_a_link_opens_what_it_names_and_stepping_changes_it(page, address):
    browser.open_map(page, f"{address}/?example=example-007&direction=s2t&sort=id&checkpoint=dskd-cma-ga&unit=word")
    browser.settle(page)
    assert page.get_by_text("example-007   ·", exact=False).count() == 1
    assert "Attention map of example-007, dskd-cma-ga, s2t, by word" in page.content()
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**example=example-008**")
    page.get_by_text("example-008   ·", exact=False).wait_for()
    assert "direction=s2t" in page.url and "checkpoint=dskd-cma-ga" in page.url and "unit=word" in page.url
    page.locator("body").press("n")
    page.wait_for_url("**example=example-009**")


def test_an_old_link_that_compares_opens_the_page_compare(page, address):
    browser.open_map(page, f"{address}/?example=example-007&checkpoint=dskd-cma-ga&compare=dskd-cma")
    browser.settle(page)
    assert "/compare?" in page.url and "reference=dskd-cma-ga" in page.url
    assert page.locator(browser.MAP).count() == 3  # the reference, the run, and their difference
    assert "Difference of maps, dskd-cma − dskd-cma-ga: the largest is" in page.content()


def test_a_click_pins_row_and_column_and_the_link_keeps_them(page, address):
    browser.open_map(page, f"{address}/?example=example-005&sort=id")
    browser.settle(page)
    box = page.locator(browser.MAP).first.bounding_box()
    page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
    page.wait_for_url("**pin=*")
    pinned = re.search(r"pin=(\d+)\.(\d+)", page.url)
    assert pinned
    heading = page.get_by_role("heading", name=f"Student target {pinned[1]}: where its weight goes")
    heading.wait_for()
    browser.settle(page)
    assert page.locator(browser.MAP).count() == 5  # the map; bars and running text, of the row and of the column
    page.reload()
    heading.wait_for()
    page.get_by_role("button", name="Unpin").click()
    page.wait_for_url(lambda url: "pin=" not in url)
    heading.wait_for(state="detached")


def test_charts_follow_the_theme_of_the_system(chrome, address):
    page = chrome.new_page()
    page.emulate_media(color_scheme="dark")
    browser.open_map(page, f"{address}/?example=example-000")  # few enough marks for an SVG
    browser.settle(page)
    ground = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert ground == "rgb(16, 22, 31)"  # palette.DARK.background
    drawn = page.locator("[data-testid='stVegaLiteChart'] svg").first.evaluate("svg => svg.outerHTML")
    assert "#e6ebf2" in drawn and "#101721" not in drawn  # letters of the dark theme, none of the light one
    page.close()


def test_a_number_of_the_overview_leads_to_its_examples(page, address):
    browser.open_map(page, f"{address}/overview")
    browser.settle(page)
    table = page.locator("[data-testid='stDataFrame']").first
    table.click(position={"x": 420, "y": 50})  # the first run's first score
    page.get_by_role("heading", name="The examples behind that number").wait_for()
    browser.settle(page)
    page.locator("[data-testid='stDataFrame']").nth(1).click(position={"x": 17, "y": 35 + 17})
    page.get_by_role("heading", name="Student target", exact=False).first.wait_for()
    page.wait_for_url(lambda url: "example=" in url and "pin=" in url and "/overview" not in url)
    page.get_by_role("link", name="Overview", exact=True).first.click()
    page.get_by_role("heading", name="How well do the runs", exact=False).wait_for()
    browser.settle(page)
    assert "/overview" in page.url  # the row that was picked does not lead away again


def test_the_menu_leads_from_page_to_page(page, address):
    browser.open_map(page, f"{address}/?example=example-005&sort=id")
    browser.settle(page)
    headings = {"Overview": "How well do the runs", "Compare": "What differs", "Browse": "Which teacher"}
    for name, heading in headings.items():
        page.get_by_role("link", name=name, exact=True).first.click()
        page.get_by_role("heading", name=heading, exact=False).wait_for()
        page.wait_for_selector(browser.MAP)


def test_clicking_a_row_of_the_list_shows_that_example(page, address):
    browser.open_map(page, f"{address}/?sort=id")
    browser.settle(page)
    grid = page.locator("[data-testid='stSidebar'] [data-testid='stDataFrame']")
    grid.click(position={"x": 17, "y": 35 + 30 * 3.5})
    page.wait_for_url("**example=example-003**")
    page.get_by_text("example-003   ·", exact=False).wait_for()


def test_csv_and_png_hold_what_is_shown(page, address):
    browser.open_map(page, f"{address}/?example=example-002&sort=id")
    browser.settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    assert download.value.suggested_filename == "example-002_dskd-cma_t2s.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))
    size = re.search(r"(\d+) × (\d+) targets", page.locator("[data-testid='stMain']").inner_text())
    assert size and len(rows) == min(80, int(size[1])) * min(80, int(size[2]))
    assert rows[0]["student_token"] == "Whe" and rows[0]["teacher_token"] == "When"
    for kind, start in (("PNG", b"\x89PNG\r\n"), ("SVG", b"<?xml")):
        with page.expect_download() as download:
            page.get_by_role("button", name=kind, exact=True).click()
        assert Path(download.value.path()).read_bytes().startswith(start)


def test_hostile_tokens_are_text_and_nothing_leaves_this_machine(page, address):
    browser.open_map(page, f"{address}/?example=hostile&pin=1.1")
    browser.settle(page)
    main = page.locator("[data-testid='stMain']")
    assert all(payload in main.inner_text() for payload in app_maps.HOSTILE)
    places = [(x, y) for x in (0.45, 0.6, 0.75) for y in (0.4, 0.5, 0.6)]
    seen = " ".join(hover_text(page, x, y, attempts=50) for x, y in places)
    assert any(payload in seen for payload in app_maps.HOSTILE)
    page.get_by_text("This map as a table").click()
    browser.settle(page)
    assert page.dialogs == [] and page.evaluate("window.hacked") is None
    for selector in ("img[src='x']", "a[href^='javascript']", ".katex", "main b", "main strong"):
        assert page.locator(selector).count() == 0, selector
    assert not [url for url in page.requests if not re.match(r"(https?|wss?)://localhost:|data:|blob:", url)]


def test_the_server_listens_on_this_machine_only(address):
    import socket

    port = int(address.rsplit(":", 1)[1])
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)} - {"127.0.0.1"}
    for host in (other for other in others if not other.startswith("127.")):
        with socket.socket() as client:
            client.settimeout(2)
            assert client.connect_ex((host, port)) != 0, host
