"""`python -m analysis.key_query` on tiny checkpoints: the files, what each stage says, and the same bytes twice."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import key_query
from analysis.key_query import KeyQueryOptions
from probe import cli
from tests.support import tiny

STAGES = ["untrained", "trained", "control"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("key_query")
    teacher = tiny.model_directory(root / "teacher", "llama", "sentencepiece")
    names = {"plain": "dskd-cma", "=matched": "dskd-cma-ga"}
    checkpoints = [
        tiny.checkpoint_directory(root / n, teacher, method=m, seed=i) for i, (n, m) in enumerate(names.items())
    ]
    data = tiny.data_file(root / "data.jsonl")
    options = ["--checkpoint", *map(str, checkpoints), "--data", str(data), "--points", "40", "--most", "60"]
    assert cli.main(key_query.build_parser, key_query.run, [*options, "--out", str(root / "one")]) == 0
    return root, options


def test_a_row_for_each_checkpoint_and_stage(made) -> None:
    frame = pd.read_csv(made[0] / "one/key_query.csv")
    assert list(frame["stage"]) == STAGES * 2
    assert list(frame["checkpoint"].unique()) == ["plain", "'=matched"]  # a name that a spreadsheet would run
    assert (frame["schema_version"] == 1).all() and frame["signature"].str.contains("seed:0").all()
    assert (frame[["energy_distance", "mmd", "sliced_wasserstein", "frechet"]] >= 0).all(axis=None)
    trained, control = (frame[frame["stage"] == stage] for stage in ("trained", "control"))
    assert (control["energy_distance"].to_numpy() < trained["energy_distance"].to_numpy()).all()
    assert control["query_norm"].to_numpy() == pytest.approx(control["key_norm"].to_numpy(), rel=0.1)


def test_the_clouds_name_every_point_and_share_the_keys(made) -> None:
    clouds = pd.read_parquet(made[0] / "one/clouds.parquet")
    assert list(clouds.columns) == ["checkpoint", "stage", "side", "example_id", "position", "token", "pca_x", "pca_y",
                                    "tsne_x", "tsne_y"]  # fmt: skip
    counts = clouds.groupby(["checkpoint", "stage", "side"]).size()
    assert len(counts) == 8 and (counts == 40).all()
    assert np.isfinite(clouds[["pca_x", "pca_y", "tsne_x", "tsne_y"]]).all(axis=None)
    plain = clouds[(clouds["checkpoint"] == "plain") & (clouds["side"] == "key")].drop(columns="checkpoint")
    parts = [part.drop(columns="stage").reset_index(drop=True) for _, part in plain.groupby("stage")]
    pd.testing.assert_frame_equal(*parts)


def test_the_figures_are_there(made) -> None:
    for name in ("clouds-plain.png", "clouds-=matched.png", "mismatch.png"):
        assert (made[0] / "one" / name).read_bytes()[:4] == b"\x89PNG"


def test_json_names_the_change_by_matching_and_a_second_run_gives_the_same_numbers(made, capsys) -> None:
    root, options = made
    capsys.readouterr()
    assert cli.main(key_query.build_parser, key_query.run, [*options, "--out", str(root / "two"), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    rows = {(row["checkpoint"], row["stage"]): row for row in values["rows"]}
    (change,) = values["matching"]
    assert (change["before"], change["after"]) == ("plain", "=matched")
    expected = rows["=matched", "trained"]["mmd"] - rows["plain", "trained"]["mmd"]
    assert change["mmd"] == pytest.approx(expected)
    for name in ("key_query.csv", "clouds.parquet"):
        assert (root / "one" / name).read_bytes() == (root / "two" / name).read_bytes()


def test_the_library_gives_the_files_of_the_command(made, tmp_path) -> None:
    root = made[0]
    options = KeyQueryOptions(root / "data.jsonl", points=40, most=60)
    written = key_query.write_files(key_query.measure([root / "plain", root / "=matched"], options), tmp_path)
    assert {path.name for path in written} == {path.name for path in (root / "one").iterdir()}
    assert all(path.read_bytes() == (root / "one" / path.name).read_bytes() for path in written)


def test_too_few_positions_are_bad_data(made, tmp_path, capsys) -> None:
    data = tiny.write_jsonl(tmp_path / "short.jsonl", [{"prompt": "a", "output": "x"}])
    options = ["--checkpoint", str(made[0] / "plain"), "--data", str(data), "--out", str(tmp_path / "out")]
    assert cli.main(key_query.build_parser, key_query.run, options) == 3
    assert "give longer examples" in capsys.readouterr().err and not (tmp_path / "out").exists()
