"""`python -m tests.coverage`: corpora whose truth is known; how often do intervals hold it, and how often do tests err?

A corpus has 119 examples of 5 to 60 positions; each example has an accuracy of its own around 0.55 (beta, standard
deviation 0.2), and its positions are right with that chance. The truth is the accuracy of the endless corpus, 0.55.
Under the null two systems have the same accuracy in each example, and are right independently of each other.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from probe.scoring.statistics import bca_interval, compare

EXAMPLES, ACCURACY, SPREAD = 119, 0.55, 0.2


@dataclass(frozen=True)
class Simulated:
    """Shares of runs: the 95 % interval holds the truth; each paired test says p < 0.05 where nothing differs."""

    coverage: float
    bootstrap_errs: float
    permutation_errs: float


def corpora(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Counts [examples, (right, positions)] of two systems on the same simulated examples."""
    lengths = rng.integers(5, 61, EXAMPLES)
    size = ACCURACY * (1 - ACCURACY) / SPREAD**2 - 1
    accuracy = rng.beta(ACCURACY * size, (1 - ACCURACY) * size, EXAMPLES)
    first, second = (np.stack([rng.binomial(lengths, accuracy), lengths], axis=1) for _ in range(2))
    return first, second


def simulate(runs: int, *, resamples: int = 1000, seed: int = 0) -> Simulated:
    """``runs`` corpora; the same numbers for the same seed."""
    rng = np.random.default_rng(seed)
    held = bootstrap = permutation = 0
    for run in range(runs):
        first, second = corpora(rng)
        interval = bca_interval(first, resamples=resamples, seed=run)
        found = compare(first, second, resamples=resamples, seed=run)
        held += interval.low <= ACCURACY <= interval.high
        bootstrap += found.p_bootstrap < 0.05
        permutation += found.p_permutation < 0.05
    return Simulated(held / runs, bootstrap / runs, permutation / runs)


def main(argv: list[str] | None = None) -> int:
    """Simulate and print; 0 if coverage is 93 to 97 % and both tests err at most 6 %."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args(argv).runs
    found = simulate(runs)
    print(f"{runs} runs: the 95 % BCa interval holds the truth in {found.coverage:.1%}")
    print(f"no difference, p < 0.05: bootstrap {found.bootstrap_errs:.1%}, permutation {found.permutation_errs:.1%}")
    return 0 if 0.93 <= found.coverage <= 0.97 and max(found.bootstrap_errs, found.permutation_errs) <= 0.06 else 1


if __name__ == "__main__":
    sys.exit(main())
