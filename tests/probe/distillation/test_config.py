"""Settings: every check refuses with field and value, and recipes and --set are read with the types they mean."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from probe.distillation.config import DIVERGENCES, TrainConfig, read_recipe
from probe.errors import UsageError
from tests.support import ROOT

MINIMAL: dict[str, Any] = {"name": "run", "method": "sft", "student": "new", "data": ("a.jsonl",)}

REFUSED: tuple[tuple[str, object], ...] = (
    ("method", "dskd-cmb"),
    ("divergence", "kl"),
    ("matching", "wgan"),
    ("loss_on", "prompt"),
    ("data", ()),
    ("data_limits", (1, 2)),
    ("data_limits", (-1,)),
    ("name", " "),
    ("student", ""),
    ("teacher", ""),
    ("seed", -1),
    ("seed", 2**31),
    ("steps", 0),
    ("batch_size", 0),
    ("micro_batch", -1),
    ("precision", "float16"),
    ("lora_rank", -1),
    ("lora_layers", -1),
    ("lora_alpha", 0.0),
    ("lora_alpha", math.inf),
    ("lora_dropout", 1.0),
    ("lora_targets", ()),
    ("max_length", 7),
    ("held_out", -1),
    ("kd_rate", 1.01),
    ("kd_rate", math.nan),
    ("temperature", 0.0),
    ("temperature", math.inf),
    ("kappa", -0.1),
    ("kappa", math.nan),
    ("discriminator_dropout", 1.0),
    ("discriminator_width", 0),
    ("student_rate", -1e-3),
    ("embedding_rate", math.nan),
    ("projector_rate", math.inf),
    ("query_rate", -1.0),
    ("discriminator_rate", -1.0),
    ("weight_decay", -0.1),
    ("clip", 0.0),
    ("clip", math.nan),
    ("warmup", 1.0),
    ("final_rate", 1.5),
    ("calibration", 0),
    ("teacher_dtype", "bfloat16"),
    ("save_dtype", "int8"),
    ("save_as", "diff"),
    ("save_as", "delta"),
    ("save_every", 0),
    ("log_every", 0),
    ("new_vocabulary", 256),
    ("new_width", 255),
    ("new_width", 0),
    ("new_layers", 0),
    ("new_heads", 0),
    ("new_positions", 4),
    ("probe_every", -1),
    ("new_embeddings", "pca"),
    ("imposed", "chunk"),
    ("contrastive_temperature", 0.0),
    ("contrastive_temperature", math.inf),
    ("imposed_corruption", 1.01),
    ("imposed_corruption", math.nan),
    ("imposed_corruption", 0.5),  # of a method whose map is not imposed
    ("transplant_vocabulary", 256),
    ("stop_on", "loss"),
    ("stop_every", 0),
    ("stop_patience", 0),
    ("stop_limit", -1),
)


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=[f"{field}={value}" for field, value in REFUSED])
def test_every_check_names_the_field_and_the_value(field: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**{**MINIMAL, field: value})
    assert str(caught.value).startswith(f"{field}: wanted ")
    assert str(caught.value).endswith(f"found {value!r}.")


def test_every_number_has_a_check() -> None:
    """A field that takes numbers is in the table above: no number goes into a run unchecked."""
    numbers = {field.name for field in dataclasses.fields(TrainConfig) if field.type in ("int", "float")}
    assert numbers <= {field for field, _ in REFUSED}


def test_whole_text_is_for_sft_alone() -> None:
    assert TrainConfig(**MINIMAL, loss_on="text").loss_on == "text"
    with pytest.raises(UsageError, match="loss_on: wanted response unless method is sft, found 'text'"):
        TrainConfig(**{**MINIMAL, "method": "dskd-cma"}, loss_on="text")


def recipe(folder: Path, text: str | None = None, **values: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **values}) if text is None else text, encoding="utf-8")
    return path


def test_a_recipe_is_read_with_the_types_of_its_fields(tmp_path: Path) -> None:
    path = recipe(tmp_path, "name: r\nmethod: sft\nstudent: new\ndata: one.jsonl\nstudent_rate: 1e-3\nclip: 2\n")
    config = read_recipe(path)
    assert config.data == ("one.jsonl",)
    assert (config.student_rate, type(config.student_rate)) == (0.001, float)  # YAML reads 1e-3 as text
    assert (config.clip, type(config.clip)) == (2.0, float)


def test_settings_survive_json_and_yaml(tmp_path: Path) -> None:
    config = read_recipe(recipe(tmp_path, data=["a", "b"], data_limits=[3, 0], kd_rate=0.25))
    again = json.loads(json.dumps(config.as_dict()))
    assert read_recipe(recipe(tmp_path, yaml.safe_dump(again))) == config


@pytest.mark.parametrize(
    ("override", "field", "value"),
    [
        ("student_rate=1e-3", "student_rate", 0.001),
        ("kappa=2", "kappa", 2.0),
        ("steps=7", "steps", 7),
        (" steps =7", "steps", 7),
        ("data=b.jsonl", "data", ("b.jsonl",)),
        ("data=[b.jsonl, c.jsonl]", "data", ("b.jsonl", "c.jsonl")),
        ("data_limits=5", "data_limits", (5,)),
        ("student=models/a=b", "student", "models/a=b"),
        ("data_licence=Dolly: CC BY-SA 3.0", "data_licence", "Dolly: CC BY-SA 3.0"),
        ("data_licence='a: b'", "data_licence", "a: b"),
        ("data_licence=[1] as shown", "data_licence", "[1] as shown"),
        ("data_licence=", "data_licence", ""),
        ("name=2024", "name", "2024"),
        ("name=2024-13-45", "name", "2024-13-45"),
        ("name=true", "name", "true"),
    ],
)
def test_overrides(tmp_path: Path, override: str, field: str, value: object) -> None:
    found = getattr(read_recipe(recipe(tmp_path), [override]), field)
    assert (found, type(found)) == (value, type(value))


def test_the_last_override_holds(tmp_path: Path) -> None:
    assert read_recipe(recipe(tmp_path, steps=1), ["steps=2", "steps=3"]).steps == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps", "--set wants key=value, found 'steps'"),
        ("stepz=3", "unknown setting 'stepz'"),
        ("=3", "unknown setting ''"),
        ("steps=[", r"--set steps: '\[' is not a YAML value"),
        ("steps=1.5", "steps: wanted int, found 1.5"),
        ("steps=yes", "steps: wanted int, found True"),
        ("steps=", "steps: wanted int, found None"),
        ("kd_rate=high", "kd_rate: wanted float, found 'high'"),
        ("kd_rate=true", "kd_rate: wanted float, found True"),
        ("clip=1" + "0" * 400, "clip: wanted float, found 10000"),
        ("data=[1]", "data: wanted str, found 1; put it in quotes"),
        ("data={a: b}", "data: wanted str, found {'a': 'b'}"),
        ("data_limits=[x]", "data_limits: wanted int, found 'x'"),
        ("steps=0", "steps: wanted 1 or more, found 0"),
    ],
)
def test_overrides_that_are_refused(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(recipe(tmp_path), [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "setting 'name' is missing"),
        ("name: r\nmethod: sft\nstudent: new\n", "setting 'data' is missing"),
        ("- a\n- b\n", "wanted `key: value` lines, found list"),
        ("just text", "found str"),
        ("name: [", "is not valid YAML"),
        ("name: !!python/object/apply:os.system ['true']", "is not valid YAML"),
        ("name: 2024-13-45", "is not valid YAML"),
        ("name: r\nmethods: sft", "unknown setting 'methods'. Known: name, method"),
        ("1: 2", "unknown setting '1'"),
        ("name: 5\nmethod: sft\nstudent: new\ndata: a", "name: wanted str, found 5; put it in quotes"),
        ("name: r\nmethod: sft\nstudent: new\ndata: a\nkappa:", "kappa: wanted float, found None"),
    ],
)
def test_recipes_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = recipe(tmp_path, text)
    with pytest.raises(UsageError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_a_recipe_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(UsageError, match="is not valid YAML"):
        read_recipe(path)
    with pytest.raises(UsageError, match="no recipe at"):
        read_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "probe/recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_named_like_their_file(path: Path) -> None:
    config = read_recipe(path)
    assert config.name == path.stem


PAIR = ("dskd-cma", "dskd-cma-ga")


def test_dskd_cma_ga_is_dskd_cma_plus_one_term() -> None:
    """The two are compared, so their recipes differ in nothing but the matching term."""
    plain, matched = (read_recipe(ROOT / f"probe/recipes/{name}.yaml").as_dict() for name in PAIR)
    differing = {field for field in plain if plain[field] != matched[field]}
    assert differing <= {"name", "method", "matching", "kappa", "discriminator_rate", "discriminator_dropout"}


def test_each_divergence_has_a_function_of_its_name() -> None:
    from probe.distillation.losses import divergences

    released = {name for name in DIVERGENCES if name.endswith("-released")}  # another way of one of the functions
    assert released == {"adaptive_kl-released"} and set(divergences.DIVERGENCES) == set(DIVERGENCES)
    assert all(callable(getattr(divergences, name)) for name in set(DIVERGENCES) - released)
