"""Map stores for the dashboard's tests: planted alignments, drawn fast, without models or tokenizers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStoreWriter
from probe.text.axis import TokenAxis

FINGERPRINTS = {"student_tokenizer": "s" * 16, "teacher_tokenizer": "t" * 16}
CHECKPOINTS = ("dskd-cma", "dskd-cma-ga")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "<script>window.hacked=1</script>",
    "[click](javascript:alert(1))",
    "$\\int x$",
    ":red[danger]",
    '=HYPERLINK("http://x")',
    "**bold**",
    "`code`",
)
PROSE = (
    "When the days grow short, trees stop making chlorophyll and the green fades. "
    "Yellow and orange pigments that were there all summer finally show themselves to us. "
)


def axis(text: str, pieces: Sequence[str]) -> TokenAxis:
    """An axis whose targets are consecutive pieces of ``text``, then EOS."""
    ends = np.cumsum([len(piece.encode()) for piece in pieces]).tolist()
    starts = [0, *ends[:-1]] if pieces else []
    length = len(text.encode())
    hostile = any(payload in pieces for payload in HOSTILE)  # shown as they are: the page must not trust a store
    shown = tuple(pieces if hostile else (piece.replace(" ", "␣").replace("\n", "⏎") for piece in pieces))
    ids = tuple(int(hashlib.sha256(piece.encode()).hexdigest()[:4], 16) for piece in pieces)
    spans = (*zip(starts, ends, strict=True), (length, length))
    return TokenAxis((*shown, "‹eos›"), (*pieces, "</s>"), (*ids, 0), spans)


def cut(text: str, size: int) -> list[str]:
    """Pieces of at most ``size`` characters that break before spaces; hostile payloads stay whole."""
    if any(payload in text for payload in HOSTILE):
        return [part for part in re.split("(" + "|".join(map(re.escape, HOSTILE)) + ")", text) if part]
    return [part for word in re.findall(r"\s?\S+|\s+", text) for part in re.findall(f"(?s).{{1,{size}}}", word)]


def links(student: TokenAxis, teacher: TokenAxis) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Sure and possible links by spans: equal starts are sure, overlaps possible."""
    possible = {
        (i, j)
        for i, (a, b) in enumerate(student.spans)
        for j, (c, d) in enumerate(teacher.spans)
        if (a < d and c < b) or (a, b) == (c, d)
    }
    return {(i, j) for i, j in possible if student.spans[i][0] == teacher.spans[j][0]}, possible


def make_map(
    example_id: str, category: str, student: TokenAxis, teacher: TokenAxis, text: str, checkpoint: str, direction: str
) -> AttentionMap:
    """A map whose weights lie mostly on the possible links; how sharply depends on the example and the checkpoint."""
    seed = int(hashlib.sha256(f"{example_id} {checkpoint}".encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, (len(student), len(teacher)))
    sharp = rng.uniform(1, 4) + (0.8 if checkpoint.endswith("ga") else 0)
    sure, possible = links(student, teacher)
    for i, j in possible:
        scores[i, j] += sharp + (0.7 if (i, j) in sure else 0)
    side = 1 if direction == "t2s" else 0
    weights = np.exp(scores - scores.max(axis=side, keepdims=True))
    weights = (weights / weights.sum(axis=side, keepdims=True)).astype(np.float32)
    return AttentionMap(
        example_id, category, checkpoint, checkpoint, direction, "frozen", text, student, teacher, weights
    )


def example_texts(count: int) -> list[tuple[str, str, str]]:
    """(id, category, text) of ``count`` examples of 3 to 60 words, with a few hard scripts among them."""
    words = (PROSE * 3).split(" ")
    special = ["数字 42 和 emoji 👩‍👩‍👧 混合。", "naïve café — Ünïcödé ﬁ", "x = {'a': [1, 2]}\n\treturn  x  # end"]
    made = []
    for number in range(count):
        length = 3 + (number * 17) % 58
        text = special[number // 9] if number % 9 == 4 and number // 9 < 3 else " ".join(words[:length])
        made.append((f"example-{number:03d}", ("prose", "names", "code")[number % 3], text))
    return made


def make_store(
    path: Path,
    texts: Iterable[tuple[str, str, str]],
    *,
    checkpoints: Sequence[str] = CHECKPOINTS,
    directions: Sequence[str] = ("t2s", "s2t"),
    sizes: tuple[int, int] = (3, 5),
) -> dict[str, Gold]:
    """Write a store of every example x checkpoint x direction at ``path`` and return the gold of its examples."""
    golds = {}
    provenance = {**FINGERPRINTS, "version": "0.1.0", "signature": "probe|test|frozen"}
    with MapStoreWriter(path, provenance=provenance) as writer:
        for example_id, category, text in texts:
            student, teacher = (axis(text, cut(text, size)) for size in sizes)
            sure, possible = links(student, teacher)
            golds[example_id] = Gold(
                id=example_id,
                text=text,
                student_tokens=student.tokens,
                teacher_tokens=teacher.tokens,
                sure=frozenset(sure),
                possible=frozenset(possible),
                **FINGERPRINTS,
            )
            for checkpoint in checkpoints:
                for direction in directions:
                    writer.add(make_map(example_id, category, student, teacher, text, checkpoint, direction))
    return golds
