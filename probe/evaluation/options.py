"""How responses are drawn and scored: the options of an evaluation, checked where they are made; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from probe.errors import UsageError
from probe.scoring import statistics

Precision = Literal["float64", "float32", "bfloat16"]
SEEDS = (10, 20, 30, 40, 50)


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn; the defaults are those of the DSKD papers (512 positions, of which 256 for the prompt).

    ``temperature`` 0 takes the likeliest token instead of drawing one. A prompt that is too long loses its beginning,
    as in training here; the public evaluation drops its end, and with it the line that asks for a response.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_prompt_length: int = 256
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf") or not 0 < self.top_p <= 1:
            raise UsageError(
                f"wanted a temperature of at least 0 and a top-p above 0, at most 1; got {self.temperature} and "
                f"{self.top_p}. The published evaluation has 1 and 1."
            )


@dataclass(frozen=True)
class EvaluationOptions:
    """All that decides an evaluation besides checkpoints and data; the defaults are those of the DSKD papers.

    In float64 no draw turns on rounding, which the composition of batches changes; float32 takes half the time.

    Raises:
        UsageError: a seed twice or below 0.
    """

    sampling: Sampling = Sampling()
    seeds: tuple[int, ...] = SEEDS
    batch_size: int = 16
    dtype: Precision = "float64"
    resamples: int = statistics.RESAMPLES  # of the bootstrap
    responses: bool = True  # generate and score them
    likelihood: bool = False  # bits per byte of the accepted answers, and chunk KL to the teacher
    teacher: str = ""  # where the teacher is; empty: where training found it

    def __post_init__(self) -> None:
        if min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"wanted different seeds of at least 0, got {' '.join(map(str, self.seeds))}.")
