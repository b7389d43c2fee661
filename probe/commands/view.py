"""``python -m probe view MAPS``: the dashboard on a map store, from any directory."""

from __future__ import annotations

import argparse
from pathlib import Path

from probe import cli
from probe.commands import outside
from probe.errors import DataError
from probe.files import MANIFEST

DESCRIPTION = """Serve the dashboard of a map store. It is for this machine alone unless --host says otherwise: whoever
reaches the server can read the maps and save annotations. Ctrl-C ends it."""
EXAMPLES = """
  python -m probe view out/demo/maps --gold analysis/gold/gold.jsonl
  python -m probe view maps --host 0.0.0.0 --port 8600"""
BESIDE = {
    "key-query": "directory of `analysis.key_query --out`",
    "training": "folder of runs with a probe curve",
    "checkpoints": "folder of checkpoints, for texts that are typed in",
    "annotations": "where annotations are saved",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``view``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    parser.add_argument("maps", type=Path, metavar="MAPS", help="a map store, written by probe extract")
    parser.add_argument("--gold", type=Path, metavar="GOLD", help="manual alignments of the examples")
    parser.add_argument("--host", default="localhost", help="address to listen on; 0.0.0.0: all (default: localhost)")
    parser.add_argument("--port", type=cli.positive, default=8501, metavar="N", help="(default: 8501)")
    for name, what in BESIDE.items():
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=f"{what} (default: beside the maps, if there)")
    cli.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Start the server and wait for its end.

    Raises:
        DataError: there is no map store or gold at these paths; the page would only say so after it was opened.
    """
    if not (args.maps / MANIFEST).is_file():
        raise DataError(f"{args.maps}: wanted a map store, found no {MANIFEST} in it. Make one with probe extract.")
    if args.gold is not None and not args.gold.is_file():
        raise DataError(f"{args.gold}: wanted a file of gold alignments, found none. Check the path.")
    return outside.run_python(server_arguments(args), {}, cwd=outside.root())  # where .streamlit/config.toml is


def server_arguments(args: argparse.Namespace) -> list[str]:
    """The command line of Streamlit; a host other than this machine's own names may be called by any name."""
    server = ["--server.address", args.host, "--server.port", str(args.port)]
    if args.host not in ("localhost", "127.0.0.1", "::1"):
        server += ["--server.allowedHosts", "*"]
    named = {"maps": args.maps, "gold": args.gold}
    named |= {name: getattr(args, name.replace("-", "_")) for name in BESIDE}
    ours = [part for name, path in named.items() if path for part in (f"--{name}", str(path.absolute()))]
    return ["-m", "streamlit", "run", str(outside.root() / "app" / "main.py"), *server, "--", *ours]
