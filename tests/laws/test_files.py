"""Laws of what is written and read back: examples, gold, CSV, the map store; and of spans, displays and windows."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.gold.reading import Gold, gold_from_record, gold_record, read_gold, write_gold
from probe.maps.attention_map import AttentionMap
from probe.maps.index import SCHEMA, map_to_row, row_to_map
from probe.maps.store import MapStore, MapStoreWriter
from probe.scoring.aggregation import Partition, cropped, grouped, grouped_gold
from probe.scoring.metrics import gold_cells
from probe.scoring.tables import safe_cell, write_csv
from probe.text.display import vocabulary_displays
from probe.text.examples import read_examples
from probe.text.spans import byte_offsets, is_plain, letter_groups, snap, units
from tests.support.aligned import axis, make_gold, make_map
from tests.support.strategies import SEEDS, law, problems, texts

LAW = law(40)
TEXTS = texts(max_parts=4)
CELLS = st.text(st.characters(), max_size=8)  # lone surrogates too
NUMBERS = st.floats(allow_nan=True, allow_infinity=False)
GAPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=8)
# What a vocabulary may hold: words, byte-level letters, byte names, and pieces that look like displays.
PIECES = st.lists(
    st.one_of(
        st.none(), st.text("aé ▁Ġ<0xE2>‹›␣⏎#‹eos›", max_size=5), st.sampled_from(("<0x0A>", "‹0A›", "▁", "Ġ", " "))
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda piece: object() if piece is None else piece,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("laws")


def map_of(problem, direction: str = "t2s", text: str = "") -> AttentionMap:
    """A map with the problem's weights; the first token covers the text, the others nothing."""
    sides = [axis(text, [text, *[""] * (size - 1)], eos=False) for size in problem.weights.shape]
    weights = problem.weights if direction == "t2s" else problem.weights.T
    return make_map(*(sides if direction == "t2s" else sides[::-1]), weights, text=text, direction=direction)


def gold_of(problem) -> Gold:
    sure, possible = (frozenset(map(tuple, np.argwhere(part).tolist())) for part in (problem.sure, problem.possible))
    return replace(make_gold(map_of(problem)), sure=sure, possible=possible)


# --- files ---


@LAW
@given(prompt=TEXTS, outputs=st.lists(TEXTS.filter(bool), min_size=1, max_size=3), category=TEXTS)
def test_examples_survive_their_file(folder, prompt, outputs, category):
    record = {
        "prompt": prompt,
        "output": outputs if len(outputs) > 1 else outputs[0],
        "category": category,
        "more": [1],
    }
    path = folder / "examples.jsonl"
    path.write_text("\n" + json.dumps(record, ensure_ascii=False) + "\n\n", encoding="utf-8", newline="")
    (found,) = read_examples(path)
    assert (found.id, found.prompt, found.outputs) == ("examples-2", prompt, tuple(outputs))
    assert (found.category, found.metadata) == (category, {"more": [1]})


@LAW
@given(problems(), TEXTS, TEXTS)
def test_gold_survives_its_record(problem, text, note):
    gold = replace(gold_of(problem), text=text, note=note, annotator=note[::-1])
    record = json.loads(json.dumps(gold_record(gold)))
    assert gold_from_record(record, "here") == gold
    assert record["possible"] == sorted(record["possible"])


@LAW
@given(st.lists(problems(most=5), min_size=1, max_size=3), st.sampled_from(("pharaoh", "talp", "naacl", "wpt")))
def test_links_survive_line_formats_from_one_to_another(folder, several, suffix):
    golds = {str(k): replace(gold_of(one), id=str(k)) for k, one in enumerate(several) if one.possible.any()}
    wanted = {key: (gold.sure, gold.possible) for key, gold in golds.items()}
    if golds:
        write_gold(folder / f"one.{suffix}", golds)
        write_gold(folder / "two.jsonl", golds)
        write_gold(folder / "three.pharaoh", read_gold(folder / f"one.{suffix}"))
        for name in (f"one.{suffix}", "two.jsonl", "three.pharaoh"):
            assert {key: (gold.sure, gold.possible) for key, gold in read_gold(folder / name).items()} == wanted


@LAW
@given(st.lists(st.tuples(CELLS, NUMBERS, st.booleans()), min_size=1, max_size=4))
def test_a_table_survives_its_csv(folder, rows):
    words, numbers, flags = zip(*rows, strict=True)  # pandas 3 takes a lone surrogate in a column of objects alone
    frame = pd.DataFrame({"word": pd.Series(words, dtype=object), "number": numbers, "flag": flags})
    write_csv(frame, folder / "table.csv")
    with open(folder / "table.csv", encoding="utf-8", newline="") as handle:
        header, *found = list(csv.reader(handle))
    assert header == ["word", "number", "flag"]
    for (word, number, flag), cells in zip(rows, found, strict=True):
        assert cells[0] == safe_cell(word) and cells[2] == str(flag)
        assert cells[1] == "" if np.isnan(number) else float(cells[1]) == number


@LAW
@given(CELLS)
def test_a_safe_cell_stays_as_it_is(value):
    cell = safe_cell(value)
    assert safe_cell(cell) == cell
    plain = value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
    assert cell.replace("'", "") == plain.replace("'", "")  # nothing but apostrophes came in


@LAW
@given(st.lists(problems(), min_size=1, max_size=3), st.sampled_from(("float16", "float32")), TEXTS, SEEDS)
def test_maps_survive_their_store(folder, several, dtype, text, seed):
    sides = ("t2s", "s2t") if seed % 2 else ("s2t", "t2s")
    wanted = [replace(map_of(one, sides[k % 2], text), example_id=str(k)) for k, one in enumerate(several)]
    with MapStoreWriter(folder / "maps", provenance={"seed": seed}, dtype=dtype) as writer:
        for amap in wanted:
            writer.add(amap)
    store = MapStore.open(folder / "maps")
    assert store.provenance["seed"] == seed and len(store) == len(wanted)
    for amap, found in zip(wanted, store, strict=True):
        assert replace(found, weights=amap.weights) == amap
        exact = dtype == "float32"
        np.testing.assert_allclose(found.weights, amap.weights, rtol=0 if exact else 2**-11, atol=0 if exact else 6e-8)


@LAW
@given(problems(), TEXTS, st.sampled_from(("t2s", "s2t")), SEEDS)
def test_a_map_survives_its_row_of_the_index(problem, text, direction, seed):
    amap = replace(map_of(problem, direction, text), example_id=text, category=text[::-1], truncated=bool(seed % 2))
    (row,) = pa.Table.from_pylist([map_to_row(amap, "shard", "key")], schema=SCHEMA).to_pylist()
    assert row_to_map(row, amap.weights) == amap


# --- spans ---


@LAW
@given(TEXTS)
def test_byte_offsets_and_letters_cover_a_text(text):
    assert list(byte_offsets(text)) == [len(text[:k].encode()) for k in range(len(text) + 1)]
    groups = list(letter_groups(text)) if text else []
    assert [low for low, _ in groups] == [0, *[high for _, high in groups]][: len(groups)]
    assert all(low < high for low, high in groups) and (not text or groups[-1][1] == len(text))


def intervals(gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals whose starts and ends never decrease, overlapping where a step back is drawn."""
    found, start, end = [], 0, 0
    for step, size in gaps:
        start = max(start, end + step - 1)
        end = max(end, start + size)
        found.append((start, end))
    return found


@LAW
@given(GAPS)
def test_units_are_whole_and_made_once(gaps):
    spans = intervals(gaps)
    found = units(spans)
    assert units(found) == found and len(found) == len(spans)
    assert all(a <= c and d <= b for (a, b), (c, d) in zip(found, spans, strict=True))
    for one, two in pairwise(found):
        assert one == two or one[1] <= two[0], "two units share a character"
    assert is_plain(spans) == all(one[1] <= two[0] for one, two in pairwise(spans))


@LAW
@given(GAPS, st.sets(st.integers(0, 12), max_size=6))
def test_snapping_widens_to_whole_intervals_once(gaps, cuts):
    bounds = sorted(cuts)
    indivisible = list(zip(bounds[::2], bounds[1::2], strict=False))
    spans = intervals(gaps)
    found = snap(spans, indivisible)
    assert snap(found, indivisible) == found
    for (start, end), (low, high) in zip(spans, found, strict=True):
        touched = [one for one in indivisible if one[0] < end and start < one[1]]
        wanted = (min([start, *(a for a, _ in touched)]), max([end, *(b for _, b in touched)]))
        assert (low, high) == wanted


@LAW
@given(PIECES, st.booleans(), SEEDS)
def test_no_two_tokens_look_the_same(pieces, byte_level, seed):
    eos = seed % len(pieces)
    special = {k: piece for k, piece in enumerate(pieces) if piece and (seed >> k) % 5 == 0}
    shown = vocabulary_displays(pieces, byte_level=byte_level, literal={}, specials=special, eos=eos)
    assert len(set(shown)) == len(shown) == len(pieces)
    assert shown[eos] == "‹eos›"


# --- windows and groups ---


@LAW
@given(problems(), SEEDS)
def test_a_window_of_a_window_is_a_window(problem, seed):
    rng, (n, m) = np.random.default_rng(seed), problem.weights.shape
    (a, b), (c, d) = (sorted(rng.integers(0, size + 1, 2).tolist()) for size in (n, m))
    amap = map_of(problem)
    outer = cropped(amap, (a, b), (c, d))
    inner = cropped(outer, (min(1, b - a), b - a), (0, d - c))
    direct = cropped(amap, (a + min(1, b - a), b), (c, d))
    np.testing.assert_array_equal(inner.weights, direct.weights)
    assert (inner.student, inner.teacher) == (direct.student, direct.teacher)


def _groups(size: int, rng: np.random.Generator) -> tuple[range, ...]:
    cuts = [0, *sorted(rng.choice(np.arange(1, size), rng.integers(0, size), replace=False).tolist()), size]
    return tuple(range(low, high) for low, high in pairwise(cuts))


@LAW
@given(problems(), SEEDS, st.sampled_from(("t2s", "s2t")))
def test_groups_are_linked_where_a_link_is_and_keep_row_sums(problem, seed, direction):
    rng, amap = np.random.default_rng(seed), map_of(problem, direction)
    gold = replace(make_gold(amap), **dict(zip(("sure", "possible"), _links(problem, direction), strict=True)))
    groups = Partition(_groups(len(amap.student), rng), _groups(len(amap.teacher), rng))
    made = grouped(amap, groups)
    assert made.weights.sum(axis=1 if direction == "t2s" else 0) == pytest.approx(1, abs=1e-5)
    cells, whole = gold_cells(made, grouped_gold(gold, groups, made)), gold_cells(amap, gold)
    for found, links in zip(cells, whole, strict=True):
        blocks = [[links[r.start : r.stop, c.start : c.stop].any() for c in groups.teacher] for r in groups.student]
        assert (found == np.array(blocks)).all()


def _links(problem, direction: str) -> tuple[frozenset, frozenset]:
    parts = (part if direction == "t2s" else part.T for part in (problem.sure, problem.possible))
    sure, possible = (frozenset(map(tuple, np.argwhere(part).tolist())) for part in parts)
    return sure, possible
