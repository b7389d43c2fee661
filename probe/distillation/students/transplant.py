"""Tokenizer transplant: the teacher's own body under another tokenizer, embeddings made of the teacher's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from probe.models.loading import load_causal_lm
from probe.text.display import BYTE_PIECE, byte_alphabet
from probe.text.one_side import Side

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Pieces = Sequence[tuple[int, ...]]  # of each new token, the teacher's tokens for the same bytes


def transplant(
    directory: Path, teacher_tokenizer: PreTrainedTokenizerFast, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """The model of ``directory`` under ``tokenizer``: its body as it is, its embeddings and head made anew.

    A row is the mean of the teacher's rows of :func:`teacher_pieces`, so the teacher's own row where the bytes are one
    token of both; a token without pieces (special, or never made) takes the mean of the table. The head is tied where
    the teacher's is, else its rows and biases are made in the same way.
    """
    model = load_causal_lm(directory)
    pieces = teacher_pieces(tokenizer, teacher_tokenizer)
    table, head = _weight(model.get_input_embeddings()), model.get_output_embeddings()
    made = {"table": mean_rows(table, pieces)}
    if _weight(head) is not table:
        made["head"] = mean_rows(_weight(head), pieces)
    if (bias := getattr(head, "bias", None)) is not None:
        made["bias"] = mean_rows(bias[:, None], pieces)[:, 0]
    model.resize_token_embeddings(len(pieces), mean_resizing=False)
    with torch.no_grad():
        _weight(model.get_input_embeddings()).copy_(made["table"])
        new_head: Any = model.get_output_embeddings()
        for name, parameter in {"head": "weight", "bias": "bias"}.items():
            if name in made:
                getattr(new_head, parameter).copy_(made[name])
    _name_special_tokens(model, tokenizer)
    return model


def _weight(module: Any) -> Tensor:
    return module.weight  # type: ignore[no-any-return]


def _name_special_tokens(model: Any, tokenizer: Any) -> None:
    """The roles of token ids in the configuration are those of the new tokenizer, not the teacher's."""
    roles = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    for settings in (model.config, getattr(model, "generation_config", None)):
        for name, value in roles.items() if settings is not None else ():
            setattr(settings, name, value)


@torch.no_grad()
def mean_rows(table: Float[Tensor, "vocab_t width"], pieces: Pieces) -> Float[Tensor, "vocab_s width"]:
    """Row v is the mean of ``table``'s rows ``pieces[v]``; of the whole table where there are none."""
    lengths = torch.tensor([len(one) for one in pieces])
    flat = torch.tensor([piece for one in pieces for piece in one], dtype=torch.long)
    starts = lengths.cumsum(0) - lengths
    rows = F.embedding_bag(flat, table.detach(), starts, mode="mean")
    rows[lengths == 0] = table.mean(0)
    return rows


def teacher_pieces(student: PreTrainedTokenizerFast, teacher: PreTrainedTokenizerFast) -> list[tuple[int, ...]]:
    """For each student id, the teacher ids that spell the same bytes: one where the teacher has that token.

    Else the teacher's own encoding of the text, where it spells exactly these bytes; else (part of a character, or a
    tokenizer that adds a space) the longest teacher tokens from the left. EOS takes EOS; other special tokens nothing.
    """
    spelled = token_bytes(teacher)
    known: dict[bytes, int] = {}
    for number, data in enumerate(spelled):
        if data:
            known.setdefault(data, number)
    wanted = token_bytes(student)
    found = [() if data is None else _pieces(data, known, spelled, teacher) for data in wanted]
    found[Side(student, "student").eos] = (Side(teacher, "teacher").eos,)
    return found


def _pieces(data: bytes, known: Mapping[bytes, int], spelled: Sequence[bytes | None], teacher: Any) -> tuple[int, ...]:
    if data in known:
        return (known[data],)
    try:
        ids = tuple(teacher(data.decode(), add_special_tokens=False)["input_ids"])
    except UnicodeDecodeError:
        return longest_pieces(data, known)
    exact = b"".join(spelled[number] or b"" for number in ids) == data
    return ids if exact else longest_pieces(data, known) or ids


def longest_pieces(data: bytes, known: Mapping[bytes, int]) -> tuple[int, ...]:
    """``data`` cut from the left into the longest keys of ``known``; nothing where that gets stuck.

    >>> longest_pieces(b"abc", {b"a": 0, b"ab": 1, b"c": 2})
    (1, 2)
    >>> longest_pieces(b"abd", {b"a": 0, b"ab": 1, b"c": 2})
    ()
    """
    found, start = [], 0
    while start < len(data):
        end = next((end for end in range(len(data), start, -1) if data[start:end] in known), None)
        if end is None:
            return ()
        found.append(known[data[start:end]])
        start = end
    return tuple(found)


def token_bytes(tokenizer: PreTrainedTokenizerFast) -> list[bytes | None]:
    """The bytes that each id stands for; None for special tokens, holes, and pieces that can never be made."""
    backend = tokenizer.backend_tokenizer
    vocabulary = backend.get_vocab(with_added_tokens=True)
    described = backend.to_str()
    alphabet = byte_alphabet() if '"ByteLevel"' in described else None
    words = '"type":"WordPiece"' in described
    added = {number: None if token.special else token.content.encode() for number, token in _added(tokenizer).items()}
    pieces: list[bytes | None] = [None] * (1 + max(vocabulary.values()))
    for piece, number in vocabulary.items():
        pieces[number] = added[number] if number in added else _spelled(piece, alphabet, words)
    for number in tokenizer.all_special_ids:
        pieces[number] = None
    return pieces


def _added(tokenizer: Any) -> dict[int, Any]:
    return dict(tokenizer.backend_tokenizer.get_added_tokens_decoder())


def _spelled(piece: str, alphabet: Mapping[str, int] | None, words: bool) -> bytes | None:
    if alphabet is not None:
        found = [alphabet.get(character) for character in piece]
        return None if None in found else bytes(found)  # type: ignore[arg-type]
    if BYTE_PIECE.fullmatch(piece):
        return bytes([int(piece[3:5], 16)])
    if words:
        return piece[2:].encode() if piece.startswith("##") else b" " + piece.encode()
    return piece.replace("▁", " ").encode()
