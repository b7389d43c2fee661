"""A new student: its own vocabulary, embeddings that start from the teacher's, everything fixed by the seed."""

from __future__ import annotations

import pytest
import torch

from probe.distillation.config import TrainConfig
from probe.distillation.students.new import (
    EOS,
    new_student,
    principal_components,
    teacher_means,
    texts_of,
    train_tokenizer,
)
from probe.text.examples import WITHOUT_INPUT, Example
from tests.support import tiny


def config(**values: object) -> TrainConfig:
    sizes: dict[str, object] = {"new_width": 8, "new_layers": 1, "new_heads": 2, "new_positions": 64, **values}
    return TrainConfig(name="r", method="sft", student="new", data=("a",), **sizes)  # type: ignore[arg-type]


def test_the_template_counts_once() -> None:
    tasks = [f"Task {i}." for i in range(3)]
    examples = [
        Example(task, WITHOUT_INPUT.format(instruction=task), (f"Done {i}.",), "", {"instruction": task})
        for i, task in enumerate(tasks)
    ]
    texts = list(texts_of(examples))
    assert texts[:2] == ["Task 0.", "Done 0."]
    assert sum("### Instruction" in text for text in texts) == 1
    assert list(texts_of([Example("0", "Hi: ", ("yo",))])) == ["Hi: ", "yo", ""]


def test_a_tokenizer_of_all_bytes_with_one_special_token() -> None:
    fast = train_tokenizer(tiny.CORPUS, 300, 64)
    assert len(fast) == 300
    assert fast.eos_token_id == fast.bos_token_id == fast.pad_token_id == 0
    assert fast.convert_ids_to_tokens(0) == EOS
    for text in ("unseen \N{SNOWMAN} 漢字\n\n\t x", " lead", "\r\n"):
        assert fast.decode(fast(text)["input_ids"]) == text
    assert fast.get_vocab() == train_tokenizer(tiny.CORPUS, 300, 64).get_vocab()


@pytest.mark.parametrize("teacher_tokenizer", ["bpe", "sentencepiece", "wordpiece"])
def test_means_over_the_teachers_pieces(teacher_tokenizer: str) -> None:
    student, teacher = train_tokenizer(tiny.CORPUS, 300, 64), tiny.TOKENIZERS[teacher_tokenizer]()
    torch.manual_seed(0)
    table = torch.randn(len(teacher), 6)
    means = teacher_means(student, teacher, table)
    assert means.shape == (len(student), 6)
    whole = next(token for token in ("fox", "and", "the", "e") if token in student.get_vocab())
    pieces = teacher(whole, add_special_tokens=False)["input_ids"]
    torch.testing.assert_close(means[student.convert_tokens_to_ids(whole)], table[pieces].mean(0))
    half = student.convert_tokens_to_ids("å")  # byte E5: part of a character
    torch.testing.assert_close(means[half], table.mean(0))
    end = teacher.sep_token_id if teacher.eos_token_id is None else teacher.eos_token_id
    assert torch.equal(means[student.eos_token_id], table[end])


def test_principal_components_keep_distances_and_scale() -> None:
    """At full width the projection is a rotation times one factor; at less, it keeps what varies most."""
    torch.manual_seed(0)
    means = torch.randn(50, 4) * torch.tensor([9.0, 3.0, 1.0, 0.1])
    whole = principal_components(means, 4)
    ratio = torch.pdist(whole) / torch.pdist(means)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-3, atol=1e-3)
    two = principal_components(means, 2)
    assert two.std().item() == pytest.approx(means.std().item(), rel=1e-4)
    assert two.var(0)[0] > two.var(0)[1]
    correlation = torch.corrcoef(torch.stack([two[:, 0], means[:, 0]]))[0, 1].abs()
    assert correlation > 0.99
    wide = principal_components(means, 6)
    assert wide.shape == (50, 6) and not wide[:, 4:].any()


def test_a_new_model_has_the_table_tied_and_no_dropout() -> None:
    fast = train_tokenizer(tiny.CORPUS, 300, 64)
    table = torch.randn(300, 8)
    model = new_student(config(), fast, table)
    assert torch.equal(model.get_input_embeddings().weight, table)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (model.config.n_positions, model.config.n_layer, model.config.n_head) == (64, 1, 2)
    assert model.config.resid_pdrop == model.config.embd_pdrop == model.config.attn_pdrop == 0
    assert model.config.eos_token_id == fast.eos_token_id


def test_a_new_model_is_fixed_by_the_seed() -> None:
    fast = train_tokenizer(tiny.CORPUS, 300, 64)
    one, same, other = (new_student(config(seed=seed), fast, None).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["transformer.wte.weight"], other["transformer.wte.weight"])
