"""Grids, differences, scales and tiles of the batch export; a killed export; the same bytes in every format."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from analysis.export_heatmaps import build_parser, run
from analysis.heatmaps.pictures import differences, grids, scaled, single_maps, tiled
from probe import cli, plotting
from probe.errors import UsageError
from probe.gold.reading import write_gold
from probe.maps.store import MapStore
from probe.plotting.layout import tiles
from tests.support import ROOT
from tests.support.aligned import axis, make_gold, make_map
from tests.support.dashboard.app_maps import example_texts, make_store
from tests.support.payloads import PAYLOADS


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_gold(folder / "gold.jsonl", make_store(folder / "maps", example_texts(3)))
    return folder


def export(room, out, *options):
    argv = [f"{room}/maps", "--gold", f"{room}/gold.jsonl", "--out", str(out), "--workers", "1", *options]
    return cli.main(build_parser, run, argv)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_grid_holds_an_examples_checkpoints(room, tmp_path):
    assert export(room, tmp_path / "out", "--grid", "--direction", "t2s", "--limit", "4") == 0
    table = pd.read_csv(tmp_path / "out/manifest.csv")
    assert table["file"].tolist() == ["example-000--grid--t2s.png", "example-001--grid--t2s.png"]
    assert set(table["checkpoint"]) == {"dskd-cma + dskd-cma-ga"}
    store = MapStore.open(room / "maps")
    picture = grids(store, store.select(direction="t2s"), "png")[1]
    maps = [store.read(row) for row in picture.rows]
    assert {a.example_id for a in maps} == {"example-001"} and len(maps) == 2
    figure = plotting.heatmap_grid(maps, vmax=0.5)
    shown = [ax for ax in figure.axes if ax.get_xlabel().startswith("teacher targets")]
    for ax, amap in zip(shown, maps, strict=True):
        np.testing.assert_array_equal(ax.collections[0].get_array().reshape(amap.weights.shape), amap.weights)
        assert ax.collections[0].get_clim() == (0, 0.5)
    left, right = (ax.get_position() for ax in shown)
    assert left.x1 < right.x0 and left.y0 == right.y0


def test_a_difference_is_first_minus_second(room, tmp_path, capsys):
    assert export(room, tmp_path / "out", "--difference", "dskd-cma-ga", "dskd-cma", "--examples", "example-000") == 0
    names = [name for name in files(tmp_path / "out") if name.endswith("png")]
    assert sorted(names) == [f"example-000--dskd-cma-ga-minus-dskd-cma--{d}.png" for d in ("s2t", "t2s")]
    store = MapStore.open(room / "maps")
    picture = differences(store, range(len(store)), ("dskd-cma-ga", "dskd-cma"), "png")[0]
    first, second = (store.read(row) for row in picture.rows)
    assert (first.checkpoint, second.checkpoint) == ("dskd-cma-ga", "dskd-cma")
    [peak] = scaled(store, [picture], "map")
    assert peak.vmax == pytest.approx(np.abs(first.weights - second.weights).max())
    assert export(room, tmp_path / "none", "--difference", "dskd-cma", "sft") == 2
    assert "no chosen example has maps of both" in capsys.readouterr().err


def test_scales(room):
    store = MapStore.open(room / "maps")
    pictures = single_maps(store, range(len(store)), "png")
    peaks = [float(store.read(row).weights.max()) for row in range(len(store))]
    assert {p.vmax for p in scaled(store, pictures, "0-1")} == {1.0}
    assert [p.vmax for p in scaled(store, pictures, "map")] == pytest.approx(peaks)
    runs = [(store.column("checkpoint")[row], store.column("direction")[row]) for row in range(len(store))]
    of_runs = [max(peak for peak, other in zip(peaks, runs, strict=True) if other == run) for run in runs]
    assert [p.vmax for p in scaled(store, pictures, "run")] == pytest.approx(of_runs)
    assert len(set(of_runs)) == 4 < len(set(peaks))


def test_another_scale_is_another_picture(room, tmp_path, capsys):
    first = ("--examples", "example-000", "--direction", "t2s", "--json", "--resume")
    drawn = []
    for scale in ("0-1", "map", "map"):
        assert export(room, tmp_path / "out", *first, "--scale", scale) == 0
        drawn.append(json.loads(capsys.readouterr().out)["drawn"])
    assert drawn == [2, 2, 0]


def long_map(rows, columns):
    text = "ab" * (rows // 2) if rows >= columns else "ab" * (columns // 2)
    pieces = [list(text), [text[k : k + 2] for k in range(0, len(text), 2)]]
    sides = pieces if rows >= columns else pieces[::-1]
    return make_map(axis(text, sides[0]), axis(text, sides[1]), text=text)


@pytest.mark.parametrize(("rows", "columns", "most"), [(100, 50, 30), (50, 100, 30), (10, 5, 30), (100, 50, 1)])
def test_tiles_cover_every_target_of_the_same_text(rows, columns, most):
    amap = long_map(rows, columns)
    n, m = amap.weights.shape
    windows = tiles(amap, most)
    for side, size, axis_ in ((0, n, amap.student), (1, m, amap.teacher)):
        assert {k for window in windows for k in range(*window[side])} == set(range(size))
        assert all(0 < window[side][1] - window[side][0] <= most for window in windows)
        if most > 1:
            starts = [axis_.spans[window[side][0]][0] for window in windows]
            other = [(amap.teacher, amap.student)[side].spans[window[1 - side][0]][0] for window in windows]
            assert np.abs(np.subtract(starts, other)).max() <= 2


def test_long_maps_become_numbered_tiles_that_say_what_is_cut(tmp_path):
    from probe.maps.store import MapStoreWriter
    from tests.support.dashboard.app_maps import FINGERPRINTS

    with MapStoreWriter(tmp_path / "maps", provenance=FINGERPRINTS) as writer:
        writer.add(long_map(400, 200))
        writer.add(make_map(axis("a b", ["a", " b"]), axis("a b", ["a b"]), text="a b", example_id="short"))
    store = MapStore.open(tmp_path / "maps")
    pictures = list(tiled(store, single_maps(store, [0, 1], "png")))
    assert [p.file for p in pictures] == [
        *(f"one--dskd-cma--t2s--tile-{k}-of-3.png" for k in (1, 2, 3)), "short--dskd-cma--t2s.png",
    ]  # fmt: skip
    ax = plotting.attention_heatmap(store.read(0), window=pictures[1].window)
    assert "cut: student targets 160–319 of 401, teacher targets 80–159 of 201" in "".join(
        text.get_text() for text in ax.texts
    )
    argv = [f"{tmp_path}/maps", "--out", f"{tmp_path}/out", "--grid", "--long", "tile"]
    assert cli.main(build_parser, run, argv) == 2


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
@pytest.mark.parametrize("kind", [(), ("--grid",), ("--difference", "dskd-cma", "dskd-cma-ga")], ids=str)
def test_the_same_bytes_twice(room, tmp_path, form, kind):
    for out in ("one", "two"):
        assert export(room, tmp_path / out, "--format", form, "--examples", "example-000", *kind) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two") and len(files(tmp_path / "one")) >= 3


def test_a_killed_export_resumes_to_the_same_bytes(room, tmp_path):
    """SIGKILL, as the kernel does it: nothing can be tidied up."""
    command = [sys.executable, "-m", "analysis.export_heatmaps", f"{room}/maps", "--gold", f"{room}/gold.jsonl"]
    command += ["--workers", "1", "--out", f"{tmp_path}/out"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    journal = tmp_path / "out/.journal.jsonl"
    end = time.monotonic() + 60
    while time.monotonic() < end and not (journal.is_file() and journal.read_bytes().count(b"\n") >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out/manifest.csv").exists()
    with open(tmp_path / "out" / "example-000--dskd-cma--t2s.png", "r+b") as half:
        half.truncate(100)  # what a crash may leave where a disk lies about what it has written
    assert export(room, tmp_path / "out", "--resume") == export(room, tmp_path / "whole") == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert len(os.listdir(tmp_path / "out")) == 12 + 2


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(UsageError, match="at least one map"):
        plotting.heatmap_grid([])


@pytest.mark.parametrize("part", range(4))
def test_hostile_tokens_stay_paths_in_svg(part):
    """Tokens, ids, names and texts that would run as markup: the picture holds shapes, and links into itself alone."""
    pieces = [payload for payload in PAYLOADS[part::4] if "\0" not in payload]
    text = "".join(pieces)
    amap = make_map(axis(text, pieces), axis(text, pieces), text=text, checkpoint=pieces[0], example_id=pieces[1])
    picture = plotting.figure_bytes(plotting.attention_heatmap(amap, gold=make_gold(amap)), "svg")
    tree = ElementTree.fromstring(picture)
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert not names & {"script", "foreignObject", "iframe", "a", "animate", "set", "handler"}
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.rpartition("}")[2].startswith("on"), name
            if name.endswith("href"):
                assert value.startswith(("#", "data:image/png;base64,")), value


def test_a_difference_has_the_sign_of_the_page_compare(room):
    from app.data.changes import difference_cells
    from app.data.view import shown

    store = MapStore.open(room / "maps")
    rows = store.select(example_id="example-000", direction="t2s")
    [picture] = differences(store, rows, ("dskd-cma-ga", "dskd-cma"), "png")
    run, reference = (store.read(row) for row in picture.rows)
    mesh = plotting.difference_heatmap(run, reference).collections[0].get_array().reshape(run.weights.shape)
    sides = [shown(amap, None, "token", 0, 999) for amap in (reference, run)]
    np.testing.assert_allclose(mesh.ravel(), difference_cells(*sides)["difference"].to_numpy(), atol=1e-7)
    assert np.abs(mesh).max() > 0.01


def test_unit_and_window_are_in_file_names_and_in_the_manifest(room, tmp_path, capsys):
    one = ("--examples", "example-001", "--checkpoint", "dskd-cma", "--direction", "t2s")
    assert export(room, tmp_path, *one, "--unit", "word", "--window", "0-9,0-8", "--pin", "7.1", "--no-title") == 0
    assert export(room, tmp_path, *one, "--width", "6cm", "--format", "pdf") == 0
    assert "1 of them show a part of their map, which is in their names: at 2.36 in" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "manifest.csv")
    name, window = table.loc[0, "file"], table.loc[0, "window"]
    assert name == f"example-001--dskd-cma--t2s--{window.replace(',', '-')}.pdf" and table.loc[0, "unit"] == "token"
    assert (tmp_path / "example-001--dskd-cma--t2s--word--s0-9-t0-8.png").is_file()
    # What the manifest says can be typed, and a window that holds the whole map is no part of a name.
    assert export(room, tmp_path, *one, "--window", window, "--format", "pdf", "--resume", "--width", "6cm") == 0
    assert pd.read_csv(tmp_path / "manifest.csv").loc[0, "file"] == name


def test_windows_and_pins_that_cannot_be(room, tmp_path, capsys):
    one = ("--examples", "example-000")
    for options, words in {
        ("--window", "0-999,0-3"): "example-000: the window ((0, 1000), (0, 4)) is empty or leaves a map of",
        ("--pin", "3.999"): "example-000: the pin 3.999 is not among",
        ("--window", "5-3,0-1"): "wanted student and teacher targets, as 0-19,0-17, got '5-3,0-1'",
        ("--pin", "3,4"): "wanted student.teacher, as 3.4, got '3,4'",
        ("--width", "3.3"): "wanted a length of 2in to 50in, as 3.3in, 84mm or 240pt, got '3.3'",
        ("--width", "1in"): "got '1in'",
        ("--pin", "1.1", "--long", "tile"): "--pin chooses one part of a map",
    }.items():
        assert export(room, tmp_path / "out", *one, *options) == 2
        assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_lengths():
    from analysis.heatmaps.options import length

    assert [length(text) for text in ("3.3in", "84mm", "8.4 cm", "240pt")] == pytest.approx(
        [237.6, 238.11, 238.11, 240], abs=0.01
    )
