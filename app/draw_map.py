"""The heatmap as an Altair chart: cells, gold outlines, outcome marks. Tokens go in as data, never as code or HTML."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from app.view import Window

# Weights run in one hue, gold in another, and outcomes differ by shape: nothing hangs on telling two colours apart.
WEIGHT_RANGE = ["#f7fafd", "#d6e6f4", "#a6cde4", "#5fa6d1", "#2676b8", "#0b3f7d"]
GOLD, INK, MISS, TEXT = "#d97706", "#0f172a", "#b91c1c", "#334155"
SHAPES = {"sure": "circle", "possible": "diamond", "miss": "M-.7,-.7L.7,.7M.7,-.7L-.7,.7", "no gold": "square"}
# The key to the marks, beside the colour legend that the chart draws itself.
KEY = (
    ":orange[▢] gold link: solid sure, dashed possible",
    "○ heaviest cell on a sure link",
    "◇ on a possible link",
    ":red[✕] a miss",
    "□ no link to hit",
)
FONT = '"Source Code Pro", "DejaVu Sans Mono", "Noto Sans CJK SC", "Noto Color Emoji", monospace'
LABEL_LIMIT = 110  # pixels of a token's label; longer ones are cut, the tooltip has them whole
MARGIN = 88  # pixels beside the cells: the axis title and labels of usual length
# Columns of the drawn data; the tooltip shows them all, under these names and in this order.
TOOLTIP = {
    "student_token": "student token",
    "student_index": "student index",
    "teacher_token": "teacher token",
    "teacher_index": "teacher index",
    "weight": "weight",
    "rank": "rank",
    "gold": "gold link",
    "outcome": "heaviest cell",
}
SHOW_DATA = alt.TooltipContent("data")


def chart_size(window: Window, width: int) -> tuple[int, int]:
    """Pixels a cell, and pixels that the whole chart is wide, when it may be ``width`` wide.

    A cell is 10 pixels at least, the smallest whose label can be read (then the chart may be wider), and 28 at most.
    """
    rows, columns = (stop - start for start, stop in (window.rows, window.columns))
    step = max(10, min(28, (width - MARGIN) // columns, 900 // rows))
    return step, MARGIN + max(columns * step, 260)  # the title and the colour legend need 260


def heatmap(
    cells: pd.DataFrame,
    student_tokens: Sequence[str],
    teacher_tokens: Sequence[str],
    *,
    direction: str,
    title: str,
    subtitle: Sequence[str],
    vmax: float,
    step: int,
) -> alt.LayerChart:
    """Draw the cells of :func:`app.view.map_cells`: student targets downwards, teacher targets to the right.

    Args:
        cells: one row a cell; only these rows and columns get a place on the axes.
        student_tokens, teacher_tokens: labels of the whole axes; equal tokens stay apart because places are indices.
        direction: ``t2s`` or ``s2t``, said in the legend and in the tooltip's rank.
        title, subtitle: a line, and lines, above the map.
        vmax: weight of the darkest colour; the scale starts at 0.
        step: pixels a cell.
    """
    line = f"in its row of {len(teacher_tokens)}" if direction == "t2s" else f"in its column of {len(student_tokens)}"
    data = cells.assign(rank=cells["rank"].astype(str) + " " + line, weight=cells["weight"].round(4))
    data = data.rename(columns=TOOLTIP)[list(TOOLTIP.values())]
    if (data["gold link"] == "").all():
        data = data.drop(columns="gold link")
    data = data.set_axis(
        data["student token"].rename(None)
    )  # an index of numbers would be sent, and show in the tooltip
    layers = [_cells(data, direction, vmax, step), *_outlines(data, step), *_marks(data, step)]
    columns, rows = cells["teacher_index"].nunique(), cells["student_index"].nunique()
    return (
        alt.layer(*layers)
        .add_params(
            alt.param(name="student_labels", value=list(student_tokens)),
            alt.param(name="teacher_labels", value=list(teacher_tokens)),
        )
        .properties(
            width=columns * step,
            height=rows * step,
            autosize=alt.AutoSizeParams(type="pad"),  # width and height are those of the cells, labels come on top
            title=alt.TitleParams(title, subtitle=list(subtitle), anchor="start", offset=12),
        )
        .configure_view(strokeWidth=0)
        .configure_mark(aria=False)  # the chart has one text alternative; thousands of cells need none
        .configure_axis(labelFont=FONT, ticks=False, domain=False, labelPadding=4, grid=False)
        .configure_legend(
            labelColor=TEXT, titleColor=TEXT, orient="bottom", direction="horizontal", titleLimit=300, labelLimit=200
        )
    )


def _axes(data: pd.DataFrame, step: int) -> dict[str, alt.X | alt.Y]:
    look = {"labelOverlap": False, "labelFlush": False, "labelLimit": LABEL_LIMIT, "labelFontSize": min(12, step - 1)}
    columns, rows = data["teacher index"].nunique(), data["student index"].nunique()
    look |= {"labelColor": TEXT, "titleColor": TEXT}
    top = alt.Axis(orient="top", titleAnchor="start", labelAngle=-90, labelExpr="teacher_labels[datum.value]", **look)
    left = alt.Axis(
        titleAnchor="start", titleAlign="right", labelAngle=0, labelExpr="student_labels[datum.value]", **look
    )
    close = alt.Scale(paddingInner=0, paddingOuter=0)  # no gap in which the tooltip would go out
    return {
        "x": alt.X("teacher index:O", title=f"{columns} teacher targets →", axis=top, scale=close),
        "y": alt.Y("student index:O", title=f"← {rows} student targets", axis=left, scale=close),
    }


def _cells(data: pd.DataFrame, direction: str, vmax: float, step: int) -> alt.Chart:
    """One rectangle a cell. The tooltip is the row of data itself: an expression for each cell took seconds to draw."""
    legend = alt.Legend(
        title=f"weight: each {'row' if direction == 't2s' else 'column'} sums to 1",
        gradientLength=170,
        gradientThickness=10,
        format=".3~g",
    )
    scale = alt.Scale(domain=[0, vmax], range=WEIGHT_RANGE, clamp=True, nice=False)
    mark = alt.Chart(data.drop(columns="heaviest cell")).mark_rect(stroke="white", strokeWidth=0.6, tooltip=SHOW_DATA)
    return mark.encode(color=alt.Color("weight:Q", scale=scale, legend=legend), **_axes(data, step))


def _outlines(data: pd.DataFrame, step: int) -> list[alt.Chart]:
    if "gold link" not in data:
        return []
    layers = []
    for level, dash in (("possible", [3, 2]), ("sure", [1, 0])):
        links = data[data["gold link"] == level]
        if len(links):
            mark = alt.Chart(links).mark_rect(
                filled=False, stroke=GOLD, strokeWidth=2, strokeDash=dash, tooltip=SHOW_DATA
            )
            layers.append(mark.encode(**_axes(data, step)))
    return layers


def _marks(data: pd.DataFrame, step: int) -> list[alt.Chart]:
    """A shape on the heaviest cell of each line; a white line under the cross keeps it visible on dark cells."""
    best = data[data["heaviest cell"] != ""]
    size = max(28, 0.16 * step * step)
    layers = []
    for name, shape in SHAPES.items():
        marked = alt.Chart(best[best["heaviest cell"] == name])
        if name == "miss":
            halo = marked.mark_point(shape=shape, size=2 * size, stroke="white", strokeWidth=4, opacity=1)
            layers.append(halo.encode(**_axes(data, step)))
        mark = marked.mark_point(
            shape=shape,
            size=2 * size if name == "miss" else size,
            filled=name != "miss",
            fill="white",
            stroke=MISS if name == "miss" else INK,
            strokeWidth=1.5,
            opacity=1,
            tooltip=SHOW_DATA,
        )
        layers.append(mark.encode(**_axes(data, step)))
    return [layer for layer in layers if len(layer.data)]
