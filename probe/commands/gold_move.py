"""``python -m probe gold move``: gold for another pair of tokenizers, and a count of what could not move."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probe import cli
from probe.commands.gold_inputs import add_tokens, refuse_out, tokens_of
from probe.errors import DataError, UsageError
from probe.gold.moving import ExampleMove, move_gold
from probe.gold.reading import gold_format, read_gold, write_gold
from probe.gold.sources import TokenSource, from_store, from_tokenizers
from probe.gold.transfer import beginning_of

DESCRIPTION = """Move gold to the tokens of another pair of tokenizers, through the bytes of the same text.

Links between tokens that stand at the same bytes move as they are. Otherwise new tokens are possible where they share a
byte that linked old tokens share, and sure where both begin as a sure link's tokens begin; where the old tokens had no
beginning, two that begin together inside linked tokens are sure. A link by hand between tokens without a common byte
moves to all their pieces. EOS pairs by role. A token begins with its first byte ("start", the span rule's) or behind
the white space in front ("content"); "auto" takes the one that more of the gold's own links follow.

What could not move is counted by reason, and the examples are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``gold move``."""
    parser.add_argument("gold", metavar="GOLD", type=Path, help="gold in JSONL")
    add_tokens(parser)
    parser.add_argument("--out", required=True, metavar="FILE", type=Path, help="the gold to write")
    parser.add_argument(
        "--begin", choices=("auto", "start", "content"), default="auto", help="where a token begins (default: auto)"
    )
    parser.add_argument("--show", type=cli.positive, default=10, metavar="N", help="examples to print (default: 10)")
    old = parser.add_argument_group("old tokens", "where they lie, if their display forms do not spell the text")
    old.add_argument("--old-maps", metavar="MAPS", type=Path, help="a map store of the gold's own pair")
    old.add_argument("--old-student", metavar="NAME_OR_DIR", help="the gold's own student tokenizer, with --data")
    old.add_argument("--old-teacher", metavar="NAME_OR_DIR", help="the gold's own teacher tokenizer, with --data")


def run(args: argparse.Namespace) -> None:
    """Read, move, write, report."""
    refuse_out(args.out, args.gold)
    gold_format(args.out)
    golds = read_gold(args.gold)
    begin, by_start, by_content = beginning_of(golds.values())
    if args.begin != "auto":
        begin = args.begin
    new, old = tokens_of(args), _old_tokens(args)
    try:
        moves = move_gold(golds, new, begin, old)
    except DataError as error:
        raise DataError(f"{args.gold}: {error}") from error
    write_gold(args.out, [move.gold for move in moves if move.gold is not None])
    evidence = {"begin": begin, "links_by_start": by_start, "links_by_content": by_content}
    values = {"out": str(args.out), **evidence, **move_values(moves)}
    why = f"{by_content} links of the gold follow the content, {by_start} the first byte"
    head = f"{args.out}: {args.gold} on the tokens of {new.name}; a token begins with its {_SAID[begin]} ({why})"
    cli.report(values, [head, *move_lines(moves, args.show)], as_json=args.json)


_SAID = {"start": "first byte", "content": "content"}


def _old_tokens(args: argparse.Namespace) -> TokenSource | None:
    if args.old_maps is not None:
        return from_store(args.old_maps)
    if args.old_student is None and args.old_teacher is None:
        return None
    if None in (args.old_student, args.old_teacher, args.data):
        raise UsageError(
            "the gold's own tokenizers are two, and need texts: give --old-student, --old-teacher, --data."
        )
    name = f"{args.old_student} with {args.old_teacher}"
    from probe.models.pairs import load_pair  # torch: seconds, so only when the rest is readable

    return from_tokenizers(load_pair(args.old_student, args.old_teacher, args.max_length), args.data, name)


def move_values(moves: Sequence[ExampleMove]) -> dict[str, Any]:
    """The counts as one JSON object: of all examples, and of those that lost something under ``by_example``."""
    moved = [move for move in moves if move.gold is not None]
    lost: Counter[str] = Counter()
    for move in moves:
        lost.update(move.lost if move.gold is not None else {move.left_out: move.links})
    made = [move.gold for move in moved if move.gold is not None]
    return {
        "examples": len(moves),
        "moved_examples": len(moved),
        "links": sum(move.links for move in moves),
        "sure": sum(move.sure for move in moves),
        "exact": sum(move.exact for move in moved),
        "by_bytes": sum(move.links - move.exact - sum(move.lost.values()) for move in moved),
        "lost": {reason: count for reason, count in lost.most_common() if count},
        "weakened": sum(move.weakened for move in moved),
        "new_links": sum(len(gold.possible) for gold in made),
        "new_sure": sum(len(gold.sure) for gold in made),
        "sure_within": sum(move.within for move in moved),
        "unlinked_student": sum(move.unlinked[0] for move in moved),
        "unlinked_teacher": sum(move.unlinked[1] for move in moved),
        "by_example": [_example_values(move) for move in sorted(moves, key=lambda move: -move.losses) if move.losses],
    }


def _example_values(move: ExampleMove) -> dict[str, Any]:
    lost = dict(move.lost) if move.gold is not None else {move.left_out: move.links}
    return {"id": move.id, "moved": move.gold is not None, "links": move.links, "lost": lost, "weakened": move.weakened}


def move_lines(moves: Sequence[ExampleMove], show: int) -> list[str]:
    """The counts for people; ``show`` examples at most, of those that lost something."""
    found = move_values(moves)
    lost = sum(found["lost"].values())
    lines = [
        f"examples            {found['moved_examples']:8d} of {found['examples']}",
        f"old links           {found['links']:8d}, {found['sure']} of them sure",
        f"  moved as they are {found['exact']:8d}",
        f"  moved by bytes    {found['by_bytes']:8d}",
        f"  lost              {lost:8d}{_reasons(found['lost'])}",
        f"  sure → possible   {found['weakened']:8d}, for no new token begins there",
        f"new links           {found['new_links']:8d}, {found['new_sure']} of them sure, {found['sure_within']} within",
        f"new tokens without  {found['unlinked_student']:8d} student, {found['unlinked_teacher']} teacher",
    ]
    apart = found["by_example"]
    lines += [f"{len(apart)} examples with losses, most first:"] if apart else []
    for one in apart[:show]:
        weaker = f", {one['weakened']} sure → possible" if one["weakened"] else ""
        said = f"{sum(one['lost'].values())} of {one['links']} links lost{_reasons(one['lost'])}{weaker}"
        lines.append(f"  {one['id']}: {said}")
    return lines


def _reasons(lost: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{reason}: {count}' for reason, count in lost.items())})" if lost else ""
