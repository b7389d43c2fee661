"""Compare: two or more runs on one example, on one scale; how each differs from the reference, and on which tokens."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app import pages
from app.data import view as views
from app.data.changes import changed_lines, difference_cells
from app.data.downloads import Picture, file_stem
from app.data.layout import GAP, Grid
from app.data.listing import PAIR_SORTS, Listing, Run
from app.data.source import Source
from app.data.view import Pin, Shown
from app.draw import example as draw_example
from app.draw import links, palette, screen
from app.draw import list as draw_list
from app.draw import map as draw_map
from app.draw import scores as draw_scores
from app.draw import states as draw_states
from app.draw import view as draw_view
from app.draw.choice import several
from app.draw.view import SCALES
from app.server import cache, rule
from app.server.context import Context
from app.server.scores import ScoreBoard
from probe.errors import ProbeError

ZOOM = 40  # targets a side, so that two maps fit beside each other
TABLE = 360  # pixels of the table of changed lines, beside the difference


@dataclass(frozen=True)
class Compared:
    """One run's map on screen, with its scores."""

    shown: Shown
    scores: pd.Series


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    source = draw_states.maps_or_message(context)
    if source is None:
        return
    try:
        draw_compare(source, context)
    except ProbeError as error:
        draw_states.draw_problem(error, "These maps cannot be shown.")


def draw_compare(source: Source, context: Context) -> None:
    """The page of an opened store: runs in the sidebar, the example that the list or the link names beside it."""
    maps = cache.all_maps(source)
    names = maps["checkpoint"].unique().tolist()
    if len(names) < 2:
        return draw_states.draw_one_run(names[0])
    allowed = {**draw_list.allowed_links(maps), **draw_view.allowed_links()}
    allowed |= {"reference": names, "runs": names, "sort": list(PAIR_SORTS)}
    notes = links.note_misfits("compare", allowed, draw_view.ranges())
    board = cache.board(source)
    board.wait_if_small()
    with st.sidebar:
        reference, others = draw_runs(names)
        direction, normalisation = draw_list.draw_direction(maps)
        filters = draw_list.draw_search(maps, PAIR_SORTS)
    run = Run(reference, direction, normalisation, others[0])
    listing = cache.pair_listing(source, run, filters)
    if not listing.known:
        return draw_states.draw_no_run(f"{reference} and {others[0]}", direction)
    current, note = draw_list.current_example(listing)
    with st.sidebar:
        if not board.complete:
            draw_list.draw_progress(board)
            links.put(example=current)
        draw_list.draw_list(listing, current, draw_list.list_key(f"{run} {filters}", listing, current))
    draw_example.draw_head("What differs between the runs?")
    draw_states.draw_gold_problem(context.gold_problem or board.problem)
    draw_states.draw_notes([*notes, *note])
    if current is None:
        return draw_states.draw_no_match(filters.text or filters.category or "these filters")
    draw_one(source, board, run, others, listing, current)
    draw_states.draw_footer(source, run, context.gold)


def draw_runs(names: list[str]) -> tuple[str, list[str]]:
    """The reference, and the runs that are set against it."""
    tip = "Differences start from it."
    reference = draw_list.one_of(
        st.selectbox("Reference", names, key="reference", bind="query-params", help=tip), names
    )
    rest = [name for name in names if name != reference]
    picked = several(
        "Runs set against it", rest, rest[:1], "runs", tip="The list goes by the first of them."
    )
    return reference, picked or rest[:1]


def draw_one(source: Source, board: ScoreBoard, run: Run, others: list[str], listing: Listing, current: str) -> None:
    """Everything about the example ``current``."""
    stored = [row for name in (run.checkpoint, *others) if (row := _row(source, name, run, current)) is not None]
    reference = cache.read(source, stored[0])
    toolbar = st.container(horizontal=True, vertical_alignment="center")
    look = draw_view.draw_look(ZOOM)
    whole, _ = cache.in_unit(source, stored[0], look.unit)
    grid = Grid.of(whole, look.size, min(look.size, len(whole.teacher)), len(stored), screen.width())
    window, notes = draw_view.draw_window(whole, look, grid.columns, palette.current())
    compared = [
        Compared(
            views.thinned(cache.shown(source, row, look.unit, window), look.least, look.heaviest),
            pd.Series(board.score(row)),
        )
        for row in stored
    ]
    pin, misfits = Pin.of_link(st.query_params.get("pin"), compared[0].shown.amap)
    draw_states.draw_notes([*notes, *misfits])
    top = 1.0 if look.scale == SCALES[0] else max(float(one.shown.cells["weight"].max()) for one in compared)
    tables = [compared[0].shown, *_differences(compared)]  # a difference has the weights of both maps, too
    with toolbar:
        draw_example.draw_steps(reference, listing.ids, current)
        with st.popover("Download", icon=":material/download:"):
            draw_example.draw_downloads(_pictures(compared, look.scale, top), file_stem(reference), tables)
        pages.draw_link(
            "browse", "Browse it", example=current, checkpoint=run.checkpoint, direction=run.direction
        )  # fmt: skip
    draw_finding(source, run, compared)
    if compared[0].shown.gold is not None:
        draw_map.draw_key()
    draw_maps(compared, look.scale, top, pin, grid)
    draw_scores.draw_all([(one.shown.amap.checkpoint, one.scores, _means(source, one, run)) for one in compared])
    draw_example.draw_table(tables)


def _row(source: Source, checkpoint: str, run: Run, example_id: str) -> int | None:
    table = cache.examples(source, checkpoint, run.direction, run.normalisation)
    match = table.loc[table["example_id"] == example_id, "row"]
    return int(match.iloc[0]) if len(match) else None


def _means(source: Source, one: Compared, run: Run) -> pd.Series:
    return cache.means(source, one.shown.amap.checkpoint, run.direction, run.normalisation)


def draw_finding(source: Source, run: Run, compared: list[Compared]) -> None:
    """What differs, in numbers: a run's scores with their distance from the reference's, or a table of many runs."""
    first = compared[0]
    if len(compared) > 2:
        return draw_ranking(source, run, compared)
    for one in compared[1:]:
        st.text(f"{one.shown.amap.checkpoint}, and its difference from {first.shown.amap.checkpoint}:")
        draw_scores.draw_scores(one.scores, first.scores, "from")


def draw_ranking(source: Source, run: Run, compared: list[Compared]) -> None:
    """All runs on screen as a table, the best on this example first; each column can be sorted by."""
    base = compared[0].scores["top1_sure"]
    frame = pd.DataFrame(
        {
            "run": [one.shown.amap.checkpoint for one in compared],
            "top-1, sure": [one.scores["top1_sure"] for one in compared],
            "from the reference": [one.scores["top1_sure"] - base for one in compared],
            "top-1, possible": [one.scores["top1_possible"] for one in compared],
            "gold mass, sure": [one.scores["gold_mass_sure"] for one in compared],
            "mean of the run": [_means(source, one, run)["top1_sure"] for one in compared],
        }
    )
    if frame["top-1, sure"].isna().all():
        return
    frame = frame.sort_values("top-1, sure", ascending=False, kind="stable")
    config = {
        name: st.column_config.NumberColumn(rule.said(name), format="%+.2f" if name.startswith("from") else "%.2f")
        for name in frame.columns[1:]
    }
    first = frame.iloc[0]
    said = f"{len(frame)} runs on this example; the best is {first['run']}, top-1 {first['top-1, sure']:.2f}"
    st.dataframe(frame, hide_index=True, column_config=config, height="content", key="ranking", alt=said)


def _differences(compared: list[Compared]) -> list[Shown]:
    """The maps set against the reference, with the difference in their cells."""
    first = compared[0].shown
    return [dataclasses.replace(one.shown, cells=difference_cells(first, one.shown)) for one in compared[1:]]


def _span(differences: list[Shown], scale: str) -> float:
    """Where the colours of the differences end: 1, or the largest difference on screen."""
    if scale == SCALES[0]:
        return 1.0
    return max(1e-3, *(float(shown.cells["difference"].abs().max()) for shown in differences), 0.0)


def _pictures(compared: list[Compared], scale: str, top: float) -> list[Picture]:
    first, differences = compared[0].shown.amap, _differences(compared)
    span = _span(differences, scale)
    maps = [Picture(one.shown, top, f"{first.example_id}\n{_title(one.shown)}") for one in compared]
    return maps + [
        Picture(shown, span, f"{first.example_id}\n{shown.amap.checkpoint} − {first.checkpoint}", first)
        for shown in differences
    ]


def _title(shown: Shown) -> str:
    unit = "" if shown.unit == "token" else f" · by {shown.unit}"
    return f"{shown.amap.checkpoint} · {shown.amap.direction}{unit}"


def draw_maps(compared: list[Compared], scale: str, top: float, pin: Pin | None, grid: Grid) -> None:
    """All maps beside each other on one scale, then each run's difference from the reference, and where it is from."""
    differences = _differences(compared)
    span = _span(differences, scale)
    for row in range(0, len(compared), grid.abreast):
        with st.container(horizontal=True, gap="small", wrap=False):
            for number, one in list(enumerate(compared))[row : row + grid.abreast]:
                with st.container(width=grid.width):
                    _draw_map(one, top, pin, grid, "reference" if number == 0 else "")
    if len(compared) > 2:
        for row in range(0, len(differences), grid.abreast):
            with st.container(horizontal=True, gap="small", wrap=False):
                for difference in differences[row : row + grid.abreast]:
                    with st.container(width=grid.width):
                        _draw_difference(difference, compared[0], span, pin, grid)
        runs = {one.shown.amap.checkpoint: one for one in compared[1:]}
        picked = st.selectbox("Where it comes from, in", list(runs), key="changes of", width=300)
        return draw_changes(compared[0], runs[draw_list.one_of(picked, list(runs))])
    beside = screen.width() - grid.width - 2 * GAP
    with st.container(horizontal=True, gap="medium", wrap=beside < TABLE):
        with st.container(width=grid.width):
            _draw_difference(differences[0], compared[0], span, pin, grid)
        with st.container(width=beside if beside >= TABLE else "stretch"):
            draw_changes(compared[0], compared[1])


def _draw_map(one: Compared, top: float, pin: Pin | None, grid: Grid, note: str) -> None:
    score = one.scores["top1_sure"]
    said = "" if pd.isna(score) else f"{rule.said('top-1')} {score:.2f}" + (" sure" if grid.abreast == 2 else "")
    lines = [" · ".join(filter(None, [note, said]))]
    subtitle = [*filter(None, lines), *([] if grid.bare else draw_example.outside(one.shown))]
    draw_example.draw_chart(
        one.shown, palette.current(), title=_title(one.shown), subtitle=subtitle, top=top, step=grid.step,
        key=f"map-{one.shown.amap.checkpoint}", pin=pin, width=grid.width, bare=grid.bare,
    )  # fmt: skip


def _draw_difference(shown: Shown, reference: Compared, span: float, pin: Pin | None, grid: Grid) -> None:
    name, base = shown.amap.checkpoint, reference.shown.amap.checkpoint
    draw_example.draw_chart(
        shown, palette.current(), title=f"{name} − {base}", subtitle=["gold stays outlined"], top=span,
        step=grid.step, key=f"difference-{name}", pin=pin, difference=True, width=grid.width, bare=grid.bare,
    )  # fmt: skip


def draw_changes(reference: Compared, one: Compared) -> None:
    """The lines on which the two maps differ most; a click on one pins it."""
    shown, base = one.shown, reference.shown.amap.checkpoint
    lines = changed_lines(reference.shown, shown).head(12)
    side = "student" if shown.amap.direction == "t2s" else "teacher"
    st.markdown("##### Where it comes from")
    st.text(f"The {side} {shown.unit}s that changed most from {base} to {shown.amap.checkpoint}; pick one to pin it.")
    key = f"changes-{shown.amap.checkpoint}-{shown.amap.example_id}-{shown.unit}"

    def pick() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        if rows and 0 <= rows[0] < len(lines):
            line, other = (int(lines[name].iloc[rows[0]]) for name in ("line", "heaviest"))
            links.put(pin=Pin(line, other) if side == "student" else Pin(other, line))

    numbers = ("its weight", "weight", "on gold, reference", "on gold, this run", "change", "moved")
    first = ["token", "change", "gold", "reference looks at", "this run looks at"]
    columns = [*first, *(name for name in lines.columns if name not in (*first, "heaviest"))]
    st.dataframe(
        lines[columns],
        hide_index=True,
        key=key,
        on_select=pick,
        selection_mode="single-row",
        column_config={
            name: st.column_config.NumberColumn(name, format="%+.2f" if name == "change" else "%.2f")
            for name in numbers
        },
        alt=_said(lines, shown),
    )


def _said(lines: pd.DataFrame, shown: Shown) -> str:
    first = lines.iloc[0]
    return (
        f"Most changed: {first['token']}, from {first['reference looks at']} to {first['this run looks at']} "
        f"in {shown.amap.checkpoint}"
    )
