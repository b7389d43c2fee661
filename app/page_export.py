"""Export: the examples that the filters leave, as a zip of pictures and tables with a manifest."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from app.data.listing import Filters, chosen
from app.data.source import Source
from app.draw import links, palette
from app.draw import list as draw_list
from app.draw import states as draw_states
from app.draw.choice import several
from app.draw.list import Run
from app.server import cache, rule
from app.server.context import Context
from app.server.export_job import ExportJob
from app.server.export_worker import FORMATS
from probe.errors import ProbeError
from probe.files import MANIFEST

MOST_MAPS = 1_000  # of one zip; the command has no such limit
JOB = "export job"
TICK = "0.5s"


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    source = draw_states.maps_or_message(context)
    if source is None:
        return
    try:
        draw_export(source, context)
    except ProbeError as error:
        draw_states.draw_problem(error, "These maps cannot be exported.")


def draw_export(source: Source, context: Context) -> None:
    """Filters in the sidebar as on Browse; on the page what is taken, and the zip."""
    maps = cache.all_maps(source)
    notes = links.note_misfits("export", allowed_links(maps), links.list_ranges(maps))
    board = cache.board(source)
    board.wait(0.3)
    with st.sidebar:
        run = draw_list.draw_run(maps)
        filters = draw_list.draw_search(maps)
        run, filters = draw_list.draw_ranges(maps, run, filters, bool(source.golds))
        if not board.complete:
            draw_list.draw_progress(board)
    examples, similar = chosen(cache.examples(source, run.checkpoint, run.direction, run.normalisation), filters)
    st.markdown("### Take the filtered maps home")
    st.caption(
        "The filters in the side panel say which examples; here you choose what is taken of each. Then make the zip."
    )
    draw_states.draw_gold_problem(context.gold_problem or board.problem)
    draw_states.draw_notes(notes)
    if examples.empty:
        return draw_states.draw_no_match(filters.text or "these filters")
    taken, formats = draw_choice(maps, examples, run)
    draw_summary(examples, taken, formats, similar=similar)
    fitting = context.gold if source.golds and board.problem is None else None
    draw_job(context, taken, formats, fitting, described(run, filters))
    draw_states.draw_provenance(facts(source, run, filters, taken, fitting))


def allowed_links(maps: pd.DataFrame) -> dict[str, list[str]]:
    """Query parameters with a fixed set of values, and those values; lists may be empty."""
    lists = {"checkpoints": maps["checkpoint"].unique().tolist(), "directions": draw_list.directions(maps)}
    lists["formats"] = list(FORMATS)
    return {**draw_list.allowed_links(maps), **{name: ["", *values] for name, values in lists.items()}}


def follow(key: str, chosen: str) -> None:
    """What is taken follows another choice of the run on the left, until someone chooses otherwise here."""
    last = st.session_state.get(f"export {key}", chosen)
    st.session_state[f"export {key}"] = chosen
    if chosen != last:
        st.session_state[key] = [chosen]


def draw_choice(maps: pd.DataFrame, examples: pd.DataFrame, run: Run) -> tuple[pd.DataFrame, list[str]]:
    """Which maps of the listed examples are taken, in the order of the list, and in which formats."""
    checkpoints, directions = maps["checkpoint"].unique().tolist(), draw_list.directions(maps)
    follow("checkpoints", run.checkpoint)
    follow("directions", run.direction)
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        wanted = [
            several("Checkpoints", checkpoints, [run.checkpoint], "checkpoints", width=360),
            several("Directions", directions, [run.direction], "directions", width=160),
        ]
        tip = "png and svg: the whole map, always in light colours, for print. csv: every cell, one a row."
        formats = several("Formats", FORMATS, ["png"], "formats", width=220, tip=tip)
    place = {name: number for number, name in enumerate(examples["example_id"])}
    keep = maps["example_id"].isin(place) & (maps["normalisation"] == run.normalisation)
    keep &= maps["checkpoint"].isin(wanted[0]) & maps["direction"].isin(wanted[1])
    taken = maps[keep]
    order = taken["example_id"].map(place).sort_values(kind="stable").index
    return taken.loc[order], formats


def draw_summary(examples: pd.DataFrame, taken: pd.DataFrame, formats: list[str], *, similar: bool) -> None:
    """What would be in the zip."""
    count = f"{taken['example_id'].nunique()} examples, {len(taken)} maps, {len(taken) * len(formats)} files"
    st.text(f"{count} and a manifest" + (" (none has these words; these resemble them)" if similar else ""))
    columns = ["example_id", "category", "size", *(["top1_sure"] if examples["top1_sure"].notna().any() else [])]
    score = st.column_config.NumberColumn(rule.said("top-1, sure"), format="%.2f")
    config = {"example_id": "example", "top1_sure": score}
    st.dataframe(
        examples[columns], hide_index=True, height=240, column_config=config,
        alt=f"The {len(examples)} examples that are exported",
    )  # fmt: skip


def described(run: Run, filters: Filters) -> dict[str, object]:
    """How the maps were chosen, for the manifest."""
    return {
        "filtered_by_scores_of": f"{run.checkpoint}, {run.direction}, {run.normalisation}",
        "search": filters.text, "category": filters.category, "top1_sure": filters.score, "length": filters.length,
        "sort": filters.sort,
    }  # fmt: skip


def facts(source: Source, run: Run, filters: Filters, taken: pd.DataFrame, gold: Path | None) -> dict[str, object]:
    """What the zip would be made of, and how it is chosen; its manifest says the same."""
    store, chosen_by = source.store, {name: value for name, value in described(run, filters).items() if value}
    return {
        "maps": f"{store.path.name}, {len(taken)} of {len(store)} maps, manifest sha256 "
        f"{draw_states.digest(store.path / MANIFEST)}",
        "gold": f"{gold.name}, sha256 {draw_states.digest(gold)}" if gold else "none",
        "filter": ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in chosen_by.items()),
        "signature of the maps": store.provenance.get("signature", ""),
        "signature of the scores": cache.signature(source, run.checkpoint, run.direction, run.normalisation),
    }


def draw_job(
    context: Context, taken: pd.DataFrame, formats: list[str], gold: Path | None, how: dict[str, object]
) -> None:
    """The button that starts an export, and the export that runs or has run."""
    rows = taken["row"].astype(int).tolist()

    def start() -> None:
        st.session_state[JOB] = None  # the last one and its files go
        job = ExportJob.start(context.maps, gold, rows, formats, how)
        st.session_state[JOB] = job
        st.session_state["export busy"] = job is None

    running = (job := st.session_state.get(JOB)) is not None and job.state == "running"
    if len(rows) > MOST_MAPS:
        st.warning(f"A zip holds at most {MOST_MAPS:,} maps. Narrow the filters, or draw them all by the command:")
        st.code("python -m analysis.export_heatmaps MAPS --gold GOLD.jsonl --out DIR --workers 2", language="bash")
    elif not rows or not formats:
        st.info("Choose at least one checkpoint, direction and format.")
    st.button(
        "Make the zip", type=palette.main_button(), icon=":material/folder_zip:", on_click=start, key="make zip",
        disabled=running or not rows or not formats or len(rows) > MOST_MAPS,
    )  # fmt: skip
    if st.session_state.get("export busy"):
        st.warning(
            "Two exports are being made for others right now. Try again in a minute.", icon=":material/schedule:"
        )
    if running:
        draw_running(job)
    elif job is not None:
        draw_done(job)


@st.fragment(run_every=TICK)
def draw_running(job: ExportJob) -> None:
    """How far the export is; when it ends, the page is drawn again."""
    if job.state != "running":
        st.rerun()
    done = job.done
    st.progress(min(1.0, done / job.total), f"{done} of {job.total} maps drawn" if done else "Starting to draw …")
    if st.button("Cancel", key="cancel export", icon=":material/close:"):
        job.cancel()
        st.rerun()


def draw_done(job: ExportJob) -> None:
    """What became of an export: a file to download, or the reason why there is none."""
    if job.state == "cancelled":
        st.info("The export was cancelled; nothing of it is left.", icon=":material/close:")
    elif job.state == "failed":
        st.error("The export failed.")
        draw_states.draw_plain(job.problem)
    else:
        size = job.archive.stat().st_size / 1e6
        st.download_button(
            f"Download the zip ({job.total} maps, {size:.1f} MB)", job.archive.read_bytes, job.name,
            "application/zip", icon=":material/download:", on_click="ignore", key="download zip",
        )  # fmt: skip
