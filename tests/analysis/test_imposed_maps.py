"""`python -m analysis.imposed_maps`: rows for every map, and the numbers of the loss itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import imposed_maps
from analysis.imposed_maps import ImposedOptions
from probe import cli
from probe.distillation.dataset import paired_batch
from probe.distillation.imposed import imposed_map
from probe.distillation.losses.attended import dskd_cma
from probe.distillation.losses.terms import Heads
from probe.distillation.steps import paired_states
from probe.models.checkpoint import load_checkpoint
from tests.support import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("imposed")
    patch = pytest.MonkeyPatch()
    patch.setenv("PROBE_CACHE", str(root / "cache"))
    teacher = tiny.model_directory(root / "teacher", "llama", "sentencepiece")
    for number, name in enumerate(("one", "two")):
        tiny.checkpoint_directory(root / name, teacher, seed=number)
    tiny.checkpoint_directory(root / "bytes", teacher, method="dskd-cma-b")
    tiny.data_file(root / "data.jsonl")
    yield root
    patch.undo()


def command(root, out: str, *more: str) -> int:
    options = ["--checkpoint", str(root / "one"), "--data", str(root / "data.jsonl"), "--out", str(root / out)]
    return cli.main(imposed_maps.build_parser, imposed_maps.run, [*options, "--resamples", "200", *more])


def test_every_map_is_measured_and_compared_with_the_own_one(made, capsys) -> None:
    assert command(made, "out", "--other", str(made / "two"), "--json") == 0
    values = json.loads(capsys.readouterr().out)
    frame = pd.read_csv(made / "out/imposed_maps.csv")
    assert len(values["rows"]) == len(frame) == 3 * 6
    assert list(frame["map"].unique()) == ["own", "two", "span", "chunk", "uniform", "permuted"]
    assert frame["difference"].isna().tolist() == (frame["map"] == "own").tolist()
    assert (frame["n_examples"] == 6).all() and frame["signature"].str.contains("gold:none").all()
    inside = (frame["low"] <= frame["value"] + 1e-9) & (frame["value"] <= frame["high"] + 1e-9)
    assert inside.all()
    own = frame[frame["map"] == "own"].set_index("measure")["value"]
    other = frame[frame["map"] != "own"]
    expected = other["value"] - other["measure"].map(own)
    assert other["difference"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-12)
    assert (made / "out/imposed_maps.png").read_bytes()[:4] == b"\x89PNG"
    options = ImposedOptions(made / "data.jsonl", other=(made / "two",), resamples=200)
    table, _ = imposed_maps.write_files(imposed_maps.measure([made / "one"], options), made / "library")
    assert table.read_bytes() == (made / "out/imposed_maps.csv").read_bytes()  # from Python, without a command


@pytest.mark.parametrize("name", ["one", "bytes"])
def test_the_numbers_are_those_of_the_loss(made, name: str) -> None:
    """t2s cross-entropy and correct answers under the uniform map are dskd_cma's, called with that map."""
    options = ImposedOptions(made / "data.jsonl")
    said: list[str] = []
    setup = imposed_maps.setup_of(load_checkpoint(made / name), options, said.append)
    if name == "bytes":
        torch.nn.init.constant_(setup.attention.offset.weight, 0.5)  # offset values count under any map
    spans = [(pair.student.axis.spans, pair.teacher.axis.spans) for pair in setup.training]
    maps = [imposed_map(pair, "uniform") for pair in setup.training]
    counts = imposed_maps.counts_of(setup, [one.t2s for one in maps])
    batch = paired_batch(setup.training)
    student, teacher = setup.trained.student, setup.teacher
    with torch.no_grad():
        states = paired_states(
            student, batch.student, batch.teacher, teacher.embeddings, teacher.hidden(setup.training)
        )
        terms = dskd_cma(
            states, setup.attention, Heads(student.get_output_embeddings().weight, teacher.head), setup.normalisation,
            maps=[one.t2s for one in maps], s2t_maps=[one.s2t for one in maps], spans=spans,
        )  # fmt: skip
    assert counts["t2s_ce"][:, 0].sum() == pytest.approx(float(terms.t2s_ce), rel=1e-5)
    assert counts["t2s_accuracy"][:, 0].sum() == float(terms.t2s_correct)
    assert counts["t2s_ce"][:, 1].tolist() == list(states.student_lengths)
    assert (counts["t2s_kl"][:, 0] > 0).all()  # at every position, not only where t2s is right


def test_an_own_map_against_itself_differs_by_nothing() -> None:
    mine = {name: np.array([[1.0, 2], [3.0, 4]]) for name in imposed_maps.MEASURES}
    options = ImposedOptions(Path("unread"), resamples=100)
    found = imposed_maps.numbers({"own": mine, "copy": mine}, "copy", "t2s_ce", options)
    assert found["value"] == pytest.approx(4 / 6)
    assert found["difference"] == 0 and found["p_permutation"] == 1.0


def test_gold_that_lacks_an_example_is_bad_data(made, capsys) -> None:
    gold = made / "gold.pharaoh"
    gold.write_text("t0\t0-0\n")
    assert command(made, "none", "--gold", str(gold)) == 3
    assert "found none for 5" in capsys.readouterr().err and not (made / "none").exists()
