"""Show probe examples to an annotator, stretch by stretch: tokens, links, and what their bytes say.

python -m analysis.gold.review [ID …] [--all-rows]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from analysis.gold.byte_view import ByteToken, byte_tokens, proposed_links
from analysis.gold.prefill import GOLD, PREFILL
from probe import cli
from probe.errors import UsageError
from probe.gold.reading import Gold, Link, read_gold


def stretches(student: list[ByteToken], teacher: list[ByteToken]) -> Iterator[tuple[range, range]]:
    """Smallest stretches on whose two ends both sides have a token boundary, by exact bytes; EOS is the last."""
    i = j = 0
    while i < len(student) and j < len(teacher):
        a, b = i + 1, j + 1
        while student[a - 1].end != teacher[b - 1].end:
            a, b = (a + 1, b) if student[a - 1].end < teacher[b - 1].end else (a, b + 1)
        yield range(i, a), range(j, b)
        i, j = a, b


def render(gold: Gold, prefilled: Gold, *, all_rows: bool = False) -> list[str]:
    """One line a stretch: student tokens | teacher tokens | links, `=` sure and `~` possible.

    `+` and `-` mark what gold changed in the prefill; `?` a link whose bytes propose something else than gold has.
    """
    student, teacher = (byte_tokens(gold.text, tokens) for tokens in (gold.student_tokens, gold.teacher_tokens))
    proposed = proposed_links(gold)
    lines, equal = [f"## {gold.id}  ({gold.note or 'prefill'})  {gold.text!r}"], []
    for rows, columns in stretches(student, teacher):
        plain = len(rows) == len(columns) == 1 and gold.student_tokens[rows[0]] == gold.teacher_tokens[columns[0]]
        links = _links(gold, prefilled, proposed, rows, columns)
        if plain and not all_rows and links == [f"{rows[0]}={columns[0]}"]:
            equal.append(gold.student_tokens[rows[0]])
            continue
        lines += _flush(equal)
        sides = (f"{k}:{token}" for k, token in zip(rows, gold.student_tokens[rows[0] : rows[-1] + 1], strict=True))
        other = (
            f"{k}:{token}" for k, token in zip(columns, gold.teacher_tokens[columns[0] : columns[-1] + 1], strict=True)
        )
        lines.append(f"  {' '.join(sides)}  |  {' '.join(other)}  |  {' '.join(links)}")
    return lines + _flush(equal)


def _flush(equal: list[str]) -> list[str]:
    shown = [f"    equal: {' '.join(equal)}"] if equal else []
    equal.clear()
    return shown


def _links(
    gold: Gold, prefilled: Gold, proposed: tuple[frozenset[Link], frozenset[Link]], rows: range, columns: range
) -> list[str]:
    found = []
    for link in sorted(gold.possible | prefilled.possible | proposed[1]):
        if link[0] in rows or link[1] in columns:
            states = [
                _state(link, *links)
                for links in ((gold.sure, gold.possible), (prefilled.sure, prefilled.possible), proposed)
            ]
            mark = "" if states[0] == states[1] else f"(was {states[1]})"
            doubt = "" if states[0] == states[2] else f"(bytes {states[2]}?)"
            found.append(f"{link[0]}{states[0]}{link[1]}{mark}{doubt}")
    return found


def _state(link: Link, sure: frozenset[Link], possible: frozenset[Link]) -> str:
    return "=" if link in sure else "~" if link in possible else "/"


def build_parser() -> argparse.ArgumentParser:
    examples = (
        "  python -m analysis.gold.review numbers-01 cjk-03\n  python -m analysis.gold.review --all-rows prose-04"
    )
    parser = cli.make_parser(
        "python -m analysis.gold.review", "Show examples and their links to an annotator.", examples
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="examples to show; all by default")
    parser.add_argument("--all-rows", action="store_true", help="one line for every stretch, equal ones too")
    return parser


def run(args: argparse.Namespace) -> None:
    prefilled = read_gold(PREFILL)
    gold = read_gold(GOLD) if GOLD.is_file() else prefilled
    if unknown := [name for name in args.ids if name not in prefilled]:
        raise UsageError(
            f"no probe example is called {', '.join(unknown)}; they are named like {next(iter(prefilled))}."
        )
    for example_id in args.ids or prefilled:
        print(
            "\n".join(
                render(gold.get(example_id, prefilled[example_id]), prefilled[example_id], all_rows=args.all_rows)
            )
        )


if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
