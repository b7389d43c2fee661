"""Every family answers as it does for one whole sequence alone, whatever it makes of padding, caches and float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from probe.errors import DamagedError
from probe.evaluation.decoding import Way, find_way
from probe.evaluation.generation import Request, Response, respond
from probe.evaluation.options import Sampling
from probe.text.examples import Example
from probe.text.one_side import Side
from tests.support import tiny

GREEDY = Sampling(temperature=0.0, max_prompt_length=24, max_new_tokens=5)
PROMPTS = ("Say hello to the lazy dog.", "x", "Count from one")
COMMON = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "mamba2": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "num_heads": 4, "head_dim": 8,
               "n_groups": 1, "expand": 2, "chunk_size": 8},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "mpt": {"d_model": 16, "n_layers": 2, "n_heads": 2, "max_seq_len": 64},
    "mixtral": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
                "intermediate_size": 32, "num_local_experts": 4, "max_position_embeddings": 64},
    "bart": {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32,
             "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "max_position_embeddings": 64},
    "rwkv": {"hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16, "intermediate_size": 32,
             "context_length": 64},
}  # fmt: skip


def family(name: str, dtype: torch.dtype = torch.float64) -> tuple[Any, Side]:
    tokenizer = tiny.byte_bpe()
    config = transformers.AutoConfig.for_model(name, vocab_size=len(tokenizer), **COMMON, **FAMILIES[name])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        kind: Any = transformers.BartForCausalLM if name == "bart" else transformers.AutoModelForCausalLM
        model: Any = kind(config) if name == "bart" else kind.from_config(config)
        for parameter in model.parameters():  # as large as trained ones, so that a wrong position or row shows
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.4)
    return model.to(dtype).eval(), Side(tokenizer, "student")


@torch.no_grad()
def plainly(model: Any, side: Side, prompt: str) -> list[int]:
    """Greedy, one sequence alone, everything computed again for every token."""
    ids = list(side.prompt_ids(prompt, GREEDY.max_prompt_length)[0])
    begun = len(ids)
    for _ in range(GREEDY.max_new_tokens):
        ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == side.eos:
            break
    return ids[begun:]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_draws_what_it_says_of_one_sequence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, side = family(name)
    said: list[str] = []
    requests = [Request(Example(f"e{i}", prompt, ("",)), 1) for i, prompt in enumerate(PROMPTS)]
    found: dict[int, Response] = dict(respond(model, side, requests, GREEDY, batch_size=3, report=said.append))
    for place, prompt in enumerate(PROMPTS):
        wanted = [token for token in plainly(model, side, prompt) if token != side.eos]  # in the dtype it ended up in
        assert found[place].text == side.decode(wanted).strip()
        assert found[place].n_tokens == len(wanted)
    way = found[0].way
    assert bool(said) == bool(way) and all(way in line for line in said)
    with capsys.disabled():
        print(f"\n{name}: {way or 'as usual'}")
    assert {"gpt2": way == "", "bart": "batch:1" in way, "mixtral": "experts:eager" in way}.get(name, True), way


def test_a_forward_that_fails_is_the_models() -> None:
    model, side = family("gpt2")
    model.transformer.h[0].mlp.c_fc.weight.data = torch.zeros(3, 3)  # float64 in name, misshapen in fact
    with pytest.raises(DamagedError, match="GPT2LMHeadModel fails in its own forward pass"):
        find_way(model, [[1, 2, 3], [4]], side.eos)


def test_too_little_memory_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    model, side = family("gpt2")

    def full(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(model.transformer, "forward", full)
    with pytest.raises(RuntimeError, match="not enough memory"):
        find_way(model, [[1, 2, 3]], side.eos)


def test_a_way_is_named_by_what_differs() -> None:
    assert [str(way) for way in (Way(), Way(batched=False), Way(False, False, model="dtype:float32"))] == [
        "", "batch:1", "dtype:float32+batch:1+cache:none",
    ]  # fmt: skip
