"""What people do with keys, the mouse and the Back button: search, copy a link, steer through a long map, come back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from probe.gold.reading import write_gold
from tests.support.dashboard import app_maps, browser

WHY_NOT = browser.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"browser tests cannot run: {WHY_NOT}")
TEXTS = [*app_maps.example_texts(30), ("long", "prose", app_maps.PROSE * 3)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("screen")
    write_gold(folder / "gold.jsonl", app_maps.make_store(folder / "maps", TEXTS))
    with browser.server("--maps", str(folder / "maps"), "--gold", str(folder / "gold.jsonl")) as address:
        yield address


def open_view(page: Any, address: str, view: str) -> None:
    page.goto(f"{address}/{view}", wait_until="commit")
    page.get_by_text("Provenance").wait_for()
    page.wait_for_function("document.querySelector('.st-key-screen button')?.onclick")  # the script listens
    browser.settle(page)


def query(page: Any) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_back_returns_to_the_clicked_number_in_one_step(page, address):
    open_view(page, address, "overview")
    page.locator("[data-testid='stDataFrame']").first.click(position={"x": 420, "y": 50})
    behind = page.get_by_role("heading", name="The examples behind that number")
    behind.wait_for()
    browser.settle(page)
    number = page.url
    page.locator("[data-testid='stDataFrame']").nth(1).click(position={"x": 17, "y": 35 + 17})
    page.get_by_role("heading", name="Student target", exact=False).first.wait_for()
    browser.settle(page)
    assert "pin" in query(page)
    page.go_back()
    behind.wait_for()
    assert page.url == number and query(page)["n_score"] == "top1_sure"


def test_browse_is_an_address_and_the_list_shows_the_open_example(page, address):
    open_view(page, address, "browse?sort=id&example=example-027")
    assert page.get_by_text("example-027   ·", exact=False).count() == 1
    assert page.get_by_text("Page not found").count() == 0
    scroller = page.locator("[data-testid='stSidebar'] .dvn-scroller")
    page.wait_for_function("element => element.scrollTop > 0", arg=scroller.element_handle())
    top, height = scroller.evaluate("element => [element.scrollTop, element.clientHeight]")
    assert top < 27 * 30 < top + height


def test_a_slash_goes_to_the_search_box_and_is_a_slash_there(page, address):
    open_view(page, address, "?sort=id")
    page.keyboard.press("/")
    page.keyboard.type("a/b")
    assert page.locator("[data-testid='stSidebar'] input[type='search']").input_value() == "a/b"


def test_the_link_is_copied(chrome, page, address):
    chrome.grant_permissions(["clipboard-read", "clipboard-write"])
    open_view(page, address, "?example=example-003&unit=word")
    page.get_by_role("button", name="Copy the link to this view").click()
    page.get_by_text("Link copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url


def test_a_click_on_the_picture_of_the_whole_map_moves_the_window(page, address):
    open_view(page, address, "?example=long&size=20")
    picture = page.locator("[data-testid='stVegaLiteChart']").first.locator("canvas, svg")
    box = picture.bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"])
    page.wait_for_url(lambda url: "row=" in url and "column=" in url)
    assert int(query(page)["row"]) > 20 and int(query(page)["column"]) > 20


def test_a_click_on_a_cell_says_whether_it_is_right_and_does_not_move_the_map(page, address):
    open_view(page, address, "?example=example-000")
    chart = page.locator("[data-testid='stVegaLiteChart']").first
    before = chart.bounding_box()
    cell = chart.locator(".mark-rect path").first.bounding_box()
    page.mouse.click(cell["x"] + 4, cell["y"] + 4)  # beside the mark in its middle
    page.get_by_text(" looks at ", exact=False).wait_for()
    browser.settle(page)
    after = page.locator("[data-testid='stVegaLiteChart']").first.bounding_box()
    assert (after["x"], after["y"]) == (before["x"], before["y"])
    said = page.get_by_text(" looks at ", exact=False).inner_text()
    assert any(word in said for word in ("· right", "· wrong: ", "· no link"))
    page.keyboard.press("u")
    page.get_by_text("Click a cell to pin", exact=False).wait_for()


def test_from_a_token_to_its_map_in_two_steps(page, address):
    open_view(page, address, "tokens")
    page.keyboard.press("/")
    page.keyboard.type("th")
    page.get_by_text(" positions in ", exact=False).wait_for()
    page.wait_for_url(lambda url: "token=th" in url)
    browser.settle(page)
    page.locator("[data-testid='stMain'] [data-testid='stDataFrame']").click(position={"x": 17, "y": 35 + 17})
    page.wait_for_url(lambda url: "example=" in url and "pin=" in url and "/tokens" not in url)
    page.get_by_text(" looks at ", exact=False).wait_for()
