"""What only a browser shows of the pages beside Browse: clicks on a map make links, they are there after a reload, …"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.data.annotations import Annotations
from probe.gold.reading import read_gold, write_gold
from tests.support import tiny
from tests.support.dashboard import app_maps, browser
from tests.support.dashboard.app_contrast import faint
from tests.support.dashboard.app_files import make_clouds, make_run

WHY_NOT = browser.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"browser tests cannot run: {WHY_NOT}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    texts = [*app_maps.example_texts(4), ("hostile", "<b>bad</b>", " ".join(app_maps.HOSTILE))]
    write_gold(folder / "gold.jsonl", app_maps.make_store(folder / "maps", texts))
    make_clouds(folder / "key_query")
    make_run(folder / "training/cma")
    make_run(folder / "training/ga", maps=False, top=0.5)
    tiny.checkpoint_directory(folder / "checkpoints/tiny", tiny.model_directory(folder / "teacher", "llama"))
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    # key_query, training and annotations are looked for beside the maps
    given = {"maps": "maps", "gold": "gold.jsonl", "checkpoints": "checkpoints"}
    arguments = [part for name, place in given.items() for part in (f"--{name}", str(folder / place))]
    with browser.server(*arguments) as address:
        yield address


def click_cell(page: Any, row: int, column: int, columns: int) -> None:
    """Click the middle of a cell of the grid, whatever lies on it; a small grid is drawn as SVG, a path a cell."""
    cells = page.locator("[data-testid='stVegaLiteChart'] .mark-rect path")
    box = cells.nth(row * columns + column).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_clicks_make_links_that_are_there_after_a_reload(page, address, folder):
    def saved(version: int) -> Any:
        page.get_by_text(f"Saved as Anna, version {version}").wait_for()
        browser.settle(page)
        return Annotations(folder / "annotations").load("Anna", "example-000")

    columns = len(read_gold(folder / "gold.jsonl")["example-000"].teacher_tokens)
    browser.open_map(page, f"{address}/annotate?annotator=Anna&example=example-000")
    browser.settle(page)
    click_cell(page, 0, 2, columns)
    assert saved(1).links[0, 2] == "sure"
    click_cell(page, 0, 2, columns)
    assert saved(2).links[0, 2] == "possible"
    page.locator("body").press("z")
    assert saved(3).links[0, 2] == "sure"
    click_cell(page, 0, 0, columns)  # a mark lies on that cell; it can be clicked all the same
    assert saved(4).links[0, 0] == "possible"
    page.reload()
    page.get_by_text("Saved as Anna, version 4").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download 1 examples").click()
    Path(folder / "home.jsonl").write_bytes(Path(download.value.path()).read_bytes())
    home = read_gold(folder / "home.jsonl")["example-000"]
    assert home.annotator == "Anna" and (0, 2) in home.sure and (0, 0) in home.possible - home.sure


def test_two_tabs_of_one_annotator_lose_nothing(page, chrome, address, folder):
    other = chrome.new_page()
    link = f"{address}/annotate?annotator=Ben&example=example-000"
    columns = len(read_gold(folder / "gold.jsonl")["example-000"].teacher_tokens)
    for tab in (page, other):
        browser.open_map(tab, link)
        browser.settle(tab)
    click_cell(page, 0, 2, columns)
    page.get_by_text("Saved as Ben, version 1").wait_for()
    click_cell(other, 0, 3, columns)
    other.get_by_text("Saved as Ben, version 2, with 1 changes by someone else").wait_for()
    links = Annotations(folder / "annotations").load("Ben", "example-000").links
    assert {(0, 2), (0, 3)} <= set(links)
    other.close()


def test_resting_on_a_point_tells_its_token(page, address):
    browser.open_map(page, f"{address}/key_query")
    browser.settle(page)
    assert page.locator(browser.MAP).count() == 2
    point = page.locator("[data-testid='stVegaLiteChart'] .role-mark.mark-symbol path").first.bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2 - 3, steps=5)
    said = page.locator("#vg-tooltip-element.visible").inner_text(timeout=20_000)
    assert "token" in said and re.search(r"side:?\s+(query|key)", said)


def test_the_slider_moves_through_the_steps_by_keyboard(page, address):
    browser.open_map(page, f"{address}/training?example=example-001&step=250")
    browser.settle(page)
    page.get_by_role("slider").last.press("ArrowRight")
    page.wait_for_url("**step=500**")
    page.locator("[data-testid='stVegaLiteChart']").last.get_by_text("step-000500").wait_for()


def test_a_text_is_tried_and_a_zip_taken_home(page, address):
    page.goto(f"{address}/try_text", wait_until="commit")
    page.get_by_label("Response").fill("A cat sat.")
    page.get_by_role("button", name="Show the map").click()
    page.locator(browser.MAP).first.wait_for()
    assert "A cat sat" not in page.url
    page.goto(f"{address}/export?formats=csv&category=names", wait_until="commit")
    page.get_by_role("button", name="Make the zip").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"manifest.csv", "manifest.json"} < set(archive.namelist()) and archive.testzip() is None


# --- links: what was chosen is in the address, and whoever opens it sees the same


def pick(page: Any, label: str, option: str) -> None:
    """Choose an option of a select box."""
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def press(page: Any, *names: str) -> None:
    """Press buttons of the choices that show all options, one after another."""
    for name in names:
        page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).first.click()
        browser.settle(page)


def view(page: Any) -> tuple[str, list[str]]:
    """All text of the page and its charts, and what is pressed, switched on or chosen."""
    browser.settle(page)
    chosen = "input:checked, [aria-checked='true'], [aria-pressed='true'], [aria-selected='true']"
    states = [one.inner_text() or one.get_attribute("aria-label") or "" for one in page.locator(chosen).all()]
    fields = page.locator("input").evaluate_all("all => all.map(one => one.value)")
    parts = [page.get_by_test_id(part) for part in ("stMain", "stSidebar")]
    return "\n".join(part.inner_text() for part in parts if part.count()), [*states, *fields]


def choose_training(page: Any) -> None:
    press(page, "ga", "energy distance of queries and keys", "s2t", "chunk", "max")
    pick(page, "Example", "example-002")
    page.get_by_role("slider").last.press("ArrowLeft")
    page.wait_for_url("**step=250**")


def choose_annotate(page: Any) -> None:
    page.get_by_role("textbox", name="Your name").fill("Eve")
    page.get_by_role("textbox", name="Your name").press("Enter")
    pick(page, "Example", "example-003")
    pick(page, "Compare with", "the gold file")
    press(page, "possible")
    page.get_by_text("Show the model's weights").click()
    page.get_by_role("slider").press("ArrowRight")
    page.wait_for_url("**from=1**")


def choose_key_query(page: Any) -> None:
    pick(page, "Checkpoint", "dskd-cma-ga")
    press(page, "t-SNE")


def choose_export(page: Any) -> None:
    pick(page, "Checkpoint", "dskd-cma-ga")
    pick(page, "Category", "names")
    press(page, "s2t", "csv")


CHOICES = {
    "training": (choose_training, {"runs": "cma", "measures": "top-1, sure", "direction": "s2t", "step": "250"}),
    "annotate": (choose_annotate, {"second": "the gold file", "brush": "possible", "weights": "true", "from": "1"}),
    "key_query": (choose_key_query, {"checkpoint": "dskd-cma-ga", "projection": "t-SNE"}),
    "export": (choose_export, {"checkpoint": "dskd-cma-ga", "category": "names", "direction": "s2t", "formats": "png"}),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_address_of_a_view_opens_the_same_view(page, chrome, address, name):
    choose, wanted = CHOICES[name]
    page.goto(f"{address}/{name}", wait_until="commit")
    page.get_by_text("Provenance").wait_for()
    browser.settle(page)
    before = view(page)
    choose(page)
    left = view(page)
    query = {key: value[0] for key, value in parse_qs(urlsplit(page.url).query).items()}
    assert wanted.items() <= query.items() and left != before
    other = chrome.new_page()
    other.goto(page.url, wait_until="commit")
    other.get_by_text("Provenance").wait_for()
    for _ in range(20):  # parts of a page load one after another
        if view(other) == left:
            break
    assert view(other) == left and "do not fit" not in left[0]
    other.close()


# --- letters that can be read


@pytest.mark.parametrize("name", ["browse", "compare", *CHOICES, "try_text"])
def test_letters_have_a_contrast_of_at_least_4_5_in_both_themes(page, address, name):
    grounds = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.goto(f"{address}/{name}", wait_until="commit")
        if name == "try_text":
            page.get_by_role("button", name="Show the map").click()
        page.get_by_text("Provenance").wait_for()
        page.locator("[data-testid='stSkeleton']").first.wait_for(state="detached")
        browser.settle(page)
        grounds.append(page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor"))
        assert faint(page) == []
    assert grounds == ["rgb(255, 255, 255)", "rgb(16, 22, 31)"]


def test_faint_letters_are_found(page):
    page.set_content("<p style='color: #777'>grey</p><p style='opacity: 0.5'>half</p><p>black</p>")
    assert faint(page) == ["grey: 4.48", "half: 3.98"]
