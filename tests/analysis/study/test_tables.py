"""`python -m analysis.study` finds what was planted in made-up runs, and says what it could not have found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.study import cells, command, wording
from analysis.study.cells import Sampling
from analysis.study.plan import read_plan
from analysis.study.records import numbers_of, path_of, read_runs
from analysis.study.tables import build_study
from probe import cli
from probe.errors import DamagedError, DataError
from tests.support import ROOT
from tests.support.study_runs import CHUNK_KL, doses, planted, write_runs

QUICK = Sampling(resamples=200)
ARMS = {"sft": (1.6, None), "dskd-cma": (1.5, 0.55), "dskd-cma-ga": (1.5, 0.50), "dskd-cma-b": (1.4, 0.9)}


def arms(seeds=(0, 1, 2)):
    return [planted(arm, seed, bits=bits, top1=top1) for seed in seeds for arm, (bits, top1) in ARMS.items()]


def study(*arguments: str) -> int:
    return cli.main(command.build_parser, command.run, [*arguments, "--resamples", "200"])


def test_a_planted_difference_is_found_and_a_planted_null_is_not() -> None:
    found = build_study(arms(), {"small": read_plan("small")}, sampling=QUICK).comparisons
    rows = found.set_index(["first", "second", "endpoint"])
    better = rows.loc[("dskd-cma-b", "dskd-cma", "E2")]
    assert better["difference"] == pytest.approx(-0.1, abs=0.01) and better["p_holm"] < 0.01
    assert better["low"] < -0.1 < better["high"] and better["family"] == "confirmatory"
    null = rows.loc[("dskd-cma-ga", "dskd-cma", "E2")]
    assert null["low"] < 0 < null["high"] and null["p_holm"] > 0.05
    assert 0 < null["detectable"] < 0.02  # noise of 0.01 a cell: a difference of 0.1 is seen, one of 0.001 is not
    assert rows.loc[("dskd-cma-ga", "dskd-cma", "E1"), "difference"] == pytest.approx(-0.05, abs=0.01)


def test_holm_is_over_the_confirmatory_comparisons_of_a_pair() -> None:
    found = build_study([*arms(), *doses(0.2)], {"small": read_plan("small")}, sampling=QUICK).comparisons
    planned = found[found["family"] == "confirmatory"]
    # the slope, cma-sft, ga-cma, b-cma, b-ga on E2; ga-cma, b-cma, b-ga on E1: dskd-cma-m was not run
    assert len(planned) == 8 and found.loc[found["family"] == "exploratory", "p_holm"].isna().all()
    ordered = planned.sort_values("p")
    by_hand = np.minimum(1, np.maximum.accumulate(ordered["p"].to_numpy() * np.arange(8, 0, -1)))
    assert ordered["p_holm"].to_numpy() == pytest.approx(by_hand)


def test_the_means_and_the_gap_by_hand() -> None:
    """Of a run at 1.5 between a start at 2.0 and a teacher at 0.8: (2.0 − 1.5) / (2.0 − 0.8)."""
    run = planted("one", 0, bits=1.5, noise=0.0)
    assert run.value("bits_per_byte") == pytest.approx(1.5)
    assert run.value("gap_closed") == pytest.approx(0.5 / 1.2)
    found = build_study([run], {}, sampling=QUICK)
    gap = found.arms.set_index("measure").loc["gap_closed"]
    assert gap["value"] == pytest.approx(0.5 / 1.2) and gap["low"] <= gap["value"] <= gap["high"]
    assert found.arms.set_index("measure").loc["chunk_kl", "value"] == pytest.approx(CHUNK_KL)
    assert found.runs.loc[0, "bits_per_byte"] == pytest.approx(1.5) and np.isnan(found.runs.loc[0, "top1_possible"])


def test_the_slope_of_the_doses_is_the_planted_one() -> None:
    found = build_study(doses(0.2), {"small": read_plan("small")}, sampling=QUICK).dose
    slope = found[found["row"] == "slope"].iloc[0]
    assert slope["value"] == pytest.approx(0.2, abs=0.01) and slope["low"] < 0.2 < slope["high"]
    assert slope["p"] < 1e-3 and (slope["seeds"], slope["texts"]) == (3, 40)
    by_seed = found[found["row"] == "slope of a seed"]
    assert by_seed["seed"].tolist() == [0, 1, 2] and by_seed["value"].mean() == pytest.approx(slope["value"])
    each = found[found["row"] == "dose"].set_index("dose")
    assert each.index.tolist() == [0, 0.25, 0.5, 0.75, 1] and each.loc[0, "change"] == 0
    assert each.loc[1, "change_low"] < 0.2 < each.loc[1, "change_high"]
    assert each.loc[1, "change_high"] - each.loc[1, "change_low"] < 0.2 * (each.loc[1, "high"] - each.loc[1, "low"])
    assert f"costs {slope['value']:.4f}" in wording.dose_finding(found, "small")


def test_no_slope_is_said_with_what_would_have_been_seen() -> None:
    found = build_study(doses(0.0), {"small": read_plan("small")}, sampling=QUICK).dose
    slope = found[found["row"] == "slope"].iloc[0]
    assert slope["low"] < 0 < slope["high"]
    assert f"{slope['detectable']:.4f} would have been" in wording.dose_finding(found, "small")


def test_arms_are_compared_on_the_seeds_and_texts_that_both_have() -> None:
    first = {seed: planted("a", seed, bits=1.4) for seed in (0, 1, 2)}
    second = {seed: planted("b", seed, bits=1.5) for seed in (1, 2, 3)}
    second[1] = second[1].__class__(**{**second[1].__dict__, "texts": second[1].texts.iloc[:30]})
    found = cells.difference(first, second, "bits_per_byte", QUICK)
    assert found is not None and (found.seeds, found.texts) == (2, 30)
    assert cells.difference(first, {9: second[3]}, "bits_per_byte", QUICK) is None


def test_a_text_of_other_bytes_is_refused() -> None:
    first, second = planted("a", 0, bits=1.4), planted("b", 0, bits=1.5)
    longer = second.texts.assign(bytes=[*second.texts["bytes"][:-1], 101.0])
    second = second.__class__(**{**second.__dict__, "texts": longer})
    with pytest.raises(DataError, match="'text-39' counts unlike"):
        cells.difference({0: first}, {0: second}, "bits_per_byte", QUICK)


def test_one_command_from_records_to_tables_page_and_figures(tmp_path: Path, capsys) -> None:
    runs = [*arms(), *doses(0.2), *doses(0.1, pair="transplant")]
    out = tmp_path / "results"
    assert study(str(write_runs(tmp_path / "runs", runs)), "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == len(runs) and len(told["findings"]) == 4
    for name in command.TABLES:
        frame = pd.read_csv(out / f"{name}.csv")
        assert len(frame) and (frame["schema_version"] == 1).all() and frame["signature"].notna().all(), name
    for name in ("dose.png", "dose.pdf", "arms-small.png", "arms-transplant.pdf"):
        assert (out / name).stat().st_size > 1000
    page = (out / "study.html").read_text(encoding="utf-8")
    assert "a wholly wrong map costs" in page and "dskd-cma-ga − dskd-cma" in page and "<script" not in page
    assert "not run" in page  # planned arms of which there is no run


def test_what_was_written_is_read_again_and_gives_the_same_tables(tmp_path: Path) -> None:
    """So that published tables can be recomputed from themselves, without a checkpoint."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert study(str(write_runs(tmp_path / "runs", [*arms(), *doses(0.2)])), "--out", str(first)) == 0
    assert study(str(first), "--out", str(second)) == 0
    for name in ("comparisons", "dose", "texts", "gap_rate"):
        one, two = (pd.read_csv(folder / f"{name}.csv") for folder in (first, second))
        pd.testing.assert_frame_equal(one, two, rtol=5e-3, atol=1e-6)  # bits to four decimals


def test_the_path_of_lambda_ends_at_the_best_step(tmp_path: Path) -> None:
    curve = [{"step": float(step), "loss": 1.0, "gap_rate": 0.05 + step / 1000} for step in (0, 20, 40, 60)]
    assert path_of({"curve": curve, "best_step": 40.0}) == ((0, 0.05), (20, 0.07), (40, 0.09))
    assert numbers_of({"curve": curve, "best_step": 40.0}, {"steps": 80})["gap_rate"] == pytest.approx(0.09)
    assert path_of({"curve": [{"step": 0.0, "loss": 1.0}]}) == ()
    assert "gap_rate" not in numbers_of({"curve": []}, {"steps": 80})


def test_runs_that_cannot_be_told_apart_are_refused(tmp_path: Path, capsys) -> None:
    one = planted("sft", 0, bits=1.5)
    other = one.__class__(**{**one.__dict__, "signature": "another"})
    paths = [str(write_runs(tmp_path / name, [run])) for name, run in (("a", one), ("b", other))]
    assert study(*paths, "--out", str(tmp_path / "out")) == 3
    assert "two runs are small sft-s0" in capsys.readouterr().err
    assert study(str(tmp_path), "--out", str(tmp_path / "out"), "--debug") in (2, 3)


def test_a_folder_without_runs_and_a_torn_record_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found neither"):
        read_runs([tmp_path])
    write_runs(tmp_path, [planted("sft", 0, bits=1.5)])
    record = next(tmp_path.rglob("run.json"))
    record.write_text(record.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(DamagedError, match="Run the stage again"):
        read_runs([tmp_path])


def test_the_shipped_plans_hold_what_the_written_plan_says() -> None:
    """Twelve confirmatory comparisons a pair; 5 and 3 seeds; every dose; every arm of the table."""
    text = (ROOT / "docs/study/plan.md").read_text(encoding="utf-8")
    for pair, seeds in (("small", 5), ("transplant", 3)):
        plan = read_plan(pair)
        assert len(plan.confirmatory) == 12 and len(plan.runs("0")) == 6 * seeds and len(plan.stages["1"]) == 12
        assert [arm.dose for arm in plan.stages["0"]] == [0, 0.25, 0.5, 0.75, 1, None]
        assert all(f"`{arm.name}`" in text for arm in plan.stages["1"])
