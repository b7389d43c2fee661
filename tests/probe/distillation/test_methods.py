"""Every method end to end on tiny models: it trains, what it trains is in the optimiser, what it saves can be read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from probe.__main__ import main
from probe.distillation import trainer
from probe.distillation.config import DIVERGENCES, IMPOSED, MATCHINGS, TrainConfig, read_recipe
from probe.distillation.engine import Engine
from probe.distillation.objectives import OBJECTIVES
from probe.distillation.optimisation import parameter_groups
from probe.distillation.setup import Setup, prepare
from probe.distillation.steps import step_loss
from probe.distillation.trainer import train
from probe.errors import DamagedError, DataError, UsageError
from probe.models.attention import ByteAttention, CrossModelAttention, MonotoneAttention, SpaceProjectors
from probe.models.checkpoint import load_checkpoint
from probe.models.methods import METHODS, has_discriminator
from tests.support import tiny

TEXTS = tuple((f"Say {word}:", f"{word} the {word}.") for word in ("fox", "dog", "box", "jug", "lazy", "quick", "tall"))
RECIPES = Path("probe/recipes")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of another tokenizer than the teacher's, one of the same, and a few texts."""
    root = tmp_path_factory.mktemp("methods")
    tiny.model_directory(root / "student", "gpt2", "small-bpe", width=8, seed=1)
    tiny.model_directory(root / "same", "gpt2", "bpe", width=8, seed=1)
    tiny.model_directory(root / "teacher", "llama", "bpe", width=12, seed=2)
    tiny.data_file(root / "data.jsonl", TEXTS)
    return root


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trainer, "key_query_gap", lambda *_: trainer.KeyQueryGap(0.5, 0.0, 1.0, 1.0))


def config(room: Path, method: str, **values: Any) -> TrainConfig:
    same = METHODS[method].same_tokenizer
    settings: dict[str, Any] = {
        "name": "toy", "method": method, "student": str(room / ("same" if same else "student")),
        "teacher": str(room / "teacher"), "data": (str(room / "data.jsonl"),), "held_out": 2, "steps": 3,
        "batch_size": 2, "max_length": 64, "discriminator_width": 8, "log_every": 1, "save_every": 100,
        "teacher_dtype": "float32",
    }  # fmt: skip
    return TrainConfig(**{**settings, **values})


VARIANTS = (
    *((method, {}) for method in METHODS),
    ("dskd-cma-ga", {"matching": "ct"}),
    ("dskd-cma-ga", {"matching": "released"}),
    ("dskd-cma-ga", {"matching": "contrastive"}),
    ("dskd-cma-b", {"offset_values": False}),
    ("dskd-imposed", {"imposed": "uniform"}),
    ("dskd-imposed", {"imposed": "permuted"}),
    ("dskd-imposed", {"imposed": "span", "imposed_corruption": 0.5}),
)
all_variants = pytest.mark.parametrize(("method", "values"), VARIANTS, ids=[f"{m} {v or ''}" for m, v in VARIANTS])


def test_every_method_has_an_objective_a_recipe_and_a_kind() -> None:
    assert set(OBJECTIVES) == set(METHODS) - {"sft"}
    recipes = {read_recipe(path).method for path in RECIPES.glob("*.yaml")}
    assert recipes >= set(METHODS)


def test_the_page_of_equations_has_every_method_and_kind() -> None:
    page = Path("docs/methods.md").read_text(encoding="utf-8")
    names = {*METHODS, *MATCHINGS, *DIVERGENCES, *set(IMPOSED) - {"chunk"}}
    assert not {name for name in names if f"`{name}`" not in page}


@all_variants
def test_what_a_method_learns_by_heart_it_knows(
    room: Path, tmp_path: Path, method: str, values: dict[str, Any]
) -> None:
    rates = dict.fromkeys(("student_rate", "embedding_rate", "projector_rate", "query_rate"), 2e-2)
    settings = config(room, method, steps=25, batch_size=5, kappa=0.1, **rates, **values)
    metrics = train(settings, tmp_path / "out")
    assert all(map(math.isfinite, (entry["loss"] for entry in metrics["curve"])))
    assert metrics["curve"][-1]["ce"] < 0.7 * metrics["curve"][0]["ce"]
    logged, terms = set(metrics["curve"][-1]) - {"step", "loss", "ce"}, METHODS[method]
    guided = {"t2s_ce", "t2s_kd", "s2t_kd", "t2s_accuracy"} if terms.projectors else {"kd"} if terms.teacher else set()
    assert logged >= guided and not (logged - guided) - {"kq", "discriminator_accuracy", "gap_rate"}
    assert ("gap_rate" in logged) == terms.reads_bytes
    assert ("kq" in logged) == terms.discriminator
    saved = load_checkpoint(tmp_path / "out")
    assert saved.config.method == method and (saved.config.normalisation is not None) == terms.scaled
    kinds = {(False, False): type(None), (True, False): SpaceProjectors, (True, True): CrossModelAttention}
    own = {"dskd-cma-b": ByteAttention, "dskd-cma-m": MonotoneAttention}
    assert type(saved.attention) is own.get(method, kinds[terms.projectors, terms.query])
    assert (saved.discriminator is not None) == has_discriminator(method, settings.matching)
    if not terms.query:
        with pytest.raises(DamagedError, match="has no query projector"):
            saved.require_attention()


def test_the_path_of_lambda_is_in_the_curve_and_moves_at_the_querys_rate(room: Path, tmp_path: Path) -> None:
    settings = config(room, "dskd-cma-b", steps=4, query_rate=0.1, projector_rate=0.01)
    path = [entry["gap_rate"] for entry in train(settings, tmp_path / "out")["curve"]]
    saved = load_checkpoint(tmp_path / "out").attention
    assert isinstance(saved, ByteAttention) and path[-1] == pytest.approx(saved.gap_rate.item())
    assert len(set(path)) == 4 and 0.04 < path[0] < 0.06
    trained = prepare(settings).trained
    rates = {id(p): group["rate"] for group in parameter_groups(trained, settings) for p in group["params"]}
    named = trained.named_parameters()
    assert rates[id(named["attention.gap"])] == rates[id(named["attention.query.weight"])] == 0.1
    assert rates[id(named["attention.offset.weight"])] == 0.01


def gradients(setup: Setup) -> set[str]:
    """The parts that get a gradient from one batch: student, query, t2s, s2t, discriminator."""
    loss = step_loss(setup.trained, setup.config, setup.teacher, setup.normalisation)
    loss(setup.training[:4]).loss.backward()
    named = setup.trained.named_parameters()
    return {name for name, p in named.items() if p.grad is not None and p.grad.abs().sum() > 0}


@all_variants
def test_what_gets_a_gradient_is_in_the_optimiser_and_nothing_idle_is(
    room: Path, method: str, values: dict[str, Any]
) -> None:
    """All that a method trains gets a gradient and is in a group, but for the constant network of `released`."""
    setup = prepare(config(room, method, **values))
    named, reached = setup.trained.named_parameters(), gradients(setup)
    grouped = {id(p) for group in parameter_groups(setup.trained, setup.config) for p in group["params"]}
    constant = {name for name in named if name.startswith("discriminator") and values.get("matching") == "released"}
    assert {name for name, p in named.items() if id(p) in grouped} == set(named) - constant
    assert reached == set(named) - constant
    assert any(name.startswith("attention.query") for name in named) == METHODS[method].query
    assert setup.teacher is None or not any(p.requires_grad for p in (setup.teacher.head, setup.teacher.embeddings))


@all_variants
def test_batch_mates_change_nothing(room: Path, method: str, values: dict[str, Any]) -> None:
    """Terms are sums over positions: those of a batch are those of its examples, one by one."""
    setup = prepare(config(room, method, **values))
    loss = step_loss(setup.trained, setup.config, setup.teacher, setup.normalisation)
    for module in (setup.trained.student, setup.trained.discriminator):
        if module is not None:
            module.eval()
    with torch.no_grad():
        together, alone = loss(setup.training).parts, [loss([pair]).parts for pair in setup.training]
    for name, value in together.items():
        assert float(value) == pytest.approx(sum(float(one[name]) for one in alone), rel=1e-4, abs=1e-5), name


@all_variants
def test_resuming_goes_on_bit_for_bit(
    room: Path, tmp_path: Path, method: str, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(room, method, steps=4, save_every=2, **values)
    whole = train(settings, tmp_path / "whole")["curve"]
    step, calls = Engine.train_step, 0

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(settings, tmp_path / "out")
    assert train(settings, tmp_path / "out", resume=True)["curve"][2:] == whole[2:]


@pytest.mark.parametrize("method", ["kd", "dskd"])
def test_two_tokenizers_are_refused_where_one_is_needed(room: Path, method: str) -> None:
    with pytest.raises(
        UsageError, match="wanted one tokenizer for both models, found [0-9a-f]{16} .* and [0-9a-f]{16}"
    ):
        prepare(config(room, method, student=str(room / "student")))


def test_the_command_says_so_in_one_message(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"student={room / 'student'}", f"teacher={room / 'teacher'}", f"data={room / 'data.jsonl'}", "held_out=1"]
    arguments = ["train", str(RECIPES / "kd.yaml"), "--out", str(tmp_path / "x"), "--set", *places, "max_length=64"]
    assert main(arguments) == 2
    assert "pairs position i with position i" in capsys.readouterr().err


def test_a_gold_file_without_the_examples_is_refused_before_training(room: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.pharaoh"
    gold.write_text("elsewhere\t0-0\n")
    with pytest.raises(DataError, match="found none for 7, the first 't0'"):
        prepare(config(room, "dskd-imposed", gold=str(gold)))


def test_gold_of_a_file_is_imposed(room: Path, tmp_path: Path) -> None:
    """Links of a file that says that all tokens go to the first: another loss than the span rule's."""
    gold = tmp_path / "gold.pharaoh"
    gold.write_text("".join(f"t{i}\t0-0\n" for i in range(len(TEXTS))))
    losses = []
    for name in ("", str(gold)):
        setup = prepare(config(room, "dskd-imposed", gold=name))
        loss = step_loss(setup.trained, setup.config, setup.teacher, setup.normalisation)
        with torch.no_grad():
            losses.append(float(loss(setup.training).loss))
    assert abs(losses[0] - losses[1]) > 1e-3
