"""The tables of docs/aligners.md, made from results/aligners.csv: ``python -m analysis.aligners_page [--write]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from probe import cli
from probe.aligners import ALIGNERS, MAP_ALIGNERS
from probe.errors import DataError
from probe.files import atomic_file

ROOT = Path(__file__).resolve().parent.parent
CSV, PAGE = ROOT / "results" / "aligners.csv", ROOT / "docs" / "aligners.md"
BEGIN, END = "<!-- aligners: begin -->", "<!-- aligners: end -->"
OWN = "gold's own pair"
KINDS = ("emoji_and_symbols", "CJK", "other_scripts", "decomposed_marks", "numbers", "white_space", "end_of_text")


def tables(frame: pd.DataFrame) -> str:
    """Markdown: the own pair with intervals, top-1 on every pair, failures by kind of writing, and the sources."""
    parts = [_own(frame[frame["pair"] == OWN]), _pairs(frame), _failures(frame), _sources()]
    return "\n\n".join("\n".join(part) for part in parts)


def _own(frame: pd.DataFrame) -> Iterator[str]:
    first = frame.iloc[0]
    size, gold = first["n_examples"], first["gold"]
    yield f"The gold's own pair, annotated by people: {size} texts, gold {gold}; 95 % BCa intervals."
    yield ""
    yield from _head("", "top-1 t2s", "top-1 s2t", "F1", "AER", "dropped", "largest group", "ms a text")
    for _, row in frame.sort_values("top1_t2s", ascending=False, kind="stable").iterrows():
        scores = [f"{row[n]:.3f} [{row[f'{n}_low']:.3f}, {row[f'{n}_high']:.3f}]" for n in ("top1_t2s", "top1_s2t")]
        scores += [f"{row[name]:.3f}" for name in ("f1", "aer")]
        largest = "–" if pd.isna(row["largest_group"]) else f"{row['largest_group']:.0f}"
        yield _line(row["aligner"], *scores, f"{row['dropped_student']:.1%}", largest, f"{row['ms_per_example']:.1f}")


def _pairs(frame: pd.DataFrame) -> Iterator[str]:
    wide = frame.pivot_table(index="aligner", columns="pair", values="top1_t2s", sort=False)
    wide = wide.loc[[name for name in ALIGNERS if name in wide.index]]
    yield "Top-1 (t2s) on every pair; on all but the last the gold was moved to the pair's tokens:"
    yield ""
    yield from _head("", *wide.columns)
    for name, row in wide.iterrows():
        yield _line(str(name), *(f"{value:.3f}" for value in row))


def _failures(frame: pd.DataFrame) -> Iterator[str]:
    mean = frame.groupby("aligner", sort=False)[[f"wrong_{kind}" for kind in KINDS]].mean()
    yield "Share of student positions that are wrong, by what they cover, mean over the pairs:"
    yield ""
    yield from _head("", *(kind.replace("_", " ") for kind in KINDS))
    for name, row in mean.iterrows():
        yield _line(str(name), *(f"{value:.0%}" for value in row))


def _sources() -> Iterator[str]:
    yield "Where each comes from, and what of it is ours:"
    yield ""
    yield from _head("", "knows", "original", "version", "licence", "not as the original")
    for one in (ALIGNERS | MAP_ALIGNERS).values():
        yield _line(one.name, one.knows, one.source, one.version, one.licence, one.ours or "–")


def _head(*names: str) -> Iterator[str]:
    yield _line(*names)
    yield "|" + "---|" * len(names)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def filled(page: str, made: str) -> str:
    """The page with ``made`` between its two marks. Raises DataError where they are missing."""
    if BEGIN not in page or END not in page:
        raise DataError(f"{PAGE}: wanted the marks {BEGIN} and {END}, found {page.count('<!--')} other comments.")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def build_parser() -> argparse.ArgumentParser:
    """Options of ``python -m analysis.aligners_page``."""
    parser = cli.make_parser("python -m analysis.aligners_page", "Fill the tables of docs/aligners.md from the CSV.")
    parser.add_argument("--write", action="store_true", help="write the page (default: print the tables)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Print or write."""
    made = tables(pd.read_csv(CSV))
    if not args.write:
        print(made)
        return
    page = filled(PAGE.read_text(encoding="utf-8"), made)
    with atomic_file(PAGE) as part:
        part.write_text(page, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m analysis.aligners_page`` as a function; returns the exit code."""
    return cli.main(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
