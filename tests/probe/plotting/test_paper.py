"""Figures for print: the width asked for, letters that can be read, windows that fit, one legend."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from probe.errors import UsageError
from probe.plotting import attention_heatmap, difference_heatmap, figure_bytes, layers
from probe.plotting.layout import View
from probe.plotting.paper import CELL, LEAST, Plan, fitting_window, paper_difference, paper_figure
from tests.support.aligned import axis, make_gold, make_map
from tests.support.payloads import PAYLOADS

COLUMN = 3.3 * 72  # of a two-column paper, in points
WORDS = "When the days grow short, trees stop making chlorophyll and the green fades away in a week or two of cold"


def prose(times: int = 1, **changes):
    """A text in pieces of 3 and of 5 characters."""
    text = WORDS * times
    sides = [axis(text, [text[k : k + size] for k in range(0, len(text), size)]) for size in (3, 5)]
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.full(len(sides[1]), 0.05), size=len(sides[0]))
    return make_map(*sides, weights, text=text, **changes)


def panels(figure):
    return [ax for ax in figure.axes if ax.get_xlabel().startswith("teacher ")]


def legends(figure):
    return [artist for ax in figure.axes for artist in ax.artists if artist.get_gid() == "legend"]


def said(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def sizes(figure) -> list[float]:
    """Points of every piece of text, read from the file, whose unit is a point."""
    picture = figure_bytes(figure, "svg", svg_text=True).decode()
    return [float(size) for size in re.findall(r"font-size: ([\d.]+)px", picture)]


FIGURES = {
    "map": lambda width: paper_figure([prose()], width=width, gold=make_gold(prose()), pin=(4, 3)),
    "untitled": lambda width: paper_figure([prose(3)], width=width, titles=False),
    "grid": lambda width: paper_figure(
        [prose(), prose(checkpoint="b"), prose(checkpoint="c")], width=2 * width, gold=make_gold(prose()), columns=2
    ),
    "difference": lambda width: paper_difference(prose(), prose(checkpoint="b"), width=width, gold=make_gold(prose())),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", [COLUMN, 160.0])
def test_width_letters_and_margins(name, width):
    figure = FIGURES[name](width)
    asked = width * (2 if name == "grid" else 1)
    assert figure.get_size_inches()[0] * 72 == pytest.approx(asked)
    found = sizes(figure)
    assert len(found) > 10 and min(found) >= LEAST
    figure.canvas.draw()
    for ax in figure.axes:
        box, page = ax.get_tightbbox(), figure.bbox
        assert page.x0 - 0.5 <= box.x0 and box.x1 <= page.x1 + 0.5 and page.y0 <= box.y0 and box.y1 <= page.y1


@pytest.mark.parametrize("name", FIGURES)
def test_one_legend_and_one_colour_bar(name):
    figure = FIGURES[name](COLUMN)
    shown = panels(figure)
    assert len(shown) == (3 if name == "grid" else 1)
    assert len(figure.axes) == len(shown) + 1 and len(legends(figure)) == (0 if name == "untitled" else 1)
    for ax in shown:  # labels of neighbours do not touch: a cell is higher than a letter
        box, sheet = ax.get_window_extent(), ax.artists[0]._sheet
        points = 72 / figure.dpi
        assert box.height * points / len(sheet.rows) == pytest.approx(sheet.cell, rel=1e-6)
        assert sheet.font / sheet.cell <= 0.8 + 1e-9 and sheet.cell >= CELL[0]


def test_a_panels_title_is_its_run_also_without_titles():
    maps = [prose(), prose(checkpoint="dskd-cma-ga")]
    gold = make_gold(maps[0])
    heads = [["dskd-cma"], ["dskd-cma-ga"]]
    for titles in (True, False):
        shown = panels(paper_figure(maps, width=2 * COLUMN, gold=gold, titles=titles))
        names = [[line for line in said(ax) if line.startswith("dskd")] for ax in shown]
        assert names == heads
        assert any("top-1" in line for line in said(shown[0])) is titles
    [alone] = panels(paper_figure(maps[:1], width=COLUMN, gold=gold, titles=False))
    assert not [line for line in said(alone) if "targets" not in line]


def test_the_window_is_the_largest_that_fits_and_shows_the_same_text():
    amap = prose(3)
    (top, bottom), (left, right) = window = fitting_window(amap, COLUMN)
    assert (top, left) == (0, 0) and bottom > right > 10

    def fits(rows: int, columns: int) -> bool:
        view = View.of(amap, 999, ((0, rows), (0, columns)))
        return Plan.of(amap, view, COLUMN, 1, 1, 0).fits

    assert fits(bottom, right) and not fits(bottom + 3, right + 2)
    ends = [side.spans[last - 1][1] for side, last in ((amap.student, bottom), (amap.teacher, right))]
    assert abs(ends[0] - ends[1]) <= 5  # a token
    wider = fitting_window(amap, 2 * COLUMN)
    assert wider[0][1] > bottom and wider[1][1] > right
    assert fitting_window(amap, COLUMN, window=((5, 9), (3, 6))) == ((5, 9), (3, 6))
    ax = panels(paper_figure([amap], width=COLUMN))[0]
    assert f"cut: student targets 0–{bottom - 1} of {len(amap.student)}" in "\n".join(said(ax))
    np.testing.assert_array_equal(
        ax.collections[0].get_array().reshape(bottom, right), amap.weights[View.of(amap, 999, window).cells]
    )


def test_a_pin_is_in_the_middle_and_framed():
    amap = prose(3)
    pin = (60, 36)
    (top, bottom), (left, right) = fitting_window(amap, COLUMN, pin=pin)
    assert abs((top + bottom) / 2 - 60) <= 1 and abs((left + right) / 2 - 36) <= 1
    figure = paper_figure([amap], width=COLUMN, pin=pin)
    frames = next(c for c in panels(figure)[0].collections if c.get_label() == "pin").get_paths()
    assert frames[2].vertices[0].tolist() == [36 - left, 60 - top]
    [entry] = legends(figure)[0].entries
    assert entry.label.startswith("pinned: ") and entry.label.endswith(f"{amap.weights[pin]:.2f}")
    for draw in (lambda **options: attention_heatmap(amap, window=((0, 9), (0, 9)), **options),
                 lambda **options: difference_heatmap(amap, amap, window=((0, 9), (0, 9)), **options)):  # fmt: skip
        with pytest.raises(UsageError, match=r"the pin 9.3 is not among student and teacher targets 0–8 and 0–8"):
            draw(pin=(9, 3))
        assert any(c.get_label() == "pin" for c in draw(pin=(8, 3)).collections)


def test_what_does_not_fit_or_match_is_refused():
    with pytest.raises(UsageError, match="leave no room for one token"):
        fitting_window(prose(), 36.0)
    with pytest.raises(UsageError, match="at least one map"):
        paper_figure([], width=COLUMN)
    with pytest.raises(UsageError, match="on the same tokens"):
        paper_figure([prose(), prose(2)], width=COLUMN)


def test_a_difference_says_what_is_subtracted():
    first, second = prose(checkpoint="run"), prose(checkpoint="reference")
    second = dataclasses.replace(second, weights=np.roll(second.weights, 1, axis=0))
    figure = paper_difference(first, second, width=COLUMN, titles=False, window=((0, 8), (0, 8)))
    cells = panels(figure)[0].collections[0]
    np.testing.assert_array_equal(cells.get_array().reshape(8, 8), (first.weights - second.weights)[:8, :8])
    assert cells.get_clim() == (-1, 1)
    assert said(figure.axes[-1]) == ["weight: run − reference"]
    assert difference_heatmap(first, second, title="").figure.axes[-1].get_ylabel() == "weight: run − reference"


def test_pdf_has_truetype_fonts_and_svg_text_on_request():
    figure = paper_figure([prose()], width=COLUMN, gold=make_gold(prose()))
    pdf = figure_bytes(figure, "pdf")
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"/CIDFontType2" in pdf
    for svg_text in (True, False):
        tree = ElementTree.fromstring(figure_bytes(figure, "svg", svg_text=svg_text))
        texts = [element.text for element in tree.iter() if element.tag.endswith("}text")]
        assert ("teacher targets (22) →" in texts) is svg_text and bool(texts) is svg_text


@pytest.mark.parametrize("part", range(4))
def test_hostile_tokens_as_svg_text_stay_text(part):
    pieces = [payload for payload in PAYLOADS[part::4] if "\0" not in payload][:20]
    text = "".join(pieces)
    amap = make_map(axis(text, pieces), axis(text, pieces), text=text, checkpoint=pieces[0], example_id=pieces[1])
    tree = ElementTree.fromstring(figure_bytes(attention_heatmap(amap), "svg", svg_text=True))
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert "text" in names and not names & {"script", "foreignObject", "iframe", "a", "img", "set", "style "}
    assert not [key for element in tree.iter() for key in element.attrib if key.rpartition("}")[2].startswith("on")]


def test_units_are_named():
    ax = panels(paper_figure([prose()], width=COLUMN, unit="word", window=((0, 4), (0, 4))))[0]
    assert ax.get_xlabel() == f"teacher words ({len(prose().teacher)}) →"
    assert "cut: student words 0–3 of" in "\n".join(said(ax))


def test_sides_without_labels_are_left_out():
    shown = panels(FIGURES["grid"](COLUMN))
    labelled = [[a._student for a in ax.artists if isinstance(a, layers.TokenLabels)] for ax in shown]
    assert labelled == [[True, False], [False], [True, False]]  # two columns: the third begins a row
