"""``probe score`` and ``analysis.alignment_report`` through their real commands, on a store made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from probe import __main__ as probe_main
from probe.gold.reading import read_gold, write_gold
from probe.maps.store import MapStore, MapStoreWriter
from probe.scoring.report import build_report
from probe.scoring.report_text import report_lines
from probe.scoring.statistics import bca_interval
from tests.support.reports import PROVENANCE, TEXTS, example_maps, make_store, report


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def test_files_schema_and_numbers(store, capsys):
    assert report(store) == 0
    names = ("tokens", "examples", "runs", "breakdowns", "comparisons", "extractions", "key_query")
    frames = {name: pd.read_csv(store / "report" / f"{name}.csv") for name in names}
    assert sorted(path.name for path in (store / "report").iterdir()) == sorted(f"{name}.csv" for name in names)
    for name, frame in frames.items():
        assert set(frame["schema_version"]) == {1}, name
        assert frame["signature"].notna().all(), name
    runs = frames["runs"].set_index(["checkpoint", "direction"])
    good, bad = runs.loc[("good", "t2s")], runs.loc[("bad", "t2s")]
    assert (good["top1_possible"], good["gold_mass_possible"], good["n_examples"]) == (1, 1, 6)
    # "ab ab ab": 8 words in 6 texts share the first teacher column only by their first position
    positions = sum(len(text.split()) + 1 for text in TEXTS.values())
    assert bad["top1_sure"] == pytest.approx(6 / positions)
    assert bad["precision"] == pytest.approx(6 / positions)
    assert good["top1_possible_low"] <= good["top1_possible"] <= good["top1_possible_high"]
    assert "signature" in runs and runs.loc[("good", "t2s"), "signature"].startswith("method:m-good|direction:t2s|")


def test_every_baseline_is_a_row(store, capsys):
    assert report(store) == 0
    runs = pd.read_csv(store / "report" / "runs.csv")
    wanted = {"good", "bad", *(f"baseline:{name}" for name in ("uniform", "diagonal", "span-rule", "position-free"))}
    assert len(runs) == 2 * len(wanted) and set(runs["checkpoint"]) == wanted
    best = runs[runs["checkpoint"] == "baseline:position-free"].iloc[0]
    assert best["top1_possible"] == best["ceiling_possible"] < 1  # "ab ab ab" has tied teacher positions
    assert np.isnan(best["aer"])
    assert (runs[runs["checkpoint"] == "baseline:span-rule"]["top1_sure"] == 1).all()
    for name in ("tokens", "examples"):
        assert set(pd.read_csv(store / "report" / f"{name}.csv")["checkpoint"]) == {"good", "bad"}


def test_runs_follow_from_tokens_and_examples(store, capsys):
    assert report(store) == 0
    tokens, examples, runs = (pd.read_csv(store / "report" / f"{name}.csv") for name in ("tokens", "examples", "runs"))
    for (checkpoint, direction), part in tokens.groupby(["checkpoint", "direction"]):
        row = runs[(runs["checkpoint"] == checkpoint) & (runs["direction"] == direction)].iloc[0]
        rows = examples[(examples["checkpoint"] == checkpoint) & (examples["direction"] == direction)]
        assert row["top1_possible"] == pytest.approx(part["top1_possible"].mean())
        assert row["top1_possible_tied"] == pytest.approx(part.loc[part["tied"], "top1_possible"].mean())
        assert row["top1_possible_untied"] == pytest.approx(part.loc[~part["tied"], "top1_possible"].mean())
        assert row["top1_possible_macro"] == pytest.approx(rows["top1_possible"].mean())
        hits = rows["links_hit_sure"].sum() + rows["links_hit_possible"].sum()
        assert row["aer"] == pytest.approx(1 - hits / (rows["links_predicted"].sum() + rows["links_sure"].sum()))


def test_macro_means_have_intervals_over_examples(store, capsys):
    """``good`` is right everywhere, so its interval is a point; ``bad`` is right once an example of any length."""
    assert report(store) == 0
    runs = pd.read_csv(store / "report" / "runs.csv").set_index(["checkpoint", "direction"])
    good, bad, free = (runs.loc[(n, "t2s")] for n in ("good", "bad", "baseline:position-free"))
    for name in ("top1_possible", "f1", "aer"):
        assert good[f"{name}_macro_low"] == good[f"{name}_macro"] == good[f"{name}_macro_high"] == float(name != "aer")
    shares = [1 / (len(text.split()) + 1) for text in TEXTS.values()]  # of an example's words and EOS
    assert bad["top1_sure_macro"] == pytest.approx(np.mean(shares)) != bad["top1_sure"]
    wanted = bca_interval(np.stack([shares, np.ones(6)], axis=1), resamples=200)
    assert (bad["top1_sure_macro_low"], bad["top1_sure_macro_high"]) == pytest.approx((wanted.low, wanted.high))
    assert np.isnan(free["f1_macro"]) and np.isnan(free["f1_macro_low"])  # no bound is known
    macro = [name for name in runs if name.endswith("_macro")]
    assert len(macro) == 14 and {f"{name}_{end}" for name in macro for end in ("low", "high")} <= set(runs)


def test_an_example_without_sure_links_has_no_part_in_that_macro_mean(tmp_path):
    """e0 has no sure link: the mean of top1_sure is over the five others, that of recall counts it as 1."""
    make_store(tmp_path, checkpoints=("bad",))
    golds = read_gold(tmp_path / "gold.jsonl")
    golds["e0"] = replace(golds["e0"], sure=frozenset())
    found = build_report([MapStore.open(tmp_path / "maps")], golds, resamples=200)
    row = found.runs.set_index(["checkpoint", "direction"]).loc[("bad", "t2s")]
    examples = found.examples[found.examples["direction"] == "t2s"]
    shares = [1 / (len(text.split()) + 1) for text in list(TEXTS.values())[1:]]
    assert examples["top1_sure"].tolist() == pytest.approx([np.nan, *shares], nan_ok=True)
    assert row["top1_sure_macro"] == pytest.approx(np.mean(shares))
    assert min(shares) <= row["top1_sure_macro_low"] < row["top1_sure_macro"] < row["top1_sure_macro_high"]
    assert row["recall_macro"] == pytest.approx(examples["recall"].mean()) and examples["recall"].iloc[0] == 1


def test_breakdowns_add_up(store, capsys):
    assert report(store) == 0
    breakdowns = pd.read_csv(store / "report" / "breakdowns.csv")
    assert set(breakdowns["breakdown"]) == {"relation", "tied", "token_class", "place", "length", "category"}
    for _, part in breakdowns.groupby(["checkpoint", "direction"]):
        totals = part.groupby("breakdown")[["n_positions", "n_sure"]].sum()
        assert (totals.nunique() == 1).all() and (part["n_sure"] <= part["n_positions"]).all()
    one = breakdowns[(breakdowns["checkpoint"] == "bad") & (breakdowns["direction"] == "t2s")]
    assert set(one[one["breakdown"] == "category"]["group"]) == {"ab", "rest"}
    assert set(one[one["breakdown"] == "tied"]["group"]) == {"tied", "untied"}


def test_comparison_is_paired_and_corrected(store, capsys):
    assert report(store) == 0
    rows = pd.read_csv(store / "report" / "comparisons.csv")
    assert len(rows) == 2 * 6 and set(rows["first"]) == {"good"} and set(rows["second"]) == {"bad"}
    assert (rows["n_examples"] == 6).all() and (rows["p_holm"] >= rows["p_permutation"]).all()
    top1 = rows[(rows["score"] == "top1_possible") & (rows["direction"] == "t2s")].iloc[0]
    assert (
        top1["difference"] == pytest.approx(top1["first_value"] - top1["second_value"]) and top1["difference_low"] > 0
    )


def test_printed_table(store, capsys):
    assert report(store) == 0
    out = capsys.readouterr().out
    for wanted in (
        "F1 by extraction of links",
        "top-1 sure",
        "good",
        "bad",
        "baseline:position-free",
        "good − bad",
        "key-query gap",
        "0.750",
        "tokens.csv",
    ):
        assert wanted in out, wanted
    assert "6 examples" in out


def test_json_holds_the_same_numbers(store, capsys):
    assert report(store, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    runs = pd.read_csv(store / "report" / "runs.csv")
    assert [row["top1_sure"] for row in values["runs"]] == pytest.approx(runs["top1_sure"].tolist())
    assert values["runs"][-1]["aer"] is None  # no bound is known: null, not NaN
    assert len(values["written"]) == 7 and values["key_query"][0]["classifier_accuracy_after"] == 0.75


def test_probe_score_prints_without_writing(store, capsys):
    argv = ["score", str(store / "maps"), "--gold", str(store / "gold.jsonl"), "--resamples", "50"]
    assert probe_main.main(argv) == 0
    assert "baseline:uniform" in capsys.readouterr().out
    assert sorted(path.name for path in store.iterdir()) == ["gold.jsonl", "maps"]


@pytest.mark.parametrize("links", ["mutual", "itermax", "threshold", "both-directions", "monotone"])
def test_other_link_extractions(store, capsys, links):
    assert report(store, "--links", links) == 0
    runs = pd.read_csv(store / "report" / "runs.csv").set_index(["checkpoint", "direction"])
    assert f"|links:{links}" in runs.loc[("good", "t2s"), "signature"]
    assert runs.loc[("good", "t2s"), "precision"] == 1
    assert runs.loc[("good", "t2s"), "f1"] > runs.loc[("bad", "t2s"), "f1"]


def test_two_stores_and_a_single_checkpoint(tmp_path, capsys):
    make_store(tmp_path, checkpoints=("good",), name="one")
    make_store(tmp_path, checkpoints=("bad",), name="two")
    assert report(tmp_path, maps=("one", "two")) == 0
    assert report(tmp_path, maps=("one",), out="single") == 0
    both, single = (pd.read_csv(tmp_path / out / "comparisons.csv") for out in ("report", "single"))
    assert len(both) == 12 and len(single) == 0 and list(single.columns) == list(both.columns)


def test_same_bytes_twice(store, capsys):
    assert report(store, figures=True) == report(store, out="again", figures=True) == 0
    assert len(list((store / "report").glob("breakdowns-*.png"))) == 2
    for path in (store / "report").iterdir():
        again = (store / "again" / path.name).read_bytes()
        if path.name == "report.html":  # it says by which command it was made
            again = again.replace(f"--out {store}/again".encode(), f"--out {store}/report".encode())
        assert path.read_bytes() == again


def test_gold_for_only_some_examples_is_said(store, capsys):
    golds = (store / "gold.jsonl").read_text().splitlines(keepends=True)
    (store / "gold.jsonl").write_text("".join(golds[:2]) + golds[2].replace('"e2"', '"other"'))
    assert report(store) == 0
    out = capsys.readouterr().out
    assert "note: 4 examples have maps but no gold" in out and "note: 1 examples have gold but no map" in out


@pytest.mark.parametrize(
    ("break_it", "options", "code", "message"),
    [
        (lambda text: text.replace('"␣cd"', '"cd"', 1), [], 3, "first difference at index 1: wanted 'cd', found '␣cd'"),
        (lambda text: text.replace("7" * 16, "8" * 16), [], 3, "another teacher tokenizer"),
        (lambda text: text.replace('"e', '"f'), [], 3, "no map has gold"),
        (lambda text: "{", [], 3, "gold.jsonl:1: broken JSON"),
        (lambda text: text, ["--links", "softmax"], 2, "invalid choice"),
        (lambda text: text, ["--threshold", "1.5"], 2, "--threshold must be in [0, 1)"),
        (lambda text: text, ["--seed", "-1"], 2, "--seed must not be negative"),
        (lambda text: text, ["--resamples", "0"], 2, "wanted a whole number above 0"),
    ],
)
def test_errors_have_their_exit_code_and_write_nothing(store, capsys, break_it, options, code, message):
    gold = store / "gold.jsonl"
    gold.write_text(break_it(gold.read_text()))
    assert report(store, *options) == code
    assert message in capsys.readouterr().err
    assert not (store / "report").exists()


def test_wrong_stores(store, capsys):
    assert report(store, maps=("nowhere",)) == 4
    assert "does not exist" in capsys.readouterr().err
    assert report(store, maps=("maps", "maps")) == 2
    assert "the checkpoint name 'good' is in" in capsys.readouterr().err
    make_store(store, checkpoints=("bad",), name="maps2")
    (store / "maps2" / "maps-00000.safetensors").write_bytes(b"x")
    assert report(store, maps=("maps2",)) == 4


def test_both_directions_needs_both(tmp_path, capsys):
    golds = {}
    with MapStoreWriter(tmp_path / "maps", provenance=PROVENANCE) as writer:
        for gold, amap in example_maps("e0", TEXTS["e0"]):
            golds["e0"] = gold
            if amap.direction == "t2s":
                writer.add(amap)
    write_gold(tmp_path / "gold.jsonl", golds)
    assert report(tmp_path, "--links", "both-directions") == 2
    assert "Extract with --direction both" in capsys.readouterr().err
    assert report(tmp_path) == 0  # one example: no interval, and no crash


def test_lines_of_an_empty_report_are_few():
    from probe.scoring.report import Report

    nothing = pd.DataFrame()
    runs = pd.DataFrame({"direction": []})
    assert report_lines(Report(nothing, nothing, runs, nothing, nothing, nothing, nothing, ("nothing to say",))) == [
        "note: nothing to say"
    ]
