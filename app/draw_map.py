"""The heatmap: cells, gold outlines and outcome marks as an Altair chart. Tokens go in as data, never as code or HTML."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

# Weights run in one hue, gold in another, and outcomes differ by shape: nothing hangs on telling two colours apart.
WEIGHT_RANGE = ["#f7fafd", "#d6e6f4", "#a6cde4", "#5fa6d1", "#2676b8", "#0b3f7d"]
GOLD, INK, MISS = "#d97706", "#0f172a", "#b91c1c"
SHAPES = {"sure": "circle", "possible": "diamond", "miss": "M-.7,-.7L.7,.7M.7,-.7L-.7,.7", "no gold": "square"}
OUTCOME_LABELS = "{'sure': 'sure link', 'possible': 'possible link', 'miss': 'miss'}[datum.value] || 'no link to hit'"
FONT = '"Source Code Pro", "DejaVu Sans Mono", "Noto Sans CJK SC", "Noto Color Emoji", monospace'
LABEL_LIMIT = 110
TOOLTIP = {
    "student_token": "student token",
    "student_index": "student index",
    "teacher_token": "teacher token",
    "teacher_index": "teacher index",
    "weight": "weight",
    "rank_text": "rank",
    "gold": "gold link",
}


def cell_step(rows: int, columns: int, width: int) -> int:
    """Pixels a cell so that ``columns`` fit in ``width``; 11 is the smallest whose label can be read, 28 is plenty."""
    return max(11, min(28, (width - LABEL_LIMIT) // max(columns, 1), 900 // max(rows, 1)))


def heatmap(
    cells: pd.DataFrame,
    student_tokens: Sequence[str],
    teacher_tokens: Sequence[str],
    *,
    direction: str,
    title: str,
    subtitle: str,
    vmax: float,
    step: int,
) -> alt.LayerChart:
    """Draw the cells of :func:`app.view.map_cells`: student targets downwards, teacher targets to the right.

    Args:
        cells: one row a cell; only these rows and columns get a place on the axes.
        student_tokens, teacher_tokens: labels of the whole axes; equal tokens stay apart because places are indices.
        direction: ``t2s`` or ``s2t``, said in the legend and in the tooltip's rank.
        vmax: weight of the darkest colour; the scale starts at 0.
        step: pixels a cell.
    """
    line = f"in its row of {len(teacher_tokens)}" if direction == "t2s" else f"in its column of {len(student_tokens)}"
    data = cells.assign(rank_text=cells["rank"].astype(str) + " " + line)
    layers = [_cells(data, direction, vmax, step), *_outlines(data, step), *_marks(data, step)]
    columns, rows = cells["teacher_index"].nunique(), cells["student_index"].nunique()
    return (
        alt.layer(*layers)
        .add_params(
            alt.param(name="student_labels", value=list(student_tokens)),
            alt.param(name="teacher_labels", value=list(teacher_tokens)),
        )
        .resolve_scale(shape="independent", strokeDash="independent")
        .properties(
            width=columns * step,
            height=rows * step,
            title=alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=12),
        )
        .configure_view(strokeWidth=0)
        .configure_axis(labelFont=FONT, ticks=False, domain=False, labelPadding=4, grid=False)
        .configure_legend(orient="bottom", direction="horizontal", titleLimit=300, labelLimit=200)
    )


def _axes(data: pd.DataFrame, step: int) -> dict[str, alt.X | alt.Y]:
    look = {"labelOverlap": False, "labelLimit": LABEL_LIMIT, "labelFontSize": min(12, step - 1)}
    columns, rows = data["teacher_index"].nunique(), data["student_index"].nunique()
    top = alt.Axis(orient="top", labelAngle=-90, labelExpr="teacher_labels[datum.value]", **look)
    left = alt.Axis(labelAngle=0, labelExpr="student_labels[datum.value]", **look)
    return {
        "x": alt.X("teacher_index:O", title=f"{columns} teacher targets →", axis=top),
        "y": alt.Y("student_index:O", title=f"← {rows} student targets", axis=left),
    }


def _cells(data: pd.DataFrame, direction: str, vmax: float, step: int) -> alt.Chart:
    legend = alt.Legend(
        title=f"weight: each {'row' if direction == 't2s' else 'column'} sums to 1",
        gradientLength=170,
        gradientThickness=10,
        format=".3~g",
    )
    scale = alt.Scale(domain=[0, vmax], range=WEIGHT_RANGE, clamp=True, nice=False)
    names = [name for name in TOOLTIP if name != "gold" or (data["gold"] != "").any()]
    tooltip = [
        alt.Tooltip(field="weight", type="quantitative", title="weight", format=".4f")
        if name == "weight"
        else alt.Tooltip(field=name, type="nominal", title=TOOLTIP[name])
        for name in names
    ]
    color = alt.Color("weight:Q", scale=scale, legend=legend)
    mark = alt.Chart(data).mark_rect(stroke="white", strokeWidth=0.5)
    return mark.encode(color=color, tooltip=tooltip, **_axes(data, step))


def _outlines(data: pd.DataFrame, step: int) -> list[alt.Chart]:
    links = data[data["gold"].isin(["sure", "possible"])]
    if links.empty:
        return []
    legend = alt.Legend(title="gold link", symbolType="square", symbolStrokeColor=GOLD, symbolSize=130)
    dash = alt.StrokeDash("gold:N", scale=alt.Scale(domain=["sure", "possible"], range=[[1, 0], [3, 2]]), legend=legend)
    band = alt.RelativeBandSize(band=0.88)
    mark = alt.Chart(links).mark_rect(filled=False, stroke=GOLD, strokeWidth=2, width=band, height=band)
    return [mark.encode(strokeDash=dash, **_axes(data, step))]


def _marks(data: pd.DataFrame, step: int) -> list[alt.Chart]:
    """A shape on the heaviest cell of each line; a white line under the cross keeps it visible on dark cells."""
    best = data[data["outcome"] != ""]
    shown = [name for name in SHAPES if (best["outcome"] == name).any()]
    scale = alt.Scale(domain=shown, range=[SHAPES[name] for name in shown])
    legend = alt.Legend(title="heaviest cell", labelExpr=OUTCOME_LABELS, symbolSize=90, symbolStrokeColor=INK)
    size = max(16, 0.16 * step * step)
    layers = []
    if "miss" in shown:
        halo = alt.Chart(best[best["outcome"] == "miss"]).mark_point(
            shape=SHAPES["miss"], size=2.2 * size, stroke="white", strokeWidth=3.5, strokeCap="round", opacity=1
        )
        layers.append(halo.encode(**_axes(data, step)))
    stroke = alt.condition("datum.outcome == 'miss'", alt.value(MISS), alt.value(INK))
    point = alt.Chart(best).mark_point(filled=True, fill="white", size=size, strokeWidth=1.5, opacity=1)
    shape = alt.Shape("outcome:N", scale=scale, legend=legend)
    return [*layers, point.encode(shape=shape, stroke=stroke, **_axes(data, step))]
