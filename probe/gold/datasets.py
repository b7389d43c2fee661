"""Gold as a data set with a name and a frozen version: ``load("xtok-gold-v1")``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from probe.errors import DamagedError, UsageError
from probe.gold.reading import Gold, gold_hash, read_gold

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class GoldSet:
    """A named version: the file below the checkout, how many texts it has, and the digest that it must have."""

    name: str
    file: str
    texts: int
    digest: str


SETS = {one.name: one for one in (GoldSet("xtok-gold-v1", "analysis/gold/gold.jsonl", 119, "d64c1035"),)}


def load(name: str, *, root: Path = CHECKOUT) -> dict[str, Gold]:
    """The gold of a named version, by example id.

    It is read from a checkout of the project, ``root``: gold is no part of the installed package.

    Raises:
        UsageError: no set of this name, or no checkout where this package is.
        DamagedError: the file is not of this version; gives both digests.
    """
    if name not in SETS:
        raise UsageError(f"unknown gold {name!r}; wanted one of {', '.join(SETS)}.")
    wanted = SETS[name]
    path = root / wanted.file
    if not path.is_file():
        raise UsageError(
            f"{name} is not in the installed package; wanted it at {path}. Run from a checkout of the project, or read "
            f"the file {wanted.file} of one with read_gold."
        )
    golds = read_gold(path)
    if (found := gold_hash(golds.values())) != wanted.digest:
        raise DamagedError(
            f"{path}: wanted {name}, {wanted.texts} texts with digest {wanted.digest}, found {len(golds)} with {found}"
            ". A version is frozen: put the file back, or give what was changed a new version."
        )
    return golds


def name_of(golds: Iterable[Gold]) -> str:
    """The name of the version that these are, all of it; '' for any other gold."""
    digest = gold_hash(golds)
    return next((one.name for one in SETS.values() if one.digest == digest), "")
