"""The report's panel of keys and queries: from the folder of ``analysis.key_query``, else what checkpoints carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.report import findings
from analysis.report.parts import Part, Table, picture
from probe.errors import DataError
from probe.files import sha256_of
from probe.scoring.report import Report
from probe.scoring.tables import safe_cell

FOLDER, FIGURES = "key_query", "key_query.csv"
STAGES = {"untrained": "before", "trained": "after", "control": "control"}
NEEDED = ("signature", "checkpoint", "stage", *findings.GAP_SCORES)
WHAT = "Keys are teacher embeddings, queries are projected student embeddings; "
CARRIED = f"{WHAT}measured on held-out text before and after training, and stored with each checkpoint."
MEASURED = (
    f"{WHAT}measured over the response positions of a file, with the query projector as it was initialised and as it "
    "is trained. Control: one half of the keys against the other, what a measure says of two samples of one cloud."
)


@dataclass(frozen=True)
class KeyQuery:
    """The rows of one ``key_query.csv``, one a checkpoint and stage."""

    path: Path
    figures: pd.DataFrame

    def of(self, checkpoints: Iterable[str]) -> pd.DataFrame:
        """The rows of these checkpoints, under their own names: the file has those that no spreadsheet runs."""
        names = {safe_cell(name): name for name in checkpoints}
        frame = self.figures.assign(checkpoint=self.figures["checkpoint"].map(names))
        return frame[frame["checkpoint"].notna()]


def folder_of(given: Path | None, maps: Sequence[Path]) -> Path | None:
    """``--key-query DIR``, else the first ``key_query/`` beside a map store; None without one.

    Raises:
        DataError: the given folder holds no ``key_query.csv``.
    """
    if given is not None and not (given / FIGURES).is_file():
        raise DataError(
            f"{given} holds no {FIGURES}. Give the --out of python -m analysis.key_query, or leave --key-query out."
        )
    beside = ((path if path.name else path.absolute()).parent / FOLDER for path in maps)
    return given or next((folder for folder in beside if (folder / FIGURES).is_file()), None)


def read_key_query(folder: Path) -> KeyQuery:
    """Read the figures of a folder.

    Raises:
        DataError: the file cannot be read, lacks a column, or holds words where a number belongs.
    """
    path, measures = folder / FIGURES, list(findings.GAP_SCORES)
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in measures})
        if missing := [name for name in NEEDED if name not in frame]:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        frame = frame.astype(dict.fromkeys(measures, float) | {"checkpoint": str})
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Make it again by python -m analysis.key_query.") from error
    return KeyQuery(path, frame[frame["stage"].isin(list(STAGES))].drop_duplicates(["checkpoint", "stage"]))


def by_checkpoint(figures: pd.DataFrame) -> pd.DataFrame:
    """One row a checkpoint, ``<measure>_before``, ``<measure>_after`` and ``<measure>_control``, in order."""
    wide = figures.pivot(index="checkpoint", columns="stage", values=list(findings.GAP_SCORES))
    wide.columns = [f"{measure}_{STAGES[stage]}" for measure, stage in wide.columns]
    return wide.loc[list(dict.fromkeys(figures["checkpoint"]))].reset_index()


def key_query_part(report: Report, measured: KeyQuery | None) -> Part:
    """The section: what ``measured`` says of the report's checkpoints, else what these carry."""
    figures = _figures(report, measured)
    if figures is None:
        rows = tuple(findings.key_query_rows(report.key_query))
        heads = ("measure", "checkpoint", "before training", "after training")
        tables = (Table("Keys and queries, as the checkpoints carry them", heads, rows),) if rows else ()
        return Part(findings.key_query_finding(report.key_query), CARRIED, tables)
    from probe.plotting.clouds import mismatch_figure

    wide = by_checkpoint(figures)
    heads = ("measure", "checkpoint", "before training", "after training", "control")
    table = Table("Keys and queries", heads, tuple(findings.key_query_rows(wide, control=True)))
    drawn = picture(mismatch_figure(figures), "Bar charts of the same measures.")
    signed = figures[["checkpoint", "stage", "signature"]].astype(str)
    signatures = Table(
        "Signatures of keys and queries", tuple(signed), tuple(signed.itertuples(index=False, name=None))
    )
    return Part(findings.key_query_finding(wide), MEASURED, (table,), (drawn,), (signatures,))


def source_row(report: Report, measured: KeyQuery | None) -> tuple[str, str, str]:
    """Where the panel's numbers are from, for the report's list of what was read."""
    if measured is not None and _figures(report, measured) is not None:
        return ("keys and queries", str(measured.path), sha256_of(measured.path))
    without = f"{measured.path} has none of these checkpoints; " if measured is not None else ""
    return ("keys and queries", f"{without}{'carried by the checkpoints' if len(report.key_query) else 'none'}", "–")


def _figures(report: Report, measured: KeyQuery | None) -> pd.DataFrame | None:
    figures = measured.of(report.examples["checkpoint"].unique()) if measured is not None else None
    return figures if figures is not None and len(figures) else None
