"""The links of one map taken in every way, counted against the same gold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.alignment import LinkMethod
from probe.scoring.metrics import LinkCounts, MapMetric

WAYS: tuple[LinkMethod, ...] = get_args(LinkMethod)


@dataclass(frozen=True)
class Extraction:
    """Link counts of one map under one way to take links; ``signature`` says which, with its threshold."""

    links: LinkMethod
    signature: str
    counts: LinkCounts


def extractions(
    amap: AttentionMap, gold: Gold, metric: MapMetric, *, other: AttentionMap | None, digest: str, maps_hash: str = ""
) -> tuple[Extraction, ...]:
    """Take the links of a map in every way.

    Args:
        metric: its threshold is used; the way to take links is each in turn.
        other: the map of the other direction; ``both-directions`` is left out where it is None.
        digest, maps_hash: of the gold and of the store, for the signatures.
    """
    found = []
    for links in WAYS:
        if links == "both-directions" and other is None:
            continue
        way = replace(metric, links=links)
        signature = way.signature_of(amap, gold=digest, maps=maps_hash)
        found.append(Extraction(links, signature, way.count_links(amap, gold, other=other)))
    return tuple(found)
