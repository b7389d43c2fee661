"""What a LoRA run trains: the last layers alone, where the backward pass ends, and the embeddings where asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from probe.distillation.config import TrainConfig, read_recipe
from probe.distillation.students.lora import choose_trained
from probe.distillation.trainer import train
from probe.errors import UsageError
from tests.support import tiny
from tests.support.held_out_runs import config

LAYERS = 5


def deep(architecture: str) -> torch.nn.Module:
    """A tiny model of five layers."""
    settings = tiny.model(architecture, 40).config.to_dict()
    settings = {key: value for key, value in settings.items() if key != "layer_types"}
    name = "n_layer" if architecture == "gpt2" else "num_hidden_layers"
    built = type(tiny.model(architecture, 40))
    return built(built.config_class.from_dict({**settings, name: LAYERS}))  # type: ignore[no-any-return, attr-defined]


def recipe(**values: object) -> TrainConfig:
    base = {"name": "a", "method": "sft", "student": "some/model", "data": ("a.jsonl",), "lora_rank": 2}
    return TrainConfig(**{**base, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("last", [1, 2, LAYERS])
def test_only_the_last_layers_and_no_pass_below(architecture: str, last: int) -> None:
    """Trained names lie in the last layers; a layer's output needs a gradient there alone: nothing below is kept."""
    model = deep(architecture)
    choose_trained(model, recipe(lora_layers=last))  # type: ignore[arg-type]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    places = {int(part) for name in trained for part in name.split(".") if part.isdecimal()}
    assert places == set(range(LAYERS - last, LAYERS)) and all(".lora_" in name for name in trained)
    states = model(input_ids=torch.arange(6)[None], output_hidden_states=True).hidden_states
    assert [state.requires_grad for state in states[: LAYERS + 1]] == [False] * (LAYERS - last + 1) + [True] * last


def test_all_layers_are_what_peft_takes_for_all_linear() -> None:
    names = []
    for layers in (0, LAYERS):
        model = deep("llama")
        choose_trained(model, recipe(lora_layers=layers))  # type: ignore[arg-type]
        names.append({name for name, parameter in model.named_parameters() if parameter.requires_grad})
    assert names[0] == names[1] and len(names[0]) == LAYERS * 7 * 2


def test_named_targets_in_the_last_layers() -> None:
    model = deep("llama")
    choose_trained(model, recipe(lora_layers=1, lora_targets=("q_proj", "v_proj")))  # type: ignore[arg-type]
    trained = {name.split(".lora_")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"model.layers.4.self_attn.{name}" for name in ("q_proj", "v_proj")}
    with pytest.raises(UsageError, match="lora_layers: wanted at most the student's 5 layers, found 6"):
        choose_trained(deep("llama"), recipe(lora_layers=6))  # type: ignore[arg-type]


@pytest.mark.parametrize(("rank", "setting", "moves"), [
    (0, None, True), (0, True, True), (0, False, False), (2, None, False), (2, False, False), (2, True, True),
])  # fmt: skip
def test_the_embeddings_move_where_asked(
    room: Path, tmp_path: Path, rank: int, setting: bool | None, moves: bool
) -> None:
    """By default they move with all weights and stay beside LoRA; the rest of the student always moves."""
    train(config(room, "sft", lora_rank=rank, train_embeddings=setting, student_rate=1e-2), tmp_path / "out")
    before = load_file(room / "student-gpt2" / "model.safetensors")
    after = load_file(tmp_path / "out" / "student" / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert ("transformer.wte.weight" in changed) == moves
    assert any("attn.c_attn.weight" in name for name in changed)


def test_the_setting_is_read_as_yaml_gives_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: a\nmethod: sft\nstudent: b\ndata: [c.jsonl]\n")
    for text, value in (("true", True), ("false", False), ("null", None)):
        assert read_recipe(path, [f"train_embeddings={text}"]).train_embeddings is value
    with pytest.raises(UsageError, match="train_embeddings: wanted bool, found 'often'"):
        read_recipe(path, ["train_embeddings=often"])
