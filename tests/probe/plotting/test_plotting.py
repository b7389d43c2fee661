"""Heatmaps are tested by what is on the axes (mesh data, outlines, marks, words), not by their pixels."""

from __future__ import annotations

import dataclasses
import os
import warnings

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probe.errors import DataError, UsageError
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.plotting import attention_heatmap, difference_heatmap, map_title, outcomes, save_figure
from probe.plotting.fonts import glyphs
from probe.plotting.labels import elide, readable, width, wrap
from probe.plotting.layout import View
from probe.scoring.alignment import span_gold
from probe.text.axis import TokenAxis
from tests.support import ROOT

STUDENT = TokenAxis(
    ("cat", "s␣", "sat", "‹eos›"), ("cat", "sĠ", "sat", "</s>"), (1, 2, 3, 0), ((0, 3), (3, 5), (5, 8), (8, 8))
)
TEACHER = TokenAxis(
    ("cats", "␣s", "at", "‹eos›"), ("cats", "Ġs", "at", "</s>"), (4, 5, 6, 0), ((0, 4), (4, 6), (6, 8), (8, 8))
)
T2S = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.6, 0.1], [0.2, 0.4, 0.4, 0.0], [0.9, 0.1, 0.0, 0.0]], np.float32)


def make_map(direction: str = "t2s", **changes) -> AttentionMap:
    weights = T2S if direction == "t2s" else T2S.T.copy()
    amap = AttentionMap(
        "an example", "prose", "my-checkpoint", "dskd-cma", direction, "frozen", "cats sat", STUDENT, TEACHER, weights
    )
    return dataclasses.replace(amap, **changes)


def make_gold(sure, possible) -> Gold:
    links = [frozenset(map(tuple, links)) for links in (sure, [*sure, *possible])]
    return Gold("an example", "cats sat", STUDENT.tokens, TEACHER.tokens, "", "", *links)


# Row 0 hits a sure link, row 1 misses, row 2 ties between a possible link and a miss, row 3 has nothing to hit.
GOLD = make_gold(sure=[(0, 0), (1, 1)], possible=[(1, 0), (2, 2)])


def long_map(n: int, m: int) -> AttentionMap:
    """A text of n·m bytes cut in n and in m equal tokens."""

    def axis(count: int) -> TokenAxis:
        spans = tuple((k * n * m // count, (k + 1) * n * m // count) for k in range(count))
        names = tuple(f"t{k}" for k in range(count))
        return TokenAxis(names, names, tuple(range(count)), spans)

    weights = np.full((n, m), 1 / m, np.float32)
    return make_map(text="x" * (n * m), student=axis(n), teacher=axis(m), weights=weights)


def parts(ax: Axes, label: str):
    """The collection with this label."""
    return next(c for c in ax.collections if c.get_label() == label)


def marked(ax: Axes, name: str) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for x, y in parts(ax, f"mark: {name}").get_offsets()}


def outlined(ax: Axes, name: str) -> set[tuple[int, int]]:
    centres = [path.vertices[:-1].mean(axis=0) for path in parts(ax, name).get_paths()]
    return {(int(y), int(x)) for x, y in centres}


def words(ax: Axes) -> str:
    return "\n".join([ax.get_title(loc="left"), *(text.get_text() for text in ax.texts)])


def labels(texts) -> list[str]:
    return [text.get_text() for text in texts]


def legend(ax: Axes) -> list[str]:
    return [entry.label for artist in ax.artists if artist.get_gid() == "legend" for entry in artist.entries]


# ---- what is drawn where ----


@pytest.mark.parametrize("direction", ["t2s", "s2t"])
def test_values_are_drawn_where_they_belong(direction):
    amap = make_map(direction)
    ax = attention_heatmap(amap)
    mesh = ax.collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(4, 4), amap.weights)
    assert mesh.get_clim() == (0, 1)
    assert ax.get_ylim() == (4, 0) and ax.get_xlim() == (0, 4)  # first student target on top, first teacher target left
    assert labels(ax.get_yticklabels()) == list(STUDENT.tokens)
    assert labels(ax.get_xticklabels()) == list(TEACHER.tokens)
    assert ax.get_yticks().tolist() == ax.get_xticks().tolist() == [0.5, 1.5, 2.5, 3.5]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("teacher targets (4) →", "student targets (4) ↓")


def test_gold_is_outlined_sure_solid_and_possible_dashed():
    ax = attention_heatmap(make_map(), gold=GOLD)
    assert outlined(ax, "sure") == {(0, 0), (1, 1)}
    assert outlined(ax, "possible") == {(1, 0), (2, 2)}
    sure, possible = parts(ax, "sure"), parts(ax, "possible")
    assert sure.get_linestyle()[0][1] is None and possible.get_linestyle()[0][1] is not None
    assert sure.get_linewidth()[0] > possible.get_linewidth()[0]


def test_hits_and_misses_have_their_own_shapes():
    ax = attention_heatmap(make_map(), gold=GOLD)
    assert marked(ax, "sure") == {(0, 0)}
    assert marked(ax, "possible") == {(2, 2)}
    assert marked(ax, "miss") == {(1, 2), (2, 1)}
    assert marked(ax, "no gold") == {(3, 0)}
    shapes = [parts(ax, f"mark: {name}").get_paths()[0].vertices for name in ("sure", "possible", "miss", "no gold")]
    assert len({shape.tobytes() for shape in shapes}) == 4
    entries = legend(ax)
    assert entries == [
        "gold: sure", "gold: possible", "heaviest of its row:", "sure link", "possible link", "miss", "no link to hit",
    ]  # fmt: skip


def test_columns_are_what_counts_for_s2t():
    amap = make_map("s2t")  # column j of the s2t map is row j of T2S
    gold = make_gold(sure=[(0, 0), (1, 1)], possible=[(2, 2)])
    ax = attention_heatmap(amap, gold=gold)
    assert marked(ax, "sure") == {(0, 0)}
    assert marked(ax, "miss") == {(2, 1), (1, 2)}
    assert marked(ax, "possible") == {(2, 2)}
    assert marked(ax, "no gold") == {(0, 3)}
    assert "heaviest of its column:" in legend(ax)


def test_outcomes_cover_every_heaviest_cell_once():
    rng = np.random.default_rng(0)
    for direction in ("t2s", "s2t"):
        amap = make_map(direction)
        sure = rng.random((4, 4)) < 0.3
        possible = sure | (rng.random((4, 4)) < 0.3)
        total = sum(cells.astype(int) for cells in outcomes(amap, sure, possible).values())
        axis = 1 if direction == "t2s" else 0
        best = amap.weights >= amap.weights.max(axis=axis, keepdims=True) - 1e-6
        np.testing.assert_array_equal(total, best.astype(int))


def test_highlight_and_legend_can_be_left_out():
    ax = attention_heatmap(make_map(), gold=GOLD, highlight=False, legend=False, colorbar=False)
    assert not [c for c in ax.collections if str(c.get_label()).startswith("mark")]
    assert legend(ax) == []
    assert len(ax.figure.axes) == 1
    assert len(attention_heatmap(make_map()).figure.axes) == 2


def test_title_says_what_it_is_and_how_well_it_does():
    ax = attention_heatmap(make_map(), gold=GOLD)
    assert ax.get_title(loc="left") == "an example"
    made = ("my-checkpoint", "dskd-cma", "t2s: each student row sums to 1", "normalisation frozen")
    for word in ("text: cats sat", *made):
        assert word in words(ax)
    # top-1 sure: rows 0 and 1 count, row 0 hits; possible: row 2 earns half.
    assert "top-1 0.50 sure, 0.50 possible" in words(ax).replace("\n", " ")
    assert "gold mass 0.45 sure, 0.47 possible" in words(ax).replace("\n", " ")
    assert "each teacher column sums to 1" in words(attention_heatmap(make_map("s2t")))
    assert "top-1" not in words(attention_heatmap(make_map()))
    assert "truncated" in map_title(make_map(truncated=True))
    assert words(attention_heatmap(make_map(), title="Mine\nalone")).startswith("Mine\n")


def test_gold_for_other_tokens_is_refused():
    gold = dataclasses.replace(GOLD, student_tokens=("cat", "s", "sat", "‹eos›"))
    with pytest.raises(DataError, match="first difference at index 1"):
        attention_heatmap(make_map(), gold=gold)


def test_given_axes_are_used_and_the_scale_can_be_set():
    figure = Figure(figsize=(8, 4))
    left, right = figure.subplots(1, 2)
    assert attention_heatmap(make_map(), ax=left, vmax=0.5, gold=GOLD) is left
    assert attention_heatmap(make_map("s2t"), ax=right, colorbar=False) is right
    assert left.collections[0].get_clim() == (0, 0.5)
    with pytest.raises(UsageError, match="above 0, got 0"):
        attention_heatmap(make_map(), vmax=0)


def test_difference_is_centred_on_zero():
    other = make_map(checkpoint="other", weights=np.full((4, 4), 0.25, np.float32))
    ax = difference_heatmap(make_map(), other, gold=GOLD)
    mesh = ax.collections[0]
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(4, 4), T2S - 0.25)
    assert mesh.get_clim() == (-1, 1)
    assert "my-checkpoint (dskd-cma, frozen) − other (dskd-cma, frozen) · t2s" in words(ax)
    with pytest.raises(DataError, match="cannot subtract a s2t map"):
        difference_heatmap(make_map(), make_map("s2t"))
    with pytest.raises(DataError, match="different tokens"):
        difference_heatmap(make_map(), long_map(4, 4))


# ---- long maps, odd texts ----


def test_long_maps_are_cut_at_the_same_text_and_say_so():
    amap = long_map(100, 50)
    note = "cut: student targets 0–39 of 100, teacher targets 0–19 of 50"
    assert View.of(amap, 40) == View(slice(0, 40), slice(0, 20), note)
    gold = span_gold("an example", amap.text, amap.student, amap.teacher, ("", ""))
    ax = attention_heatmap(amap, gold=gold, max_tokens=40)
    assert np.asarray(ax.collections[0].get_array()).size == 40 * 20
    assert note in words(ax)
    assert labels(ax.get_yticklabels())[-1] == "t39"
    assert ax.get_ylabel() == "student targets (100) ↓"
    assert View.of(long_map(160, 160), 160).note == ""


def test_a_window_keeps_the_marks_and_scores_of_the_whole_map():
    ax = attention_heatmap(make_map(), gold=GOLD, window=((1, 3), (0, 2)))
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_array()).reshape(2, 2), T2S[1:3, :2])
    assert labels(ax.get_yticklabels()) == ["s␣", "sat"]
    assert marked(ax, "miss") == {(1, 1)}  # row 1's heaviest cell is outside, at column 2
    assert outlined(ax, "possible") == {(0, 0)}
    assert "top-1 0.50 sure" in words(ax)
    assert "student targets 1–2 of 4, teacher targets 0–1 of 4" in words(ax)
    with pytest.raises(UsageError, match="leaves a map of 4 × 4"):
        attention_heatmap(make_map(), window=((0, 5), (0, 4)))


def test_the_figure_grows_with_the_tokens():
    small, large = (attention_heatmap(long_map(n, n)) for n in (40, 120))
    for ax, n in ((small, 40), (large, 120)):
        box = ax.get_window_extent()
        assert box.width / n > 16 and box.height / n > 16  # pixels a cell: room for a label of 11 pixels
    assert large.figure.get_size_inches()[1] > 2 * small.figure.get_size_inches()[1]


ODD = (
    "‹E2 82›", "日本語", "한국어", "😀", "👩\u200d👩", "\ue000", "e\u0301", "$x^2_{$", "\\frac{1}{2}", "a\nb\t\x00", "",
    "x" * 300,
)  # fmt: skip


def test_odd_tokens_are_drawn_without_a_warning(tmp_path):
    n = len(ODD)
    side = TokenAxis(ODD, ODD, tuple(range(n)), ((0, 0),) * n)
    amap = make_map(student=side, teacher=side, weights=np.eye(n, dtype=np.float32), example_id="$\\x 日本 🚀\n" * 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for form in ("png", "svg"):
            ax = attention_heatmap(amap)
            assert save_figure(ax, tmp_path / f"odd.{form}").stat().st_size > 1000
    shown = labels(ax.get_yticklabels())
    assert shown[0] == "‹E2 82›" and shown[7] == "$x^2_{$"
    assert shown[5] == "‹U+E000›" and shown[9] == "a…‹U+0000›"
    for label in shown:
        assert all(ord(character) in glyphs() for character in label), label
        assert width(label) <= 16, label


def test_everything_lies_inside_the_figure():
    for amap in (make_map(), long_map(3, 90), long_map(90, 3), long_map(1, 1)):
        ax = attention_heatmap(amap)
        ax.figure.canvas.draw()
        box, sheet = ax.get_tightbbox(), ax.figure.bbox
        assert sheet.x0 <= box.x0 and box.x1 <= sheet.x1 and sheet.y0 <= box.y0 and box.y1 <= sheet.y1


def test_labels():
    known = set(map(ord, "abcé␣‹›U+"))
    assert readable("aé␣", known) == "aé␣"
    assert readable("a🚀\u200d\n", known) == "a‹U+1F680›‹U+200D›‹U+000A›"
    assert elide("abcdefghij", 10) == "abcdefghij"
    assert elide("abcdefghijk", 7) == "abc…ijk"
    assert elide("日本語日本語", 7) == "日本…語"
    assert elide("a‹U+1F680›‹U+1F681›b", 11) == "a…b"
    assert elide("‹U+1F680›", 3) == "‹U+1F680›"
    assert (width("日a"), width("e\u0301")) == (3, 1)
    assert wrap(["aa", "bb", "cccccccccc", "d"], 8) == ["aa · bb", "cccccccccc", "d"]


# ---- files ----


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_the_same_map_gives_the_same_bytes(tmp_path, form):
    files = [save_figure(attention_heatmap(make_map(), gold=GOLD), tmp_path / f"{k}.{form}") for k in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()
    signature = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form]
    assert files[0].read_bytes().startswith(signature)


def test_other_suffixes_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(UsageError, match="ends with .png, .svg, .pdf"):
        save_figure(attention_heatmap(make_map()), tmp_path / "map.exe")
    assert os.listdir(tmp_path) == []


def test_pyplot_is_never_imported():
    source = ROOT / "probe/plotting"
    lines = [line.split("#")[0] for file in source.rglob("*.py") for line in file.read_text().splitlines()]
    imports = [line for line in lines if line.strip().startswith(("import ", "from "))]
    assert len(imports) > 20 and not [line for line in imports if "pyplot" in line]
