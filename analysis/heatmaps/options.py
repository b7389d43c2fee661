"""The options of an export that say how pictures look: for print, and which part of a map."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from analysis.heatmaps.files import Look
from probe import cli
from probe.gold.reading import Link
from probe.scoring.aggregation import UNITS

if TYPE_CHECKING:
    from probe.plotting.layout import CellRanges

POINTS = {"in": 72.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "pt": 1.0}
NARROW, WIDE = 144.0, 3600.0  # points: 2 and 50 inches; the names of the axes need the first


def add_look(parser: argparse.ArgumentParser) -> None:
    """Add the options of a :class:`Look`, and ``--window``."""
    group = parser.add_argument_group("for print")
    group.add_argument(
        "--width", type=length, metavar="W",
        help="width of the figure, as 3.3in, 84mm or 240pt: labels of 6 points or more, one legend, one colour bar; "
        "a map that has no room is cut, and its name says where",
    )  # fmt: skip
    group.add_argument("--dpi", type=cli.positive, metavar="N", help="(default: 110; with --width 300)")
    group.add_argument(
        "--no-title", action="store_true", help="no title; panels of a grid keep the names of their runs"
    )
    group.add_argument(
        "--window", type=window, metavar="S-S,T-T",
        help="only these student and teacher targets, from 0, both ends included, as in 0-19,0-17",
    )  # fmt: skip
    group.add_argument("--pin", type=cell, metavar="S.T", help="frame this cell, as in a link to the dashboard")
    group.add_argument(
        "--columns", type=cli.positive, default=3, metavar="N", help="panels of a grid beside each other"
    )
    group.add_argument("--unit", choices=UNITS, default=UNITS[0], help="what a row and a column are (default: token)")
    group.add_argument("--svg-text", action="store_true", help="an svg keeps text as text, in the reader's fonts")


def look_of(args: argparse.Namespace) -> Look:
    """What the options of :func:`add_look` say."""
    return Look(args.unit, args.width, not args.no_title, args.columns, args.pin, args.dpi, args.svg_text)


def length(text: str) -> float:
    """An argparse type: a length with its unit, in points."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(in|cm|mm|pt)", text)
    points = float(found[1]) * POINTS[found[2]] if found else 0.0
    if not NARROW <= points <= WIDE:
        raise argparse.ArgumentTypeError(f"wanted a length of 2in to 50in, as 3.3in, 84mm or 240pt, got {text!r}")
    return points


def window(text: str) -> CellRanges:
    """An argparse type: first and last target of both sides, as half-open ranges."""
    found = re.fullmatch(r"s?(\d{1,6})-(\d{1,6}),t?(\d{1,6})-(\d{1,6})", text)
    top, bottom, left, right = map(int, found.groups()) if found else (1, 0, 0, 0)
    if top > bottom or left > right:
        raise argparse.ArgumentTypeError(f"wanted student and teacher targets, as 0-19,0-17, got {text!r}")
    return (top, bottom + 1), (left, right + 1)


def cell(text: str) -> Link:
    """An argparse type: student and teacher target of a cell."""
    found = re.fullmatch(r"(\d{1,6})\.(\d{1,6})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"wanted student.teacher, as 3.4, got {text!r}")
    return int(found[1]), int(found[2])
