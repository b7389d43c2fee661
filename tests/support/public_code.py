"""Made-up outputs of the public DSKD and DSKD-KQ training code, for tests: its files, in its formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from probe.models.attention import CrossModelAttention, attention_scores, batch_key_sigma, keys, queries, t2s_weights
from probe.models.loading import load_tokenizer
from tests.support import tiny

STUDENT_DIM, TEACHER_DIM = 12, 16


def projectors(seed: int = 5) -> CrossModelAttention:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CrossModelAttention(STUDENT_DIM, TEACHER_DIM)


def projector_state(attention: CrossModelAttention) -> dict[str, Tensor]:
    """The names that a ModuleDict of Sequentials gives its tensors: query.0.weight, …"""
    return {name.replace(".", ".0.", 1): tensor.detach().clone() for name, tensor in attention.state_dict().items()}


def pickled(directory: Path) -> Path:
    """Turn the weights of a model directory into pytorch_model.bin, as ``save_pretrained`` of the public code does."""
    from safetensors.torch import load_file

    file = directory / "model.safetensors"
    torch.save(load_file(file), directory / "pytorch_model.bin")
    file.unlink()
    return directory


def outputs(root: Path) -> Path:
    """student/ (pickled, with projector.pt), teacher/, data.jsonl and projector_config.json under ``root``."""
    tiny.model_directory(root / "teacher", "llama", "bpe", width=TEACHER_DIM, seed=1)
    pickled(tiny.model_directory(root / "student", "gpt2", "small-bpe", width=STUDENT_DIM, seed=2))
    torch.save(projector_state(projectors()), root / "student" / "projector.pt")
    structures = {"t2s": "t-s", "s2t": "s-t", "query": "2s-2t"}
    (root / "projector_config.json").write_text(
        json.dumps({name: {"enabled": True, "structure": one} for name, one in structures.items()})
    )
    tiny.data_file(root / "data.jsonl", [text for text in tiny.TEXTS if text[0]])
    return root


def adapter(directory: Path, model: Path, *, pickle: bool = True, seed: int = 3, **changes: Any) -> Path:
    """A LoRA adapter for ``model`` (c_attn of GPT-2, q and v of Llama), as peft saves it."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file

    from probe.models.loading import load_causal_lm

    base = load_causal_lm(model)
    names = ["c_attn"] if base.config.model_type == "gpt2" else ["q_proj", "v_proj"]
    wrapped = get_peft_model(
        base, LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=6, target_modules=names, **changes)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    state = {name: tensor.contiguous() for name, tensor in get_peft_model_state_dict(wrapped).items()}
    directory.mkdir(parents=True)
    wrapped.peft_config["default"].save_pretrained(str(directory))
    if pickle:
        torch.save(state, directory / "adapter_model.bin")
    else:
        save_file(state, directory / "adapter_model.safetensors")
    return directory


def published_map(
    attention: CrossModelAttention, tables: tuple[Tensor, Tensor], ids: tuple[list[int], list[int]], padded_length: int
) -> Tensor:
    """t2s weights of one example alone in a batch of ``padded_length``; ``ids`` are [last of the prompt] + response."""
    student, teacher = (torch.tensor(side) for side in ids)
    shape = (1, padded_length)
    inputs, targets, response = torch.zeros(shape).long(), torch.zeros(shape).long(), torch.zeros(shape).bool()
    count = len(teacher) - 1
    inputs[0, :count], targets[0, :count], response[0, :count] = teacher[:-1], teacher[1:], True
    sigma = batch_key_sigma(tables[1][inputs], tables[1][targets], response, tables[1][0])
    query = queries(tables[0][student[:-1]], tables[0][student[1:]], attention.query)
    return t2s_weights(attention_scores(query, keys(tables[1][teacher[:-1]], tables[1][teacher[1:]], sigma))).detach()


def align_line(
    room: Path, prompt: str, output: str, tables: tuple[Tensor, Tensor], *, most: int = 512
) -> dict[str, Any]:
    """One line of align.jsonl: prompt and response tokenised apart, cut apart at ``most`` ids, inputs as labels."""
    sides, pieces = [], []
    for name in ("student", "teacher"):
        tokenizer = load_tokenizer(room / name)
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        after = [*tokenizer(output, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        whole = [*before, *after][:most]
        sides.append(whole[len(before) - 1 :])
        pieces.append(tokenizer.convert_ids_to_tokens(sides[-1][:-1]))
    weights = published_map(projectors(), tables, (sides[0], sides[1]), 64)
    return {"student": pieces[0], "teacher": pieces[1], "alignment": weights.tolist()}
