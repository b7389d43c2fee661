"""``python -m probe gold``: the subcommands of gold, each in a module of its own."""

from __future__ import annotations

import argparse

from probe import cli
from probe.commands import gold_adjudicate, gold_agree, gold_check, gold_convert
from probe.commands import gold_move as gold_move_command

EXAMPLES = """
  python -m probe gold convert gold.jsonl --to pharaoh --out gold.pharaoh
  python -m probe gold convert simalign.inter --from simalign --texts out/maps --to jsonl --out links.jsonl
  python -m probe gold check gold.jsonl --maps out/maps
  python -m probe gold agree anna.jsonl ben.jsonl --out agreement.csv
  python -m probe gold adjudicate anna.jsonl ben.jsonl --out gold.jsonl
  python -m probe gold move gold.jsonl --student my/student --teacher my/teacher --data texts.jsonl --out moved.jsonl"""
SUBCOMMANDS = (
    ("convert", gold_convert, "rewrite gold in another format"),
    ("check", gold_check, "does gold fit these tokens?"),
    ("agree", gold_agree, "how far two annotators agree"),
    ("adjudicate", gold_adjudicate, "one gold from two annotators"),
    ("move", gold_move_command, "gold for other tokenizers, through byte spans"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands of ``gold`` and their options."""
    cli.dress(parser, "Gold in any form: convert, check, compare, adjudicate, move.", EXAMPLES)
    group = parser.add_subparsers(
        title="subcommands", metavar="SUBCOMMAND", parser_class=argparse.ArgumentParser, required=True
    )
    for name, module, line in SUBCOMMANDS:
        sub = group.add_parser(name, help=line)
        cli.dress(sub, module.DESCRIPTION, "\n".join(row for row in EXAMPLES.split("\n") if f" gold {name} " in row))
        module.add_arguments(sub)
        cli.add_common(sub, json_report=True)
        sub.set_defaults(action=module.run)
    cli.add_common(parser)


def run(args: argparse.Namespace) -> None:
    """Run the chosen subcommand."""
    args.action(args)
