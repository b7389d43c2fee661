"""The study: does the map matter, and what does better? Arms over seeds and texts, to tables, intervals and figures."""

from analysis.study.command import build_parser

__all__ = ["build_parser"]
