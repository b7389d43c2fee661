"""`python -m analysis.study`."""

import sys

from analysis.study.command import build_parser, run
from probe import cli

if __name__ == "__main__":
    sys.exit(cli.main(build_parser, run))
