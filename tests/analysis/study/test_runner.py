"""`python -m analysis.study.run`: a stage of tiny models end to end, what is passed over, what fails, what is cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from analysis.gold.prefill import prefill
from analysis.study import execute, run
from analysis.study.execute import Command, run_jobs
from analysis.study.plan import read_plan
from analysis.study.prepare import Places, overrides, settings_of, write_texts
from analysis.study.records import read_runs
from probe import cli
from probe.distillation.config import TrainConfig
from probe.errors import DataError, UsageError
from probe.files import sha256_of
from probe.gold.reading import write_gold
from probe.models.pairs import load_pair
from probe.text.examples import read_examples
from tests.support import tiny

ARMS = ("sft", "dskd-cma")


def plan_file(root: Path, **changes: object) -> Path:
    """A plan of two arms on tiny models, in the form of the shipped ones."""
    settings = {
        "student": str(root / "student"), "teacher": str(root / "teacher"), "data": ["{data}/texts.jsonl"],
        "held_out": 2, "steps": 2, "batch_size": 2, "max_length": 64, "log_every": 1, "save_every": 1,
        "discriminator_width": 8, "teacher_dtype": "float32",
    }  # fmt: skip
    digest = sha256_of(root / "data/texts.jsonl")
    values = {
        "pair": "tiny", "seeds": [0], "reference": "sft", "settings": settings,
        "files": {"texts.jsonl": {"examples": 6, "sha256": digest}},
        "slices": {"some.jsonl": {"of": "texts.jsonl", "first": 1, "last": 3}},
        "gold": {"file": str(root / "gold.jsonl"), "texts": str(root / "data/texts.jsonl"), "move": False},
        "stages": {"1": [{"arm": arm, "class": "c", "recipe": arm} for arm in ARMS]},
        "confirmatory": {"E2": [["dskd-cma", "sft"]]},
        **changes,
    }  # fmt: skip
    path = root / "plan.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory):
    """Tiny models, their texts, gold by the span rule, and the stage run once."""
    root = tmp_path_factory.mktemp("study")
    patch = pytest.MonkeyPatch()
    patch.setenv("PROBE_CACHE", str(root / "cache"))
    patch.setattr(execute, "NICENESS", 0)  # a test does not wait for a busy machine's other work
    tiny.model_directory(root / "student", "gpt2", "small-bpe", width=8, seed=1)
    tiny.model_directory(root / "teacher", "llama", "bpe", width=12, seed=2)
    (root / "data").mkdir()
    tiny.data_file(root / "data/texts.jsonl")
    pair = load_pair(str(root / "student"), str(root / "teacher"))
    golds = prefill(pair, pair.encode(read_examples(root / "data/texts.jsonl")))
    write_gold(root / "gold.jsonl", list(golds.values()))
    assert stage(root) == 0
    yield root
    patch.undo()


def stage(root: Path, *more: str, plan: Path | None = None) -> int:
    options = ["--stage", "1", "--pair", str(plan or plan_file(root)), "--out", str(root / "out")]
    return cli.main(run.build_parser, run.run, [*options, "--data-dir", str(root / "data"), *more])


def test_a_stage_leaves_checkpoints_records_maps_and_a_status(root: Path) -> None:
    out = root / "out/tiny"
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["dskd-cma-s0", "sft-s0"]
    assert json.loads((out / "status-1.json").read_text(encoding="utf-8"))["still_to_do"] == []
    runs = {one.arm: one for one in read_runs([root / "out"])}
    assert set(runs) == set(ARMS) and runs["sft"].pair == "tiny" and runs["sft"].kind == "c"
    assert not len(runs["sft"].aligned)  # no map
    aligned = runs["dskd-cma"].aligned
    assert aligned["example_id"].tolist() == [f"t{number}" for number in range(6)]
    assert 0 <= runs["dskd-cma"].value("top1_possible") <= 1
    assert (aligned["sure_hits"] <= aligned["possible_hits"] + 1e-9).all()
    assert aligned["possible_rows"].sum() > aligned["tied_rows"].sum() > 0
    record = json.loads((out / "records/dskd-cma-s0/run.json").read_text(encoding="utf-8"))
    assert record["settings"]["data"] == ["{data}/texts.jsonl"] and record["settings"]["seed"] == 0
    assert f"texts.jsonl:{sha256_of(root / 'data/texts.jsonl')[:8]}" in record["signature"]


def test_what_is_finished_is_passed_over(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (root / "out").rglob("*") if path.is_file()}
    assert stage(root) == 0
    said = capsys.readouterr()
    assert "2 of 2 runs are finished" in said.out and "started" not in said.err
    changed = [path.name for path in before if path.stat().st_mtime_ns != before[path]]
    assert changed == ["status-1.json"]
    assert stage(root, "--list") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["sft-s0", "finished"], ["dskd-cma-s0", "finished"]
    ]  # fmt: skip


def test_a_lost_record_is_collected_again_without_training(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = root / "out/tiny/records/sft-s0/run.json"
    text = record.read_text(encoding="utf-8")
    record.unlink()
    assert stage(root, "--arms", "sft") == 0
    assert record.read_text(encoding="utf-8") == text and "collected" in capsys.readouterr().err


def test_a_finished_run_with_other_settings_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = root / "changes.yaml"
    changes.write_text("arms: {sft: {student_rate: 0.1}}\n", encoding="utf-8")
    assert stage(root, "--settings", str(changes)) == 2
    assert "was made with student_rate" in capsys.readouterr().err


def test_missing_texts_are_named(root: Path, tmp_path: Path) -> None:
    plan, places = read_plan(plan_file(root)), Places(tmp_path / "out", tmp_path)
    with pytest.raises(DataError, match=r"wanted texts.jsonl \(6 examples"):
        write_texts(plan, places)
    tiny.data_file(tmp_path / "texts.jsonl", tiny.TEXTS[:2])
    with pytest.raises(DataError, match="some.jsonl wants 3"):
        write_texts(plan, places)


def test_slices_are_the_lines_as_they_stand_and_other_texts_are_noted(root: Path, tmp_path: Path) -> None:
    plan, places = read_plan(plan_file(root)), Places(tmp_path / "out", tmp_path)
    written = tiny.data_file(tmp_path / "texts.jsonl", tiny.TEXTS)
    assert write_texts(plan, places) == {}
    lines = written.read_text(encoding="utf-8").splitlines()
    assert (tmp_path / "out/slices/some.jsonl").read_text(encoding="utf-8").splitlines() == lines[1:3]
    tiny.data_file(tmp_path / "texts.jsonl", tiny.TEXTS[::-1])
    assert "numbers will differ" in write_texts(plan, places)["texts.jsonl"]


def test_settings_reach_the_recipe_and_leave_without_this_machines_folders(root: Path, tmp_path: Path) -> None:
    plan = read_plan("small")
    places = Places(tmp_path / "out", tmp_path / "texts")
    first = plan.runs("1")[0]
    given = dict(one.split("=", 1) for one in overrides(first, places))
    slices = [f"{tmp_path}/out/slices/{name}.jsonl" for name in ("held", "more")]
    assert json.loads(given["data"]) == slices and given["seed"] == "0"
    config = TrainConfig("sft", "sft", f"{tmp_path}/out/runs/start-s0", (f"{tmp_path}/texts/a.jsonl",))
    plain = settings_of(config, places)
    assert plain["data"] == ["{data}/a.jsonl"] and plain["student"] == "{runs}/start-s0"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("seed: 3\n", "unknown key 'seed'"),
        ("arms: {nobody: {steps: 3}}\n", "no arm 'nobody'"),
        ("- 1\n", "wanted `key: value`"),
    ],
)
def test_changes_that_mean_nothing_are_refused(tmp_path: Path, changes: str, said: str) -> None:
    path = tmp_path / "changes.yaml"
    path.write_text(changes, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_plan("small", path)


def test_changes_reach_every_run_and_one_arm(tmp_path: Path) -> None:
    path = tmp_path / "changes.yaml"
    path.write_text("seeds: [7]\nsettings: {steps: 5}\narms: {sft: {student_rate: 0.1}}\n", encoding="utf-8")
    runs = {one.arm.name: one for one in read_plan("small", path).runs("1")}
    assert {one.seed for one in runs.values()} == {7}
    assert {one.arm.settings["steps"] for one in runs.values()} == {5}
    assert [name for name, one in runs.items() if one.arm.settings.get("student_rate") == 0.1] == ["sft"]


def test_all_arms_of_a_seed_come_before_the_next_seed() -> None:
    runs = read_plan("small").runs("0")
    assert [one.seed for one in runs] == sorted(one.seed for one in runs) and len(
        {one.arm.name for one in runs[:6]}
    ) == 6


def test_a_run_waits_for_the_one_that_it_starts_from(root: Path, tmp_path: Path, capsys) -> None:
    settings = {**yaml.safe_load(plan_file(root).read_text(encoding="utf-8"))["settings"], "student": "{runs}/start-s0"}
    plan = plan_file(root, settings=settings, pair="later")
    assert stage(root, plan=plan) == 2
    assert "starts from start-s0, which is not there yet" in capsys.readouterr().err
    plan_file(root)


def test_a_failure_is_told_and_stops_no_other(tmp_path: Path) -> None:
    jobs = [
        Command("bad", ("probe", "verify", str(tmp_path / "nothing")), tmp_path / "bad.log"),
        Command("good", ("probe", "--version"), tmp_path / "good.log"),
    ]
    status, said = tmp_path / "status.json", []
    outcomes = run_jobs(jobs, at_once=1, status=status, report=said.append)
    assert (outcomes["bad"].state, outcomes["bad"].code, outcomes["good"].state) == ("failed", 4, "finished")
    told = json.loads(status.read_text(encoding="utf-8"))
    assert told["still_to_do"] == ["bad"] and "wanted a directory to verify" in told["runs"]["bad"]["said"]
    assert len(said) == 4


def test_an_interrupt_ends_the_processes_and_says_what_is_to_do(tmp_path: Path) -> None:
    sleep = ("timeit", "-n", "1", "-r", "1", "__import__('time').sleep(60)")
    jobs = [Command(name, sleep, tmp_path / f"{name}.log") for name in ("one", "two", "three")]

    def interrupt(line: str) -> None:
        if line.startswith("two"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, at_once=2, status=tmp_path / "status.json", report=interrupt)
    told = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert told["still_to_do"] == ["one", "two", "three"]
    assert told["runs"]["one"]["said"].startswith("cut") and told["runs"]["three"]["state"] == "waiting"


def test_a_collecting_that_fails_is_a_failure_of_the_run(tmp_path: Path) -> None:
    def fails() -> None:
        raise DataError("no such gold")

    job = Command("one", ("probe", "--version"), tmp_path / "one.log", fails)
    found = run_jobs([job], at_once=1, status=tmp_path / "status.json", report=lambda line: None)["one"]
    assert (found.state, found.code, found.said) == ("failed", 3, "no such gold")
