"""Maps of a text that was just typed: the one file of the dashboard that loads torch, and only when it is asked to."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from probe.errors import DataError, UnsafeError
from probe.files import MANIFEST, sha256_of
from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap

if TYPE_CHECKING:
    from probe.extraction.extractor import Extractor

MOST_LETTERS = 4_000  # of prompt and response each
MOST_TOKENS = 512  # a side, as in training; what is longer is cut at one byte for both sides
HALF = re.compile("[\ud800-\udfff]")  # stands for a byte of a file's name that is no UTF-8; no page can send it
_ONE_AT_A_TIME = threading.Lock()


def checkpoint_names(folder: Path) -> list[str]:
    """Checkpoints with projectors in the folder itself; links that lead elsewhere and names that are no text go by."""
    if not folder.is_dir():
        return []
    inside = (path for path in sorted(folder.iterdir()) if path.resolve().parent == folder.resolve())
    names = (path for path in inside if not HALF.search(path.name))
    return [path.name for path in names if (path / MANIFEST).is_file() and (path / "projectors.safetensors").is_file()]


def maps_of(folder: Path, name: str, prompt: str, response: str) -> tuple[dict[str, AttentionMap], Gold]:
    """The maps of both directions of a checkpoint, by direction, and the span rule's links.

    Raises:
        DataError: an empty or too long text, or one that is not Unicode.
        UnsafeError: a checkpoint outside the folder.
        DamagedError: the checkpoint or its teacher cannot be used.
    """
    if name not in checkpoint_names(folder):
        raise UnsafeError(f"{name!r} is no checkpoint of {folder.name}; refused.")
    _check("response", response, empty="There is nothing to align. Type or paste a response.")
    _check("prompt", prompt, empty="")
    from probe.scoring.alignment import span_gold
    from probe.text.examples import Example

    directory = folder / name
    with _ONE_AT_A_TIME:
        extractor = _extractor(str(directory), sha256_of(directory / MANIFEST))
        maps = list(extractor.maps([Example("your text", prompt, (response,))]))
    first = maps[0]
    pair = extractor.tokenizer
    prints = (pair.student_fingerprint, pair.teacher_fingerprint)
    gold = span_gold(first.example_id, first.text, first.student, first.teacher, prints)
    return {amap.direction: amap for amap in maps}, gold


def _check(what: str, text: str, *, empty: str) -> None:
    if empty and not text.strip():
        raise DataError(f"the {what} is empty. {empty}")
    if len(text) > MOST_LETTERS:
        raise DataError(
            f"the {what} has {len(text):,} letters; wanted at most {MOST_LETTERS:,}. Shorten it, or use "
            "python -m probe extract, which takes texts of any number and length."
        )


@st.cache_resource(max_entries=2, show_spinner="Loading the checkpoint …")
def _extractor(directory: str, digest: str) -> Extractor:
    os.environ["HF_HUB_OFFLINE"] = "1"  # a teacher that is not on this machine is an error, not a download
    import torch

    from probe.extraction.extractor import Extractor

    torch.set_num_threads(1)  # the products are small, and other visitors are served beside them
    return Extractor.load([Path(directory)], max_length=MOST_TOKENS)
