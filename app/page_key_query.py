"""Key-query space: where the student's queries lie beside the teacher's keys, before and after matching."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app.data.key_query import (
    CLOUDS,
    CONTROL,
    FIGURES,
    PROJECTIONS,
    STAGES,
    KeyQuery,
    before_and_after,
    finding,
    points,
    read_key_query,
)
from app.draw import links, palette
from app.draw import states as draw_states
from app.draw.list import one_of
from app.draw.map import config
from app.draw.palette import Palette
from app.server.context import Context
from probe.errors import ProbeError

TITLES = {"untrained": "Before: an untrained query projector", "trained": "After training"}
HOW_TO_READ = """
- Every **point** is a position of a response: a **query** (●) is what the student asks with, a **key** (◇) is what the
  teacher answers to. A query listens to the keys that lie in its direction.
- **Matching** wants the two clouds to be one. A classifier that still tells them apart says that they are not.
- **PCA** keeps distances, of the two directions in which the points vary most. **t-SNE** keeps neighbours only.
- Rest the pointer on a point to see its token.
"""


def draw(context: Context) -> None:
    """The page, or what is in its way."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown("### Do the student's queries find the teacher's keys?")
        with st.popover("How to read the clouds", icon=":material/help:"):
            st.markdown(HOW_TO_READ)
    folder = context.key_query
    if folder is None or not (folder / CLOUDS).is_file() or not (folder / FIGURES).is_file():
        return draw_nothing(context)
    try:
        found = _read(str(folder), _digest(folder))
    except ProbeError as error:
        return draw_states.draw_problem(error, "The key-query space cannot be shown.")
    if found.clouds.empty:
        return draw_nothing(context)
    draw_space(found, folder)


def _digest(folder: Path) -> str:
    content = b"\0".join((folder / name).read_bytes() for name in (FIGURES, CLOUDS))
    return hashlib.sha256(content).hexdigest()


@st.cache_resource(max_entries=2, show_spinner=False)
def _read(folder: str, digest: str) -> KeyQuery:
    return read_key_query(Path(folder))


def draw_nothing(context: Context) -> None:
    """No clouds yet: the command that makes them."""
    folder = context.key_query or context.maps.parent / "key_query"
    st.subheader("No key-query space here yet")
    draw_states.draw_plain(f"looked for {FIGURES} and {CLOUDS} in: {folder}")
    st.markdown("Make it of your checkpoints, then reload this page:")
    st.code(
        "python -m analysis.key_query --checkpoint checkpoints/dskd-cma checkpoints/dskd-cma-ga \\\n"
        "    --data analysis/gold/probe_set.jsonl --out OUT\n"
        "streamlit run app/main.py -- --maps MAPS --key-query OUT",
        language="bash",
    )


def draw_space(found: KeyQuery, folder: Path) -> None:
    """Selectors, the figures of the mismatch, and both clouds before and after."""
    names = found.clouds["checkpoint"].unique().tolist()
    projections = list(PROJECTIONS)
    notes = links.note_misfits("key query", {"checkpoint": names, "projection": projections})
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        name = st.selectbox("Checkpoint", names, key="checkpoint", bind="query-params", width=260)
        projection = st.segmented_control(
            "Picture", projections, default=projections[0], required=True, key="projection", bind="query-params",
            help="PCA keeps distances; t-SNE keeps neighbours.",
        )  # fmt: skip
    draw_states.draw_notes(notes)
    name, projection = one_of(name, names), one_of(projection, projections)
    table = before_and_after(found.figures, name)
    st.text(" ".join(finding(found.figures, name)))
    drawn = draw_clouds(found, name, projection, table)
    draw_figures(table, name)
    draw_states.draw_provenance(facts(found, folder, name, drawn))


def draw_clouds(found: KeyQuery, name: str, projection: str, table: pd.DataFrame) -> str:
    """The picture of each stage, side by side; PCA pictures have one scale, for there distances count.

    Returns how many points are drawn.
    """
    stages = [
        stage for stage in STAGES if ((found.clouds["checkpoint"] == name) & (found.clouds["stage"] == stage)).any()
    ]
    drawn = {stage: points(found.clouds, name, stage, projection) for stage in stages}
    domain = None
    if projection == "PCA":
        every = pd.concat([frame for frame, _ in drawn.values()])
        domain = {axis: [float(every[axis].min()), float(every[axis].max())] for axis in ("x", "y")}
    for column, (stage, (frame, total)) in zip(st.columns(len(drawn), gap="medium"), drawn.items(), strict=True):
        spec = cloud(frame, palette.current(), TITLES[stage], projection, domain)
        said = f"{projection} of queries and keys of {name}, {stage}: {_finding(table, stage)}"
        column.vega_lite_chart(spec, theme=None, width="stretch", key=f"cloud {stage}", alt=said)
        if len(frame) < total:
            column.caption(f"{len(frame):,} of {total:,} points are drawn, chosen by chance.")
    return "; ".join(f"{stage}, {len(frame):,} of {total:,} points" for stage, (frame, total) in drawn.items())


def _finding(table: pd.DataFrame, stage: str) -> str:
    if stage not in table:
        return "no figures"
    return "; ".join(f"{row['measure']} {row[stage]:.3g}" for _, row in table.head(3).iterrows())


def cloud(
    frame: pd.DataFrame, palette: Palette, title: str, projection: str, domain: dict[str, list[float]] | None
) -> dict[str, Any]:
    """The Vega-Lite specification of one picture: queries as dots, keys as open diamonds."""
    colours = [palette.series[1], palette.series[0]]
    axis = {"labels": False, "grid": True, "gridColor": palette.faint, "tickCount": 5}
    places = {}
    for number, name in enumerate(("x", "y"), 1):
        scale = {"zero": False, **({"domain": domain[name]} if domain else {})}
        label = f"{projection} {number}"
        places[name] = {"field": name, "type": "quantitative", "title": label, "scale": scale, "axis": axis}
    mark = {"type": "point", "size": 26, "opacity": 0.75, "strokeWidth": 1.2, "tooltip": {"content": "data"}}
    side = {"field": "side", "type": "nominal"}
    return {
        "background": "transparent",
        "title": {"text": title, "anchor": "start"},
        "datasets": {"points": frame.set_axis(frame["token"].rename(None))},
        "data": {"name": "points"},
        "width": "container",
        "height": 460,
        "mark": mark,
        "encoding": {
            **places,
            "color": {**side, "scale": {"domain": ["query", "key"], "range": colours}, "legend": {"title": None}},
            "shape": {**side, "scale": {"domain": ["query", "key"], "range": ["circle", "diamond"]}},
        },
        "config": config(palette),
    }


def draw_figures(table: pd.DataFrame, name: str) -> None:
    """The mismatch in numbers, before and after."""
    st.markdown("##### The mismatch in numbers")
    if table.empty:
        st.caption("No figures of this checkpoint.")
        return
    numbers = [column for column in table.columns if column != "measure"]
    formats = {
        column: st.column_config.NumberColumn(format="%+.3g" if column == "change" else "%.4g") for column in numbers
    }
    st.dataframe(
        table, hide_index=True, column_config=formats, height="content",
        alt=f"Key-query mismatch of {name}: " + "; ".join(_finding(table, stage) for stage in numbers[:2]),
    )  # fmt: skip
    if CONTROL in table:
        st.caption("control: keys against other keys, which is what each measure gives for two samples of one cloud.")


def facts(found: KeyQuery, folder: Path, name: str, drawn: str) -> dict[str, object]:
    """Where the figures and the clouds come from."""
    rows = found.figures[found.figures["checkpoint"] == name]
    first = {} if rows.empty else rows.iloc[0].to_dict()
    counts = {
        "queries": first.get("n_queries"),
        "keys": first.get("n_keys"),
        "of each compared": first.get("n_compared"),
    }
    return {
        "folder": folder.name,
        "figures": f"{FIGURES}, sha256 {draw_states.digest(folder / FIGURES)}",
        "clouds": f"{CLOUDS}, sha256 {draw_states.digest(folder / CLOUDS)}",
        "shown": f"{name}; {drawn}",
        "positions": ", ".join(f"{count} {what}" for what, count in counts.items() if count is not None),
        "signature": first.get("signature", ""),
    }
