"""Texts for the bench, of the lengths of Dolly's, made of what is at hand: Python's own manual and the probe set.

A function of the number alone: the same texts on every machine with the same Python.
"""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from pydoc_data.topics import topics

from tests.bench.frame import ROOT

PROBE_SET = ROOT / "analysis" / "gold" / "probe_set.jsonl"
TEMPLATE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response:\n"
)
# Characters. Dolly's responses: median 64 and mean 94 tokens of the shipped student, 54 and 79 of the teacher (500
# examples, 2026); its prompts, with the template: median 43 and mean 74 teacher tokens.
RESPONSE_MEDIAN, RESPONSE_SIGMA = 240, 0.9
PROMPT_MEDIAN, PROMPT_SIGMA = 120, 1.1
LONGEST = 1800


def dolly_like(count: int, *, longest: int = LONGEST) -> list[dict[str, str]]:
    """``count`` records of prompt and output; none is longer than ``longest`` characters a part."""
    rng = random.Random(0)
    sentences = _sentences()
    records = []
    for number in range(count):
        question = _text(rng, sentences, PROMPT_MEDIAN, PROMPT_SIGMA, longest)
        answer = _text(rng, sentences, RESPONSE_MEDIAN, RESPONSE_SIGMA, longest)
        records.append({"id": f"bench-{number:05d}", "prompt": TEMPLATE.format(question), "output": answer})
    return records


def write(path: Path, count: int, *, longest: int = LONGEST) -> Path:
    """Write :func:`dolly_like` records as JSON lines."""
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in dolly_like(count, longest=longest))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _sentences() -> list[str]:
    """The manual's sentences and the probe set's texts, which bring other scripts, code and emoji."""
    manual = [" ".join(part.split()) for text in topics.values() for part in re.split(r"(?<=[.:])\s+|\n\n+", text)]
    probes = [json.loads(line)["output"] for line in PROBE_SET.read_text(encoding="utf-8").splitlines()]
    return [text for text in [*manual, *probes] if 10 < len(text) < 600]


def _text(rng: random.Random, sentences: list[str], median: float, sigma: float, longest: int) -> str:
    """Sentences up to a log-normal length, cut at a word."""
    length = min(longest, max(8, int(rng.lognormvariate(math.log(median), sigma))))
    text = ""
    while len(text) < length:
        text += rng.choice(sentences) + " "
    cut = text[:length].rsplit(" ", 1)[0]
    return cut or text[:length]
