"""The maps and gold behind a page, with the digests that the caches hang on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path

from probe.gold.reading import Gold
from probe.maps.store import MapStore


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


def digest_of(path: Path) -> str:
    """Digest of the file and its place; of the place alone when there is nothing to read (its reader explains that)."""
    if not path.is_file():
        return _read_digest(str(path), ())
    stat = path.stat()
    return _read_digest(str(path), (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_dev, stat.st_ino))


@functools.lru_cache(maxsize=64)
def _read_digest(path: str, stat: tuple[int, ...]) -> str:
    """Read again only where the file is another: a gold file of 10 MB took 7 ms a click (November 2026)."""
    content = Path(path).read_bytes() if stat else b""
    return hashlib.sha256(str(Path(path).resolve()).encode() + b"\0" + content).hexdigest()
