"""Aligners: cases worked by hand, laws (coverage, order, sums), maps from them, and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given

from probe.__main__ import main
from probe.aligners import ALIGNERS, MAP_ALIGNERS, aligner_named
from probe.aligners.cells import as_map, byte_ends, dropped, spelled
from probe.aligners.making import CutText, Dropped, maps_of_texts, reread_map
from probe.errors import UsageError
from probe.maps.attention_map import check_map
from probe.maps.store import MapStore, MapStoreWriter
from probe.scoring.monotone import monotone_map
from probe.text.axis import TokenAxis
from tests.support.aligned import axis, make_gold, make_map
from tests.support.strategies import law, maps

LAW = law(40)
TEXT = "unhappy cats sat"
STUDENT = axis(TEXT, ["un", "happy", " cats", " s", "at"])
TEACHER = axis(TEXT, ["unh", "appy", " cat", "s", " sat"])
CHUNKS = [({0, 1}, {0, 1}), ({2}, {2, 3}), ({3, 4}, {4})]
EOS = ({5}, {5})


def cells(groups):
    return {(i, j) for rows, columns in groups for i in rows for j in columns}


def linked(name, text=TEXT, student=STUDENT, teacher=TEACHER):
    found = ALIGNERS[name].align(text, student, teacher)
    return set(zip(*(side.tolist() for side in np.nonzero(found)), strict=True))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("exact-boundary", cells([*CHUNKS, EOS])),
        ("gold-bytes", cells(CHUNKS)),  # TRL leaves the EOS out
        ("gold-decode", cells(CHUNKS)),
        ("gold-positional", {(k, k) for k in range(5)}),
        ("nemo-offsets", cells([*CHUNKS, EOS])),
        ("nemo-dp", cells([*CHUNKS[1:], EOS])),  # no n:m: un·happy and unh·appy have no move
        ("alm-unconstrained", cells([*CHUNKS, EOS])),
        ("alm-space", cells([*CHUNKS, EOS])),
        ("eta", cells([EOS])),  # no token of one side covers exactly the bytes of one of the other
        ("simple-ctkd", cells([EOS])),
        ("span", {(0, 0), (1, 0), (1, 1), (2, 2), (2, 3), (3, 4), (4, 4), (5, 5)}),
        ("byte-overlap", {(0, 0), (1, 0), (1, 1), (2, 2), (2, 3), (3, 4), (4, 4), (5, 5)}),
        ("dpca", cells([*CHUNKS, EOS])),
    ],
)
def test_links_by_hand(name, wanted):
    assert linked(name) == wanted


def test_weights_by_hand():
    shared = ALIGNERS["byte-overlap"].align(TEXT, STUDENT, TEACHER)
    assert shared[1].tolist() == [1, 4, 0, 0, 0, 0]  # "happy": one byte with "unh", four with "appy"
    assert as_map(shared, "t2s")[1, :2].tolist() == [0.2, 0.8]
    assert as_map(shared, "s2t")[:2, 0] == pytest.approx([2 / 3, 1 / 3])
    soft = ALIGNERS["dpca"].align(TEXT, STUDENT, TEACHER)
    assert soft[1, 1] > soft[1, 0] > 0  # "happy" is nearer to "appy" than to "unh"
    assert soft.sum(axis=1) == pytest.approx(1)


def test_characters_that_are_cut_into_bytes():
    """é as two byte tokens against one: TRL splits its bytes, NeMo takes the cluster, ALM joins it."""
    text = "é!"
    spans = ((0, 2), (0, 2), (2, 3), (3, 3))
    left = TokenAxis(("‹C3›", "‹A9›", "!", "‹eos›"), ("Ã", "©", "!", "<e>"), (1, 2, 3, 9), spans)
    right = TokenAxis(("é", "!", "‹eos›"), ("Ã©", "!", "<e>"), (4, 3, 9), ((0, 2), (2, 3), (3, 3)))
    assert spelled(text, left) == [b"\xc3", b"\xa9", b"!", b""] and byte_ends(text, left) == [1, 2, 3, 3]
    for name in ("gold-bytes", "nemo-offsets", "alm-unconstrained"):
        assert {(0, 0), (1, 0), (2, 1)} <= linked(name, text, left, right), name
    # The decoded prefix grows by � and then changes without growing: the second byte adds nothing, so nothing is equal.
    assert linked("gold-decode", text, left, right) == {(i, j) for i in range(3) for j in range(2)}


def test_a_normaliser_drops_chunks_of_alm_and_ends_the_walk_of_ctkd():
    text = "e\u0301 ok ok"
    left = TokenAxis(
        ("e‹U+0301›", "␣ok", "␣ok", "‹eos›"), ("eÌģ", "Ġok", "Ġok", "<e>"), (1, 2, 2, 9),
        ((0, 3), (3, 6), (6, 9), (9, 9)),
    )  # fmt: skip
    right = TokenAxis(
        ("é", "␣ok", "␣ok", "‹eos›"), ("é", "▁ok", "▁ok", "<e>"), (5, 6, 6, 9), ((0, 3), (3, 6), (6, 9), (9, 9))
    )
    assert linked("nemo-offsets", text, left, right) == {(k, k) for k in range(4)}
    assert linked("nemo-dp", text, left, right) == {(1, 1), (2, 2), (3, 3)}
    assert linked("alm-unconstrained", text, left, right) == {(3, 3)}  # three bytes against two, and never level again
    assert linked("simple-ctkd", text, left, right) == set()


def test_alm_space_joins_up_to_a_space():
    text = "don't stop"
    left, right = axis(text, ["don", "'t", " stop"]), axis(text, ["don", "'", "t", " stop"])
    assert linked("alm-space", text, left, right) == cells([({0, 1}, {0, 1, 2}), ({2}, {3}), ({3}, {4})])


def test_nemo_offsets_drop_what_begins_where_the_other_has_no_start():
    text = "ab cd"
    left, right = axis(text, ["ab", " cd"]), axis(text, ["ab", " ", "cd"])
    skipping = TokenAxis(right.tokens[::2] + right.tokens[3:], ("ab", "cd", "e"), (0, 1, 2), ((0, 2), (3, 5), (5, 5)))
    assert linked("nemo-offsets", text, left, skipping) == {(0, 0), (2, 2)}


@LAW
@given(maps(direction="t2s"))
def test_laws_of_every_aligner(amap):
    text, student, teacher = amap.text, amap.student, amap.teacher
    for name, one in ALIGNERS.items():
        found = one.align(text, student, teacher)
        assert found.shape == amap.weights.shape and np.isfinite(found).all() and (found >= 0).all(), name
        for direction, side in (("t2s", 1), ("s2t", 0)):
            assert as_map(found, direction).sum(axis=side) == pytest.approx(1), name
        if name in ("exact-boundary", "mined-dtw", "diagonal", "uniform", "dpca"):
            covered = exactly_covered(found) or name in ("exact-boundary", "dpca")
            assert covered, name
        if name not in ("uniform",):
            assert in_order(found), name


def exactly_covered(found) -> bool:
    return dropped(found) == (0, 0)


def in_order(found) -> bool:
    """The first and the last partner of a row never go back from one row with partners to the next."""
    rows = [np.flatnonzero(row) for row in found if row.any()]
    return all(a[0] <= b[0] and a[-1] <= b[-1] for a, b in zip(rows, rows[1:], strict=False))


@LAW
@given(maps())
def test_laws_of_reading_again(amap):
    for one in MAP_ALIGNERS.values():
        check_map(reread_map(one, amap))
    again = reread_map(MAP_ALIGNERS["monotone"], amap)
    assert again.weights == pytest.approx(monotone_map(amap.weights, amap.direction), abs=1e-6)
    coupled = MAP_ALIGNERS["sinkhorn"].reread(amap)
    bytes_of = np.array([max(end - start, 1) for start, end in amap.teacher.spans], dtype=float)
    if len(set(amap.teacher.spans)) == len(amap.teacher.spans):
        assert coupled.sum(axis=0) == pytest.approx(bytes_of / bytes_of.sum())


def test_soft_dtw_is_monotone_within_the_band_and_nearly_one_path():
    weights = np.full((20, 20), 1e-3) + np.eye(20)
    weights[2, 17] = 5.0
    side = axis("a" * 20, ["a"] * 20, eos=False)
    amap = make_map(side, side, weights / weights.sum(axis=1, keepdims=True), text="a" * 20)
    assert MAP_ALIGNERS["soft-dtw"].reread(amap)[2].argmax() == 2


def test_dropped_positions_are_uniform_and_counted():
    counts = Dropped()
    made = list(maps_of_texts(ALIGNERS["gold-bytes"], [CutText("a", "c", TEXT, STUDENT, TEACHER)], counts=counts))
    assert [one.direction for one in made] == ["t2s", "s2t"] and made[0].checkpoint == "gold-bytes"
    assert made[0].weights[-1] == pytest.approx(1 / 6)
    assert (counts.student, counts.teacher, counts.of_student, counts.of_teacher) == (1, 1, 6, 6)
    for one in made:
        check_map(one)


def test_every_aligner_says_where_it_comes_from():
    for one in (*ALIGNERS.values(), *MAP_ALIGNERS.values()):
        assert one.source and one.version and one.licence and (one.align is None) != (one.reread is None)
    with pytest.raises(UsageError, match="unknown aligner 'nonsense'; wanted one of span"):
        aligner_named("nonsense")


# --- the command ---


@pytest.fixture
def stored(tmp_path):
    with MapStoreWriter(tmp_path / "maps", provenance={"student_tokenizer": "s", "teacher_tokenizer": "t"}) as writer:
        writer.add(base := make_map(STUDENT, TEACHER, text=TEXT))
    gold = make_gold(base)
    (tmp_path / "gold.jsonl").write_text(
        json.dumps(
            {
                "id": gold.id, "text": TEXT, "student_tokens": STUDENT.tokens, "teacher_tokens": TEACHER.tokens,
                "student_tokenizer": "s", "teacher_tokenizer": "t", "sure": sorted(gold.sure),
                "possible": sorted(gold.possible),
            }
        ),
        encoding="utf-8",
    )  # fmt: skip
    return tmp_path


def test_align_from_a_store_makes_a_store_that_is_scored(stored, capsys):
    out = stored / "aligned"
    assert main(["align", "--aligner", "all", "--maps", str(stored / "maps"), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["aligners"]["gold-bytes"]["student"] == 1
    store = MapStore.open(out)
    assert len(store) == 2 * len(ALIGNERS) + len(MAP_ALIGNERS)
    assert store.provenance["aligners"]["gold-bytes"]["version"] == "1.16.0"
    assert main(["score", str(out), "--gold", str(stored / "gold.jsonl"), "--resamples", "20"]) == 0
    assert "nemo-offsets" in capsys.readouterr().out


def test_align_says_what_is_missing(stored, capsys):
    out = ["--out", str(stored / "x")]
    for line, wanted in (
        (["--aligner", "span"], "wanted either --maps MAPS, or"),
        (["--aligner", "span", "--student", "a", "--teacher", "b"], "two tokenizers need texts"),
        (["--aligner", "monotone", "--student", "a", "--teacher", "b", "--data", "c.jsonl"], "give --maps MAPS"),
        (["--aligner", "gold", "--maps", str(stored / "maps")], "unknown aligner 'gold'"),
        ([], "wanted --aligner NAME and --out MAPS"),
    ):
        assert main(["align", *line, *out]) == 2
        assert wanted in capsys.readouterr().err
    assert main(["align", "--aligner", "span", "--maps", str(stored / "maps"), "--out", str(stored)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_align_lists_its_aligners(capsys):
    assert main(["align", "--list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ALIGNERS | MAP_ALIGNERS)
