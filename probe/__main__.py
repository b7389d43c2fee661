"""``python -m probe COMMAND``: each command's module is imported only when that command is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from probe import cli
from probe.commands.outside import ANALYSIS, run_analysis

# command -> (module with add_arguments(parser) and run(args), one line of help)
COMMANDS = {
    "train": ("probe.commands.train", "train a student by a recipe: sft, kd, dskd-cma, uld and others"),
    "cache": ("probe.commands.cache", "pack a teacher's states and tables, to train without its model"),
    "pair": ("probe.commands.pair", "what two tokenizers have in common, before any training; no weights needed"),
    "align": ("probe.commands.align", "write the alignment of TRL, NeMo, ALM and others as a map store"),
    "extract": ("probe.commands.extract", "write the attention maps of checkpoints into a map store"),
    "score": ("probe.commands.score", "score stored maps against gold alignments"),
    "gold": ("probe.commands.gold", "convert, check, compare, adjudicate and move gold alignments"),
    "evaluate": ("probe.commands.evaluate", "generate responses of checkpoints and score them: ROUGE-L, exact match"),
    "import-reference": ("probe.commands.import_reference", "turn outputs of the public DSKD code into a checkpoint"),
    "export": ("probe.commands.export", "write the student of a checkpoint as a plain Hugging Face directory"),
    "doctor": ("probe.commands.doctor", "say what this machine has: versions, teacher, fonts, browser"),
    "view": ("probe.commands.view", "the dashboard on a map store, from any directory"),
    "verify": ("probe.commands.verify", "check a checkpoint, map store or cache for damage"),
}


class LazyParser(argparse.ArgumentParser):
    """A subcommand's parser that asks its module for the options only when it is used (torch takes seconds)."""

    module = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.module:
            module, self.module = importlib.import_module(self.module), ""
            module.add_arguments(self)
            self.set_defaults(run=module.run)
        return super().parse_known_args(args, namespace)


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``python -m probe`` with one lazy subparser per command."""
    parser = cli.make_parser(
        "python -m probe",
        "Probe and align cross-model attention in cross-tokenizer distillation.",
        """
  python -m probe doctor
  python -m probe extract --checkpoint checkpoints/dskd-cma --data analysis/gold/probe_set.jsonl --out out/maps
  python -m probe score out/maps --gold analysis/gold/gold.jsonl""",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=LazyParser, required=True)
    for name, (module, help_line) in COMMANDS.items():
        commands.add_parser(name, help=help_line, allow_abbrev=False).module = module
    for name, (_, help_line) in ANALYSIS.items():
        commands.add_parser(name, help=help_line, add_help=False)  # main() hands these on
    return parser


def run(args: argparse.Namespace) -> int | None:
    """Run the chosen command."""
    return args.run(args)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m probe`` as a function; returns the exit code. Commands of ``analysis`` get their words unread."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in ANALYSIS:
        return cli.main(lambda: argparse.ArgumentParser(), lambda _: run_analysis(words[0], words[1:]), [])
    return cli.main(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
