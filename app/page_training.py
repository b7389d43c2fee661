"""Training: how the maps change while a student is trained, as curves and as the maps of one example over the steps."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app.data.training_runs import (
    CONFIG,
    CURVE,
    MAPS,
    MEASURES,
    TrainingRun,
    find_runs,
    read_curve,
    read_signature,
    settings_line,
    step_of,
)
from app.draw import curves as draw_curves
from app.draw import links, palette
from app.draw import single as draw_single
from app.draw import states as draw_states
from app.draw.choice import several
from app.draw.list import directions, one_of
from app.server import cache
from app.server.context import Context
from app.server.scores import gold_or_none
from probe.errors import DataError, ProbeError
from probe.files import MANIFEST
from probe.scoring.alignment import span_gold

FIRST_SHOWN = 4  # runs and measures that are drawn before someone chooses others


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    st.markdown("### How do the maps change during training?")
    runs = find_runs(context.training) if context.training is not None and context.training.is_dir() else []
    if not runs:
        return draw_nothing(context)
    curves, broken = read_curves(runs)
    for error in broken:
        st.warning("A curve cannot be shown.", icon=":material/rule:")
        draw_states.draw_plain(str(error))
    if not curves:
        return
    found = {run.name: run for run in runs if run.name in curves}
    names, known = list(found), measures_of(curves)
    notes = links.note_misfits("training", {"runs": ["", *names], "measures": ["", *map(label, known)], "run": names})
    with st.sidebar:
        picked = several("Runs", names, names[:FIRST_SHOWN], "runs")
        measures = draw_measures(known)
        wanted = one_of(st.selectbox("Maps of", names, key="run", bind="query-params"), names)
    st.caption(
        "Each curve is a mean over the probe set. Move the slider below: the line in the curves follows the map."
    )
    draw_states.draw_notes(notes)
    place = st.container()
    shown = [name for name in picked if name in found]
    drawn = draw_maps(found[wanted], context)
    with place:
        draw_all_curves({name: curves[name] for name in shown}, measures, drawn.step if drawn else None)
    draw_states.draw_provenance(facts(context, [found[name] for name in shown], found[wanted], drawn))


@dataclass(frozen=True)
class Drawn:
    """The map on screen: its step, and whose links are outlined."""

    step: int
    gold: str


def facts(context: Context, shown: list[TrainingRun], run: TrainingRun, drawn: Drawn | None) -> dict[str, object]:
    """Where the curves and the map come from; names of folders and files only, not their paths."""
    folder = {"folder": context.training.name if context.training else ""}
    curves = {
        f"curve of {one.name}": f"{CURVE}, sha256 {draw_states.digest(one.path / CURVE)}; {read_signature(one)}"
        for one in shown
    }
    if drawn is None:
        return {**folder, **curves}
    return {
        **folder,
        **curves,
        "map": f"{run.name}, step {drawn.step}; {MAPS}, sha256 {draw_states.digest(run.maps / MANIFEST)}",
        "outlined": drawn.gold,
        "settings": settings_line(run.path) or f"none: the run has no {CONFIG} yet",
    }


def draw_nothing(context: Context) -> None:
    """No run with a curve: how to get one."""
    st.subheader("No training with probes here yet")
    draw_states.draw_plain(f"looked for {CURVE} in: {context.training or context.maps.parent / 'training'}")
    st.markdown("Train with a probe every 250 steps, then open this page on that folder:")
    st.code(
        "python -m probe train probe/recipes/dskd-cma.yaml --out RUNS/mine \\\n"
        "    --set data=FILE.jsonl probe_every=250 probe_data=analysis/gold/probe_set.jsonl\n"
        "streamlit run app/main.py -- --maps MAPS --training RUNS",
        language="bash",
    )


def read_curves(runs: list[TrainingRun]) -> tuple[dict[str, pd.DataFrame], list[DataError]]:
    """The curves by run, and what is wrong with those that cannot be read."""
    curves, broken = {}, []
    for run in runs:
        try:
            curves[run.name] = read_curve(run)
        except DataError as error:
            broken.append(error)
    return curves, broken


def measures_of(curves: dict[str, pd.DataFrame]) -> list[str]:
    """The measures of all runs, those with a name of ours first."""
    present = list(dict.fromkeys(name for frame in curves.values() for name in frame.columns if name != "step"))
    return [name for name in MEASURES if name in present] + [name for name in present if name not in MEASURES]


def label(measure: str) -> str:
    """What a measure is called."""
    return MEASURES.get(measure, measure)


def draw_measures(known: list[str]) -> list[str]:
    """Which measures are drawn."""
    return several("Measures", known, known[:FIRST_SHOWN], "measures", ours=MEASURES, named=label)


def draw_all_curves(curves: dict[str, pd.DataFrame], measures: list[str], step: int | None) -> None:
    """The charts, two in a row."""
    measures = [name for name in measures if any(name in frame for frame in curves.values())]
    if not measures:
        st.info("Choose a run and a measure on the left.")
    colours = palette.current()
    for start in range(0, len(measures), 2):
        for column, measure in zip(st.columns(2, gap="medium"), measures[start : start + 2], strict=False):
            spec = draw_curves.curve_chart(curves, measure, colours, step)
            said = draw_curves.said(curves, measure)
            column.vega_lite_chart(spec, theme=None, width="stretch", key=f"curve {measure}", alt=said)


def draw_maps(run: TrainingRun, context: Context) -> Drawn | None:
    """The map of one example at one step, chosen by a slider; what is drawn, None where there are no maps."""
    if not (run.maps / MANIFEST).is_file():
        st.caption(f"The run whose maps are chosen on the left has no folder {MAPS}: it kept no maps.")
        return None
    try:
        source = cache.open_source(run.maps, context.gold if context.gold_problem is None else None)
        maps = cache.all_maps(source)
        maps = maps.assign(step=[step_of(name) for name in maps["checkpoint"]]).dropna(subset="step")
        if maps.empty:
            raise DataError(f"{run.maps}: no map is of a step; wanted checkpoints such as step-000250.")
        row, step, notes = choose(maps, run)
        amap = source.store.read(row)
        gold = gold_or_none(source, amap)
        whose = f"gold of {context.gold.name}" if gold and context.gold else "links of the span rule"
        gold = gold or span_gold(amap.example_id, amap.text, amap.student, amap.teacher, ("", ""))
        draw_single.draw_single(amap, gold, key="training map", notes=notes)
        return Drawn(step, whose)
    except ProbeError as error:
        draw_states.draw_problem(error, "The maps of this run cannot be shown.")
        return None


def choose(maps: pd.DataFrame, run: TrainingRun) -> tuple[int, int, list[str]]:
    """Selectors of example, direction and step; the row of the map, its step, and notes on the link."""
    examples = maps["example_id"].unique().tolist()
    st.markdown("##### One example over the steps")
    left, middle, right = st.columns([2, 1, 3], vertical_alignment="bottom")
    notes = links.note_misfits("training example", {"example": examples, "direction": directions(maps)})
    example = one_of(left.selectbox("Example", examples, key="example", bind="query-params"), examples)
    options = directions(maps)
    direction = one_of(
        middle.segmented_control(
            "Direction", options, default=options[0], required=True, key="direction", bind="query-params"
        ),
        options,
    )
    found = maps[(maps["example_id"] == example) & (maps["direction"] == direction)].sort_values("step")
    steps = found["step"].astype(int).unique().tolist()
    notes += links.note_misfits("training step", {"step": [str(step) for step in steps]})
    if len(steps) == 1:
        right.caption(f"There is one step: {steps[0]}.")
        return int(found["row"].iloc[0]), steps[0], notes
    wanted = st.query_params.get("step", "")
    start = int(wanted) if wanted in map(str, steps) else steps[-1]
    key = f"step {run.name}"
    if st.session_state.get(key, start) not in steps:
        del st.session_state[key]

    def move() -> None:
        links.put(step=st.session_state[key])

    step = right.select_slider(
        "Step", steps, start, key=key, on_change=move, help="Arrow keys move it, too; the line in the charts follows."
    )
    step = step if step in steps else steps[-1]
    return int(found.loc[found["step"] == step, "row"].iloc[0]), step, notes
