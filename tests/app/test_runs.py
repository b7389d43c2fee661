"""Many runs: seeds of one method belong together, the best are drawn, differences are from one reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.data.runs import against, best, drawn, group_and_seed, grouped
from app.draw.palette import LIGHT
from app.draw.runs import runs_chart
from probe.gold.reading import write_gold
from tests.support.dashboard import app_maps
from tests.support.dashboard.app_pages import charts, open_page, shown


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("dskd-cma-seed3", ("dskd-cma", 3)),
        ("dskd-cma-s3", ("dskd-cma", 3)),
        ("runs/ga_seed-12", ("runs/ga", 12)),
        ("ga/seed3", ("ga", 3)),
        ("dskd-cma", ("dskd-cma", None)),
        ("gpt2-s", ("gpt2-s", None)),
        ("seed3", ("seed3", None)),
        ("steps3", ("steps3", None)),
    ],
)
def test_a_seed_is_the_number_at_the_end_of_a_name(name, found):
    assert group_and_seed(name) == found


def table(values: dict[str, float]) -> pd.DataFrame:
    numbers = np.array(list(values.values()))
    ends = {"top1_sure_low": numbers - 0.1, "top1_sure_high": numbers + 0.1}
    return pd.DataFrame({"checkpoint": list(values), "top1_sure": numbers, **ends})


RUNS = table({"a-s1": 0.25, "a-s2": 0.75, "b": 0.6, "baseline:uniform": 0.9})


def test_groups_have_the_mean_and_the_spread_of_their_seeds():
    found = grouped(RUNS, "top1_sure").set_index("group")
    assert found.index.tolist() == ["b", "a", "baseline:uniform"]  # the best first, baselines last
    assert found.loc["a", ["seeds", "mean", "lowest", "highest"]].tolist() == [2, 0.5, 0.25, 0.75]
    assert found.loc["a", ["low", "high"]].tolist() == [0.25, 0.75]
    assert found.loc["a", "spread"] == pytest.approx(np.std([0.25, 0.75], ddof=1))
    np.testing.assert_allclose(found.loc["b", ["low", "high"]].astype(float), [0.5, 0.7])


def test_the_best_groups_are_drawn_with_all_baselines():
    many = table({f"run{place:02d}": place / 100 for place in range(20)} | {"baseline:uniform": 0.0})
    names = drawn(grouped(many, "top1_sure"))["group"].tolist()
    assert names == [f"run{place}" for place in range(19, 9, -1)] + ["baseline:uniform"]
    assert best(many, "top1_sure", 2) == ["run19", "run18"] and best(RUNS, "top1_sure", 3) == ["a-s1", "a-s2", "b"]


def test_the_chart_has_a_dot_a_seed():
    spec = runs_chart(RUNS, "top1_sure", LIGHT, 700)
    (dots,) = [layer["data"]["values"] for layer in spec["layer"] if "data" in layer]
    assert [(dot["run"], dot["seed"], dot["value"]) for dot in dots] == [("a", 1, 0.25), ("a", 2, 0.75)]
    assert spec["width"] <= 700 - 160 - 46


def test_differences_are_those_of_the_report_turned_to_the_reference():
    rows = [("a", "b", 0.3, 0.1, 0.5, 0.01), ("a", "c", -0.4, -0.6, -0.2, 0.02), ("b", "c", -0.7, -0.9, -0.5, 0.03)]
    names = ["first", "second", "difference", "difference_low", "difference_high", "p_holm"]
    comparisons = pd.DataFrame(rows, columns=names).assign(direction="t2s", score="top1_sure")
    found = against(comparisons, "top1_sure", "t2s", "b")  # of the others, minus b
    assert found["run"].tolist() == ["c", "a"] and found["difference"].tolist() == [0.7, 0.3]
    assert found[["low", "high", "p"]].values.tolist() == [[0.5, 0.9, 0.03], [0.1, 0.5, 0.01]]
    assert against(comparisons, "top1_sure", "s2t", "b").empty


def test_the_overview_of_many_runs(monkeypatch, tmp_path: Path):
    names = tuple(f"{method}-seed{seed}" for method in ("cma", "ga") for seed in (1, 2, 3))
    golds = app_maps.make_store(tmp_path / "maps", app_maps.example_texts(3), checkpoints=names, directions=("t2s",))
    write_gold(tmp_path / "gold.jsonl", golds)
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    arguments = ("--maps", tmp_path / "maps", "--gold", tmp_path / "gold.jsonl")
    test = open_page(monkeypatch, "overview", *arguments, base="ga-seed2")
    assert not test.exception and "from ga-seed2; pick a run" in shown(test) and "A dot is a seed" in shown(test)
    differences = next(one.value for one in test.main.dataframe if "difference" in one.value)
    assert set(differences["run"]) == set(names) - {"ga-seed2"}
    groups = [row["run"] for row in json.loads(charts(test)[0])["layer"][2]["data"]["values"]]
    assert sorted(set(groups)) == ["cma", "ga"] and len(groups) == 6


def test_compare_takes_any_number_of_runs_and_ranks_them(monkeypatch, tmp_path: Path):
    names = tuple(f"run-{place}" for place in range(7))
    golds = app_maps.make_store(tmp_path / "maps", app_maps.example_texts(3), checkpoints=names, directions=("t2s",))
    write_gold(tmp_path / "gold.jsonl", golds)
    test = open_page(monkeypatch, "compare", "--maps", tmp_path / "maps", "--gold", tmp_path / "gold.jsonl")
    test.pills(key="runs").set_value(list(names[1:])).run()
    assert not test.exception and len(charts(test)) == 7 + 6
    ranking = test.main.dataframe[0].value
    assert set(ranking["run"]) == set(names) and ranking["top-1, sure"].is_monotonic_decreasing
