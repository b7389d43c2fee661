"""Downloads of the dashboard for print and for mail: names with unit and window, PDF, one page of HTML."""

from __future__ import annotations

import pytest

from app.data import view
from app.data.downloads import Picture, html_bytes, picture_bytes, shown_stem
from tests.support.aligned import axis, make_gold, make_map
from tests.support.payloads import PAYLOADS

TEXT = "The green fades away"


@pytest.fixture
def amap():
    return make_map(axis(TEXT, list(TEXT)), axis(TEXT, ["The", " green", " fades", " away"]), text=TEXT)


def test_names_say_unit_and_window(amap):
    whole = view.shown(amap, None, "token", 0, 80)
    assert shown_stem(whole) == "one_dskd-cma_t2s"
    assert shown_stem(view.shown(amap, None, "word", 0, 80)) == "one_dskd-cma_t2s_word"
    part = view.shown(amap, None, "token", 9, 8)
    (top, bottom), (left, right) = part.window.rows, part.window.columns
    assert shown_stem(part) == f"one_dskd-cma_t2s_s{top}-{bottom - 1}-t{left}-{right - 1}" and top == 9


def test_a_picture_as_pdf_has_truetype_fonts(amap):
    shown = view.shown(amap, make_gold(amap), "token", 0, 80)
    pdf = picture_bytes(Picture(shown, 1.0, "title"), "pdf")
    assert pdf.startswith(b"%PDF") and b"/FontFile2" in pdf and b"/Type3" not in pdf


def test_a_page_shows_the_window_and_loads_nothing(amap):
    page = html_bytes(view.shown(amap, make_gold(amap), "token", 9, 8)).decode()
    assert page.startswith("<!doctype html>") and page.endswith("</body></html>\n") or page.endswith("</body></html>")
    assert "cut: student targets 9–16 of 21" in page and 'content="light dark"' in page
    assert not [word for word in ("<script", "src=", "href=", "@import", "url(") if word in page]


@pytest.mark.parametrize("part", range(4))
def test_hostile_tokens_stay_text_in_a_page(part):
    pieces = [payload for payload in PAYLOADS[part::4] if "\0" not in payload][:30]
    text = "".join(pieces)
    amap = make_map(axis(text, pieces), axis(text, pieces), text=text, checkpoint=pieces[0], example_id=pieces[1])
    page = html_bytes(view.shown(amap, None, "token", 0, 40)).decode()
    for start in (
        "<script",
        "<img",
        "<iframe",
        "<a ",
        "<body o",
        "<svg o",
        "<style",
        "<link",
        "<base",
        "<form",
        "<!--",
    ):
        assert start not in page, start
    assert page.count("<svg") == page.count("<body") == page.count("<title>") - 1 == 1
