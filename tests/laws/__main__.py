"""`python -m tests.laws`: every property test on 10,000 new random examples, counted as they run.

Each property runs in a process of its own. What came of it is kept in a journal (JSON lines), so a run that was stopped
goes on where it was, and a later one draws only what is missing; a property that was edited since, or that was
falsified, begins again.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from probe.journal import Journal, read_journal
from tests.laws.count import VARIABLE
from tests.support import ROOT

JOURNAL = ROOT / "out" / "laws.jsonl"


@dataclass(frozen=True)
class Property:
    """A test function that hypothesis draws examples for; ``digest`` changes when its source does."""

    file: Path
    name: str
    digest: str

    @property
    def key(self) -> str:
        return f"{self.file.name}::{self.name}"


@dataclass(frozen=True)
class Outcome:
    """What came of one property: ``examples`` ran to their end, ``rejected`` were drawn and did not count.

    ``seconds`` are of processor time, starting up included. ``failures`` holds the smallest counter-examples;
    ``--hypothesis-seed SEED`` draws the same examples again.
    """

    property: str
    digest: str
    wanted: int
    examples: int
    rejected: int
    seconds: float
    seed: int
    failures: tuple[str, ...]

    def __add__(self, later: Outcome) -> Outcome:
        return replace(
            later,
            wanted=self.wanted + later.wanted,
            examples=self.examples + later.examples,
            rejected=self.rejected + later.rejected,
            seconds=round(self.seconds + later.seconds, 1),
        )

    @property
    def exhausted(self) -> bool:
        """Whether hypothesis found no more examples: these are all there are, or nearly all are assumed away."""
        return self.examples < self.wanted and not self.failures

    @property
    def result(self) -> str:
        return "FALSIFIED" if self.failures else "ok, no more found" if self.exhausted else "ok"


def properties(folder: Path) -> list[Property]:
    """Every property test of the test files below ``folder``, in order of file and line."""
    return [one for file in sorted(folder.rglob("test_*.py")) for one in _properties_of(file)]


def _properties_of(file: Path) -> Iterator[Property]:
    source = file.read_text(encoding="utf-8")
    for node in ast.parse(source).body if "@given" in source else ():
        if isinstance(node, ast.FunctionDef) and any(_is_given(one) for one in node.decorator_list):
            text = "\n".join(map(ast.unparse, (*node.decorator_list, node)))
            yield Property(file, node.name, hashlib.sha256(text.encode()).hexdigest()[:12])


def _is_given(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in ("given", "hypothesis.given")


def run(one: Property, examples: int) -> Outcome:
    """Run one property on new random examples, in a process of its own."""
    seed = random.SystemRandom().randrange(2**32)
    with tempfile.TemporaryDirectory() as folder:
        count = Path(folder) / "count.json"
        wanted = {"PROBE_LAWS": str(examples), "HYPOTHESIS_PROFILE": "search", VARIABLE: str(count)}
        command = ["-m", "pytest", f"{one.file}::{one.name}", "-q", "-p", "tests.laws.count", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, *command, f"--hypothesis-seed={seed}", f"--basetemp={folder}/tmp"],
            cwd=ROOT, env=os.environ | wanted, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        found = json.loads(count.read_text(encoding="utf-8")) if count.exists() else {}
    failures = found.get("failures", [])
    if done.returncode and not failures:
        failures = ["no counter-example; pytest said:\n" + (done.stdout + done.stderr)[-2000:]]
    ran, rejected, seconds = (found.get(name, 0) for name in ("examples", "rejected", "seconds"))
    return Outcome(one.key, one.digest, examples, ran, rejected, seconds, seed, tuple(failures))


def known_outcomes(path: Path) -> dict[str, Outcome]:
    """What each property has behind it since it was edited or falsified; a line that was cut off is passed over."""
    known: dict[str, Outcome] = {}
    for record in read_journal(path):
        one = Outcome(**{**record, "failures": tuple(record["failures"])})
        before = known.get(one.property)
        goes_on = before is not None and before.digest == one.digest and not before.failures
        known[one.property] = before + one if before is not None and goes_on else one
    return known


def campaign(wanted: Sequence[Property], examples: int, jobs: int, journal: Path) -> Iterator[Outcome]:
    """Outcomes as they come: first those that the journal has, then those of which examples were missing."""
    digests = {one.key: one.digest for one in wanted}
    known = {
        key: found
        for key, found in known_outcomes(journal).items()
        if digests.get(key) == found.digest and not found.failures
    }
    missing = {
        one: examples - (known[one.key].examples if one.key in known else 0)
        for one in wanted
        if one.key not in known or not known[one.key].exhausted
    }
    yield from (known[one.key] for one in wanted if missing.get(one, 0) <= 0)
    with Journal(journal) as file, ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(run, one, count) for one, count in missing.items() if count > 0]):
            outcome = future.result()
            file.add(asdict(outcome))
            before = known.get(outcome.property)
            yield outcome if before is None else before + outcome


def table(outcomes: Iterable[Outcome], width: int) -> Iterator[str]:
    """One line a property, counter-examples below it, and the total."""
    seen: list[Outcome] = []
    yield f"{'property':{width}}  examples  rejected  seconds  result"
    for one in outcomes:
        seen.append(one)
        yield f"{one.property:{width}}  {one.examples:8,}  {one.rejected:8,}  {one.seconds:7.1f}  {one.result}"
        yield from ("    " + line for text in one.failures for line in text.splitlines())
    falsified, few = sum(bool(one.failures) for one in seen), sum(one.exhausted for one in seen)
    examples, seconds = sum(one.examples for one in seen), sum(one.seconds for one in seen)
    least = min((one.examples for one in seen), default=0)
    yield f"{len(seen)} properties, {examples:,} examples in {seconds:,.0f} s, at least {least:,} each; " + (
        f"{falsified} falsified, {few} without more examples"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the properties and print the table; 1 if any is falsified."""
    parser = argparse.ArgumentParser(prog="python -m tests.laws", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--examples", type=int, default=10_000, help="for each property (default 10,000)")
    parser.add_argument("--jobs", type=int, default=1, help="properties that run at a time (default 1)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="those whose file::name holds NAME")
    parser.add_argument("--folder", type=Path, default=ROOT / "tests", help="of the test files (default tests)")
    parser.add_argument("--journal", type=Path, default=JOURNAL, help="default out/laws.jsonl; delete it to begin anew")
    parser.add_argument("--list", action="store_true", help="only name the properties")
    args = parser.parse_args(argv)
    wanted = [one for one in properties(args.folder) if not args.only or any(name in one.key for name in args.only)]
    if not wanted:
        parser.error(f"no property test in {args.folder} has a name with {' or '.join(args.only) or '@given'}")
    width = max(len(one.key) for one in wanted)
    if args.list:
        print("\n".join(one.key for one in wanted))
        return 0
    falsified = False

    def watched() -> Iterator[Outcome]:
        nonlocal falsified
        for one in campaign(wanted, args.examples, args.jobs, args.journal):
            falsified |= bool(one.failures)
            yield one

    for line in table(watched(), width):
        print(line, flush=True)
    return 1 if falsified else 0


if __name__ == "__main__":
    sys.exit(main())
