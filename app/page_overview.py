"""Overview: all runs beside baselines and ceiling, where they are right and where not, and the examples behind it."""

from __future__ import annotations

import time

import pandas as pd
import streamlit as st

from app import pages
from app.data.behind import Number
from app.data.runs import MOST_DRAWN, against, best, grouped
from app.data.source import Source
from app.draw import links, palette, screen
from app.draw import list as draw_list
from app.draw import states as draw_states
from app.draw.list import Run
from app.draw.numbers import COLUMNS, NAMES, allowed_numbers, draw_behind, number_of_link, put_number
from app.draw.runs import SHAPES, breakdown_chart, runs_chart
from app.server import cache, rule
from app.server.context import Context
from app.server.scores import SCORES, ScoreBoard
from app.server.turns import PAGES
from probe.errors import ProbeError
from probe.scoring.baselines import PREFIX
from probe.scoring.report import Report

IN_BREAKDOWNS = {"top1_sure": "ceiling_sure", "top1_possible": "ceiling_possible"}
# Not `direction`, which links from here to other pages set: a name that is bound to a widget cannot be set.
DIRECTION = "maps"
BY = {name: breakdown for breakdown, name in NAMES.items()}
OF = {COLUMNS[score][0]: score for score in IN_BREAKDOWNS}
BESIDE, ROOMY = 1000, 900  # pixels of content from which on two things stand beside each other, and intervals fit
FEW = 4  # differences that are written out; more of them are a table
MOST_SHAPES = len(SHAPES)  # runs that a breakdown tells apart
MEANWHILE = ("top1_sure", "top1_possible", "gold_mass_sure")
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
        last = -1
        while not cache.report_is_made(source, context.gold):
            board = cache.board(source)
            if board.scored != last:
                last = board.scored
                with place.container():
                    draw_meanwhile(source, board)
            time.sleep(0.1)
    place.empty()


def draw_meanwhile(source: Source, board: ScoreBoard) -> None:
    """What is known before the report is made: how far it is, and each run's mean over the examples scored by now."""
    scored, total = board.scored, len(board.values)
    st.progress(scored / max(1, total), f"scored {scored:,} of {total:,} maps; intervals and comparisons follow")
    maps = cache.all_maps(source)
    direction, kind = draw_list.directions(maps)[0], draw_list.normalisations(maps)[0]
    means = {name: cache.means(source, name, direction, kind) for name in maps["checkpoint"].unique()}
    table = pd.DataFrame(
        {"run": list(means), **{SCORES[one][0]: [row[one] for row in means.values()] for one in MEANWHILE}}
    ).sort_values(SCORES[MEANWHILE[0]][0], ascending=False, kind="stable")
    config = {name: st.column_config.NumberColumn(rule.said(name), format="%.2f") for name in table.columns[1:]}
    st.dataframe(table, hide_index=True, column_config=config, alt="Means of the runs, of the examples scored by now")
    st.caption(f"{direction}, means of examples; **Browse** shows every map.")


def draw_report(source: Source, report: Report, context: Context) -> None:
    """Runs, breakdowns, and the examples behind the number that was clicked."""
    maps = cache.all_maps(source)
    names = maps["checkpoint"].unique().tolist()
    allowed = {DIRECTION: draw_list.directions(maps), "by": list(NAMES.values()), "of": list(OF), "base": names}
    notes = links.note_misfits("overview", {**allowed, **allowed_numbers(report)})
    st.markdown(INTRODUCTION)
    draw_states.draw_notes(notes)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        direction = _choice("Direction", allowed[DIRECTION], DIRECTION)
        base = _draw_base(names)
    runs = report.runs[report.runs["direction"] == direction]
    number = number_of_link(report, direction)
    draw_runs(runs, report, direction, base)
    if number is not None and not number.breakdown:
        draw_behind(report, number, maps, pages.go)
    draw_breakdowns(runs, report, direction)
    if number is not None and number.breakdown:
        draw_behind(report, number, maps, pages.go)
    run = Run(" and ".join(names), direction, " and ".join(draw_list.normalisations(maps)))
    draw_states.draw_footer(source, run, context.gold)


def _draw_base(names: list[str]) -> str:
    """The run that the others are set against."""
    if len(names) < 3:
        return names[0]
    chosen = st.selectbox("Differences from", names, key="base", bind="query-params", width=220)
    return draw_list.one_of(chosen, names)


def draw_runs(runs: pd.DataFrame, report: Report, direction: str, base: str) -> None:
    """The chart and table of the runs; a click on a number puts it into the link."""
    room = screen.width()
    beside = room >= BESIDE
    chart_room = room * 3 // 5 - 16 if beside else room
    spec = runs_chart(runs, "top1_sure", palette.current(), chart_room)
    left, right = st.columns([3, 2]) if beside else (st.container(), st.container())
    with left:
        st.markdown(f"##### {rule.said('Top-1 over sure links')}")
        st.vega_lite_chart(spec, theme=None, width="content", key="runs-chart", alt=_runs_finding(runs))
        draw_seeds_note(runs)
    with right:
        draw_differences(report, direction, base)
    with_intervals = room >= ROOMY
    table = pd.DataFrame({"run": runs["checkpoint"].to_numpy(), "examples": runs["n_examples"].to_numpy()})
    if not with_intervals:
        table = table.drop(columns="examples")
    for column, (name, _) in COLUMNS.items():
        table[name] = [_interval(row, column, whole=with_intervals) for _, row in runs.iterrows()]
    key = f"runs-{direction}"
    fields = {name: column for column, (name, _) in COLUMNS.items()}

    def click() -> None:
        place = _clicked(key, table)
        if place is not None and place[1] in fields:
            put_number(Number(str(table["run"].iloc[place[0]]), direction, fields[place[1]]))

    config = {name: st.column_config.TextColumn(rule.said(name), help=tip) for name, tip in COLUMNS.values()}
    if not with_intervals:
        narrow = (room - 165) // len(COLUMNS)
        config = {
            name: st.column_config.TextColumn(rule.said(name.replace(", ", " ")), help=tip, width=narrow)
            for name, tip in COLUMNS.values()
        }
        config["run"] = st.column_config.TextColumn("run", width=150)
    st.dataframe(
        table, hide_index=True, key=key, on_select=click, selection_mode="single-cell", column_config=config,
        alt=_runs_finding(runs),
    )  # fmt: skip


def draw_seeds_note(runs: pd.DataFrame) -> None:
    """What is drawn of many runs, and what dots are."""
    groups = grouped(runs, "top1_sure")
    stored = int((~groups["group"].str.startswith(PREFIX)).sum())
    if stored > MOST_DRAWN:
        st.caption(f"The best {MOST_DRAWN} of {stored} are drawn, the table has all.")
    if groups["seeds"].max() > 1:
        st.caption("A dot is a seed, a ring the mean of the seeds, a bar reaches from the lowest to the highest.")


def _interval(row: pd.Series, column: str, *, whole: bool = True) -> str:
    if pd.isna(row[column]):
        return "–"
    if not whole:
        return f"{row[column]:.2f}"
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


def draw_breakdowns(runs: pd.DataFrame, report: Report, direction: str) -> None:
    """Accuracy by kind of position, as a chart and a table; a click on a number puts it into the link."""
    st.markdown(f"##### {rule.said('Where it is right, and where not')}")
    by = st.pills("By", list(BY), default=next(iter(BY)), key="by", bind="query-params", width="stretch")
    by = BY[draw_list.one_of(by, list(BY))]
    of = OF[_choice("Score", list(OF), "of")]
    frame = report.breakdowns
    groups = frame[(frame["breakdown"] == by) & (frame["direction"] == direction) & frame[of].notna()]
    names = best(runs, of, MOST_SHAPES)
    more = groups["checkpoint"].nunique() - len(names)
    groups = groups[groups["checkpoint"].isin(names)]
    if groups.empty:
        st.caption("No position of this kind has gold.")
        return
    said = _breakdown_finding(groups, of, by)
    spec = breakdown_chart(groups, of, IN_BREAKDOWNS[of], palette.current(), screen.width())
    st.vega_lite_chart(spec, theme=None, width="content", key="breakdowns-chart", alt=said)
    st.caption(
        "A bar across marks the position-free ceiling of the group."
        + (f" The best {MOST_SHAPES} runs are shown, {more} are not." if more > 0 else "")
    )
    counts = groups.drop_duplicates("group").set_index("group")["n_sure" if of == "top1_sure" else "n_positions"]
    table = pd.DataFrame({"group": counts.index, "positions": counts.to_numpy()})
    whole = screen.width() >= 150 * (len(names) + 2)
    for name, part in groups.groupby("checkpoint", sort=False):
        rows = part.set_index("group")
        table[str(name)] = [
            _interval(rows.loc[group], of, whole=whole) if group in rows.index else "–" for group in counts.index
        ]
    key = f"breakdowns-{by}-{of}-{direction}"

    def click() -> None:
        place = _clicked(key, table)
        if place is not None and place[1] not in ("group", "positions"):
            put_number(Number(place[1], direction, of, by, str(table["group"].iloc[place[0]])))

    st.dataframe(table, hide_index=True, key=key, on_select=click, selection_mode="single-cell", alt=said)


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


def draw_differences(report: Report, direction: str, base: str) -> None:
    """How much better than the reference each run is, and the way to the examples on which they differ most."""
    rows = against(report.comparisons, "top1_sure", direction, base)
    if rows.empty:
        return
    st.markdown(f"##### {rule.said('Differences from the reference')}")
    if len(rows) > FEW:
        return draw_many_differences(rows, direction, base)
    for row in rows.itertuples():
        interval = f"{row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
        with st.container(gap="xsmall"):
            st.text(f"{row.run} against {base}: {interval}, p = {row.p:.2g}")
            query = {"reference": base, "runs": row.run, "direction": direction}
            pages.draw_link("compare", "Examples on which they differ most", **query)


def draw_many_differences(rows: pd.DataFrame, direction: str, base: str) -> None:
    """The same as a table that can be sorted; picking a row compares the two."""
    st.text(f"from {base}; pick a run to compare the two")
    key = f"differences-{direction}-{base}"
    numbers = {name: st.column_config.NumberColumn(name, format="%+.2f") for name in ("difference", "low", "high")}
    shown = st.dataframe(
        rows, hide_index=True, height=270, key=key, on_select="rerun", selection_mode="single-row",
        column_config={**numbers, "p": st.column_config.NumberColumn("p", format="%.2g", help="after Holm")},
        alt=f"{len(rows)} runs set against the reference, the largest difference first",
    )  # fmt: skip
    picked = shown["selection"]["rows"]
    if picked and 0 <= picked[0] < len(rows):
        pages.go("compare", reference=base, runs=str(rows["run"].iloc[picked[0]]), direction=direction)
