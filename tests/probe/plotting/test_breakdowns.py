"""The breakdown figure against its frames: bars, intervals, ceilings and labels are read from the axes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from probe.errors import UsageError
from probe.plotting import save_figure
from probe.plotting.breakdowns import BASELINE, UNTRAINED, breakdown_figure, checkpoint_colours
from probe.plotting.panels import IN_BREAKDOWNS
from probe.scoring import baselines
from probe.scoring.names import SCORES
from tests.support import ROOT

BASE = (baselines.UNIFORM, baselines.DIAGONAL, baselines.SPAN_RULE, baselines.POSITION_FREE)
SHARES = {"cma": 0.6, "cma-ga": 0.5, "untrained": 0.1, **dict(zip(BASE, (0.05, 0.4, 1.0, 0.9), strict=True))}
# group -> positions, share of cma, ceiling; in an order that is not the figure's
GROUPS = {
    "relation": {"n:1": (45, 0.2, 0.9), "1:1": (50, 0.96, 0.8), "n:m": (5, 0.6, 1.0)},
    "tied": {"tied": (20, 0.2, 0.5), "untied": (80, 0.7, 1.0)},
    "token_class": {"EOS": (10, 1.0, 1.0), "word start": (90, 0.5, 0.9)},
    "category": {"prose": (100, 0.6, 0.9)},
}


@dataclass(frozen=True)
class Frames:
    runs: pd.DataFrame
    breakdowns: pd.DataFrame


def cells(share, ceiling, positions):
    values = {
        "n_positions": positions,
        "n_sure": positions - 4,
        "ceiling_sure": ceiling - 0.3,
        "ceiling_possible": ceiling,
    }
    for metric in IN_BREAKDOWNS:
        value = share - 0.05 if metric.endswith("sure") else share
        values |= {metric: value, f"{metric}_low": max(0, value - 0.04), f"{metric}_high": min(1, value + 0.02)}
    return values


def frames(shares=SHARES, directions=("t2s", "s2t")):
    runs, rows = [], []
    for direction in directions:
        for name, share in shares.items():
            method = "untrained" if name == "untrained" else "baseline" if name in BASE else "m"
            labels = {"checkpoint": name, "method": method, "direction": direction}
            runs.append({**labels, "n_examples": 9, **cells(share, 0.9, 100)})
            if name in BASE:
                continue
            for breakdown, groups in GROUPS.items():
                for group, (positions, value, ceiling) in groups.items():
                    found = cells(value * share / 0.6, ceiling, positions)
                    rows.append({**labels, "breakdown": breakdown, "group": group, **found})
    return Frames(pd.DataFrame(runs), pd.DataFrame(rows))


def axes(figure, name):
    return next(ax for ax in figure.axes if ax.get_label() == name)


def labels(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def bars(ax):
    """Middle -> (length, colour) of every bar."""
    middles = [round(bar.get_y() + bar.get_height() / 2, 6) for bar in ax.patches]
    return {y: (bar.get_width(), to_hex(bar.get_facecolor())) for y, bar in zip(middles, ax.patches, strict=True)}


def intervals(ax):
    """Middle -> (low, high) of every interval."""
    lines = [line.get_segments()[0] for line in ax.collections if line.get_gid() == "interval"]
    return {round(line[0, 1], 6): tuple(line[:, 0]) for line in lines}


def ceilings(ax):
    """(share, from, to) of every piece of the ceiling."""
    lines = [line.get_xydata() for line in ax.lines if line.get_gid() == "ceiling"]
    return sorted((round(line[0, 0], 6), round(line[0, 1], 6), round(line[1, 1], 6)) for line in lines)


def test_all_positions_beside_the_baselines():
    figure = breakdown_figure(frames())
    ax = axes(figure, "all")
    assert labels(ax) == ["cma", "cma-ga", "untrained", "uniform", "diagonal", "span rule"]
    found = bars(ax)
    assert [found[k][0] for k in range(6)] == pytest.approx([0.6, 0.5, 0.1, 0.05, 0.4, 1.0])
    assert intervals(ax)[0] == pytest.approx((0.56, 0.62)) and intervals(ax)[5] == pytest.approx((0.96, 1.0))
    assert ceilings(ax) == [(0.9, -0.5, 5.5)]  # one line across, no bar
    texts = {text.get_gid(): text.get_text() for text in ax.texts if text.get_gid() in ("title", "finding")}
    assert texts == {"title": "All positions with a possible link (100)", "finding": ""}
    assert [text.get_text() for text in ax.texts if text.get_gid() == "value"][:2] == ["0.60", "0.50"]


def test_groups_in_a_fixed_order_with_their_positions():
    figure = breakdown_figure(frames())
    assert {ax.get_label() for ax in figure.axes} == {"all", "relation", "tied", "token_class"}
    assert labels(axes(figure, "relation")) == ["1:1\n50 positions", "n:1\n45 positions", "n:m\n5 positions"]
    assert labels(axes(figure, "tied")) == ["untied\n80 positions", "tied\n20 positions"]
    assert labels(axes(figure, "token_class")) == ["word start\n90 positions", "EOS\n10 positions"]


def test_bars_intervals_and_ceilings_of_groups():
    ax = axes(breakdown_figure(frames()), "relation")
    wide = 0.84 / 3
    found, lines = bars(ax), intervals(ax)
    assert len(found) == 9
    for group, share in enumerate((0.96, 0.2, 0.6)):  # 1:1, n:1, n:m
        for place, scale in enumerate((1, 5 / 6, 1 / 6)):  # cma, cma-ga, untrained from the top
            middle = round(group + (place - 1) * wide, 6)
            assert found[middle][0] == pytest.approx(share * scale)
            assert lines[middle] == pytest.approx((max(0, share * scale - 0.04), min(1, share * scale + 0.02)))
    assert ceilings(ax)[:3] == [(0.8, *(round(-0.42 + k * wide, 6) for k in (n, n + 1))) for n in range(3)]
    assert {share for share, _, _ in ceilings(ax)} == {0.8, 0.9, 1.0}


def test_one_colour_a_checkpoint_everywhere():
    report = frames()
    colours = {name: to_hex(colour) for name, colour in checkpoint_colours(report.runs).items()}
    assert len({colours["cma"], colours["cma-ga"], UNTRAINED, BASELINE}) == 4
    assert colours["untrained"] == UNTRAINED and {colours[name] for name in BASE} == {BASELINE}
    for direction in ("t2s", "s2t"):
        figure = breakdown_figure(report, direction=direction)
        first = [colours[name] for name in ("cma", "cma-ga", "untrained")]
        assert [bars(axes(figure, "all"))[k][1] for k in range(3)] == first
        assert [bars(axes(figure, "tied"))[round(k * 0.28, 6)][1] for k in (-1, 0, 1)] == first
        legend = figure.legends[0]
        assert [to_hex(patch.get_facecolor()) for patch in legend.get_patches()] == first
        assert [text.get_text() for text in legend.get_texts()][:4] == ["cma", "cma-ga", "untrained", "95 % interval"]


def test_finding_names_the_group_that_costs_most():
    """By hand: cma misses 50 · 0.04 + 45 · 0.8 + 5 · 0.4 = 2 + 36 + 2 of 100 positions."""
    ax = axes(breakdown_figure(frames({"cma": 0.6, "untrained": 0.1})), "relation")
    finding = next(text.get_text() for text in ax.texts if text.get_gid() == "finding")
    assert finding == "costs most: n:1, 45 % of positions but 90 % of misses"


@pytest.mark.parametrize("metric", IN_BREAKDOWNS)
def test_each_metric_has_its_numbers_and_its_ceiling(metric):
    figure = breakdown_figure(frames(), metric=metric)
    ax = axes(figure, "tied")
    share = 0.7 - 0.05 * metric.endswith("sure")
    assert bars(ax)[-0.28][0] == pytest.approx(share)
    wanted = {"sure": {0.2, 0.7}, "possible": {0.5, 1.0}, "accuracy": set()}[metric.split("_")[-1]]
    assert {round(share, 6) for share, _, _ in ceilings(ax)} == wanted
    counted = (76, 16) if "sure" in metric else (80, 20)  # those without a sure link have no score on sure links
    assert labels(ax) == [f"untied\n{counted[0]} positions", f"tied\n{counted[1]} positions"]
    assert ax.get_xlabel() == f"{SCORES[metric].meaning} (0–1)" and ax.get_xlim() == (0, 1)
    assert ("ceiling" in figure.texts[1].get_text()) == bool(wanted)
    assert_nothing_cut_off(figure)


def assert_nothing_cut_off(figure):
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    for text in figure.findobj(lambda one: isinstance(one, Text) and one.get_visible() and one.get_text().strip()):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    for k, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[k + 1 :])
        assert one.y1 <= figure.legends[0].get_window_extent().y0


@pytest.mark.parametrize("count", [1, 2, 12])
def test_hard_names_and_any_number_of_checkpoints_fit(count):
    names = ["_hidden", "$x^", "模型 " * 30, *(f"run-{k}-with-a-very-long-name-indeed" for k in range(9))][:count]
    figure = breakdown_figure(frames({**dict.fromkeys(names, 0.3), **{name: SHARES[name] for name in BASE}}))
    assert_nothing_cut_off(figure)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(shown) == count + 2 and shown[: min(count, 2)] == names[:2]
    assert len(axes(figure, "relation").patches) == 3 * count


def test_undefined_numbers_leave_a_gap():
    report = frames()
    empty = (report.breakdowns["group"] == "n:m") & (report.breakdowns["checkpoint"] == "cma")
    report.breakdowns.loc[empty, ["top1_possible", "top1_possible_low", "top1_possible_high", "ceiling_possible"]] = (
        np.nan
    )
    report.breakdowns.loc[empty, ["n_positions", "n_sure"]] = 0
    lone = report.runs["checkpoint"] == "cma"
    report.runs.loc[lone, ["top1_possible_low", "top1_possible_high"]] = np.nan
    figure = breakdown_figure(report)
    ax = axes(figure, "relation")
    assert labels(ax)[2] == "n:m\n0–5 positions"
    assert len(intervals(ax)) == 8 and len(ceilings(ax)) == 8
    assert [bars(ax).get(round(2 + k * 0.28, 6), (0,))[0] for k in (0, 1)] == pytest.approx([0.5, 0.1])
    assert 0 not in intervals(axes(figure, "all")) and bars(axes(figure, "all"))[0][0] == pytest.approx(0.6)


def test_wrong_arguments_say_what_there_is():
    with pytest.raises(UsageError, match="'f1'; choose one of top1_possible, "):
        breakdown_figure(frames(), metric="f1")
    with pytest.raises(UsageError, match="no run of direction 's2t'; it has t2s"):
        breakdown_figure(frames(directions=("t2s",)), direction="s2t")


def test_same_bytes_and_no_figure_left_with_pyplot(tmp_path):
    import matplotlib.pyplot as plt

    paths = [save_figure(breakdown_figure(frames()), tmp_path / name) for name in ("a.png", "b.png")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert plt.get_fignums() == []


def test_through_the_command(tmp_path, capsys):
    from tests.support.reports import make_store, report

    make_store(tmp_path)
    assert report(tmp_path, figures=True) == 0
    out = tmp_path / "report"
    assert sorted(path.name for path in out.glob("*.png")) == ["breakdowns-s2t.png", "breakdowns-t2s.png"]
    assert "breakdowns-t2s.png" in capsys.readouterr().out
    read = Frames(pd.read_csv(out / "runs.csv"), pd.read_csv(out / "breakdowns.csv"))
    ax = axes(breakdown_figure(read, direction="s2t"), "all")
    assert labels(ax)[:2] == ["good", "bad"] and bars(ax)[0][0] == 1
    save_figure(breakdown_figure(read, direction="s2t"), tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (out / "breakdowns-s2t.png").read_bytes()


@pytest.mark.parametrize("module", ["probe.scoring.report", "analysis.alignment_report", "probe.plotting.breakdowns"])
def test_what_is_loaded_before_anything_is_drawn(module):
    """Scoring needs no matplotlib; nothing loads seaborn, and with it pyplot, before a figure is asked for."""
    heavy = ("seaborn", "matplotlib.pyplot", *(() if "plotting" in module else ("matplotlib",)))
    code = f"import sys, {module}\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
