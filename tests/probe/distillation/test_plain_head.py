"""Models whose logits are their head applied to their last hidden states pass; all others are refused, and say why."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from probe.distillation.plain_head import check_plain_head
from probe.errors import NonFiniteError, UsageError
from tests.support import tiny

SIZES = {
    "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 64, "head_dim": 8, "ffn_dim": 32, "max_seq_len": 64,
    "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1, "num_experts": 4, "num_local_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "mamba_d_ssm": 16, "mamba_n_heads": 2, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1,
}  # fmt: skip
PLAIN = (
    "gpt2", "gpt_neox", "llama", "mistral", "ministral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma",
    "gemma3_text", "phi", "phi3", "bloom", "mpt", "falcon", "olmo2", "stablelm", "starcoder2", "smollm3", "granite",
    "glm4", "mamba", "xglm", "falcon_h1",
)  # fmt: skip
CAPPED = {
    "gemma2": {"final_logit_softcapping": 30.0}, "gemma3_text": {"final_logit_softcapping": 50.0},
    "nanochat": {"final_logit_softcapping": 15.0}, "recurrent_gemma": {"logits_soft_cap": 30.0},
    "cohere": {"logit_scale": 0.0625}, "cohere2": {"logit_scale": 0.5}, "granite": {"logits_scaling": 8.0},
    "granitemoe": {"logits_scaling": 1.01}, "hyperclovax": {"logits_scaling": 4.0},
    "falcon_h1": {"lm_head_multiplier": 0.0195},
}  # fmt: skip


def build(kind: str, **settings: Any) -> PreTrainedModel:
    config_class = type(AutoConfig.for_model(kind))
    has = {*AutoConfig.for_model(kind).to_dict(), *config_class.attribute_map}
    if kind == "falcon_h1":
        has.add("head_dim")
    config = config_class(**{key: value for key, value in SIZES.items() if key in has}, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_head_passes(kind: str) -> None:
    check_plain_head(build(kind), "the teacher")


@pytest.mark.parametrize("kind", CAPPED)
def test_scaled_and_capped_logits_are_refused_by_name(kind: str) -> None:
    """Logits of these random models are near 0.1, where a cap of 30 changes nothing that can be seen."""
    ((setting, value),) = CAPPED[kind].items()
    with pytest.raises(UsageError, match=rf"the teacher {kind}: .* differ by .*configuration: {setting} = {value}\)"):
        check_plain_head(build(kind, **CAPPED[kind]), f"the teacher {kind}")


@pytest.mark.parametrize("kind", ["cohere", "granite", "hyperclovax"])
def test_a_scale_of_one_passes(kind: str) -> None:
    check_plain_head(build(kind, **{"logit_scale" if kind == "cohere" else "logits_scaling": 1.0}), "the teacher")


def test_the_deviation_is_that_of_the_logits() -> None:
    with pytest.raises(UsageError, match=r"differ by 0\.75 of the largest"):
        check_plain_head(build("granite", logits_scaling=4.0), "the teacher")


@pytest.mark.parametrize("kind", ["minicpm3", "modernbert-decoder", "bert", "llama4_text"])
def test_states_that_are_not_what_the_head_reads_are_refused(kind: str) -> None:
    """Scaled states, a layer before the head, a base model without states."""
    with pytest.raises(UsageError, match="the student: wanted"):
        check_plain_head(build(kind), "the student")


def test_opt_projects_before_its_head() -> None:
    """OPT-350M's embeddings and head are narrower than its layers; its base model projects its last states."""
    check_plain_head(build("opt", word_embed_proj_dim=8), "the teacher")


def test_states_before_the_final_norm_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = build("llama")
    real, calls = model.model.forward, []

    def unnormed(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        norm, model.model.norm = model.model.norm, torch.nn.Identity()
        out = real(*arguments, **options)
        model.model.norm = norm
        return dataclasses.replace(out, last_hidden_state=norm(out.last_hidden_state)) if len(calls) > 1 else out

    monkeypatch.setattr(model.model, "forward", unnormed)
    with pytest.raises(UsageError, match="differ by"):
        check_plain_head(model, "the teacher")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    check_plain_head(build("llama").to(dtype), "the teacher")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="logits_scaling = 1.0625"):
        check_plain_head(build("granite", logits_scaling=1.0625).to(dtype), "the teacher")  # type: ignore[arg-type]


def test_a_head_bias_is_part_of_the_head() -> None:
    model: Any = build("phi")
    model.lm_head.bias.data.normal_(0, 5)
    check_plain_head(model, "the teacher")


def test_nothing_is_left_behind() -> None:
    """Modes of single modules, weights, hooks, gradients and the random state are as before."""
    model: Any = tiny.model("gpt2", 64)
    model.train()
    model.transformer.h[0].eval()
    modes = [module.training for module in model.modules()]
    state, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    check_plain_head(model, "the student")
    assert [module.training for module in model.modules()] == modes and True in modes and False in modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.lm_head._forward_hooks and all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    model: Any = tiny.model("llama", 64)
    model.model.layers[0].mlp.up_proj.weight.data[3, 2] = value
    with pytest.raises(NonFiniteError, match=r"the teacher: .*layers\.0\.mlp\.up_proj\.weight"):
        check_plain_head(model, "the teacher")


def test_it_costs_two_passes_over_eight_tokens() -> None:
    model: Any = tiny.model("llama", 64)
    seen: list[int] = []
    model.model.register_forward_hook(lambda module, args, output: seen.append(output.last_hidden_state.shape[1]))
    check_plain_head(model, "the teacher")
    assert seen == [8, 8]
