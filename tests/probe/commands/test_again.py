"""Commands that are run a second time, quietly, or to ask where a setting comes from."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from analysis import imposed_maps
from probe import cli
from probe.__main__ import main
from probe.distillation.config import TrainConfig, origins, read_recipe
from probe.distillation.dry_run.report import _setting_lines
from probe.errors import UsageError
from probe.files import sha256_of
from probe.plotting.sensitivity import sensitivity_figure
from tests.support import tiny


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    root = tmp_path_factory.mktemp("again")
    tiny.model_directory(root / "teacher", "llama", "bpe", width=16, seed=1)
    tiny.checkpoint_directory(root / "cma", root / "teacher")
    tiny.data_file(root / "data.jsonl")
    return root


def extract(room, *options: str) -> int:
    argv = ["extract", "--checkpoint", f"{room}/cma", "--data", f"{room}/data.jsonl", "--out", f"{room}/maps"]
    return main([*argv, *options])


def test_a_finished_extraction_is_left_alone_and_says_so(room, capsys):
    assert extract(room) == 0
    made = {file.name: (sha256_of(file), file.stat().st_mtime_ns) for file in (room / "maps").iterdir()}
    capsys.readouterr()
    assert extract(room) == 0
    assert "is there already, made by this command" in capsys.readouterr().out
    assert extract(room, "--json") == 0 and json.loads(capsys.readouterr().out)["made_before"] is True
    assert made == {f.name: (sha256_of(f), f.stat().st_mtime_ns) for f in (room / "maps").iterdir()}
    assert extract(room, "--direction", "t2s") == 2  # other options: what is there is not what is wanted
    assert "exists already" in capsys.readouterr().err
    with open(room / "data.jsonl", "a") as data:  # other texts
        data.write('{"prompt": "", "output": "more"}\n')
    assert extract(room) == 2
    assert extract(room, "--overwrite", "--quiet") == 0 and capsys.readouterr().out == ""
    (room / "maps" / "index.parquet").write_bytes(b"damaged")
    assert extract(room) == 2


def test_quiet_leaves_errors_and_json(room, capsys):
    assert main(["verify", f"{room}/cma", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["verify", f"{room}/cma", "--quiet", "--json"]) == 0 and capsys.readouterr().out.startswith(("[", "{"))
    assert main(["verify", f"{room}/none", "--quiet"]) == 4 and "error: " in capsys.readouterr().err
    assert main(["verify", f"{room}/cma"]) == 0 and "ok: " in capsys.readouterr().out
    cli.note("said")
    assert capsys.readouterr().err == "said\n"


def test_settings_say_where_they_come_from(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nmethod: sft\nstudent: s\nteacher: t\ndata: [a.jsonl]\nsteps: 7\nseed: 1\n")
    overrides = ["seed=2", "batch_size=8"]
    found = origins(recipe, overrides)
    assert {name for name, source in found.items() if source == "--set"} == {"seed", "batch_size"}
    written = {"name", "method", "student", "teacher", "data", "steps"}
    assert {name for name, source in found.items() if source == "recipe"} == written
    assert set(found) == set(TrainConfig.__dataclass_fields__)
    lines = [line.split() for line in _setting_lines(read_recipe(recipe, overrides), found)][1:]
    shown = {line[line[0] == "*"]: line[(line[0] == "*") + 1 :] for line in lines}
    assert shown["seed"] == ["--set", "2"] and shown["steps"] == ["recipe", "7"]
    assert shown["max_length"][0] == "default"
    with pytest.raises(UsageError, match="no recipe at"):
        origins(tmp_path / "none.yaml")


def test_imposed_maps_say_units_and_which_way_is_better():
    row = {"checkpoint": "cma", "map": "own", "n_examples": 2, "n_positions": 9, "value": 1.0, "low": 0.5, "high": 1.5,
           "difference": float("nan"), "p_holm": float("nan")}  # fmt: skip
    frame = pd.DataFrame([{**row, "measure": name} for name in imposed_maps.MEASURES])
    head, units = list(imposed_maps.lines_of(frame, []))[1:3]
    for name, unit in imposed_maps.UNITS.items():
        assert head.index(name) + len(name) == units.index(unit, head.index(name) + len(name) - 44) + len(unit)
    assert set(imposed_maps.UNITS) == set(imposed_maps.MEASURES)


def test_what_moves_most_leads_the_figure():
    moved = {"still": 0.0, "little": 0.1, "much": -0.4, "some": 0.2}
    rows = [
        {"factor": factor, "value": str(k), "a": 0.5 + k * by, "a_change": k * by, "largest_weight_change": 0.0}
        for factor, by in moved.items()
        for k in (0, 1)
    ]
    figure = sensitivity_figure(pd.DataFrame(rows), ("a",))
    places = {str(ax.get_label()): ax.get_position() for ax in figure.axes}
    rank = sorted(moved, key=lambda name: (-round(places[name].y1, 3), places[name].x0))
    assert rank == ["much", "some", "little", "still"]
