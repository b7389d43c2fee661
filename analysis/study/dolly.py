"""`python -m analysis.study.dolly`: the study's texts out of databricks-dolly-15k, in the study's order, by digests."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.study.plan import STAGES, Source, read_plan
from probe import cli
from probe.errors import DataError
from probe.files import atomic_file, sha256_of
from probe.text.examples import WITH_INPUT, WITHOUT_INPUT

DESCRIPTION = """Make dolly-dev.jsonl and dolly-more.jsonl, which the study trains and measures on, out of the file
databricks-dolly-15k.jsonl of the hub's data set databricks/databricks-dolly-15k (CC BY-SA 3.0). The project ships
only a digest of each example; it says whether a file is the study's own."""
EXAMPLES = """
  python -m analysis.study.dolly databricks-dolly-15k.jsonl --out data"""
ENOUGH = 0.95  # of a file's examples must be found; fewer is another data set


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.study.dolly")
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("dolly", type=Path, metavar="FILE.jsonl", help="databricks-dolly-15k.jsonl, as downloaded")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the --data-dir of analysis.study.run")
    cli.add_common(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Read, pick, write, say how many were found."""
    known = {digest(record["instruction"], record["response"]): record for record in _records(args.dolly)}
    for source in read_plan("small").sources:
        print(make(source, known, args.out))


def make(source: Source, known: Mapping[str, Mapping[str, str]], out: Path) -> str:
    """Write one file of the study; returns what to say of it. Raises DataError where too few examples are known."""
    wanted = listed(source.name)
    found = [(entry, known[entry[1]]) for entry in wanted if entry[1] in known]
    if len(found) < ENOUGH * len(wanted):
        raise DataError(
            f"found {len(found)} of the {len(wanted)} examples of {source.name}; wanted databricks-dolly-15k.jsonl "
            "with the keys instruction, context, response. Download it from the hub again."
        )
    # dolly-dev came with escapes and without ids, dolly-more the other way about: so the bytes are the study's
    lines = [json.dumps(record_of(*one), ensure_ascii=not one[0][0]) + "\n" for one in found]
    with atomic_file(out / source.name) as part:
        part.write_text("".join(lines), encoding="utf-8")
    like = "the same as" if sha256_of(out / source.name) == source.sha256 else "not quite as"
    return f"{out / source.name}: {len(found)} of {len(wanted)} examples, {like} the study's"


def digest(instruction: str, response: str) -> str:
    """What an example is known by: its words, whatever the white space between them."""
    words = " ".join(f"{instruction}\n{response}".split())
    return hashlib.sha256(words.encode("utf-8")).hexdigest()[:12]


def listed(name: str) -> list[tuple[str, str, bool]]:
    """(id or '', digest, whether the context is shown) of every example of a file, in order."""
    stem = name.removesuffix(".jsonl")
    words = [line.split() for line in (STAGES / f"{stem}.txt").read_text(encoding="ascii").splitlines()]
    return [(f"{stem}-{number[0]}" if number else "", key, flag == "+") for key, flag, *number in words]


def record_of(entry: tuple[str, str, bool], found: Mapping[str, str]) -> dict[str, Any]:
    """An example in the study's form; dolly-more has ids and no context."""
    name, _, shown = entry
    values = {"instruction": found["instruction"].strip(), "input": found["context"].strip() if shown else ""}
    prompt = (WITH_INPUT if values["input"] else WITHOUT_INPUT).format(**values)
    output = found["response"].strip()
    if name:
        return {"id": name, **values, "prompt": prompt, "output": output}
    return {"instruction": values["instruction"], "prompt": prompt, "input": values["input"], "output": output}


def _records(path: Path) -> Iterator[Mapping[str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            yield {key: str(record[key]) for key in ("instruction", "context", "response")}
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{path}:{number}: wanted an object with instruction, context and response ({error!r}). Give the file "
                "databricks-dolly-15k.jsonl as it was downloaded."
            ) from error


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
