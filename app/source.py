"""The maps and gold behind a page, with the digests that the caches hang on."""

from __future__ import annotations

import dataclasses

from probe.gold import Gold
from probe.map_store import MapStore


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """An opened store and the gold by example id; ``digest`` names both, so that a store made again is read again.

    Two sources of one digest are equal: a source is the key of what is kept of it.
    """

    store: MapStore
    golds: dict[str, Gold]
    store_digest: str
    gold_digest: str

    @property
    def digest(self) -> str:
        return self.store_digest + self.gold_digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def without_gold(self) -> Source:
        """The same maps, with no gold to score them by."""
        return dataclasses.replace(self, golds={}, gold_digest="")
