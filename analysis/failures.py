"""Where maps fail: the most frequent wrong links, by token pair and by cause, each with examples to look at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from probe import cli
from probe.errors import DataError
from probe.gold.reading import Gold, GoldSet, gold_hash, read_gold
from probe.maps.attention_map import AttentionMap, column_axis, row_axis
from probe.maps.store import MapStore
from probe.scoring.causes import CAUSES, WrongLink, wrong_links
from probe.scoring.metrics import MapMetric
from probe.scoring.report_text import aligned, records
from probe.scoring.tables import SCHEMA_VERSION, write_csv

EXAMPLES = """
  python -m analysis.failures out/demo/maps --gold analysis/gold/gold.jsonl --out out/demo/failures
  python -m analysis.failures out/maps --gold gold.jsonl --out out/failures --pairs 20 --json"""
RUN = ["schema_version", "signature", "checkpoint", "method", "direction"]
FAILURE_COLUMNS = (
    *RUN, "example_id", "category", "position", "token", "heaviest", "heaviest_token", "wanted", "wanted_tokens",
    "weight", "share", "cause", "link",
)  # fmt: skip
EXAMPLES_NAMED = 3  # examples that a row of a summary names


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m analysis.failures")
    cli.dress(
        parser,
        "List the wrong links of stored maps: failures.csv (each link, its cause, a link into the dashboard), "
        "failure_causes.csv, failure_pairs.csv (which token is taken for which) and failures.png.",
        EXAMPLES,
    )
    parser.add_argument("maps", metavar="MAPS", nargs="+", type=Path, help="map stores, written by probe extract")
    parser.add_argument("--gold", required=True, type=Path, help="gold alignments")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the files go")
    parser.add_argument("--pairs", type=cli.positive, default=50, metavar="N", help="pairs a run (default: 50)")
    cli.add_common(parser, json_report=True)
    return parser


def run(args: argparse.Namespace) -> None:
    """Find the wrong links, count them, write, draw, print."""
    from probe.plotting import save_figure  # here, so that --help does without matplotlib
    from probe.plotting.failures import failure_figure

    stores, golds = [MapStore.open(path) for path in args.maps], read_gold(args.gold)
    links, positions = failures_frame(stores, golds)
    causes, pairs = causes_frame(links, positions), pairs_frame(links, args.pairs)
    written = [args.out / name for name in ("failures.csv", "failure_causes.csv", "failure_pairs.csv")]
    for frame, path in zip((links, causes, pairs), written, strict=True):
        write_csv(frame, path)
    written.append(save_figure(failure_figure(causes, CAUSES), args.out / "failures.png"))
    values = {"causes": records(causes), "pairs": records(pairs), "written": [str(path) for path in written]}
    cli.report(values, [*_lines(causes, pairs), *(f"wrote {path}" for path in written)], as_json=args.json)


def failures_frame(stores: Sequence[MapStore], golds: Mapping[str, Gold]) -> tuple[pd.DataFrame, pd.Series]:
    """One row per wrong link, and the number of scored positions per run (indexed by the columns of ``RUN``).

    Raises:
        DataError: no map has gold, or gold is for other tokens.
    """
    rows: list[dict[str, Any]] = []
    counted: list[dict[str, Any]] = []
    digest = gold_hash(golds.values())
    for store in stores:
        gold_set, maps_hash = GoldSet(golds, store.fingerprints), store.digest[:8]
        for amap in cli.progress(store, total=len(store), label="maps"):
            if (gold := gold_set.of(amap)) is None:
                continue
            signature = MapMetric().signature_of(amap, gold=digest, maps=maps_hash)
            labels = dict(
                zip(RUN, (SCHEMA_VERSION, signature, amap.checkpoint, amap.method, amap.direction), strict=True)
            )
            side = 0 if amap.direction == "t2s" else 1
            counted.append({**labels, "positions": len({link[side] for link in gold.possible})})
            rows += ({**labels, **row} for row in _rows(amap, gold))
    if not counted:
        raise DataError("no map has gold. Give the gold of these examples, or extract the maps of the gold's examples.")
    positions = pd.DataFrame(counted).groupby(RUN, sort=False)["positions"].sum()
    return pd.DataFrame(rows, columns=list(FAILURE_COLUMNS)), positions


def _rows(amap: AttentionMap, gold: Gold) -> Iterator[dict[str, Any]]:
    rows, columns = row_axis(amap).tokens, column_axis(amap).tokens
    for wrong in wrong_links(amap, gold):
        yield {
            "example_id": amap.example_id, "category": amap.category, "position": wrong.row, "token": rows[wrong.row],
            "heaviest": wrong.column, "heaviest_token": columns[wrong.column],
            "wanted": " ".join(map(str, wrong.wanted)), "wanted_tokens": " ".join(columns[j] for j in wrong.wanted),
            "weight": wrong.weight, "share": wrong.share, "cause": wrong.cause, "link": deep_link(amap, wrong),
        }  # fmt: skip


def deep_link(amap: AttentionMap, wrong: WrongLink) -> str:
    """Where the dashboard shows the map with the wrong cell pinned: to be put behind its address.

    A pin is ``student.teacher`` in both directions.
    """
    row, column = (wrong.row, wrong.column) if amap.direction == "t2s" else (wrong.column, wrong.row)
    query = {"example": amap.example_id, "checkpoint": amap.checkpoint, "direction": amap.direction}
    return "?" + urlencode({**query, "pin": f"{row}.{column}"})


def causes_frame(links: pd.DataFrame, positions: pd.Series) -> pd.DataFrame:
    """One row per run and cause, in the order of ``CAUSES``, also where there is none: wrong links and their shares."""
    rows, runs = [], dict(iter(links.groupby(RUN, sort=False)))
    for key, count in positions.items():
        run = runs.get(key, links[:0])
        total = run["share"].sum()
        for cause in CAUSES:
            part = run[run["cause"] == cause]
            wrong = part["share"].sum()
            shares = {"of_wrong": wrong / total if total else 0.0, "of_positions": wrong / count if count else 0.0}
            labels = dict(zip(RUN, key, strict=True))
            rows.append({**labels, "cause": cause, "wrong": wrong, **shares, "n_positions": count, **_where(part)})
    return pd.DataFrame(rows)


def pairs_frame(links: pd.DataFrame, most: int) -> pd.DataFrame:
    """The ``most`` frequent pairs of a run: which token is taken for which, instead of what, and mostly why."""
    rows = []
    for key, run in links.groupby(RUN, sort=False):
        pairs = run.groupby(["token", "heaviest_token"], sort=False)
        sums = pairs["share"].sum().sort_values(ascending=False, kind="stable").head(most)
        for pair, wrong in sums.items():
            part = pairs.get_group(pair)
            often = {name: part.groupby(name)["share"].sum().idxmax() for name in ("wanted_tokens", "cause")}
            labels = dict(zip([*RUN, "token", "heaviest_token"], (*key, *pair), strict=True))  # type: ignore[misc]
            rows.append({**labels, **often, "wrong": wrong, **_where(part)})
    columns = [*RUN, "token", "heaviest_token", "wanted_tokens", "cause", "wrong", "n_examples", "examples", "link"]
    return pd.DataFrame(rows, columns=columns)


def _where(part: pd.DataFrame) -> dict[str, Any]:
    """The examples with the most of these wrong links, and a dashboard link to the first."""
    sums = part.groupby("example_id", sort=False)["share"].sum().sort_values(ascending=False, kind="stable")
    link = part.loc[part["example_id"] == sums.index[0], "link"].iloc[0] if len(sums) else ""
    return {"n_examples": len(sums), "examples": " ".join(sums.index[:EXAMPLES_NAMED]), "link": link}


def _lines(causes: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    lines: list[str] = []
    for key, part in causes.groupby(["checkpoint", "direction"], sort=False):
        rows = [["cause", "wrong links", "of wrong", "of positions", "for instance in"]]
        rows += [[r["cause"], f"{r['wrong']:.0f}", f"{r['of_wrong']:.0%}", f"{r['of_positions']:.1%}", r["examples"]]
                 for _, r in part.iterrows()]  # fmt: skip
        run = pairs[(pairs["checkpoint"] == key[0]) & (pairs["direction"] == key[1])].head(5)  # type: ignore[index]
        often = [f"{r['token']} → {r['heaviest_token']} ({r['wrong']:.0f})" for _, r in run.iterrows()]
        lines += [f"{key[0]}, {key[1]}", *aligned(rows), "most frequent: " + ", ".join(often), ""]  # type: ignore[index]
    return lines


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
