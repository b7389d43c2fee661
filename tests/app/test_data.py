"""The plain functions behind the dashboard's pages, by hand: cells, windows, lists, downloads, pins, what changed."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.data import behind, changes, downloads, listing, view
from app.data.behind import Number
from app.data.downloads import Picture
from app.data.listing import Filters
from app.data.view import Pin, Place, Shown
from app.draw import text as draw_text
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.text.axis import TokenAxis
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import make_files


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_files(tmp_path_factory.mktemp("data"))


# --- the plain functions ---


def planted(weights: list[list[float]], direction: str = "t2s") -> AttentionMap:
    array = np.array(weights, dtype=np.float32)
    axes = [app_maps.axis("ab" * 8, list("ab" * 8))] * 2
    cut = [type(axes[0])(*(field[:size] for field in vars(axes[0]).values())) for size in array.shape]
    return AttentionMap("id", "", "c", "m", direction, "frozen", "ab" * 8, *cut, array)


def gold_of(sure: set[tuple[int, int]], possible: set[tuple[int, int]]) -> Gold:
    return Gold("id", "", (), (), "", "", frozenset(sure), frozenset(possible | sure))


def test_ranks_run_within_rows_or_columns_and_ties_share_the_smallest():
    weights = [[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.3, 0.3, 0.4]]
    np.testing.assert_array_equal(view.line_ranks(planted(weights)), [[1, 2, 3], [3, 1, 1], [2, 2, 1]])
    np.testing.assert_array_equal(view.line_ranks(planted(weights, "s2t")), [[1, 2, 3], [3, 1, 1], [2, 2, 1]])
    uneven = [[0.9, 0.1], [0.6, 0.4]]
    np.testing.assert_array_equal(view.line_ranks(planted(uneven)), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(view.line_ranks(planted(uneven, "s2t")), [[1, 2], [2, 1]])


def test_outcomes_tell_hits_misses_and_lines_without_gold_apart():
    amap = planted([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    gold = gold_of({(0, 0)}, {(1, 0), (2, 1)})
    cells = view.map_cells(amap, gold, view.Window((0, 4), (0, 3)))
    found = {(row.student_index, row.teacher_index): row.outcome for row in cells.itertuples() if row.outcome}
    assert found == {(0, 0): "sure", (1, 0): "possible", (2, 2): "miss", (3, 0): "no gold", (3, 1): "no gold"}
    assert cells["gold"].astype(str).value_counts().to_dict() == {"none": 9, "possible": 2, "sure": 1}
    assert set(view.map_cells(amap, None, view.Window((0, 4), (0, 3)))["gold"]) == {""}


def test_a_window_keeps_the_indices_and_ranks_of_the_whole_map():
    amap = planted([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    cells = view.map_cells(amap, None, view.Window((1, 2), (0, 2)))
    assert cells[["student_index", "teacher_index", "rank"]].values.tolist() == [[1, 0, 3], [1, 1, 2]]
    assert view.heaviest_outside(amap, view.Window((1, 2), (0, 2))) == 1
    assert view.heaviest_outside(amap, view.Window((0, 2), (0, 3))) == 0


def test_windows_of_both_sides_show_the_same_text():
    text = "abcdefghij" * 10
    student, teacher = app_maps.axis(text, list(text)), app_maps.axis(text, app_maps.cut(text, 4))
    assert view.window_at(student, teacher, 0, 20) == view.Window((0, 20), (0, 20))
    middle = view.window_at(student, teacher, 20, 10)
    assert middle == view.Window((20, 30), (5, 15))  # byte 20 begins the sixth piece of four
    assert teacher.spans[middle.columns[0]][0] == student.spans[middle.rows[0]][0]
    end = view.window_at(student, teacher, 10_000, 10)
    assert (end.rows[1], end.columns[1]) == (len(student), len(teacher))
    swapped = view.window_at(teacher, student, 20, 10)
    assert (swapped.rows, swapped.columns) == (middle.columns, middle.rows)


def test_every_target_can_be_reached_by_some_window():
    text = app_maps.PROSE * 4
    student, teacher = (app_maps.axis(text, app_maps.cut(text, size)) for size in (2, 5))
    seen: list[set[int]] = [set(), set()]
    for start in range(0, len(student), 10):
        window = view.window_at(student, teacher, start, 40)
        seen[0] |= set(range(*window.rows))
        seen[1] |= set(range(*window.columns))
    assert seen == [set(range(len(student))), set(range(len(teacher)))]


def test_a_window_may_be_narrower_than_high_and_its_sides_may_be_moved_apart():
    text = "abcdefghij" * 10
    student, teacher = app_maps.axis(text, list(text)), app_maps.axis(text, app_maps.cut(text, 4))  # 101 and 26
    assert view.window_of(student, teacher, Place(40), 20, 10) == view.Window((40, 60), (10, 20))
    assert view.window_of(student, teacher, Place(row=40), 20, 10) == view.Window((40, 60), (10, 20))
    assert view.window_of(student, teacher, Place(column=10), 20, 10) == view.Window((40, 60), (10, 20))
    assert view.window_of(student, teacher, Place(row=0, column=16), 20, 10) == view.Window((0, 20), (16, 26))
    assert view.window_of(student, teacher, Place(row=999, column=999), 20, 10) == view.Window((81, 101), (16, 26))


def test_the_picture_of_a_whole_map_has_the_heaviest_weight_of_each_block():
    weights = np.zeros((100, 60))
    weights[:, 0] = 0.25
    weights[77, 41] = 0.75
    text = "ab" * 100
    axes = [app_maps.axis(text, list(text))] * 2
    cut = [type(axes[0])(*(field[:size] for field in vars(axes[0]).values())) for size in weights.shape]
    found = view.overview(AttentionMap("id", "", "c", "m", "t2s", "frozen", text, *cut, weights.astype("f4")), most=10)
    assert len(found) == 100 and found["weight"].max() == 0.75
    (block,) = found[found["weight"] == 0.75].itertuples()
    assert block.row <= 77 < block.row_end and block.column <= 41 < block.column_end
    assert (found[found["column"] == 0]["weight"] == 0.25).all()


def test_thinning_leaves_out_light_and_low_cells_but_no_gold():
    amap, gold = planted([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]), gold_of({(1, 0)}, set())
    shown = view.shown(amap, gold, "token", 0, 80)

    def left(least: float, heaviest: int) -> list[tuple[int, int]]:
        cells = view.thinned(shown, least, heaviest).cells
        return list(zip(cells["student_index"], cells["teacher_index"], strict=True))

    assert len(left(0, 0)) == 6
    assert left(0.3, 0) == [(0, 0), (0, 1), (1, 0), (1, 2)]
    assert left(0, 1) == [(0, 0), (1, 0), (1, 2)]


def test_the_example_list_sorts_and_searches(store):
    maps = listing.catalog(MapStore.open(store[0]))
    rows = maps[(maps["checkpoint"] == "dskd-cma") & (maps["direction"] == "t2s")].copy()
    rows["top1_sure"] = [0.5, 0.1, float("nan"), 0.5, 0.9, 0.2, 0.3]
    names = rows["example_id"].tolist()
    assert listing.order(rows, "worst")["example_id"].tolist() == [names[i] for i in (1, 5, 6, 0, 3, 4, 2)]
    assert listing.order(rows, "best")["example_id"].tolist() == [names[i] for i in (4, 0, 3, 6, 5, 1, 2)]
    assert listing.order(rows, "length")["cells"].is_monotonic_decreasing
    found, similar = listing.search(rows, "  chloroPHYLL ")
    assert len(found) and found["text"].str.contains("chlorophyll").all() and not similar
    found, _ = listing.search(rows, "␣short,")  # as a token shows it
    assert len(found) and found["text"].str.contains(" short,", regex=False).all()
    chosen, _ = listing.chosen(rows, Filters(category="code", sort="id"))
    assert chosen["category"].unique().tolist() == ["code"] and chosen["example_id"].is_monotonic_increasing


def test_names_are_sorted_as_people_count():
    names = ["b-2", "a-10", "a-9", "a-9", "a-010", "a", "a-9b"]
    places = listing.natural_places(names)
    assert [name for _, name in sorted(zip(places, names, strict=True))] == [
        "a", "a-9", "a-9", "a-9b", "a-010", "a-10", "b-2"
    ]  # fmt: skip
    assert places[2] == places[3]


def test_it_opens_on_a_short_plain_example_of_usual_score():
    texts = ["The quick brown fox jumps over it.", "漢字", "The slow brown fox sleeps all day.", "The fox { x; }"]
    rows = {"example_id": list("abcd"), "text": texts, "length": [12, 12, 14, 12], "top1_sure": [0.9, 0.5, 0.6, 0.5]}
    frame = pd.DataFrame(rows).assign(place=range(4))
    assert listing.typical(frame) == "c"  # nearest to the mean, 0.625, of those that are plain
    assert listing.typical(frame.assign(top1_sure=np.nan)) == "a"
    assert listing.typical(frame[frame["example_id"] == "b"]) is None
    assert listing.typical(frame.assign(length=[400, 12, 400, 12])) is None


def test_a_byte_piece_is_shown_with_its_character():
    text = "a 🙂"
    spans = ((0, 1), (1, 2), (2, 6), (2, 6), (6, 6))
    pieces = TokenAxis(("a", "␣", "‹F0 9F›", "‹99 82›", "‹eos›"), tuple("vwxyz"), (1, 2, 3, 4, 0), spans)
    assert view.labels(text, pieces) == ["a", "␣", "‹F0 9F› 🙂", "‹99 82› 🙂", "‹eos›"]
    plain = app_maps.axis("a b", ["a", " b"])
    assert view.labels("a b", plain) == list(plain.tokens)


def test_tokens_stay_whole_where_a_line_ends():
    assert view.joined(["ab", "cd"]) == "ab│\u200bcd"
    assert view.joined(["漢字", "é"]) == "漢\u2060字│\u200bé"


def test_the_search_makes_do_with_what_resembles_and_says_so(store):
    maps = listing.catalog(MapStore.open(store[0]))
    found, similar = listing.search(maps, "Clorophyl")
    assert similar and len(found) and found["text"].str.contains("chlorophyll").all()
    found, similar = listing.search(maps, "zzzzqqqq")
    assert similar and found.empty
    assert len(listing.search(maps, "   ")[0]) == len(maps)


def test_filters_keep_what_lies_in_their_ranges():
    columns = {"category": "", "haystack": "", "cells": 1}
    frame = pd.DataFrame({"example_id": list("abcd"), "top1_sure": [0.1, 0.5, 0.9, float("nan")], **columns})
    frame = frame.assign(length=[3, 30, 300, 30], difference=[-0.4, 0.1, 0.2, float("nan")])

    def ids(**filters: object) -> list[str]:
        return listing.chosen(frame, Filters(sort="id", **filters))[0]["example_id"].tolist()

    assert ids() == list("abcd")
    assert ids(score=(0.1, 0.5)) == ["a", "b"]
    assert ids(length=(30, 300)) == ["b", "c", "d"]
    assert ids(difference=0.2) == ["a", "c"]


def test_the_distance_of_maps_is_the_mean_total_variation_of_their_lines():
    one, two = planted([[1.0, 0.0], [0.5, 0.5]]), planted([[0.0, 1.0], [0.5, 0.5]])
    assert listing.map_distance(one, two) == pytest.approx(0.5)
    assert listing.map_distance(one, one) == 0
    assert np.isnan(listing.map_distance(one, planted([[1.0]])))
    turned = [replace(amap, direction="s2t", weights=amap.weights.T) for amap in (one, two)]
    assert listing.map_distance(*turned) == pytest.approx(0.5)


def test_csv_holds_the_cells_on_screen_and_no_formula():
    amap = planted([[0.25, 0.75], [1.0, 0.0]])
    cells = view.map_cells(amap, None, view.Window((0, 2), (0, 2)))
    cells["student_token"] = pd.Categorical(['=HYPERLINK("http://x")', 'a,b\n"c"', "d", "d"])
    shown = Shown(amap, None, "token", view.Window((0, 2), (0, 2)), cells)
    rows = list(csv.DictReader(io.StringIO(downloads.csv_bytes([shown]).decode("utf-8-sig"))))
    assert len(rows) == 4 and [float(row["weight"]) for row in rows] == [0.25, 0.75, 1.0, 0.0]
    assert rows[0]["student_token"] == '\'=HYPERLINK("http://x")'
    assert rows[1]["student_token"] == 'a,b\n"c"'


def test_file_names_are_harmless():
    amap = planted([[1.0]])
    for name in ("../../etc/passwd", "a\x00b", "", "C:\\x", "名前"):
        stem = downloads.file_stem(type(amap)(**{**vars(amap), "example_id": name}))
        assert stem and not set(stem) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert not stem.startswith(".")


def test_the_difference_puts_the_most_changed_example_first():
    columns = {"example_id": ["a", "b", "c"], "cells": [1, 1, 1]}
    first = pd.DataFrame({**columns, "top1_sure": [0.5, 0.5, 0.9]})
    second = pd.DataFrame({"example_id": ["c", "b", "a"], "top1_sure": [0.2, 0.6, 0.5]})
    found = listing.order(listing.with_difference(first, second), "difference")
    assert found["example_id"].tolist() == ["c", "b", "a"]
    np.testing.assert_allclose(found["difference"], [0.7, -0.1, 0.0])
    assert listing.order(first, "difference")["example_id"].tolist() == ["a", "b", "c"]


def test_pictures_are_made_of_the_window_on_the_scale_of_the_page():
    amap, gold = planted([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]), gold_of({(1, 2)}, set())
    window = view.Window((0, 2), (1, 3))
    shown = Shown(amap, gold, "token", window, view.map_cells(amap, gold, window))
    pictures = {top: downloads.picture_bytes(Picture(shown, top, "id\nhow"), "png") for top in (1.0, 0.7)}
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in pictures.values())
    assert pictures[1.0] != pictures[0.7]
    drawing = downloads.picture_bytes(Picture(shown, 1.0, "id\nhow"), "svg")
    assert drawing.startswith(b"<?xml") and b"<svg" in drawing
    other = replace(amap, weights=amap.weights[::-1])
    differences = downloads.picture_bytes(Picture(shown, 1.0, "id\nhow", other), "png")
    assert differences.startswith(b"\x89PNG\r\n") and differences != pictures[1.0]


# --- units, pins, and what changed ---


def test_by_chunk_the_gold_and_the_labels_go_along():
    text = "the cats"
    student, teacher = (app_maps.axis(text, pieces) for pieces in (["the", " ca", "ts"], ["th", "e", " cats"]))
    weights = np.full((4, 4), 0.25, dtype=np.float32)
    amap = AttentionMap("id", "", "c", "m", "t2s", "frozen", text, student, teacher, weights)
    gold = gold_of({(0, 0), (1, 2), (3, 3)}, {(0, 1), (2, 2)})
    shown = view.shown(amap, gold, "chunk", 0, 80)
    assert shown.amap.student.tokens == ("the", "␣cats", "‹eos›")
    np.testing.assert_allclose(shown.amap.weights, [[0.5, 0.25, 0.25]] * 3)
    assert shown.gold is not None and shown.gold.sure == {(0, 0), (1, 1), (2, 2)}
    assert shown.cells["outcome"].tolist().count("sure") == 1
    assert view.shown(amap, gold, "token", 0, 2).window == view.Window((0, 2), (0, 2))


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "-1.0", "2.0", "0.3", "a.b", "0.0.0", "٣.0", "9" * 20 + ".0"])
def test_a_pin_that_the_map_lacks_is_none(text):
    amap = planted([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    assert Pin.of(text, amap) is None


def test_a_pin_is_written_as_it_is_read():
    amap = planted([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    assert Pin.of("1.2", amap) == Pin(1, 2) and str(Pin(1, 2)) == "1.2"


def test_what_changed_names_the_lines_that_lost_most_first():
    base = planted([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
    other = planted([[0.8, 0.2, 0.0], [0.9, 0.1, 0.0], [0.0, 0.0, 1.0]])
    gold = gold_of({(0, 0), (1, 1)}, set())
    shown = [view.shown(amap, gold, "token", 0, 80) for amap in (base, other)]
    lines = changes.changed_lines(*shown)
    assert lines["line"].tolist()[:2] == [1, 0]
    np.testing.assert_allclose(lines["change"][:2], [-0.7, -0.1], atol=1e-6)
    np.testing.assert_allclose(lines["moved"][:2], [0.7, 0.1], atol=1e-6)
    assert lines["gold"].tolist() == ["b", "a", ""] and lines["heaviest"].tolist() == [0, 0, 2]
    cells = changes.difference_cells(*shown)
    np.testing.assert_allclose(cells["difference"], (other.weights - base.weights).ravel(), atol=1e-7)


def test_behind_a_number_stand_the_examples_that_cost_most():
    tokens = pd.DataFrame(
        {
            "checkpoint": "c", "direction": "t2s", "example_id": ["a", "a", "b", "b", "b"], "category": "x",
            "position": [0, 1, 0, 1, 2], "heaviest": [4, 5, 6, 7, 8], "token": list("pqrst"),
            "heaviest_token": list("vwxyz"), "relation": ["1:1", "n:1", "n:1", "n:1", "1:1"],
            "top1_sure": [1.0, 0.0, 0.0, 0.5, np.nan],
        }
    )  # fmt: skip
    found = behind.examples_behind(tokens, pd.DataFrame(), Number("c", "t2s", "top1_sure"))
    assert found["example_id"].tolist() == ["b", "a"] and found["lost"].tolist() == [1.5, 1.0]
    assert found["score"].tolist() == [0.25, 0.5] and found["pin"].tolist() == ["0.6", "1.5"]
    found = behind.examples_behind(tokens, pd.DataFrame(), Number("c", "t2s", "top1_sure", "relation", "1:1"))
    assert found["example_id"].tolist() == ["a"] and found["positions"].tolist() == [1]
    assert behind.examples_behind(tokens, pd.DataFrame(), Number("c", "s2t", "top1_sure")).empty
    labels = {"checkpoint": "c", "direction": "t2s", "category": "", "n_positions": 2}
    examples = pd.DataFrame({**labels, "example_id": ["a", "b"], "aer": [0.1, 0.9]})
    assert behind.examples_behind(tokens, examples, Number("c", "t2s", "aer"))["example_id"].tolist() == ["b", "a"]


def test_running_text_places_every_token_and_breaks_between_tokens():
    tokens = ["the", "␣cat", "漢字", "x" * 100]
    placed = draw_text._placed(tokens, 120)
    assert placed["token"].tolist()[:3] == tokens[:3] and placed["token"].iloc[3].endswith("…")
    assert (placed["right"] <= 120).all() and (placed["left"] < placed["right"]).all()
    lines = placed["top"].tolist()
    assert lines == sorted(lines) and lines[0] == 0 and lines[3] > lines[2]
    assert draw_text.columns("漢字") == 4 and draw_text.columns("e\u0301") == 1
