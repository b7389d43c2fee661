"""Sensitivity: what theory says must not move does not, what must move does, and the changes are differences."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis import sensitivity
from analysis.sensitivity import FACTORS, SCORES_IN_FIGURE
from probe import cli
from probe.extraction.extractor import Extractor
from probe.gold.reading import read_gold, write_gold
from probe.scoring.alignment import span_gold
from probe.scoring.extractions import WAYS, extractions
from probe.scoring.metrics import LinkCounts, MapMetric, score_map
from probe.text.examples import read_examples
from tests.support import tiny


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("room")
    tiny.model_directory(root / "teacher", "llama", "bpe", width=16, seed=1)
    tiny.checkpoint_directory(root / "cma", root / "teacher")
    tiny.data_file(root / "data.jsonl")
    extractor = Extractor.load([root / "cma"])
    prints = (extractor.tokenizer.student_fingerprint, extractor.tokenizer.teacher_fingerprint)
    maps = extractor.maps(read_examples(root / "data.jsonl"), direction="t2s")
    write_gold(root / "gold.jsonl", [span_gold(a.example_id, a.text, a.student, a.teacher, prints) for a in maps])
    return root


def command(room, *options, gold="gold.jsonl"):
    argv = ["--checkpoint", f"{room}/cma", "--data", f"{room}/data.jsonl", "--gold", f"{room}/{gold}"]
    return cli.main(sensitivity.build_parser, sensitivity.run, [*argv, "--out", f"{room}/out", *options])


@pytest.fixture(scope="module")
def frame(room):
    assert command(room) == 0
    return pd.read_csv(room / "out/sensitivity.csv")


def test_every_factor_has_its_values(frame):
    for factor, (name, settings) in FACTORS.items():
        part = frame[frame["factor"] == factor]
        assert part["value"].tolist() == [str(getattr(setting, name)) for setting in settings]
        assert part["signature"].str.startswith("method:").all() and (part["schema_version"] == 1).all()
    normalisations = frame[frame["factor"] == "normalisation"]["value"].tolist()
    assert normalisations == ["frozen", "batch", "masked", "example"]


def test_changes_are_differences_from_the_first_value(frame):
    for _, part in frame.groupby("factor"):
        for name in SCORES_IN_FIGURE:
            np.testing.assert_allclose(part[f"{name}_change"], part[name] - part[name].iloc[0], atol=1e-12)


def test_frozen_maps_move_with_nothing_that_surrounds_them(frame):
    frozen = frame[frame["factor"].isin(["padding, frozen", "batch size, frozen"])]
    assert (frozen["largest_weight_change"] < 1e-6).all()
    changes = frozen[[name for name in frame if name.endswith("_change")]]
    assert (changes.abs().to_numpy() < 1e-6).all()


def test_batch_normalised_maps_move_with_the_padding(frame):
    """Padding holds one embedding, so the keys' spread shrinks or grows, and with it every weight."""
    moved = frame.loc[frame["factor"] == "padding, batch", "largest_weight_change"].tolist()
    assert moved[0] == 0 and 0 < moved[1] < moved[2]


def test_a_scale_never_changes_which_cell_is_heaviest(frame):
    """σ divides all scores of a map by one number: top-1 and argmax links are the same under each normalisation."""
    part = frame[frame["factor"].isin(["normalisation", "padding, batch", "batch size, batch"])]
    for name in ("top1_sure", "top1_possible", "f1", "aer"):
        assert part[name].nunique() == 1
    assert part["gold_mass_possible"].nunique() > 1


def test_the_base_is_what_probe_score_says(room, frame):
    golds = read_gold(room / "gold.jsonl")
    maps = list(Extractor.load([room / "cma"]).maps(read_examples(room / "data.jsonl"), direction="t2s"))
    rows = np.concatenate([score_map(a, golds[a.example_id]).positions.top1_possible for a in maps])
    assert frame["top1_possible"].iloc[0] == pytest.approx(np.nanmean(rows))


def test_link_scores_are_those_of_the_extractions_table(room, frame):
    golds = read_gold(room / "gold.jsonl")
    maps = {
        (amap.example_id, amap.direction): amap
        for direction in ("t2s", "s2t")
        for amap in Extractor.load([room / "cma"]).maps(read_examples(room / "data.jsonl"), direction=direction)
    }
    sums = dict.fromkeys(WAYS, LinkCounts())
    for name, gold in golds.items():
        pair = maps[name, "t2s"], maps[name, "s2t"]
        for found in extractions(pair[0], gold, MapMetric(), other=pair[1], digest="x"):
            sums[found.links] += found.counts
    rows = frame[frame["factor"] == "links"].set_index("value")
    for way, counts in sums.items():
        assert (rows.loc[way, "precision"], rows.loc[way, "aer"]) == pytest.approx((counts.precision, counts.aer))
        assert counts.predicted > 0 and rows.loc[way, "f1"] == pytest.approx(counts.f1)


def test_table_json_and_figure(room, capsys):
    assert command(room, "--json", "--limit", "2") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["settings"][0]["n_examples"] == 2 and len(values["settings"]) == sum(
        len(s) for _, s in FACTORS.values()
    )
    assert (room / "out/sensitivity.png").read_bytes()[:4] == b"\x89PNG"
    assert command(room) == 0
    assert "largest weight change" in capsys.readouterr().out


def test_the_figure_shows_the_frame(frame):
    from probe.plotting.sensitivity import sensitivity_figure

    axes = {ax.get_label(): ax for ax in sensitivity_figure(frame, SCORES_IN_FIGURE).axes}
    assert set(axes) == set(FACTORS)
    for factor, ax in axes.items():
        part = frame[frame["factor"] == factor]
        wanted = sorted(part[list(SCORES_IN_FIGURE)].to_numpy().ravel())
        assert sorted(patch.get_width() for patch in ax.patches) == pytest.approx(wanted)
        assert [label.get_text() for label in ax.get_yticklabels()] == part["value"].tolist()


def test_gold_of_other_examples_is_refused(room, capsys):
    lines = (room / "gold.jsonl").read_text().replace('"id": "', '"id": "other-').replace('"id":"', '"id":"other-')
    (room / "other.jsonl").write_text(lines)
    assert command(room, gold="other.jsonl") == 3
    assert "is for an example of" in capsys.readouterr().err
