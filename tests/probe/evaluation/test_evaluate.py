"""`probe evaluate`: scores by hand, averages, the journal, and the command on tiny checkpoints."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from probe.__main__ import main
from probe.errors import UsageError
from probe.evaluation.evaluate import evaluate as evaluate_checkpoints
from probe.evaluation.evaluate import read_data, write_tables
from probe.evaluation.journal import DrawnResponse, ResponseJournal, response_key
from probe.evaluation.options import EvaluationOptions, Sampling
from probe.evaluation.rouge import exact_match, rouge_l
from probe.evaluation.tables import Evaluated, ScoredResponse, comparisons_frame, evaluation_frame
from probe.text.examples import Example
from tests.support import tiny


@pytest.mark.parametrize(
    ("response", "accepted", "score"),
    [
        ("the cat sat down", ["the cats sat"], 2 * 0.75 * 1 / 1.75),  # stemmed: 3 of 4, 3 of 3
        ("down sat cat the", ["the cat sat down"], 0.25),  # longest common subsequence 1, of 4 each
        ("a b", ["a c d e", "b"], 2 * 0.5 * 1 / 1.5),  # the best accepted answer
        ("", ["a"], 0.0),
        ("Running, runs!", ["run run"], 1.0),
        ("北京", ["北京"], 0.0),  # as published: only a-z and 0-9 are seen
    ],
)
def test_rouge_l_by_hand(response: str, accepted: list[str], score: float) -> None:
    assert rouge_l(response, accepted) == pytest.approx(score)


@pytest.mark.parametrize(
    ("response", "accepted", "score"),
    [("  The Cat!\n", ["no", "the cat"], 1.0), ("the cats", ["the cat"], 0.0), ("a-b", ["ab"], 1.0), ("", ["."], 1.0)],
)
def test_exact_match_by_hand(response: str, accepted: list[str], score: float) -> None:
    assert exact_match(response, accepted) == score


def part(checkpoint: str, dataset: str, domain: str, scores: list[list[float]]) -> Evaluated:
    """Scores [examples][seeds] in percent, for seeds 10, 20, …"""
    seeds = tuple(10 * (k + 1) for k in range(len(scores[0])))
    responses = [
        ScoredResponse(f"e{i}", "", seed, "r", 4, True, False, value / 100, 0.0)
        for i, row in enumerate(scores) for seed, value in zip(seeds, row, strict=True)
    ]  # fmt: skip
    return Evaluated(checkpoint, "sft", dataset, domain, "metric:x|data:1", seeds, tuple(responses))


def test_means_deviations_and_averages_by_hand() -> None:
    parts = [
        part("a", "dolly", "in", [[10, 20], [30, 40]]),  # by seed 20, 30
        part("a", "vicuna", "out", [[50, 50]]),
        part("a", "self", "out", [[0, 20]]),
    ]
    frame = evaluation_frame(parts, resamples=50).set_index("dataset")
    assert frame.loc["dolly", ["rouge_l", "rouge_l_std"]].tolist() == pytest.approx([25, math.sqrt(50)])
    assert frame.loc["vicuna", ["rouge_l", "rouge_l_std"]].tolist() == pytest.approx([50, 0])
    # out of domain, by seed: 25 and 35; over all three: (20 + 50 + 0) / 3 and (30 + 50 + 20) / 3
    assert frame.loc["average out-of-domain", ["rouge_l", "rouge_l_std"]].tolist() == pytest.approx([30, math.sqrt(50)])
    assert frame.loc["average all", "rouge_l"] == pytest.approx((70 / 3 + 100 / 3) / 2)
    assert frame.loc["average in-domain", "rouge_l"] == pytest.approx(25)
    assert frame["level"].tolist() == ["data set"] * 3 + ["average"] * 3
    assert frame.loc["average all", "n_examples"] == 4


def test_one_data_set_has_no_average_and_one_seed_no_deviation() -> None:
    frame = evaluation_frame([part("a", "dolly", "in", [[10], [30]])], resamples=50)
    assert frame["dataset"].tolist() == ["dolly"]
    assert math.isnan(frame["rouge_l_std"][0])


def test_a_planted_difference_is_found_and_none_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 80, (60, 2))
    parts = [part("base", "d", "in", base.tolist()), part("better", "d", "in", (base + 5).tolist()),
             part("same", "d", "in", base.tolist())]  # fmt: skip
    frame = comparisons_frame(parts, "base", resamples=500).set_index(["first", "score"])
    better, same = frame.loc[("better", "rouge_l")], frame.loc[("same", "rouge_l")]
    assert better["difference"] == pytest.approx(5)
    assert better["p_holm"] < 0.05 < same["p_holm"] == 1
    assert frame["second"].unique().tolist() == ["base"]


# --- the journal ----------------------------------------------------------------------------------


def test_the_journal_gives_back_what_it_took_and_cuts_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "responses.jsonl"
    drawn = DrawnResponse("k", "a\u2028\ud83d\nb", 3, True, False)
    with ResponseJournal(path) as journal:
        journal.add(drawn)
    with open(path, "a") as file:
        file.write('{"key": "torn", "resp')
    with ResponseJournal(path) as journal:
        assert dict(journal.known) == {"k": drawn}
        journal.add(DrawnResponse("l", "", 0, False, False))
    with ResponseJournal(path) as journal:
        assert set(journal.known) == {"k", "l"}


def test_the_key_says_all_that_decides_a_response() -> None:
    one = Example("a", "p", ("x",))
    key = response_key("m", "s", one, 1)
    assert key == response_key("m", "s", Example("a", "p", ("other",)), 1)
    renamed, reworded = Example("b", "p", ("x",)), Example("a", "q", ("x",))
    others = [
        ("n", "s", one, 1),
        ("m", "t", one, 1),
        ("m", "s", one, 2),
        ("m", "s", renamed, 1),
        ("m", "s", reworded, 1),
    ]
    assert len({key, *(response_key(*other) for other in others)}) == 6


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluate")
    tiny.model_directory(root / "teacher", "llama", "bpe", width=16, seed=1)
    tiny.checkpoint_directory(root / "cma", root / "teacher")
    tiny.checkpoint_directory(root / "sft", root / "teacher", method="sft", seed=3)
    tiny.data_file(root / "one.jsonl")
    tiny.write_jsonl(root / "two.jsonl", [{"prompt": "=Say it", "output": ["a", "b"]}, {"prompt": "q", "output": "c"}])
    return root


def evaluate(room: Path, *more: str) -> int:
    words = ["--checkpoint", f"{room}/cma", "--data", f"{room}/one.jsonl", f"{room}/two.jsonl", "--seeds", "10", "20"]
    small = ["--max-prompt-length", "32", "--max-new-tokens", "6", "--resamples", "50"]
    return main(["evaluate", *words, *small, *more])


def test_a_response_that_was_altered_is_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    drawn = [DrawnResponse(key, f"text {key}", 2, True, False) for key in "klm"]
    with ResponseJournal(path) as journal:
        for one in drawn:
            journal.add(one)
    lines = path.read_text().splitlines()
    unsealed = json.dumps({key: value for key, value in json.loads(lines[1]).items() if not key.startswith("sha256")})
    path.write_text("\n".join([lines[0].replace("text k", "text K"), unsealed, lines[2]]) + "\n")
    with ResponseJournal(path) as journal:
        assert dict(journal.known) == {"m": drawn[2]}
        assert journal.altered == 2


def test_the_command_writes_tables_and_goes_on_from_its_journal(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert evaluate(room, "--against", f"{room}/sft", "--out", str(out), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["dataset"] for row in said["evaluation"]][:2] == ["one", "two"]
    tables = {name: pd.read_csv(out / f"{name}.csv") for name in ("evaluation", "responses", "comparisons")}
    assert {frame["schema_version"].unique()[0] for frame in tables.values()} == {1}
    assert all(frame["signature"].str.contains("seeds:10[+]20").all() for frame in tables.values())
    assert len(tables["responses"]) == 2 * 8 * 2
    assert tables["evaluation"]["domain"].tolist() == ["in", "out", "in", "out", "all"] * 2
    assert tables["comparisons"][["first", "second"]].drop_duplicates().to_numpy().tolist() == [["cma", "sft"]]
    assert tables["evaluation"]["method"].unique().tolist() == ["dskd-cma", "sft"]

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr("probe.evaluation.evaluate._draw", lambda *_: pytest.fail("everything is in the journal"))
    assert evaluate(room, "--against", f"{room}/sft", "--out", str(out)) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_stopped_half_way_draws_only_what_is_missing(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert evaluate(room, "--out", str(out)) == 0
    whole = {name: (out / name).read_bytes() for name in ("evaluation.csv", "responses.csv")}
    lines = (out / "responses.jsonl").read_bytes().splitlines(keepends=True)
    (out / "responses.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:20])
    asked: list[int] = []
    from probe.evaluation import generation

    real = generation.respond

    def counted(model: object, side: object, requests: list[object], *rest: object, **options: object) -> object:
        asked.append(len(requests))
        return real(model, side, requests, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(generation, "respond", counted)
    assert evaluate(room, "--out", str(out), "--batch-size", "3") == 0
    assert asked == [16 - 5]
    assert {name: (out / name).read_bytes() for name in whole} == whole


def test_a_plain_directory_is_evaluated_and_in_domain_is_chosen(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    more = ["--checkpoint", f"{room}/cma/student", "--in-domain", f"{room}/two.jsonl", "--out", str(out)]
    assert evaluate(room, *more) == 0
    assert "student" in capsys.readouterr().out
    frame = pd.read_csv(out / "evaluation.csv")
    assert frame.set_index("dataset")["domain"].to_dict()["two"] == "in"
    assert frame["method"].isna().all()


def test_greedy_responses_are_those_of_any_seed(room: Path, tmp_path: Path) -> None:
    assert evaluate(room, "--temperature", "0", "--out", str(tmp_path)) == 0
    frame = pd.read_csv(tmp_path / "responses.csv", keep_default_na=False)
    assert frame.groupby(["dataset", "example_id"])["response"].nunique().max() == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_journal_on_a_full_disk_is_a_disk_error(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "responses.jsonl").symlink_to("/dev/full")
    assert evaluate(room, "--out", str(tmp_path)) == 6
    assert "No space left" in capsys.readouterr().err
    assert not (tmp_path / "evaluation.csv").exists()


def test_tables_that_cannot_be_written_leave_the_journal(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("probe.files._sync", full)
        assert evaluate(room, "--out", str(tmp_path)) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["responses.jsonl"]
    monkeypatch.setattr("probe.evaluation.evaluate._draw", lambda *_: pytest.fail("everything is in the journal"))
    assert evaluate(room, "--out", str(tmp_path)) == 0


def test_the_library_gives_the_tables_of_the_command(room: Path, tmp_path: Path) -> None:
    assert evaluate(room, "--out", str(tmp_path)) == 0
    options = EvaluationOptions(Sampling(max_prompt_length=32, max_new_tokens=6), (10, 20), resamples=50)
    counted: list[tuple[int, str]] = []

    def watched(items: Iterable[object], *, total: int, label: str) -> Iterable[object]:
        counted.append((total, label))
        return items

    data = read_data([room / "one.jsonl", room / "two.jsonl"])
    frames = evaluate_checkpoints([str(room / "cma")], data, options, watched=watched)
    assert counted == [(8 * 2, "cma: responses")]
    for path in write_tables(frames, tmp_path / "library"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


@pytest.mark.parametrize("seeds", [(1, 1), (-1, 2)])
def test_seeds_that_are_no_seeds_are_refused(seeds: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="different seeds of at least 0"):
        EvaluationOptions(seeds=seeds)
