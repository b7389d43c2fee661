"""The report as one HTML file that needs no network and no script: text escaped, pictures inline, all else barred."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from analysis.report import findings
from analysis.report import key_query as report_key_query
from analysis.report import scores as report_scores
from analysis.report.key_query import KeyQuery
from analysis.report.parts import Part, Picture, Table, picture
from probe.files import atomic_file, sha256_of
from probe.gold.reading import Gold
from probe.maps.store import MapStore
from probe.plotting.labels import readable
from probe.scoring.metrics import score_map
from probe.scoring.names import SCORES
from probe.scoring.report import Report
from probe.version import __version__

EXTREMES = 3  # best and worst examples that are shown
SIDE_BY_SIDE = 2  # checkpoints whose maps of an example are shown
MOST_TOKENS = 32  # a side of a shown map
FEW = 10  # an example with fewer scored positions is no best or worst one
PACKAGES = ("numpy", "pandas", "matplotlib", "seaborn", "jinja2")


@dataclass(frozen=True)
class Origin:
    """Where a report comes from: the file of gold, the resamples of its intervals, the command that makes it again."""

    gold: Path
    resamples: int
    command: str


def write_html(
    report: Report,
    stores: Sequence[MapStore],
    golds: Mapping[str, Gold],
    origin: Origin,
    path: Path,
    *,
    key_query: KeyQuery | None = None,
) -> Path:
    """Write ``report`` as one self-contained HTML file.

    Args:
        key_query: what ``analysis.key_query`` measured; without it the page shows what the checkpoints carry.
    """
    read, signatures = tuple(_provenance(report, stores, origin, key_query)), (_signatures(report),)
    parts = [
        *report_scores.direction_parts(report),
        _comparison_part(report),
        report_scores.extraction_part(report),
        *_example_parts(report, stores, golds),
        report_key_query.key_query_part(report, key_query),
        Part("How these numbers were made", "", read, folded=signatures),
    ]
    page = render(findings.headline(report), _lead(report, origin.resamples), parts, report.notes)
    with atomic_file(path) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    return path


def render(title: str, lead: str, parts: Sequence[Part], notes: Sequence[str] = ()) -> str:
    """The page. Every string is escaped, and its invisible characters are spelled out, here and nowhere else."""
    return _template().render(title=title, lead=lead, parts=parts, notes=notes)


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=visible, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2")


def visible(value: Any) -> Any:
    """A string with control, direction and other invisible characters as ‹U+202E›; markup of the template as it is."""
    return readable(value, lambda code: True) if isinstance(value, str) and not isinstance(value, Markup) else value


COMPARED = (
    "Paired over the same examples: first minus second, with a 95 % bootstrap interval; p of the paired permutation "
    "test, corrected over the whole table by Holm's method."
)
BEST_WORST = (
    "Rows are student targets, columns teacher targets; solid outlines are sure gold links, dashed ones possible. "
    "Circle: heaviest cell hits a sure link; diamond: a possible one; cross: a miss."
)


def _lead(report: Report, resamples: int) -> str:
    runs = report.runs
    examples, positions = (int(runs[name].max()) for name in ("n_examples", "n_positions"))
    return (
        f"{examples} examples, up to {positions:,} positions with gold a direction. "
        f"Intervals: 95 % BCa over examples, {resamples:,} resamples."
    )


# ---- comparisons ----


def _comparison_part(report: Report) -> Part:
    """Trained checkpoints in sight, pairs with an untrained one folded away."""
    frame, bare = report.comparisons, report.runs.loc[report.runs["method"] == "untrained", "checkpoint"]
    other = frame["first"].isin(bare) | frame["second"].isin(bare)
    tables = (_comparisons(frame[~other], "Paired differences"),) if len(frame[~other]) else ()
    folded = (_comparisons(frame[other], "Paired differences with the untrained"),) if other.any() else ()
    return Part(findings.comparison_finding(frame), COMPARED, tables, folded=folded)


def _comparisons(frame: pd.DataFrame, caption: str) -> Table:
    heads = ("pair", "direction", "score", "difference", "p bootstrap", "p permutation", "p Holm")
    rows = [
        (f"{row['first']} − {row['second']}", row["direction"], SCORES[row["score"]].heading,
         f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]",
         *(f"{row[name]:.4f}" for name in ("p_bootstrap", "p_permutation", "p_holm")))
        for _, row in frame.iterrows()
    ]  # fmt: skip
    return Table(caption, heads, tuple(rows))


# ---- best and worst ----


def _example_parts(report: Report, stores: Sequence[MapStore], golds: Mapping[str, Gold]) -> Iterator[Part]:
    direction = str(report.runs["direction"].iloc[0])
    trained = findings.learned(report, direction)["checkpoint"].astype(str).tolist()[:SIDE_BY_SIDE]
    for word, chosen in zip(("best", "worst"), extremes(report.examples, trained, direction), strict=True):
        if chosen:
            shown = ", ".join(f"{name} ({findings.percent(share)})" for name, share in chosen)
            pictures = [p for name, _ in chosen for p in _maps(name, trained, direction, stores, golds)]
            yield Part(f"Where the maps are {word}: {shown}", BEST_WORST, pictures=tuple(pictures))


def extremes(
    examples: pd.DataFrame, checkpoints: Sequence[str], direction: str
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """The best and the worst examples with the mean top-1 accuracy of ``checkpoints``; of equals the longer first.

    No example is in both lists. Examples of fewer than ``FEW`` positions are left out while there are enough others.
    """
    rows = examples[examples["checkpoint"].isin(checkpoints) & (examples["direction"] == direction)]
    table = rows.groupby("example_id", sort=False).agg(score=(findings.SCORE, "mean"), size=("n_positions", "max"))
    table = table.dropna()
    long = table[table["size"] >= FEW]
    table = long if len(long) >= 2 * EXTREMES else table
    best = table.sort_values(["score", "size"], ascending=False, kind="stable").head(EXTREMES)
    rest = table.drop(best.index).sort_values(["score", "size"], ascending=[True, False], kind="stable")
    return tuple([(str(k), float(v)) for k, v in part["score"].items()] for part in (best, rest.head(EXTREMES)))  # type: ignore[return-value]


def _maps(
    example: str, checkpoints: Sequence[str], direction: str, stores: Sequence[MapStore], golds: Mapping[str, Gold]
) -> Iterator[Picture]:
    """The maps of an example; what a title would say is printed above the picture, where it can be read and copied."""
    from probe.plotting import attention_heatmap, map_title
    from probe.plotting.layout import View

    for checkpoint in checkpoints:
        for store in stores:
            for row in store.select(example_id=example, checkpoint=checkpoint, direction=direction)[:1]:
                amap, gold = store.read(row), golds[example]
                note = View.of(amap, MOST_TOKENS).note
                head, made, *rest = map_title(amap, score_map(amap, gold), note).split("\n")
                lines = (f"{head} · {checkpoint}", made.removeprefix(f"{checkpoint} · "), *rest)
                ax = attention_heatmap(amap, gold=gold, max_tokens=MOST_TOKENS, title="", legend=False)
                yield picture(ax, f"Attention map of {example} by {checkpoint}", "png", lines=lines)


# ---- provenance ----


def _signatures(report: Report) -> Table:
    names = ("checkpoint", "direction", "signature")
    return Table("Signatures", names, tuple(report.runs[list(names)].astype(str).itertuples(index=False, name=None)))


def _provenance(
    report: Report, stores: Sequence[MapStore], origin: Origin, key_query: KeyQuery | None
) -> Iterator[Table]:
    sources = [("gold", str(origin.gold), sha256_of(origin.gold))]
    sources += [("maps", str(store.path), store.digest) for store in stores]
    sources.append(report_key_query.source_row(report, key_query))
    yield Table("What was read", ("what", "where", "sha256 (of maps: of their manifest)"), tuple(sources))
    made = [("this report", origin.command)]
    made += [(f"maps {store.path}", str(store.provenance.get("command", "not said"))) for store in stores]
    yield Table("Commands", ("what", "command"), tuple(made))
    versions = [("probe", __version__), ("Python", platform.python_version()), *((p, version(p)) for p in PACKAGES)]
    yield Table("Versions", ("package", "version"), tuple(versions))
