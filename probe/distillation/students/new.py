"""A new student: its own byte-level BPE, a GPT-2 of the recipe's size, and embeddings that start from the teacher's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from probe.distillation.config import TrainConfig
from probe.text.examples import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

EOS = "<|endoftext|>"


def texts_of(examples: Sequence[Example]) -> Iterator[str]:
    """What a tokenizer is trained on: instructions, inputs and responses, and the prompt template once.

    Prompts repeat one template a thousand times; counted so, its words would crowd out the others'.
    """
    template = ""
    for example in examples:
        parts = [part for part in (example.metadata.get("instruction"), example.metadata.get("input")) if part]
        if parts:
            template = template or _without(example.prompt, parts)
        yield from parts or [example.prompt]
        yield example.output
    yield template


def _without(prompt: str, parts: Sequence[str]) -> str:
    for part in parts:
        prompt = prompt.replace(part, "")
    return prompt


def train_tokenizer(texts: Iterable[str], vocabulary: int, positions: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of ``vocabulary`` pieces with one special token, used as BOS, EOS and padding like GPT-2's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        bos_token=EOS,
        pad_token=EOS,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
    )


def new_student(config: TrainConfig, tokenizer: PreTrainedTokenizerFast, table: Float[Tensor, "vocab d_s"] | None):
    """A GPT-2 of the recipe's size; ``table`` becomes its (tied) input embeddings, else they stay random."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(config.seed)
    model: PreTrainedModel = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=config.new_width,
            n_layer=config.new_layers,
            n_head=config.new_heads,
            n_positions=config.new_positions,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )
    if table is not None:
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(table)  # type: ignore[operator, union-attr]
    return model


def teacher_means(
    student: PreTrainedTokenizerFast, teacher: PreTrainedTokenizerFast, table: Float[Tensor, "vocab d_t"]
) -> Float[Tensor, "student_vocab d_t"]:
    """For each student token, the mean teacher embedding over the teacher's pieces of that token's text.

    EOS takes the teacher's EOS; a token that is part of a character takes the mean of the whole table, for the
    teacher has no pieces for it.
    """
    means = table.mean(0).repeat(len(student), 1)
    tokens = student.convert_ids_to_tokens(list(range(len(student))))
    texts = [student.convert_tokens_to_string([token]) for token in tokens]
    for index, pieces in enumerate(teacher(texts, add_special_tokens=False)["input_ids"]):
        if "\N{REPLACEMENT CHARACTER}" not in texts[index] and pieces:
            means[index] = table[pieces].mean(0)
    end = teacher.sep_token_id if teacher.eos_token_id is None else teacher.eos_token_id
    if end is not None:
        means[student.eos_token_id] = table[end]
    return means


def principal_components(means: Float[Tensor, "vocab d_t"], width: int) -> Float[Tensor, "vocab d_s"]:
    """Project rows on their first ``width`` principal axes, then scale to the standard deviation of the rows given.

    With ``width`` above the number of axes the rest is zero.
    """
    centred = means - means.mean(0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    projected = centred @ axes.flip(1)[:, :width]
    projected = projected * (means.std() / projected.std())
    return torch.nn.functional.pad(projected, (0, width - projected.shape[1]))
