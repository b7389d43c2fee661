"""Digests of a run's inputs: the same ones for the same inputs, and each changed input changes its own alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from probe.distillation.config import TrainConfig
from probe.distillation.optimisation import training_state
from probe.distillation.run_inputs import check_inputs, input_digests, weights_digest
from probe.distillation.run_state import resume_state, save_state
from probe.distillation.setup import prepare
from probe.errors import UsageError
from probe.text.examples import read_examples
from probe.text.tokenization import PairedTokens, PairTokenizer
from tests.support import tiny

TRAINING, HELD_OUT, WEIGHTS = "training examples", "held-out examples", "starting weights of the student"
TEACHER = {"the teacher's embeddings": "1" * 16, "the teacher's weights": "2" * 16}


def pairs_of(path: Path) -> list[PairedTokens]:
    pairer = PairTokenizer(tiny.byte_bpe(280), tiny.byte_bpe())
    return list(pairer.encode(read_examples(path)))


def inputs(root: Path, **changed: Any) -> dict[str, Any]:
    """The arguments of input_digests for a run with gold and probe files."""
    files = {name: root / f"{name}.jsonl" for name in ("gold", "probe_data", "probe_gold")}
    for name, file in files.items():
        if not file.exists():
            file.write_text(name)
    config = TrainConfig(
        name="r", method="dskd-imposed", student="s", data=("d",), **{name: str(file) for name, file in files.items()}
    )
    pairs = pairs_of(tiny.data_file(root / "data.jsonl"))
    given = {
        "config": config,
        "student": tiny.model("gpt2", 30, width=8),
        "training": pairs[:4],
        "held_out": pairs[4:],
        "teacher": TEACHER,
    }
    return {**given, **changed}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in {**before, **after} if before.get(name) != after.get(name)}


def test_same_inputs_have_the_same_digests(tmp_path: Path) -> None:
    one, two = (input_digests(**inputs(tmp_path)) for _ in range(2))
    assert one == two and len(set(one.values())) == len(one) == 8
    assert set(one) == {TRAINING, HELD_OUT, WEIGHTS, "gold", "probe_data", "probe_gold", *TEACHER}
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in one.values())


def other_text(pair: PairedTokens) -> PairedTokens:
    return dataclasses.replace(pair, text=pair.text + " ")


def other_start(pair: PairedTokens) -> PairedTokens:
    return dataclasses.replace(pair, student=dataclasses.replace(pair.student, start=pair.student.start + 1))


def other_teacher_id(pair: PairedTokens) -> PairedTokens:
    ids = (*pair.teacher.ids[:-1], pair.teacher.ids[-1] + 1)
    return dataclasses.replace(pair, teacher=dataclasses.replace(pair.teacher, ids=ids))


def other_name(pair: PairedTokens) -> PairedTokens:
    return dataclasses.replace(pair, example_id="other")


@pytest.mark.parametrize("change", [other_text, other_start, other_teacher_id, other_name])
@pytest.mark.parametrize("part", ["training", "held_out"])
def test_an_example_changes_its_part_alone(
    tmp_path: Path, part: str, change: Callable[[PairedTokens], PairedTokens]
) -> None:
    given = inputs(tmp_path)
    before = input_digests(**given)
    given[part] = [*given[part][:-1], change(given[part][-1])]
    assert changed(before, input_digests(**given)) == {TRAINING if part == "training" else HELD_OUT}


def test_order_counts_and_examples_do_not_run_together(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    before, pairs = input_digests(**given), given["training"]
    for other in (pairs[::-1], pairs[:-1], [*pairs, pairs[-1]], []):
        assert changed(before, input_digests(**{**given, "training": other})) == {TRAINING}
    moved = input_digests(**{**given, "training": pairs[:-1], "held_out": [pairs[-1], *given["held_out"]]})
    assert changed(before, moved) == {TRAINING, HELD_OUT}


@pytest.mark.parametrize("name", ["gold", "probe_data", "probe_gold"])
def test_a_file_counts_by_its_bytes(tmp_path: Path, name: str) -> None:
    given = inputs(tmp_path)
    before = input_digests(**given)
    (tmp_path / f"{name}.jsonl").write_text(name + "\n")
    assert changed(before, input_digests(**given)) == {name}
    (tmp_path / f"{name}.jsonl").write_text(name)
    assert input_digests(**given) == before
    (tmp_path / f"{name}.jsonl").unlink()  # what reads it says so
    assert changed(before, input_digests(**given)) == {name}


@pytest.mark.parametrize("name", TEACHER)
def test_a_teacher_counts_by_its_fingerprints(tmp_path: Path, name: str) -> None:
    given = inputs(tmp_path)
    other = input_digests(**{**given, "teacher": {**TEACHER, name: "3" * 16}})
    assert changed(input_digests(**given), other) == {name}


def test_one_weight_changes_the_student_alone(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    before = input_digests(**given)
    given["student"].transformer.ln_f.bias.data[-1] += 1e-7
    assert changed(before, input_digests(**given)) == {WEIGHTS}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_of_any_type(dtype: torch.dtype) -> None:
    one, two = (tiny.model("llama", 30, width=8).to(dtype) for _ in range(2))  # type: ignore[arg-type]
    assert weights_digest(one) == weights_digest(two)
    assert weights_digest(one) != weights_digest(tiny.model("llama", 30, width=8, seed=1).to(dtype))  # type: ignore[arg-type]


def test_the_type_and_the_shape_are_part_of_weights() -> None:
    zeros = (
        torch.zeros(2, 3),
        torch.zeros(3, 2),
        torch.zeros(6),
        torch.zeros(2, 3, dtype=torch.int32),
        torch.zeros(()),
    )
    models = [torch.nn.ParameterList([torch.nn.Parameter(one, requires_grad=False)]) for one in zeros]
    assert len({weights_digest(model) for model in models}) == len(zeros)


def test_what_changed_is_named(tmp_path: Path) -> None:
    now = {"a": "1", "b": "2", "c": "3"}
    check_inputs(dict(now), now, tmp_path)
    with pytest.raises(UsageError, match=r"was begun with other contents of: b, d\. Put them back .* start again\.$"):
        check_inputs({"a": "1", "b": "0", "c": "3", "d": "4"}, now, tmp_path)
    with pytest.raises(UsageError, match="contents of: c"):
        check_inputs({"a": "1", "b": "2"}, now, tmp_path)


def run_of(root: Path) -> TrainConfig:
    student = tiny.model_directory(root / "student", "gpt2", "small-bpe", width=8, seed=1)
    teacher = tiny.model_directory(root / "teacher", "llama", "bpe", width=12, seed=2)
    return TrainConfig(
        name="r", method="dskd-cma", student=str(student), teacher=str(teacher), held_out=1, max_length=64,
        data=(str(tiny.data_file(root / "data.jsonl")),), probe_data=str(tiny.data_file(root / "probe.jsonl")),
    )  # fmt: skip


def change_text(line: int, file: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        lines = (root / file).read_text(encoding="utf-8").splitlines(keepends=True)
        lines[line] = lines[line].replace('"output": "', '"output": "Also: ')
        (root / file).write_text("".join(lines), encoding="utf-8")

    return change


def change_weight(directory: str, name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        file = root / directory / "model.safetensors"
        tensors = load_file(file)
        tensors[name].view(-1)[0] += 1
        save_file(tensors, file, {"format": "pt"})

    return change


CHANGES = {
    "nothing": (lambda root: None, ""),
    "a training text": (change_text(2, "data.jsonl"), TRAINING),
    "the held-out text": (change_text(-1, "data.jsonl"), HELD_OUT),
    "a probe text": (change_text(0, "probe.jsonl"), "probe_data"),
    "the student": (change_weight("student", "transformer.ln_f.bias"), WEIGHTS),
    "a layer of the teacher": (change_weight("teacher", "model.norm.weight"), "weights of the teacher"),
    "the teacher's table": (
        change_weight("teacher", "model.embed_tokens.weight"),
        "embeddings of the teacher, weights of the teacher",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_state_is_refused_where_its_inputs_changed(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    config = run_of(tmp_path)
    setup = prepare(config)
    optimiser = torch.optim.AdamW(setup.trained.named_parameters().values())
    save_state(setup, training_state(setup.trained, optimiser), tmp_path / "state", 3, [])
    change, named = CHANGES[what]
    change(tmp_path)
    if named:
        with pytest.raises(UsageError, match=rf"state was begun with other contents of: {named}\. Put"):
            resume_state(prepare(config), optimiser, tmp_path / "state")
    else:
        assert resume_state(setup, optimiser, tmp_path / "state") == (3, [])
