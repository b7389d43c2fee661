"""Wrong links: each cause planted and found, none missed, none counted twice; and the command that lists them."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import numpy as np
import pandas as pd
import pytest

from analysis import failures
from probe import cli
from probe.gold.reading import read_gold, write_gold
from probe.maps.store import MapStore
from probe.scoring.causes import CAUSES, MEANINGS, wrong_links
from probe.scoring.metrics import score_map
from probe.text.axis import TokenAxis
from tests.support.aligned import axis, make_gold, make_map
from tests.support.dashboard.app_maps import example_texts, make_store

WORDS = ["a", " b", " c", " d", " e", " f", " g", " h", " i", " j"]


def planted(student: TokenAxis, teacher: TokenAxis, text: str, wrong: dict[int, int], direction: str = "t2s"):
    """A map that hits the first possible link of each row, but for the rows of ``wrong``."""
    base = make_map(student, teacher, text=text, direction=direction)
    gold = make_gold(base)
    possible = np.zeros(base.weights.shape, dtype=bool)
    possible[tuple(np.array(sorted(gold.possible)).T)] = True
    possible = possible if direction == "t2s" else possible.T
    weights = np.zeros(possible.shape)
    for row in range(len(weights)):
        weights[row, wrong.get(row, int(possible[row].argmax()))] = 1
    weights = weights if direction == "t2s" else weights.T
    return make_map(student, teacher, weights, text=text, direction=direction), gold


def found(*arguments, **options):
    return {(w.row, w.column): w.cause for w in wrong_links(*planted(*arguments, **options))}


def words(pieces: list[str], wrong: dict[int, int], **options):
    text = "".join(pieces)
    return found(axis(text, pieces), axis(text, pieces), text, wrong, **options)


def test_tied_bigram():
    pieces = ["x", " a", " b", " c", " a", " b"]  # " b" after " a" twice
    assert words(pieces, {5: 2, 1: 4}) == {(5, 2): "tied bigram", (1, 4): "repeated token"}


def test_repeated_token():
    assert words(["x", " a", " b", " a", " c", " d"], {1: 3}) == {(1, 3): "repeated token"}


@pytest.mark.parametrize("direction", ["t2s", "s2t"])
def test_eos(direction):
    last = len(WORDS)
    assert words(WORDS, {last: 2, 3: last}, direction=direction) == {(3, last): "EOS", (last, 2): "EOS"}


def test_split_character():
    text = "a é b c"
    spans = ((0, 1), (1, 4), (1, 4), (4, 6), (6, 8), (8, 8))
    split = TokenAxis(
        ("a", "␣‹C3›", "‹A9›", "␣b", "␣c", "‹eos›"), ("a", "x", "y", "b", "c", "</s>"), (1, 2, 3, 4, 5, 0), spans
    )
    whole = axis(text, ["a", " é", " b", " c"])
    assert found(split, whole, text, {1: 3}) == {(1, 3): "split character"}
    assert found(whole, split, text, {3: 1}) == {(3, 1): "split character"}


def test_sink_column():
    assert words(WORDS, {1: 6, 3: 6, 9: 6}) == dict.fromkeys([(1, 6), (3, 6), (9, 6)], "sink column")
    assert words(WORDS, {1: 6, 3: 6}) == dict.fromkeys([(1, 6), (3, 6)], "other")  # two rows are no sink
    many = [f" w{k}" for k in range(40)]  # three rows of 41 are less than a tenth
    assert set(words(many, {1: 20, 3: 20, 9: 20}).values()) == {"other"}


def test_neighbour():
    assert words(WORDS, {2: 3, 7: 6, 4: 6}) == {(2, 3): "neighbour", (7, 6): "neighbour", (4, 6): "other"}


def test_piece():
    text = "abcd efgh ij"
    pieces, whole = axis(text, ["ab", "cd", " ef", "gh", " ij"]), axis(text, ["abcd", " efgh", " ij"])
    assert found(pieces, whole, text, {1: 2}) == {(1, 2): "piece"}
    assert found(whole, pieces, text, {0: 4}, direction="t2s") == {(0, 4): "other"}
    assert found(whole, pieces, text, {1: 2}, direction="s2t") == {(1, 2): "piece"}


def test_the_first_cause_wins():
    """A piece that looks at EOS; three rows that look at a repeated token."""
    text = "abcd efgh ij"
    pieces, whole = axis(text, ["ab", "cd", " ef", "gh", " ij"]), axis(text, ["abcd", " efgh", " ij"])
    assert found(pieces, whole, text, {1: 3}) == {(1, 3): "EOS"}
    result = words(["x", " a", " b", " a", " c", " d", " e", " f"], {1: 3, 5: 3, 7: 3})
    assert result == {(1, 3): "repeated token", (5, 3): "sink column", (7, 3): "sink column"}


def test_ties_share_and_positions_without_gold_count_for_nothing():
    amap, gold = planted(axis("a b c", ["a", " b", " c"]), axis("a b c", ["a", " b", " c"]), "a b c", {})
    amap.weights[1] = [1 / 3, 1 / 3, 1 / 3, 0]
    shares = [(w.row, w.column, w.wanted) for w in wrong_links(amap, gold)]
    assert shares == [(1, 0, (1,)), (1, 2, (1,))]
    assert [w.share for w in wrong_links(amap, gold)] == pytest.approx([1 / 3, 1 / 3])


@pytest.fixture
def room(tmp_path):
    write_gold(tmp_path / "gold.jsonl", make_store(tmp_path / "maps", example_texts(6)))
    return tmp_path


def command(room, *options):
    argv = [f"{room}/maps", "--gold", f"{room}/gold.jsonl", "--out", f"{room}/out", *options]
    return cli.main(failures.build_parser, failures.run, argv)


def test_wrong_links_are_what_top1_misses(room, capsys):
    """The identity that holds for every map: shares of wrong links = scored positions − top-1 hits."""
    assert command(room) == 0
    links, golds = pd.read_csv(room / "out/failures.csv"), read_gold(room / "gold.jsonl")
    sums = links.groupby(["example_id", "checkpoint", "direction"])["share"].sum()
    for amap in MapStore.open(room / "maps"):
        score = score_map(amap, golds[amap.example_id])
        missed = np.nansum(1 - score.positions.top1_possible)
        assert sums.get((amap.example_id, amap.checkpoint, amap.direction), 0.0) == pytest.approx(missed)
    causes = pd.read_csv(room / "out/failure_causes.csv")
    assert causes["wrong"].sum() == pytest.approx(links["share"].sum())
    for _, part in causes.groupby(["checkpoint", "direction"]):
        assert part["cause"].tolist() == list(CAUSES) and part["of_wrong"].sum() == pytest.approx(1)


def test_pairs_name_examples_and_link_to_the_dashboard(room, capsys):
    assert command(room, "--pairs", "3", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    links, pairs = (pd.read_csv(room / f"out/{name}.csv") for name in ("failures", "failure_pairs"))
    assert len(values["pairs"]) == len(pairs) == 4 * 3
    for _, row in pairs.iterrows():
        same = links[(links[["checkpoint", "direction", "token", "heaviest_token"]] == row[
            ["checkpoint", "direction", "token", "heaviest_token"]]).all(axis=1)]  # fmt: skip
        assert row["wrong"] == pytest.approx(same["share"].sum())
        assert set(row["examples"].split()) <= set(same["example_id"])
        query = parse_qs(row["link"].removeprefix("?"))
        assert query["example"][0] == row["examples"].split()[0] and query["checkpoint"] == [row["checkpoint"]]
        assert query["direction"] == [row["direction"]]
    assert (room / "out/failures.png").read_bytes()[:4] == b"\x89PNG"


def test_the_link_of_a_failure_pins_its_cell(room, capsys):
    assert command(room) == 0
    links = pd.read_csv(room / "out/failures.csv")
    for _, row in links.iterrows():
        cell = (row["position"], row["heaviest"])
        student, teacher = cell if row["direction"] == "t2s" else cell[::-1]
        assert parse_qs(row["link"].removeprefix("?"))["pin"] == [f"{student}.{teacher}"]
    assert set(links["direction"]) == {"t2s", "s2t"}


def test_every_cause_has_words():
    assert tuple(MEANINGS) == CAUSES and all(MEANINGS.values())


def test_the_figure_shows_the_table(room, capsys):
    from probe.plotting.failures import failure_figure

    assert command(room) == 0
    causes = pd.read_csv(room / "out/failure_causes.csv")
    figure = failure_figure(causes, CAUSES)
    assert [ax.get_label() for ax in figure.axes] == ["t2s", "s2t"]
    for ax in figure.axes:
        assert [label.get_text() for label in ax.get_yticklabels()] == list(CAUSES)
        widths = sorted(patch.get_width() for patch in ax.patches)
        wanted = causes.loc[causes["direction"] == ax.get_label(), "of_wrong"].sort_values().tolist()
        assert widths == pytest.approx(wanted)


def test_gold_of_other_examples_is_refused(room, capsys):
    golds = read_gold(room / "gold.jsonl")
    lines = (room / "gold.jsonl").read_text().replace('"example-', '"other-')
    (room / "gold.jsonl").write_text(lines)
    assert len(golds) == 6 and command(room) == 3
    assert "no map has gold" in capsys.readouterr().err and not (room / "out").exists()
