"""Overview: all runs beside baselines and ceiling, where they are right and where not, and the examples behind it."""

from __future__ import annotations

import time

import pandas as pd
import streamlit as st

from app import pages
from app.data import behind
from app.data.behind import Number
from app.data.source import Source
from app.draw import links, palette
from app.draw import list as draw_list
from app.draw import states as draw_states
from app.draw.list import Run
from app.draw.runs import breakdown_chart, runs_chart
from app.server import cache
from app.server.context import Context
from app.server.turns import PAGES
from probe.errors import ProbeError
from probe.scoring.report import Report

# The scores of the table: column of the report -> (name, what it means, its ceiling in a breakdown).
COLUMNS = {
    "top1_sure": ("top-1, sure", "share of positions whose heaviest cell is a sure link"),
    "top1_possible": ("top-1, possible", "share of positions whose heaviest cell is a possible link"),
    "gold_mass_sure": ("gold mass, sure", "mean weight on sure links"),
    "chunk_accuracy": ("chunk", "share of positions whose heaviest cell lies in the right chunk"),
    "f1": ("F1", "of the links that the heaviest cells make"),
    "aer": ("AER", "alignment error rate of those links: lower is better"),
}
IN_BREAKDOWNS = {"top1_sure": "ceiling_sure", "top1_possible": "ceiling_possible"}
# Not `direction`, which links from here to other pages set: a name that is bound to a widget cannot be set.
DIRECTION = "maps"
NAMES = {
    "relation": "relation of the chunk", "tied": "tied or untied", "token_class": "class of the token",
    "place": "place in the response", "length": "length", "category": "category of the example",
}  # fmt: skip
BY = {name: breakdown for breakdown, name in NAMES.items()}
OF = {COLUMNS[score][0]: score for score in IN_BREAKDOWNS}
INTRODUCTION = (
    "Each map says which teacher token each student token listens to. Here is how often that is the right one, "
    "beside maps that need no model (hollow) and beside the most that any map without positions could reach "
    "(position-free). Bars are 95 % intervals over examples. **Click a number** to see the examples behind it."
)


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    source = draw_states.maps_or_message(context)
    if source is None:
        return
    st.markdown("### How well do the runs find the right token?")
    if not source.golds:
        return draw_states.draw_no_gold(context.gold_problem, len(source.store))
    try:
        wait_for_report(source, context)
        report = cache.report(source)
    except ProbeError as error:
        draw_states.draw_gold_problem(error)
        return draw_states.draw_no_gold(None, len(source.store))
    draw_report(source, report, context)


def wait_for_report(source: Source, context: Context) -> None:
    """Wait until the report is made in the background, saying so; others take their turns, and a click leaves."""
    if context.gold is None or cache.report_is_made(source, context.gold):
        return
    place = st.empty()
    said = f"Scoring {len(source.store):,} maps beside their baselines: once, then it is kept …"
    with PAGES.aside(), st.spinner(said, show_time=True):
        while not cache.report_is_made(source, context.gold):
            place.caption("Meanwhile, **Browse** shows every map.")
            time.sleep(0.1)
    place.empty()


def draw_report(source: Source, report: Report, context: Context) -> None:
    """Runs, breakdowns, and the examples behind the number that was clicked."""
    maps = cache.all_maps(source)
    allowed = {DIRECTION: draw_list.directions(maps), "by": list(NAMES.values()), "of": list(OF)}
    notes = links.note_misfits("overview", allowed)
    st.markdown(INTRODUCTION)
    draw_states.draw_notes(notes)
    direction = _choice("Direction", allowed[DIRECTION], DIRECTION)
    runs = report.runs[report.runs["direction"] == direction]
    draw_behind(report, draw_runs(runs, report, direction))
    draw_behind(report, draw_breakdowns(report, direction))
    run = Run(" and ".join(maps["checkpoint"].unique()), direction, " and ".join(draw_list.normalisations(maps)))
    draw_states.draw_footer(source, run, context.gold)


def draw_runs(runs: pd.DataFrame, report: Report, direction: str) -> Number | None:
    """The chart and table of the runs; returns the number that is clicked, if any."""
    colours = palette.current()
    spec = runs_chart(runs, "top1_sure", colours)
    left, right = st.columns([3, 2])
    with left:
        st.markdown("##### Top-1 over sure links")
        st.vega_lite_chart(spec, theme=None, width="content", key="runs-chart", alt=_runs_finding(runs))
    with right:
        draw_differences(report, direction)
    table = pd.DataFrame({"run": runs["checkpoint"].to_numpy(), "examples": runs["n_examples"].to_numpy()})
    for column, (name, _) in COLUMNS.items():
        table[name] = [_interval(row, column) for _, row in runs.iterrows()]
    st.dataframe(
        table,
        hide_index=True,
        key=f"runs-{direction}",
        on_select="rerun",
        selection_mode="single-cell",
        column_config={name: st.column_config.TextColumn(name, help=tip) for name, tip in COLUMNS.values()},
        alt=_runs_finding(runs),
    )
    place = _clicked(f"runs-{direction}", table)
    fields = {name: column for column, (name, _) in COLUMNS.items()}
    if place is None or place[1] not in fields:
        return None
    return Number(str(table["run"].iloc[place[0]]), direction, fields[place[1]])


def _interval(row: pd.Series, column: str) -> str:
    if pd.isna(row[column]):
        return "–"
    return f"{row[column]:.2f} [{row[f'{column}_low']:.2f}, {row[f'{column}_high']:.2f}]"


def _runs_finding(runs: pd.DataFrame) -> str:
    """The chart in a sentence."""
    stored = runs[~runs["checkpoint"].str.startswith("baseline:")].sort_values("top1_sure", ascending=False)
    parts = [f"{row['checkpoint']} {row['top1_sure']:.2f}" for _, row in stored.iterrows()]
    free = runs.loc[runs["checkpoint"] == "baseline:position-free", "top1_sure"]
    ceiling = f"; the position-free ceiling is {free.iloc[0]:.2f}" if len(free) else ""
    return f"Top-1 accuracy over sure links: {', '.join(parts)}{ceiling}"


def _clicked(key: str, table: pd.DataFrame) -> tuple[int, str] | None:
    """Row and column of the cell that is selected in a table, if it is one of its cells."""
    cells = st.session_state.get(key, {}).get("selection", {}).get("cells", [])
    if not cells:
        return None
    row, column = cells[0]
    return (int(row), str(column)) if 0 <= int(row) < len(table) and column in table.columns else None


def draw_breakdowns(report: Report, direction: str) -> Number | None:
    """Accuracy by kind of position, as a chart and a table; returns the number that is clicked, if any."""
    st.markdown("##### Where it is right, and where not")
    with st.container(horizontal=True, gap="medium"):
        by = BY[_choice("By", list(BY), "by")]
        of = OF[_choice("Score", list(OF), "of")]
    frame = report.breakdowns
    groups = frame[(frame["breakdown"] == by) & (frame["direction"] == direction) & frame[of].notna()]
    if groups.empty:
        st.caption("No position of this kind has gold.")
        return None
    said = _breakdown_finding(groups, of, by)
    spec = breakdown_chart(groups, of, IN_BREAKDOWNS[of], palette.current())
    st.vega_lite_chart(spec, theme=None, width="content", key="breakdowns-chart", alt=said)
    st.caption("A bar across marks the position-free ceiling of the group.")
    counts = groups.drop_duplicates("group").set_index("group")["n_sure" if of == "top1_sure" else "n_positions"]
    table = pd.DataFrame({"group": counts.index, "positions": counts.to_numpy()})
    for name, part in groups.groupby("checkpoint", sort=False):
        rows = part.set_index("group")
        table[str(name)] = [_interval(rows.loc[group], of) if group in rows.index else "–" for group in counts.index]
    key = f"breakdowns-{by}-{of}-{direction}"
    st.dataframe(table, hide_index=True, key=key, on_select="rerun", selection_mode="single-cell", alt=said)
    place = _clicked(key, table)
    if place is None or place[1] in ("group", "positions"):
        return None
    return Number(place[1], direction, of, by, str(table["group"].iloc[place[0]]))


def _choice(label: str, options: list[str], key: str) -> str:
    chosen = st.segmented_control(label, options, default=options[0], required=True, key=key, bind="query-params")
    return draw_list.one_of(chosen, options)


def _breakdown_finding(groups: pd.DataFrame, of: str, by: str) -> str:
    first = groups[groups["checkpoint"] == groups["checkpoint"].iloc[0]].sort_values(of)
    low, high = first.iloc[0], first.iloc[-1]
    return (
        f"{COLUMNS[of][0]} of {low['checkpoint']} by {NAMES[by]}: from {low[of]:.2f} at {low['group']} "
        f"to {high[of]:.2f} at {high['group']}"
    )


def draw_differences(report: Report, direction: str) -> None:
    """Which run is better than which, and the way to the examples on which they differ most."""
    frame = report.comparisons
    rows = frame[(frame["direction"] == direction) & (frame["score"] == "top1_sure")]
    if rows.empty:
        return
    st.markdown("##### Where two runs differ")
    for _, row in rows.iterrows():
        first, second = row["second"], row["first"]
        interval = f"{-row['difference']:+.2f} [{-row['difference_high']:+.2f}, {-row['difference_low']:+.2f}]"
        with st.container(gap=None):
            st.text(f"{first} against {second}: {interval}, p = {row['p_holm']:.2g}")
            query = {"reference": second, "runs": first, "direction": direction}
            pages.draw_link("compare", "Examples on which they differ most", **query)


def draw_behind(report: Report, number: Number | None) -> None:
    """The examples behind the number that was clicked, if any; picking one opens it, its worst position pinned."""
    if number is None:
        return
    st.markdown("##### The examples behind that number")
    of = COLUMNS[number.score][0]
    where = f", {NAMES[number.breakdown]}: {number.group}" if number.breakdown else ""
    st.text(f"{number.checkpoint}, {number.direction}, {of}{where}")
    if number.checkpoint.startswith("baseline:"):
        st.caption("Baselines need no model, and no map of theirs is stored. Their examples are those of the runs.")
        return
    frame = behind.examples_behind(report.tokens, report.examples, number)
    key = f"behind {number}"
    shown = st.dataframe(
        frame.drop(columns="pin", errors="ignore"),
        hide_index=True,
        height=300,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "score": st.column_config.NumberColumn(of, format="%.2f"),
            "lost": st.column_config.NumberColumn("lost", format="%.1f", help="what its positions lack to 1, in all"),
        },
        alt=f"{len(frame)} examples behind the number, the one that costs most first",
    )
    st.caption("The first costs most. Pick one to open it, with its worst position pinned.")
    rows = shown["selection"]["rows"]
    if rows and 0 <= rows[0] < len(frame):
        picked = frame.iloc[rows[0]]
        query = {"example": picked["example_id"], "checkpoint": number.checkpoint, "direction": number.direction}
        pages.go("browse", **query, **({"pin": picked["pin"]} if "pin" in picked else {}))
