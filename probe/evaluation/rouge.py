"""ROUGE-L and exact match of a response against its accepted answers, as the DSKD papers computed them.

The published evaluation (MiniLLM's ``rouge_metric.py``, which DSKD and DSKD-KQ call too) takes the F-measure of the
rouge-score package with the Porter stemmer, and the best accepted answer. Texts are split at everything but a-z and
0-9, so a text without those letters scores 0 whatever it says: do not use it for Chinese or Arabic.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@functools.cache
def _scorer() -> Any:
    from rouge_score import rouge_scorer  # half a second: only where something is scored

    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(response: str, accepted: Sequence[str]) -> float:
    """ROUGE-L F-measure in [0, 1] against the best ``accepted`` answer (Lin 2004: longest common subsequence)."""
    return max(float(_scorer().score(target=answer, prediction=response)["rougeL"].fmeasure) for answer in accepted)


def exact_match(response: str, accepted: Sequence[str]) -> float:
    """1 where the response is an ``accepted`` answer but for case, ASCII punctuation and white space, else 0."""
    return float(_plain(response) in {_plain(answer) for answer in accepted})


def _plain(text: str) -> str:
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def metric_signature() -> str:
    """How the two scores are made, for a signature."""
    return f"rougeL:f1+stemmer+best|rouge-score:{version('rouge-score')}"
