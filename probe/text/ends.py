"""The tokens that begin and end a text, by role: what the tokenizer itself puts there, else by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from probe.errors import DamagedError

# Names that end a text, for a bare `tokenizers.Tokenizer`, which has no roles.
END_NAMES = ("</s>", "<|endoftext|>", "<eos>", "<|end_of_text|>", "<|im_end|>", "[SEP]")
BEGIN_NAMES = ("<s>", "<|startoftext|>", "<bos>", "<|begin_of_text|>", "<|im_start|>", "[CLS]")


def role_id(tokenizer: Any, roles: Sequence[str], names: Sequence[str]) -> int | None:
    """The first id that the tokenizer has for one of ``roles``; of a bare Tokenizer, for one of ``names``."""
    if isinstance(tokenizer, Tokenizer):
        found = (tokenizer.token_to_id(name) for name in names)
    else:
        found = (getattr(tokenizer, role, None) for role in roles)
    return next((number for number in found if number is not None), None)


def end_id(tokenizer: Any, backend: Tokenizer, role: str) -> int:
    """The token that ends a text: what the tokenizer itself puts there, else its EOS, else its separator."""
    encoding = backend.encode("a")
    end = role_id(tokenizer, ("eos_token_id", "sep_token_id"), END_NAMES)
    trailing = []
    for number, special in zip(encoding.ids[::-1], encoding.special_tokens_mask[::-1], strict=True):
        if not special:
            break
        trailing.append(number)
    if trailing and end not in trailing:
        end = trailing[-1]
    if end is None:
        raise DamagedError(
            f"the {role} tokenizer has no token that ends a text. Set its eos_token (or sep_token), and save it again."
        )
    return end
