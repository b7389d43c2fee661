"""What a run is measured by on held-out text: attention accuracy by the span rule, and the key-query gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probe.distillation.losses.key_query import Discriminator, key_query_loss
from probe.extraction.mismatch import Distances, energy_distance, subsample
from probe.models.attention import CrossModelAttention, attention_scores, keys, queries
from probe.models.map_rule import map_weights, rule_of
from probe.scoring.alignment import cells_of, span_links
from probe.scoring.measures import heaviest_shares
from probe.text.tokenization import PairedTokens

MOST = 1000  # positions of each side whose distances are compared


@dataclass(frozen=True)
class Tables:
    """Both input embedding tables, as constants."""

    student: Float[Tensor, "vocab_s d_s"]
    teacher: Float[Tensor, "vocab_t d_t"]


def pair_keys_queries(
    pair: PairedTokens, tables: Tables, attention: CrossModelAttention, sigma_k: float
) -> tuple[Float[Tensor, "student d_key"], Float[Tensor, "teacher d_key"]]:
    """q and k of one example's response positions."""
    student, teacher = pair.student, pair.teacher
    query = queries(tables.student[list(student.inputs)], tables.student[list(student.targets)], attention.query)
    key = keys(tables.teacher[list(teacher.inputs)], tables.teacher[list(teacher.targets)], sigma_k)
    return query, key


@dataclass(frozen=True)
class SpanAccuracy:
    """Share of t2s rows whose heaviest cell is sure, or possible, by the span rule (ties share); and the mass there."""

    top1_sure: float
    top1_possible: float
    gold_mass_possible: float
    rows: int


@torch.no_grad()
def span_accuracy(
    pairs: Sequence[PairedTokens], tables: Tables, attention: CrossModelAttention, sigma_k: float
) -> SpanAccuracy:
    """Top-1 accuracy of t2s maps against the span rule, summed over all rows, divided once (docs/metrics.md)."""
    sums, rows = np.zeros(3), 0
    for pair in pairs:
        query, key = pair_keys_queries(pair, tables, attention, sigma_k)
        spans = pair.student.axis.spans, pair.teacher.axis.spans
        ((weights,),) = map_weights(rule_of(attention), [attention_scores(query, key)], [spans], ["t2s"])
        cells = weights.double().numpy()
        credit = heaviest_shares(cells)
        sure, possible = (cells_of(links, cells.shape) for links in span_links(*spans))
        sums += [(credit * sure).sum(), (credit * possible).sum(), (cells * possible).sum()]
        rows += len(cells)
    top1_sure, top1_possible, mass = (sums / max(rows, 1)).tolist()
    return SpanAccuracy(top1_sure, top1_possible, mass, rows)


def classifier_accuracy(
    query: Float[Tensor, "student d_key"],
    key: Float[Tensor, "teacher d_key"],
    *,
    seed: int = 0,
    steps: int = 300,
    batch: int = 256,
) -> float:
    """How well a freshly trained classifier tells held-out queries from held-out keys: 0.5 cannot, 1 always.

    Half of each side's positions train a discriminator of the architecture of DSKD-CMA-GA (AdamW, ``steps`` batches of
    ``batch`` of each side), the other half measures it; both sides weigh the same.
    """
    generator = torch.Generator().manual_seed(seed)
    halves = []
    for vectors in (query.detach(), key.detach()):
        order = torch.randperm(len(vectors), generator=generator)
        halves.append((vectors[order[::2]], vectors[order[1::2]]))
    (train_q, test_q), (train_k, test_k) = halves
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Discriminator(query.shape[1], 64)
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    for _ in range(steps):
        q, k = (half[torch.randint(len(half), (batch,), generator=generator)] for half in (train_q, train_k))
        optimiser.zero_grad()
        key_query_loss(classifier, q, k).loss.backward()
        optimiser.step()
    classifier.eval()
    with torch.no_grad():
        accuracy = key_query_loss(classifier, test_q, test_k).accuracy
    assert accuracy is not None
    return float(accuracy)


@dataclass(frozen=True)
class KeyQueryGap:
    """How far queries are from keys: a held-out classifier's accuracy (0.5 = alike), energy distance, mean norms."""

    classifier_accuracy: float
    energy_distance: float
    query_norm: float
    key_norm: float


def key_query_gap(
    pairs: Sequence[PairedTokens], tables: Tables, attention: CrossModelAttention, sigma_k: float, *, seed: int = 0,
    **classifier: int,
) -> KeyQueryGap:  # fmt: skip
    """The gap over all response positions of ``pairs``; ``classifier``: ``steps`` and ``batch`` of its training."""
    with torch.no_grad():
        sides = [pair_keys_queries(pair, tables, attention, sigma_k) for pair in pairs]
    query, key = torch.cat([q for q, _ in sides]), torch.cat([k for _, k in sides])
    return KeyQueryGap(
        classifier_accuracy(query, key, seed=seed, **classifier),
        energy_distance(Distances.of(*(subsample(side, MOST, seed) for side in (query, key)))),
        float(query.norm(dim=1).mean()),
        float(key.norm(dim=1).mean()),
    )
