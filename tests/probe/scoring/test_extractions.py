"""Links taken in every way side by side: by hand, and equal to what runs.csv says of the way that was chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from probe.gold.reading import write_gold
from probe.maps.store import MapStoreWriter
from tests.support.aligned import axis, make_gold, make_map
from tests.support.reports import PROVENANCE, TEXTS, example_maps, make_store, report


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


WAYS = ("argmax", "mutual", "both-directions", "itermax", "itermax-simalign", "threshold", "monotone")


@pytest.mark.parametrize("links", WAYS)
def test_every_extraction_stands_beside_the_chosen_one(store, capsys, links):
    """Whatever ``--links`` is, extractions.csv holds the same rows, and its row of that way is the one of runs.csv."""
    assert report(store, "--links", links) == 0
    rows, runs = (pd.read_csv(store / "report" / f"{name}.csv") for name in ("extractions", "runs"))
    keys = ["checkpoint", "direction"]
    assert (rows.groupby(keys)["links"].nunique() == 7).all() and len(rows) == 7 * (2 * 2 + 3 * 2)
    chosen = rows[rows["links"] == links].set_index(keys)
    runs = runs[runs["checkpoint"] != "baseline:position-free"].set_index(keys).loc[chosen.index]
    for name in ("precision", "recall", "f1", "aer"):
        for column in (name, f"{name}_low", f"{name}_high"):
            assert chosen[column].tolist() == runs[column].tolist(), column
    assert chosen["signature"].tolist() == runs["signature"].tolist()
    assert rows["signature"].str.extract(r"\|links:([a-z-]+)")[0].tolist() == rows["links"].tolist()


def test_extractions_by_hand(tmp_path, capsys):
    """Three targets a side, gold the diagonal; the t2s map takes row 2 for column 1, the s2t map is gold itself."""
    text = "ab cd"
    side = axis(text, ["ab", " cd"])
    rows = {"t2s": [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05]], "s2t": np.eye(3)}
    with MapStoreWriter(tmp_path / "maps", provenance=PROVENANCE) as writer:
        for direction, weights in rows.items():
            base = make_map(side, side, text=text, example_id="e", direction=direction)
            writer.add(replace(base, checkpoint="by hand", weights=np.array(weights, dtype=np.float32)))
    write_gold(tmp_path / "gold.jsonl", [make_gold(base)])
    assert report(tmp_path, "--threshold", "0.2") == 0
    frame = pd.read_csv(tmp_path / "report" / "extractions.csv")
    frame = frame[(frame["checkpoint"] == "by hand") & (frame["direction"] == "t2s")].set_index("links")
    wanted = {
        "argmax": (3, 2),  # (0,0) (1,1) (2,1)
        "mutual": (2, 1),  # (0,0) (2,1): column 1 is heaviest in row 2
        "both-directions": (2, 2),  # above 0.2 here and on the diagonal there
        "itermax": (3, 2),  # and (1,1): 0.9 * 0.6, where the rest of column 1 is closed
        "itermax-simalign": (3, 2),  # row and column 0 are linked, so the package goes on like the paper
        "threshold": (5, 2),  # (0,0) (0,1) (1,0) (1,1) (2,1)
        "monotone": (3, 3),  # row 2 begins at column 1 at the latest, and ends at column 2, where every path ends
    }
    for way, (predicted, hits) in wanted.items():
        row = frame.loc[way]
        assert (row["links_predicted"], row["links_hit_sure"]) == (predicted, hits), way
        assert row["precision"] == pytest.approx(hits / predicted) and row["recall"] == pytest.approx(hits / 3)


def test_one_direction_lacks_one_extraction_and_says_so(tmp_path, capsys):
    golds = {}
    with MapStoreWriter(tmp_path / "maps", provenance=PROVENANCE) as writer:
        for example_id, text in TEXTS.items():
            for gold, amap in example_maps(example_id, text):
                golds[example_id] = gold
                if (amap.checkpoint, amap.direction) == ("good", "t2s"):
                    writer.add(amap)
    write_gold(tmp_path / "gold.jsonl", golds)
    assert report(tmp_path) == 0
    assert "note: 6 maps lack that of the other direction" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "report" / "extractions.csv")
    assert "both-directions" not in set(frame.loc[frame["checkpoint"] == "good", "links"])


def test_the_figure_shows_the_frame(store, capsys):
    from probe.plotting.extractions import PANEL_COLUMNS, extractions_figure

    assert report(store) == 0
    frame = pd.read_csv(store / "report" / "extractions.csv")
    frame = frame[(frame["direction"] == "t2s") & ~frame["checkpoint"].str.startswith("baseline:")]
    axes = {ax.get_label(): ax for ax in extractions_figure(frame, "t2s").axes}
    assert set(axes) == {name for column in PANEL_COLUMNS for name in column}
    for score, ax in axes.items():
        assert sorted(bar.get_width() for bar in ax.patches) == pytest.approx(sorted(frame[score]))
        intervals = [line.get_segments()[0] for line in ax.collections if line.get_gid() == "interval"]
        assert sorted(ends[0][0] for ends in intervals) == pytest.approx(sorted(frame[f"{score}_low"]))
        assert [label.get_text() for label in ax.get_yticklabels()] == list(dict.fromkeys(frame["links"]))
