"""Leaderboard of aligners: each against the gold, on as many pairs of tokenizers as are given, beside learned maps.

  python -m analysis.aligners --gold analysis/gold/gold.jsonl --data analysis/gold/probe_set.jsonl \\
      --pair checkpoints/sft/student smollm2-135m --pair gpt2.gguf qwen2.gguf --maps out/demo/maps --out results
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from probe import cli
from probe.aligners import ALIGNERS, MAP_ALIGNERS
from probe.aligners.cells import as_map
from probe.aligners.making import CutText
from probe.errors import UsageError
from probe.gold.reading import Gold, GoldSet, gold_hash, read_gold
from probe.maps.attention_map import AttentionMap
from probe.pairing.counts import largest_group
from probe.pairing.kinds import kind_of
from probe.scoring import statistics
from probe.scoring.measures import heaviest_shares
from probe.scoring.metrics import link_counts
from probe.scoring.tables import SCHEMA_VERSION, write_csv
from probe.text.axis import TokenAxis

FAILURES = ("emoji and symbols", "CJK", "other scripts", "accented words", "numbers", "white space",
            "end of text")  # fmt: skip
DECOMPOSED = "decomposed marks"
INTERVALS = ("top1_t2s", "top1_s2t", "f1", "aer")
Cells = Callable[[CutText], np.ndarray]  # weights [student, teacher], none negative, of one text


@dataclass(frozen=True)
class AlignerRow:
    """One line of the leaderboard: its name, what it knows, and its weights of a text in both directions."""

    name: str
    knows: str
    t2s: Cells
    s2t: Cells


@dataclass(frozen=True)
class Pair:
    """One pair of tokenizers with its texts and the gold that was moved to its tokens."""

    name: str
    texts: Mapping[str, CutText]
    golds: Mapping[str, Gold]


@dataclass
class Tally:
    """What is counted of one entry, one row an example."""

    top1: dict[str, list[tuple[float, float]]]  # direction -> (credit, positions with gold)
    links: list[tuple[int, ...]]
    dropped: np.ndarray  # student, teacher
    positions: np.ndarray
    largest: int
    wrong: dict[str, list[float]]  # kind of writing -> credit of each student position
    seconds: float


def leaderboard(pairs: Sequence[Pair], entries: Callable[[Pair], Sequence[AlignerRow]], resamples: int) -> pd.DataFrame:
    """One row a pair and entry."""
    rows = []
    for pair in pairs:
        for entry in entries(pair):
            rows.append(_row(pair, entry, tally(pair, entry), resamples))
    return pd.DataFrame(rows)


def tally(pair: Pair, entry: AlignerRow) -> Tally:
    """Score one entry on every text of the pair that has gold."""
    found = Tally({"t2s": [], "s2t": []}, [], np.zeros(2), np.zeros(2), 0, {}, 0.0)
    for example_id, gold in pair.golds.items():
        one = pair.texts[example_id]
        possible = _marked(gold.possible, one)
        started = time.process_time()
        both = entry.t2s(one), entry.s2t(one)
        found.seconds += time.process_time() - started
        credit = [heaviest_credit(both[0], possible), heaviest_credit(both[1].T, possible.T)]
        for direction, values in zip(("t2s", "s2t"), credit, strict=True):
            counted = values[~np.isnan(values)]
            found.top1[direction].append((float(counted.sum()), float(len(counted))))
        links = heaviest_links(both[0]) | {(i, j) for j, i in heaviest_links(both[1].T)}
        counts = link_counts(links, gold.sure, gold.possible)
        found.links.append(tuple(vars(counts).values()))
        found.dropped += [(~both[0].any(axis=1)).sum(), (~both[1].any(axis=0)).sum()]
        found.positions += possible.shape
        found.largest = max(found.largest, largest_group(both[0]))
        for kind, value in zip(kinds_of(one.text, one.student), credit[0], strict=True):
            if not np.isnan(value):
                found.wrong.setdefault(kind, []).append(value)
    return found


def heaviest_credit(weights: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Top-1 credit [rows]: share of the row's heaviest cells that are gold; NaN without gold. Dropped rows guess."""
    filled = as_map(weights, "t2s")
    credit = (heaviest_shares(filled, 1e-6) * gold).sum(axis=1)
    return np.where(gold.any(axis=1), credit, np.nan)


def heaviest_links(weights: np.ndarray) -> set[tuple[int, int]]:
    """The heaviest cells of each row, ties kept, above zero: all cells of a group, the best of soft weights."""
    top = (weights > 0) & (weights >= weights.max(axis=1, keepdims=True) - 1e-9)
    return set(zip(*(side.tolist() for side in np.nonzero(top)), strict=True))


def kinds_of(text: str, axis: TokenAxis) -> Iterator[str]:
    """The kind of writing that each token covers; letters with marks of their own are decomposed marks."""
    data = text.encode("utf-8", "surrogatepass")
    for start, end in axis.spans:
        covered = data[start:end].decode("utf-8", "replace")
        marked = any("\u0300" <= letter <= "\u036f" for letter in covered)
        yield DECOMPOSED if marked else kind_of(covered)


def _marked(links: frozenset[tuple[int, int]], one: CutText) -> np.ndarray:
    cells = np.zeros((len(one.student), len(one.teacher)), dtype=bool)
    if links:
        cells[tuple(np.array(list(links)).T)] = True
    return cells


def _row(pair: Pair, entry: AlignerRow, found: Tally, resamples: int) -> dict[str, object]:
    scores = {
        "top1_t2s": (np.array(found.top1["t2s"]), statistics.ratio),
        "top1_s2t": (np.array(found.top1["s2t"]), statistics.ratio),
        "f1": (np.array(found.links), statistics.f1),
        "aer": (np.array(found.links), statistics.aer),
    }
    row: dict[str, object] = {
        "schema_version": SCHEMA_VERSION, "gold": gold_hash(pair.golds.values()), "pair": pair.name,
        "aligner": entry.name, "knows": entry.knows, "n_examples": len(pair.golds),
    }  # fmt: skip
    for name, (counts, statistic) in scores.items():
        interval = statistics.bca_interval(counts, statistic, resamples=resamples)
        row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    row |= {f"dropped_{side}": found.dropped[k] / found.positions[k] for k, side in enumerate(("student", "teacher"))}
    row["largest_group"] = found.largest if entry.knows != "learned" else float("nan")  # every cell has some weight
    for kind in (*FAILURES, DECOMPOSED):
        values = found.wrong.get(kind, [])
        row[f"wrong_{kind.replace(' ', '_')}"] = 1 - float(np.mean(values)) if values else float("nan")
    return {**row, "ms_per_example": 1000 * found.seconds / len(pair.golds)}


# --- entries ---


def token_entries(pair: Pair) -> list[AlignerRow]:
    """Every aligner that reads tokens."""
    found = []
    for one in ALIGNERS.values():
        assert one.align is not None
        cells: Cells = lambda text, align=one.align: align(text.text, text.student, text.teacher)  # noqa: E731
        found.append(AlignerRow(one.name, one.knows, cells, cells))
    return found


def map_entries(maps: Mapping[tuple[str, str, str], AttentionMap]) -> list[AlignerRow]:
    """The stored maps themselves, and each read again; ``maps`` by checkpoint, direction, example."""
    checkpoints = list(dict.fromkeys(checkpoint for checkpoint, _, _ in maps))
    found = []
    for checkpoint in checkpoints:
        found.append(AlignerRow(checkpoint, "learned", *(_stored(maps, checkpoint, d, None) for d in ("t2s", "s2t"))))
        for one in MAP_ALIGNERS.values():
            ways = (_stored(maps, checkpoint, direction, one.reread) for direction in ("t2s", "s2t"))
            found.append(AlignerRow(f"{checkpoint}+{one.name}", "learned", *ways))
    return found


def _stored(
    maps: Mapping[tuple[str, str, str], AttentionMap], checkpoint: str, direction: str,
    reread: Callable[[AttentionMap], np.ndarray] | None,
) -> Cells:  # fmt: skip
    def cells(one: CutText) -> np.ndarray:
        amap = maps[checkpoint, direction, one.example_id]
        return amap.weights.astype(np.float64) if reread is None else reread(amap)

    return cells


# --- the command ---


def build_parser() -> argparse.ArgumentParser:
    """Options of ``python -m analysis.aligners``."""
    parser = cli.make_parser("python -m analysis.aligners", __doc__.split("\n\n")[0], __doc__.split("\n\n")[1])
    parser.add_argument("--gold", required=True, type=Path, help="gold in JSONL; it is moved to each pair's tokens")
    parser.add_argument("--data", required=True, type=Path, help="the texts that the gold is about")
    parser.add_argument(
        "--pair", nargs=2, action="append", default=[], metavar=("STUDENT", "TEACHER"), help="may come several times"
    )
    parser.add_argument("--maps", type=Path, help="learned maps (both directions) of the gold's own pair")
    parser.add_argument("--out", required=True, type=Path, help="folder for aligners.csv")
    parser.add_argument("--resamples", type=cli.positive, default=2000, metavar="N", help="bootstrap (default: 2000)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Move the gold to every pair, score, write ``aligners.csv``."""
    if not args.pair and args.maps is None:
        raise UsageError("wanted one or more --pair STUDENT TEACHER, or --maps MAPS.")
    golds = read_gold(args.gold)
    frames = [leaderboard([_pair(args.data, golds, *names)], token_entries, args.resamples) for names in args.pair]
    if args.maps is not None:
        pair, maps = _pair_of_maps(args.maps, golds)
        frames.append(leaderboard([pair], lambda one: [*token_entries(one), *map_entries(maps)], args.resamples))
    frame = pd.concat(frames, ignore_index=True)
    write_csv(frame, args.out / "aligners.csv")
    print(f"{args.out / 'aligners.csv'}: {len(frame)} rows, {frame['pair'].nunique()} pairs")


def _pair(data: Path, golds: Mapping[str, Gold], student: str, teacher: str) -> Pair:
    from probe.gold.moving import move_gold
    from probe.gold.sources import TextTokens, TokenSource
    from probe.gold.transfer import beginning_of
    from probe.pairing.facts import short_name
    from probe.pairing.sources import load_any_tokenizer
    from probe.text.examples import read_examples
    from probe.text.tokenization import MAX_LENGTH, PairTokenizer

    pair = PairTokenizer(*map(load_any_tokenizer, (student, teacher)), max_length=MAX_LENGTH)
    cut = pair.encode(read_examples(data))
    texts = {p.example_id: CutText(p.example_id, p.category, p.text, p.student.axis, p.teacher.axis, p.truncated)
             for p in cut}  # fmt: skip
    tokens = {name: TextTokens(one.text, one.student, one.teacher, one.truncated) for name, one in texts.items()}
    name = f"{short_name(student)} / {short_name(teacher)}"
    source = TokenSource(name, (pair.student_fingerprint, pair.teacher_fingerprint), tokens)
    moves = move_gold(golds, source, beginning_of(golds.values())[0])
    return Pair(name, texts, {move.id: move.gold for move in moves if move.gold is not None})


def _pair_of_maps(path: Path, golds: Mapping[str, Gold]) -> tuple[Pair, dict[tuple[str, str, str], AttentionMap]]:
    from probe.maps.store import MapStore

    store = MapStore.open(path)
    maps = {(one.checkpoint, one.direction, one.example_id): one for one in store if one.example_id in golds}
    texts, gold_set = {}, GoldSet(golds)
    for (_, _, example_id), one in maps.items():
        gold_set.of(one)  # refuse gold of other tokens
        texts[example_id] = CutText(example_id, one.category, one.text, one.student, one.teacher, one.truncated)
    return Pair("gold's own pair", texts, {name: golds[name] for name in texts}), maps


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m analysis.aligners`` as a function; returns the exit code."""
    return cli.main(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
