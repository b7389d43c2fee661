"""Teacher states on disk: those of a direct forward, filled once, resumed, checked, apart by teacher and type."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from probe.distillation import teacher_cache
from probe.distillation.teacher_cache import TeacherCache, last_hidden_states, model_fingerprint, state_key
from probe.errors import DamagedError, NonFiniteError
from probe.text.examples import Example
from probe.text.one_side import TokenizedSide
from probe.text.tokenization import PairTokenizer
from tests.support import tiny


@pytest.fixture(scope="module")
def sides() -> list[TokenizedSide]:
    fast = tiny.byte_bpe()
    texts = [*tiny.TEXTS, *((f"Count to {i}:", " ".join(map(str, range(i)))) for i in range(3, 9))]
    examples = [Example(f"e{i}", prompt, (output,)) for i, (prompt, output) in enumerate(texts)]
    return [pair.teacher for pair in PairTokenizer(fast, fast).encode(examples)]


def never() -> torch.nn.Module:
    raise AssertionError("the teacher was asked for")


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_states_are_those_of_each_text_alone(tmp_path: Path, sides: list[TokenizedSide], architecture: str) -> None:
    """After the final norm: the head on them gives the model's own logits."""
    model = tiny.model(architecture, len(tiny.byte_bpe()))
    cache = TeacherCache(tmp_path, "t", "float32")
    cache.fill(sides, lambda: model)
    states = cache.load(sides)
    for side in sides:
        ids = torch.tensor([side.ids[:-1]])
        with torch.no_grad():
            wanted = model(input_ids=ids).logits[0, side.start :]
            found = model.get_output_embeddings()(states[state_key(side)])
        assert found.shape[0] == len(side.targets)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_float16_rounds_and_nothing_more(tmp_path: Path, sides: list[TokenizedSide]) -> None:
    model = tiny.model("llama", len(tiny.byte_bpe()))
    cache = TeacherCache(tmp_path, "t", "float16")
    cache.fill(sides, lambda: model)
    alone = last_hidden_states(model, sides[:1])[0]
    found = cache.load(sides[:1])[state_key(sides[0])]
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), alone, atol=2e-3, rtol=1e-3)


def test_what_is_stored_is_not_computed_again(tmp_path: Path, sides: list[TokenizedSide]) -> None:
    model = tiny.model("gpt2", len(tiny.byte_bpe()))
    TeacherCache(tmp_path, "t").fill([*sides, *sides], lambda: model)
    again = TeacherCache(tmp_path, "t")
    assert again.missing(sides) == []
    again.fill(sides, never)  # type: ignore[arg-type]
    assert set(again.load(sides)) == {state_key(side) for side in sides}
    assert sum(len(json.loads(p.read_text())["keys"]) for p in again.directory.glob("*.json")) == len(set(sides))


def test_teachers_and_types_are_apart(tmp_path: Path, sides: list[TokenizedSide]) -> None:
    model = tiny.model("gpt2", len(tiny.byte_bpe()))
    TeacherCache(tmp_path, "t", "float16").fill(sides, lambda: model)
    assert len(TeacherCache(tmp_path, "t", "float32").missing(sides)) == len(set(sides))
    assert len(TeacherCache(tmp_path, "u", "float16").missing(sides)) == len(set(sides))


def test_an_interrupted_fill_goes_on_where_it_stopped(
    tmp_path: Path, sides: list[TokenizedSide], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_cache, "SHARD_EXAMPLES", 3)
    model = tiny.model("gpt2", len(tiny.byte_bpe()))
    done: list[int] = []

    def stop(count: int, total: int) -> None:
        done.append(count)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TeacherCache(tmp_path, "t").fill(sides, lambda: model, stop)
    again = TeacherCache(tmp_path, "t")
    assert len(again.missing(sides)) == len(set(sides)) - 6
    again.fill(sides, lambda: model)
    whole = TeacherCache(tmp_path / "whole", "t")
    whole.fill(sides, lambda: model)
    wanted, found = whole.load(sides), again.load(sides)
    assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def damaged(change: Callable[[Path], None], cache: TeacherCache) -> None:
    (shard,) = cache.directory.glob("*.safetensors")
    change(shard)


@pytest.mark.parametrize("fault", ["flipped", "cut", "missing"])
def test_an_altered_shard_is_refused(tmp_path: Path, sides: list[TokenizedSide], fault: str) -> None:
    cache = TeacherCache(tmp_path, "t")
    model = tiny.model("gpt2", len(tiny.byte_bpe()))
    cache.fill(sides, lambda: model)
    (shard,) = cache.directory.glob("*.safetensors")
    whole = shard.read_bytes()
    if fault == "missing":
        shard.unlink()
    else:
        shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if fault == "flipped" else whole[:100])
    with pytest.raises(DamagedError, match=r"missing or altered.*Delete .*\.json; the next run computes"):
        cache.load(sides)
    shard.with_suffix(".json").unlink()  # what the message says
    again = TeacherCache(tmp_path, "t")
    again.fill(sides, lambda: model)
    again.load(sides)


def test_a_broken_entry_is_explained(tmp_path: Path) -> None:
    (tmp_path / "t-float16").mkdir()
    (tmp_path / "t-float16/a.json").write_text('{"file": "a"}')
    with pytest.raises(DamagedError, match=r"a\.json: a damaged entry of the teacher cache"):
        TeacherCache(tmp_path, "t")


@pytest.mark.parametrize(("value", "message"), [(math.nan, "NaN or infinity"), (1e6, "set teacher_dtype to float32")])
def test_states_that_cannot_be_stored_are_refused(
    tmp_path: Path, sides: list[TokenizedSide], value: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1e6 is a number, but infinity in float16."""

    def planted(model: object, group: list[TokenizedSide]) -> list[torch.Tensor]:
        return [torch.full((len(side.targets), 4), value) for side in group]

    monkeypatch.setattr(teacher_cache, "last_hidden_states", planted)
    cache = TeacherCache(tmp_path, "t", "float16")
    with pytest.raises(NonFiniteError, match=message):
        cache.fill(sides, lambda: torch.nn.Identity())  # type: ignore[arg-type, return-value]
    assert not list(tmp_path.rglob("*.safetensors"))
    if math.isfinite(value):
        TeacherCache(tmp_path, "t", "float32").fill(sides, lambda: torch.nn.Identity())  # type: ignore[arg-type, return-value]


def test_keys_tell_ids_and_starts_apart(sides: list[TokenizedSide]) -> None:
    one = sides[0]
    other = TokenizedSide(one.ids, one.start - 1, one.axis)
    assert len({state_key(one), state_key(other), state_key(sides[1])}) == 3


def test_a_fingerprint_is_of_weights_and_settings(tmp_path: Path) -> None:
    one, two = (tiny.model_directory(tmp_path / str(seed), "gpt2", seed=seed) for seed in (0, 1))
    assert model_fingerprint(one) == model_fingerprint(one) != model_fingerprint(two)
    config = json.loads((one / "config.json").read_text())
    before = model_fingerprint(one)
    (one / "config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 0.1}))
    assert model_fingerprint(one) != before
