"""Batched sampling: draws by hand, a plain loop as the reference, and what must change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from probe.errors import NonFiniteError, UsageError
from probe.evaluation.generation import Request, Response, pick, respond, uniform_draws
from probe.evaluation.options import Sampling
from probe.models.loading import load_causal_lm, load_tokenizer
from probe.text.examples import Example
from probe.text.one_side import Side
from tests.support import tiny

LENGTHS = Sampling(max_prompt_length=40, max_new_tokens=24)
PROMPTS = ("Say hello.", "", "Count from one to ten, and say it aloud:", "x", "北京?", "The quick brown fox " * 9)


def requests(seeds: tuple[int, ...] = (10, 20)) -> list[Request]:
    return [Request(Example(f"e{i}", prompt, ("",)), seed) for seed in seeds for i, prompt in enumerate(PROMPTS)]


def loaded(path: Path, architecture: str, tokenizer: str = "bpe") -> tuple[torch.nn.Module, Side]:
    tiny.model_directory(path, architecture, tokenizer)
    return load_causal_lm(path, dtype=torch.float64), Side(load_tokenizer(path), "student")


def drawn(model: torch.nn.Module, side: Side, wanted: list[Request], batch_size: int) -> list[Response]:
    found = dict(respond(model, side, wanted, LENGTHS, batch_size=batch_size))  # type: ignore[arg-type]
    return [found[place] for place in range(len(wanted))]


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.499, 0), (0.501, 1), (0.799, 1), (0.801, 2), (1 - 2**-53, 2)]
)
def test_a_draw_inverts_the_cumulative_distribution(uniform: float, token: int) -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2, 0.0]]).log()
    assert pick(logits, torch.tensor([uniform]).double(), 1.0, 1.0).tolist() == [token]


def test_top_p_keeps_the_smallest_set_that_holds_so_much() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().expand(3, 3)
    # 0.5 + 0.3 reach 0.6: tokens 1 and 2 are left, with 5/8 and 3/8
    assert pick(logits, torch.tensor([0.0, 0.62, 0.63]).double(), 1.0, 0.6).tolist() == [1, 1, 2]
    assert pick(logits, torch.tensor([0.0, 0.62, 0.99]).double(), 1.0, 0.5).tolist() == [1, 1, 1]


def test_temperature_sharpens_and_zero_is_greedy() -> None:
    logits = torch.tensor([[0.25, 0.5, 0.25]]).log().expand(2, 3)
    # at temperature 1/2 the weights are squared: 1/6, 4/6, 1/6
    assert pick(logits, torch.tensor([0.16, 0.17]).double(), 0.5, 1.0).tolist() == [0, 1]
    assert pick(logits, torch.tensor([0.0, 0.999]).double(), 0.0, 1.0).tolist() == [1, 1]


def test_the_draws_follow_the_distribution() -> None:
    weights = torch.tensor([0.1, 0.6, 0.3])
    uniform = torch.from_numpy(uniform_draws(Example("a", "p", ("",)), 1, 20_000))
    counts = torch.bincount(pick(weights.log().expand(20_000, 3), uniform, 1.0, 1.0), minlength=3)
    assert torch.allclose(counts / 20_000, weights, atol=0.015)  # four standard deviations


def test_draws_are_those_of_seed_and_example() -> None:
    one = Example("a", "p", ("x",))
    assert np.array_equal(uniform_draws(one, 1, 5), uniform_draws(Example("a", "p", ("other answer",)), 1, 9)[:5])
    for other, seed in ((one, 2), (Example("b", "p", ("x",)), 1), (Example("a", "q", ("x",)), 1)):
        assert not np.array_equal(uniform_draws(one, 1, 5), uniform_draws(other, seed, 5))


@pytest.mark.parametrize(
    ("architecture", "tokenizer"), [(name, "bpe") for name in tiny.ARCHITECTURES] + [("llama", "sentencepiece")]
)
def test_batch_size_and_order_change_nothing(architecture: str, tokenizer: str, tmp_path: Path) -> None:
    model, side = loaded(tmp_path, architecture, tokenizer)
    wanted = requests()
    alone = drawn(model, side, wanted, 1)
    assert len({one.text for one in alone}) > 6
    assert {one.ended for one in alone} <= {True, False}
    for size in (3, len(wanted)):
        assert drawn(model, side, wanted, size) == alone
    assert drawn(model, side, wanted[::-1], 4)[::-1] == alone
    assert drawn(model, side, wanted[3:7], 4) == alone[3:7]


@pytest.mark.parametrize("architecture", ["gpt2", "qwen2"])
def test_a_batch_equals_a_loop_without_padding_or_cache(architecture: str, tmp_path: Path) -> None:
    model, side = loaded(tmp_path, architecture)
    for request, response in zip(requests((5,)), drawn(model, side, requests((5,)), 6), strict=True):
        ids = list(side.prompt_ids(request.example.prompt, LENGTHS.max_prompt_length)[0])
        start = len(ids)
        for uniform in uniform_draws(request.example, 5, LENGTHS.max_new_tokens):
            with torch.no_grad():
                weights = model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1).numpy()
            ids.append(int(np.searchsorted(weights.cumsum(), uniform * weights.sum(), side="right")))
            if ids[-1] == side.eos:
                break
        kept = ids[start:-1] if ids[-1] == side.eos else ids[start:]
        assert (response.n_tokens, response.ended) == (len(kept), ids[-1] == side.eos)
        assert response.text == side.decode(kept).strip()


def test_a_response_ends_at_the_end_token_and_rows_that_ended_are_dropped(tmp_path: Path) -> None:
    model, side = loaded(tmp_path, "llama")
    with torch.no_grad():
        model.lm_head.weight.data[side.eos] = 0.0  # type: ignore[union-attr, index]
    many = [Request(Example(f"e{i}", "Say it.", ("",)), 10) for i in range(64)]
    made = drawn(model, side, many, 64)
    assert 0 < sum(one.ended for one in made) < 64
    assert all(one.n_tokens == LENGTHS.max_new_tokens for one in made if not one.ended)
    assert made == drawn(model, side, many, 5)


def test_a_long_prompt_keeps_its_end_and_an_empty_one_begins_a_text() -> None:
    side = Side(tiny.sentencepiece(), "student")
    ids, cut = side.prompt_ids("the lazy dog and the fox", 6)
    assert cut and len(ids) == 6 and ids[0] == 1
    assert ids[1:] == side.prompt_ids("the lazy dog and the fox", 99)[0][-5:]
    assert side.prompt_ids("", 6) == ((1,), False)  # <s>
    assert Side(tiny.byte_bpe(), "student").prompt_ids("", 6) == ((0,), False)  # no <s>: the end of the text before
    assert Side(tiny.wordpiece(), "student").prompt_ids("the dog", 99)[0][-1] != 3  # no [SEP] behind a prompt


def test_what_a_model_directory_says_of_generation_is_not_listened_to(tmp_path: Path) -> None:
    model, side = loaded(tmp_path, "llama")
    before = drawn(model, side, requests((1,)), 6)
    (tmp_path / "generation_config.json").write_text('{"top_k": 1, "repetition_penalty": 9.0, "max_length": 3}')
    again = load_causal_lm(tmp_path, dtype=torch.float64)
    assert drawn(again, side, requests((1,)), 6) == before


def test_nan_logits_are_named(tmp_path: Path) -> None:
    model, side = loaded(tmp_path, "llama")
    model.lm_head.weight.data.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(NonFiniteError, match="logits"):
        drawn(model, side, requests((1,)), 6)


@pytest.mark.parametrize(
    "options", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": float("nan")}]
)
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="wanted a temperature"):
        Sampling(**options)  # type: ignore[arg-type]


def test_more_positions_than_the_model_has_are_refused(tmp_path: Path) -> None:
    model, side = loaded(tmp_path, "gpt2")
    with pytest.raises(UsageError, match="need 512 positions; the model has 256"):
        list(respond(model, side, requests(), Sampling()))  # type: ignore[arg-type]
