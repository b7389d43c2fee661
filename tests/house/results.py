"""Digests of the tables in results/, from which docs are drawn: `python -m tests.house.results [--write]`."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from probe.files import sha256_of
from tests.support import ROOT

RESULTS = ROOT / "results"
NAME = "digests.sha256"  # in the form of sha256sum, so that nobody needs this file to check


def digests(folder: Path) -> dict[str, str]:
    """Path within the folder -> sha256, of every file but the digests themselves."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def written(folder: Path) -> dict[str, str]:
    """The digests that are written down; none where there is no such file."""
    file = folder / NAME
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def differences(folder: Path) -> list[str]:
    """One line for each file that is new, gone or changed."""
    found, known = digests(folder), written(folder)
    state = {**{name: "has no digest" for name in found.keys() - known.keys()},
             **{name: "is gone" for name in known.keys() - found.keys()},
             **{name: "has changed" for name in found.keys() & known.keys() if found[name] != known[name]}}  # fmt: skip
    return [f"{folder.name}/{name} {what}" for name, what in sorted(state.items())]


def without_version(folder: Path) -> list[str]:
    """Tables without a column ``schema_version``: nobody could tell a number of an old kind from one of a new kind."""
    tables = sorted(folder.rglob("*.csv"))
    heads = {table: next(csv.reader(table.read_text(encoding="utf-8").splitlines()), []) for table in tables}
    return [table.relative_to(folder).as_posix() for table, head in heads.items() if "schema_version" not in head]


def write(folder: Path) -> None:
    """Write the digests of what is there."""
    lines = [f"{digest}  {name}\n" for name, digest in digests(folder).items()]
    (folder / NAME).write_text("".join(lines), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Print what differs (1 if anything does), or write the digests."""
    parser = argparse.ArgumentParser(prog="python -m tests.house.results", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the digests of the tables that are there")
    args = parser.parse_args(argv)
    found = differences(RESULTS)
    print("\n".join(found) or "every table is what its digest says")
    if args.write:
        write(RESULTS)
        return 0
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
