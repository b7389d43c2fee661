"""`probe evaluate --likelihood`: the same numbers as the run that made the checkpoint, sums by text, gap closed."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from probe.__main__ import main
from probe.distillation.trainer import train
from tests.support import tiny
from tests.support.held_out_runs import TEXTS, config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """`start` (sft) and `arm`, which began from it; both with the same teacher and held-out texts."""
    root = tmp_path_factory.mktemp("evaluated")
    tiny.model_directory(root / "student-gpt2", "gpt2", "small-bpe", width=8, seed=1)
    tiny.model_directory(root / "teacher-llama", "llama", "bpe", width=12, seed=2)
    tiny.data_file(root / "data.jsonl", TEXTS)
    lines = (root / "data.jsonl").read_text().splitlines(keepends=True)
    (root / "held.jsonl").write_text("".join(lines[-2:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBE_CACHE", str(root / "cache"))
        patch.setattr("probe.distillation.trainer.key_query_gap", lambda *given: None)
        train(config(root, "sft", student_rate=1e-2), root / "start")
        train(config(root, "uld", student=str(root / "start"), student_rate=1e-2), root / "arm")
        yield root


def test_it_gives_the_numbers_of_the_run(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--checkpoint", str(trained / "arm"), "--against", str(trained / "start"), "--data",
               str(trained / "held.jsonl"), "--likelihood-only", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main([*command, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["likelihood.csv", "likelihood_means.csv"]
    means = pd.read_csv(tmp_path / "out" / "likelihood_means.csv").set_index("checkpoint")
    metrics = json.loads((trained / "arm" / "metrics.json").read_text())
    for name in ("bits_per_byte", "teacher_bits_per_byte", "gap_closed", "chunk_kl", "chunk_difference"):
        assert means.loc["arm", name] == pytest.approx(metrics[name], rel=1e-5), name
    assert means.loc["start", "bits_per_byte"] == pytest.approx(metrics["start_bits_per_byte"], rel=1e-5)
    assert means.loc["start", "gap_closed"] == 0
    assert shown["likelihood_means"][0]["checkpoint"] == "arm" and "likelihood" not in shown
    rows = pd.read_csv(tmp_path / "out" / "likelihood.csv")
    kept = pd.read_csv(trained / "arm" / "held_out.csv")
    own = rows[rows["checkpoint"] == "arm"]
    assert list(own["example_id"]) == list(kept["example_id"]) == ["t5", "t6"]
    assert own["bits"].tolist() == pytest.approx(kept["bits"].tolist(), rel=1e-5)
    assert own["teacher_bits"].tolist() == pytest.approx(kept["teacher_bits"].tolist(), rel=1e-5)


def test_a_plain_directory_has_no_teacher_but_one_may_be_named(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--checkpoint", str(trained / "student-gpt2"), "--data", str(trained / "held.jsonl"),
               "--likelihood-only", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 0
    assert "bits per byte" in capsys.readouterr().out
    alone = pd.read_csv(tmp_path / "out" / "likelihood_means.csv").iloc[0]
    assert pd.isna(alone["teacher_bits_per_byte"]) and alone["bits_per_byte"] > 0
    assert main([*command, "--teacher", str(trained / "teacher-llama")]) == 0
    beside = pd.read_csv(tmp_path / "out" / "likelihood_means.csv").iloc[0]
    metrics = json.loads((trained / "start" / "metrics.json").read_text())
    assert beside["teacher_bits_per_byte"] == pytest.approx(metrics["teacher_bits_per_byte"], rel=1e-5)
    assert beside["bits_per_byte"] == pytest.approx(alone["bits_per_byte"], rel=1e-9)


def test_beside_responses(trained: Path, tmp_path: Path) -> None:
    command = ["evaluate", "--checkpoint", str(trained / "arm"), "--data", str(trained / "held.jsonl"), "--likelihood",
               "--seeds", "1", "--max-prompt-length", "64", "--max-new-tokens", "4",
               "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(command) == 0
    names = {path.name for path in (tmp_path / "out").glob("*.csv")}
    assert names == {"evaluation.csv", "responses.csv", "likelihood.csv", "likelihood_means.csv"}
