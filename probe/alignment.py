"""Alignments: links between target tokens, from spans, from maps, and from gold files."""

from __future__ import annotations

from dataclasses import dataclass

Link = tuple[int, int]  # (student index, teacher index), 0-based over targets


@dataclass(frozen=True)
class Gold:
    """Manual links of one example: ``sure`` is a subset of ``possible``."""

    id: str
    text: str
    student_tokens: tuple[str, ...]
    teacher_tokens: tuple[str, ...]
    student_tokenizer: str  # fingerprint
    teacher_tokenizer: str
    sure: frozenset[Link]
    possible: frozenset[Link]
    annotator: str = ""
    note: str = ""
