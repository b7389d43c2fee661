"""How far two clouds of vectors are apart: distances, cosines and norms of queries and keys (docs/metrics.md).

Each measure takes two clouds [position, d_key] of any two sizes and looks at them as samples of two distributions: the
order of positions never matters. All are computed in double precision, in units of a key's entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Cloud = Float[Tensor, "position d_key"]
Queries = Float[Tensor, "student d_key"]
Keys = Float[Tensor, "teacher d_key"]


def subsample(cloud: Cloud, most: int, seed: int) -> Float[Tensor, "kept d_key"]:
    """At most ``most`` positions, drawn without replacement by ``seed``; all of a smaller cloud, in order."""
    if len(cloud) <= most:
        return cloud
    generator = torch.Generator().manual_seed(seed)
    return cloud[torch.randperm(len(cloud), generator=generator)[:most]]


@dataclass(frozen=True)
class Distances:
    """Euclidean distances between all positions of two clouds, and within each; computed once for two measures."""

    across: Float[Tensor, "student teacher"]
    within_queries: Float[Tensor, "student student"]
    within_keys: Float[Tensor, "teacher teacher"]

    @classmethod
    def of(cls, queries: Queries, keys: Keys) -> Distances:
        """All three matrices; no position may be missing on either side."""
        if not len(queries) or not len(keys):
            raise ValueError(f"wanted at least one position of each side, got {len(queries)} and {len(keys)}")
        q, k = queries.detach().double(), keys.detach().double()
        exact = "donot_use_mm_for_euclid_dist" if q.shape[1] < 64 else "use_mm_for_euclid_dist"
        return cls(*(torch.cdist(a, b, compute_mode=exact) for a, b in ((q, k), (q, q), (k, k))))


def energy_distance(distances: Distances) -> float:
    """2 E‖q − k‖ − E‖q − q'‖ − E‖k − k'‖ (Székely and Rizzo 2013), the V-statistic: pairs of a position with itself
    count, so it is never below 0, and 0 for equal clouds; rounding below 0 is cut off.

    The price is a bias of about (E‖q − q'‖ + E‖k − k'‖) / n between samples of one distribution: see the control.
    """
    within = distances.within_queries.mean() + distances.within_keys.mean()
    return max(0.0, float(2 * distances.across.mean() - within))


def gaussian_mmd(distances: Distances, bandwidth: float | None = None) -> float:
    """Maximum mean discrepancy with the kernel exp(−‖a − b‖² / 2 h²) (Gretton et al. 2012, V-statistic), from 0 to √2.

    h is the median distance between two different positions of the pooled clouds unless ``bandwidth`` is given. Where
    that median is 0 (most positions are equal) the kernel is 1 for equal positions and 0 otherwise.
    """
    parts = (distances.within_queries, distances.within_keys, distances.across)
    h = median_distance(distances) if bandwidth is None else bandwidth
    kernels = [torch.exp(-(part**2) / (2 * h * h)) if h > 0 else (part == 0).double() for part in parts]
    return math.sqrt(max(0.0, float(kernels[0].mean() + kernels[1].mean() - 2 * kernels[2].mean())))


def median_distance(distances: Distances) -> float:
    """The lower median of the distances between two different positions, both sides pooled."""
    sides = (distances.within_queries, distances.within_keys)
    upper = [side[tuple(torch.triu_indices(len(side), len(side), offset=1))] for side in sides]
    return float(torch.cat([*upper, distances.across.flatten()]).median())


def sliced_wasserstein(queries: Queries, keys: Keys, *, directions: int = 256, seed: int = 0) -> float:
    """Sliced Wasserstein-2 distance (Bonneel et al. 2015): root mean square over random directions of the W2 distance
    of the projected clouds, by quantiles. A shift by v gives ‖v‖ / √d_key in expectation.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(queries.shape[1], directions, generator=generator, dtype=torch.double)
    drawn = drawn / drawn.norm(dim=0)
    q, k = (torch.sort(cloud.detach().double() @ drawn, dim=0).values for cloud in (queries, keys))
    # The two quantile functions are steps: constant between neighbouring members of the union of both grids.
    edges = torch.cat([torch.arange(1, len(side) + 1, dtype=torch.double) / len(side) for side in (q, k)]).sort().values
    widths = edges.diff(prepend=edges.new_zeros(1))
    middle = edges - widths / 2
    places = [(middle * len(side)).long().clamp(max=len(side) - 1) for side in (q, k)]
    squares = widths @ (q[places[0]] - k[places[1]]) ** 2
    return math.sqrt(float(squares.mean()))


def frechet_distance(queries: Queries, keys: Keys) -> float:
    """W2 distance of the Gaussians with both clouds' means and covariances (divided by n; FID is its square):

    d² = ‖μ_q − μ_k‖² + tr(Σ_q + Σ_k − 2 (Σ_q^½ Σ_k Σ_q^½)^½)
    """
    (mean_q, cov_q), (mean_k, cov_k) = (_moments(cloud.detach().double()) for cloud in (queries, keys))
    values, vectors = torch.linalg.eigh(cov_q)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cov_k @ root).clamp_min(0).sqrt().sum()
    square = (mean_q - mean_k).square().sum() + cov_q.trace() + cov_k.trace() - 2 * shared
    return math.sqrt(max(0.0, float(square)))


def _moments(cloud: Tensor) -> tuple[Tensor, Tensor]:
    mean = cloud.mean(dim=0)
    centred = cloud - mean
    return mean, centred.T @ centred / len(cloud)


def mean_cosine(queries: Queries, keys: Keys) -> float:
    """Mean cosine over all pairs of a query and a key, from −1 to 1; a vector of norm 0 counts as 0."""
    q, k = (torch.nn.functional.normalize(cloud.detach().double(), dim=1).mean(dim=0) for cloud in (queries, keys))
    return float(q @ k)


@dataclass(frozen=True)
class Mismatch:
    """Every distance of two clouds. Norms are means over positions, ``*_norm_sd`` their standard deviations (over n).

    ``cosine`` is over all pairs of a query and a key, ``cosine_of_means`` of the two centres; ``positions`` of each
    side were compared for the energy distance and the MMD, all of them for the rest.
    """

    energy_distance: float
    mmd: float
    sliced_wasserstein: float
    frechet: float
    query_norm: float
    key_norm: float
    query_norm_sd: float
    key_norm_sd: float
    cosine: float
    cosine_of_means: float
    positions: int


def mismatch(queries: Queries, keys: Keys, *, seed: int = 0, most: int = 1000) -> Mismatch:
    """All measures; those that compare every pair look at ``most`` positions of each side, drawn by ``seed``."""
    q, k = (subsample(cloud, most, seed) for cloud in (queries, keys))
    distances = Distances.of(q, k)
    norms = [cloud.detach().double().norm(dim=1) for cloud in (queries, keys)]
    centres = [cloud.detach().double().mean(dim=0) for cloud in (queries, keys)]
    return Mismatch(
        energy_distance=energy_distance(distances),
        mmd=gaussian_mmd(distances),
        sliced_wasserstein=sliced_wasserstein(queries, keys, seed=seed),
        frechet=frechet_distance(queries, keys),
        query_norm=float(norms[0].mean()),
        key_norm=float(norms[1].mean()),
        query_norm_sd=float(norms[0].std(correction=0)),
        key_norm_sd=float(norms[1].std(correction=0)),
        cosine=mean_cosine(queries, keys),
        cosine_of_means=float(torch.nn.functional.cosine_similarity(centres[0], centres[1], dim=0)),
        positions=min(len(q), len(k)),
    )
