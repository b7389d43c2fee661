"""What two tokenizers are, apart from any text: vocabularies, special tokens by role, chat templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class TokenizerFacts:
    """One tokenizer: its name, fingerprint, size, special tokens, whether it begins texts itself, its chat template."""

    name: str
    fingerprint: str
    vocabulary: int
    specials: dict[str, str]
    begins_texts: bool
    chat_template: str


def short_name(name: str | Path) -> str:
    """What a tokenizer is called in a report: a file without its suffix, a directory by its last name."""
    path = Path(name)
    if path.is_file() and path.name == "tokenizer.json":
        path = path.resolve().parent
    if not path.exists():
        return str(name)
    return path.stem if path.is_file() else path.resolve().name


def facts_of(name: str | Path, tokenizer: Any, fingerprint: str) -> TokenizerFacts:
    """The facts of a transformers tokenizer, or of a bare ``tokenizers.Tokenizer``, which names no roles."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    mask = backend.encode("a").special_tokens_mask
    specials = {role: str(getattr(tokenizer, role, None) or "") for role in ROLES}
    template = getattr(tokenizer, "chat_template", None)
    return TokenizerFacts(
        short_name(name), fingerprint, backend.get_vocab_size(with_added_tokens=True), specials, bool(mask and mask[0]),
        template if isinstance(template, str) else "",
    )  # fmt: skip


def text_tokens(displays: list[str]) -> frozenset[str]:
    """The display forms that stand for text: special tokens and holes of the vocabulary are left out."""
    return frozenset(shown for shown in displays if not shown.startswith("‹") or _is_bytes(shown))


def _is_bytes(shown: str) -> bool:
    return all(part and all(letter in "0123456789ABCDEF " for letter in part) or part.startswith("U+")
               for part in shown.strip("‹›").split("›‹"))  # fmt: skip
