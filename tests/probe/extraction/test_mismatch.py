"""Distances of two clouds: by hand, closed forms of shifted and scaled clouds, identity, and what must not matter."""

from __future__ import annotations

import math

import pytest
import torch

from probe.extraction.mismatch import (
    Distances,
    energy_distance,
    frechet_distance,
    gaussian_mmd,
    mean_cosine,
    median_distance,
    mismatch,
    sliced_wasserstein,
    subsample,
)


def cloud(size: int, width: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, width, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.double)[:, None]


def energy(one: torch.Tensor, two: torch.Tensor) -> float:
    return energy_distance(Distances.of(one, two))


def mmd(one: torch.Tensor, two: torch.Tensor) -> float:
    return gaussian_mmd(Distances.of(one, two))


def test_energy_distance_by_hand() -> None:
    """Queries 0 and 2, keys 1 and 5: 2 · mean(1, 5, 1, 3) − mean(0, 2, 2, 0) − mean(0, 4, 4, 0) = 5 − 1 − 2."""
    assert energy(column(0, 2), column(1, 5)) == pytest.approx(2.0)
    assert energy(column(0), column(3)) == pytest.approx(6.0)


def test_mmd_by_hand() -> None:
    """Distances of the pooled 0, 2 and 1, 5: 2, 4, 1, 5, 1, 3; the lower median is 2. √(mean kernels), h = 2."""
    distances = Distances.of(column(0, 2), column(1, 5))
    assert median_distance(distances) == 2.0

    def kernel(d: float) -> float:
        return math.exp(-d * d / 8)

    within = (2 + 2 * kernel(2)) / 4 + (2 + 2 * kernel(4)) / 4
    across = (kernel(1) + kernel(5) + kernel(1) + kernel(3)) / 4
    assert gaussian_mmd(distances) == pytest.approx(math.sqrt(within - 2 * across))
    assert gaussian_mmd(Distances.of(column(0), column(1)), bandwidth=1e-3) == pytest.approx(math.sqrt(2))
    assert gaussian_mmd(Distances.of(column(1, 1, 1), column(1, 1))) == 0.0  # the median is 0: no division by it


def test_sliced_wasserstein_by_hand_in_one_dimension() -> None:
    """One direction only: it is W2. {0, 2} to {1, 5}: √((1 + 9) / 2). {0} to {1, 2, 3}: √((1 + 4 + 9) / 3)."""
    assert sliced_wasserstein(column(0, 2), column(5, 1)) == pytest.approx(math.sqrt(5))
    assert sliced_wasserstein(column(0), column(1, 2, 3)) == pytest.approx(math.sqrt(14 / 3))
    # {0, 6} to {0, 3, 6}: thirds and halves cross; 1/6 of the mass goes 0 -> 3 and 1/6 goes 6 -> 3.
    assert sliced_wasserstein(column(0, 6), column(0, 3, 6)) == pytest.approx(math.sqrt(9 / 3))


def test_a_shift_in_closed_form() -> None:
    """Fréchet: the length of the shift. Sliced W2: that over √d on average over directions."""
    one, shift = cloud(300), torch.tensor([3.0, 0, 0, 4, 0, 0], dtype=torch.double)
    assert frechet_distance(one, one + shift) == pytest.approx(5.0, abs=1e-6)
    assert sliced_wasserstein(one, one + shift, directions=20_000) == pytest.approx(5 / math.sqrt(6), rel=0.02)


def test_frechet_of_two_gaussians_in_closed_form() -> None:
    """Diagonal covariances a², b² about the same mean: d² = Σ (a − b)². Planted exactly, by whitening the sample."""
    white = torch.linalg.qr(cloud(200, 3) - cloud(200, 3).mean(dim=0)).Q * math.sqrt(200)
    white = white - white.mean(dim=0)
    scales = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 7.0])
    found = frechet_distance(*(white * scale.double() for scale in scales))
    assert found == pytest.approx(math.sqrt(1 + 16), rel=1e-6)


@pytest.mark.parametrize("measure", [energy, mmd, sliced_wasserstein, frechet_distance])
def test_the_same_cloud_is_at_no_distance_whatever_its_order(measure) -> None:
    one = cloud(80)
    assert measure(one, one.flip(0)) == pytest.approx(0.0, abs=1e-6)
    assert measure(one, torch.cat([one, one])) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("measure", [energy, mmd, frechet_distance])
@pytest.mark.parametrize("seed", range(5))
def test_symmetric_never_negative_and_blind_to_a_rotation(measure, seed) -> None:
    one, two = cloud(30, seed=seed), cloud(17, seed=seed + 100)
    turn = torch.linalg.qr(cloud(6, seed=seed)).Q
    found = measure(one, two)
    assert found > 0
    assert measure(two, one) == pytest.approx(found, rel=1e-6)
    assert measure(one @ turn + 3, two @ turn + 3) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize(("measure", "power"), [(energy, 1), (mmd, 0), (sliced_wasserstein, 1), (frechet_distance, 1)])
def test_scaling_both_clouds(measure, power) -> None:
    """Distances scale with the vectors; the median heuristic makes the MMD blind to scale."""
    one, two = cloud(40), cloud(50, seed=1) + 0.5
    assert measure(3 * one, 3 * two) == pytest.approx(3**power * measure(one, two), rel=1e-6)


def test_cosines_and_norms_by_hand() -> None:
    queries, keys = torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    assert mean_cosine(queries, keys) == pytest.approx((1 + 0 + 0 + 0) / 4)
    found = mismatch(queries, keys)
    assert (found.query_norm, found.query_norm_sd, found.key_norm, found.key_norm_sd) == (3.0, 1.0, 1.5, 1.5)
    assert found.cosine_of_means == pytest.approx(1 / math.sqrt(5))  # the centres are (1, 2) and (1.5, 0)
    assert found.positions == 2


def test_a_subsample_is_seeded_and_without_repeats() -> None:
    whole = column(*range(50))
    drawn = subsample(whole, 20, 3)
    assert torch.equal(drawn, subsample(whole, 20, 3)) and not torch.equal(drawn, subsample(whole, 20, 4))
    assert len(set(drawn.flatten().tolist())) == 20
    assert subsample(whole, 50, 3) is whole


def test_a_missing_side_is_refused() -> None:
    with pytest.raises(ValueError, match="got 2 and 0"):
        Distances.of(column(1, 2), torch.zeros(0, 1))
