"""Every command that writes CSV, on maps, texts and checkpoints whose every name is a formula: no cell lives."""

from __future__ import annotations

import ast
import importlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.data import downloads, view
from app.server import export_worker
from probe import __main__ as probe_main
from probe import cli
from probe.gold.reading import write_gold
from probe.maps.store import MapStore, MapStoreWriter
from probe.scoring.alignment import span_gold
from tests.support import ROOT, tiny
from tests.support.aligned import axis, make_gold, make_map
from tests.support.payloads import FORMULAS
from tests.support.reports import PROVENANCE
from tests.support.spreadsheet import live_cells

NAMES = ("=1+1", "@SUM(A1;=2)")  # of checkpoints, which are directories
WRITERS = {  # who writes CSV: each is run below
    "probe/scoring/report.py", "probe/commands/gold_agree.py", "probe/evaluation/evaluate.py",
    "analysis/failures.py", "analysis/heatmaps/files.py", "analysis/key_query.py", "analysis/sensitivity.py",
    "analysis/imposed_maps.py", "app/data/downloads.py", "app/server/export_worker.py",
}  # fmt: skip
UNTRIED = {  # not run here, and why
    "probe/distillation/probe_curve.py": "its only string is a signature of ours",
    "probe/distillation/stopping.py": "the same",
    "probe/distillation/held_out.py": "its ids and categories go through the same write_csv",
    "probe/api.py": "Maps.to_csv: the same cells as the downloads of the dashboard",
    "probe/notebook/one_map.py": "the same for one map",
    "probe/commands/pair.py": "its own tests write tokens of a hostile tokenizer",
    "analysis/aligners.py": "names of aligners and of pairs, which the command line gives",
    "analysis/study/records.py": "names of arms, which a plan of ours gives",
    "analysis/study/command.py": "the same",
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A store in which ids, categories, checkpoints, methods and tokens are formulas, and its gold."""
    folder = tmp_path_factory.mktemp("stored")
    known = [formula for formula in FORMULAS if "\udc80" not in formula]  # no store holds half a character
    golds = {}
    with MapStoreWriter(folder / "maps", provenance=PROVENANCE) as writer:
        for number in range(12):
            pieces = known[number::12]
            text = "".join(pieces)
            side = axis(text, pieces)
            base = make_map(side, side, text=text, example_id=pieces[0], category=pieces[1])
            base = replace(base, student=replace(side, tokens=(*pieces, "=eos")))
            golds[base.example_id] = make_gold(base)
            for name, direction in ((n, d) for n in NAMES for d in ("t2s", "s2t")):
                weights = np.roll(np.eye(len(side)), len(name) % 3, axis=0).astype(np.float32)
                writer.add(replace(base, checkpoint=name, method=f"{name}|x", direction=direction, weights=weights))
    write_gold(folder / "gold.jsonl", golds)
    write_gold(folder / "second.jsonl", {name: replace(gold, annotator="=2;=3") for name, gold in golds.items()})
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Checkpoints that are named as formulas, and texts whose ids, categories, prompts and outputs are formulas."""
    folder = tmp_path_factory.mktemp("trained")
    teacher = tiny.model_directory(folder / "teacher", "llama", "sentencepiece")
    for number, name in enumerate(NAMES):
        tiny.checkpoint_directory(folder / name, teacher, method=("dskd-cma", "dskd-cma-ga")[number], seed=number)
    whole = [formula for formula in FORMULAS if not set(formula) & set("\udc80\x00")][::40]
    rows = [{"id": f, "category": f, "prompt": f"{f} why", "output": f"{f} because ab cd {f}"} for f in whole]
    tiny.write_jsonl(folder / "=data.jsonl", rows)
    checkpoints = [str(folder / name) for name in NAMES]
    extract = ["extract", "--checkpoint", *checkpoints, "--data", f"{folder}/=data.jsonl", "--out", f"{folder}/maps"]
    assert probe_main.main([*extract, "--direction", "t2s"]) == 0
    store = MapStore.open(folder / "maps")
    prints = (store.student_fingerprint, store.teacher_fingerprint)
    golds = [span_gold(a.example_id, a.text, a.student, a.teacher, prints) for a in store]
    write_gold(folder / "gold.jsonl", {gold.id: gold for gold in golds})
    return folder


def run(module: str, *options: object) -> int:
    command = importlib.import_module(module)
    return cli.main(command.build_parser, command.run, list(map(str, options)))


def checked(folder: Path) -> int:
    """Cells of the CSV files under a folder, none of which lives."""
    files = sorted(folder.rglob("*.csv"))
    found = {path: live_cells(path) for path in files}
    assert files and {path.name: cells.live for path, cells in found.items() if cells.live} == {}
    return sum(cells.count for cells in found.values())


STORED: dict[str, Callable[[Path, Path], int]] = {
    "score": lambda room, out: probe_main.main(
        ["score", f"{room}/maps", "--gold", f"{room}/gold.jsonl", "--out", str(out), "--resamples", "20"]
    ),
    "alignment_report": lambda room, out: run(
        "analysis.alignment_report", room / "maps", "--gold", room / "gold.jsonl", "--out", out, "--no-figures",
        "--resamples", 20, "--links", "both-directions",
    ),
    "failures": lambda room, out: run("analysis.failures", room / "maps", "--gold", room / "gold.jsonl", "--out", out),
    "export_heatmaps": lambda room, out: run(
        "analysis.export_heatmaps", room / "maps", "--gold", room / "gold.jsonl", "--out", out, "--limit", 2,
        "--workers", 1,
    ),
    "gold agree": lambda room, out: probe_main.main(
        ["gold", "agree", f"{room}/gold.jsonl", f"{room}/second.jsonl", "--out", str(out / "agreement.csv")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", STORED)
def test_commands_on_stored_maps(stored, tmp_path, capsys, command):
    assert STORED[command](stored, tmp_path / "out") == 0, capsys.readouterr().err
    assert checked(tmp_path / "out") > {"failures": 3000, "export_heatmaps": 20, "gold agree": 100}.get(command, 20_000)


def _of_checkpoint(room: Path, module: str, out: Path, *more: object) -> int:
    return run(module, "--checkpoint", room / NAMES[0], *more, "--data", room / "=data.jsonl", "--out", out)


TRAINED: dict[str, Callable[[Path, Path], int]] = {
    "key_query": lambda room, out: _of_checkpoint(room, "analysis.key_query", out, room / NAMES[1], "--points", 20),
    "sensitivity": lambda room, out: _of_checkpoint(room, "analysis.sensitivity", out, "--gold", room / "gold.jsonl"),
    "imposed_maps": lambda room, out: _of_checkpoint(
        room, "analysis.imposed_maps", out, "--other", room / NAMES[1], "--resamples", 20
    ),
    "evaluate": lambda room, out: probe_main.main(
        ["evaluate", "--checkpoint", *(str(room / name) for name in NAMES), "--data", str(room / "=data.jsonl"),
         "--seeds", "1", "2", "--max-prompt-length", "64", "--max-new-tokens", "6", "--resamples", "20",
         "--out", str(out)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", TRAINED)
def test_commands_on_checkpoints(trained, tmp_path, capsys, monkeypatch, command):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    assert TRAINED[command](trained, tmp_path / "out") == 0, capsys.readouterr().err
    assert checked(tmp_path / "out") > 50


def test_what_the_dashboard_gives_to_take_home(stored, tmp_path):
    store = MapStore.open(stored / "maps")
    maps, gold = str(stored / "maps"), str(stored / "gold.jsonl")
    job = export_worker.Job(maps, gold, [0, 5], ["csv"], str(tmp_path / "e.zip"), {})
    (tmp_path / "job.json").write_text(export_worker.job_text(job), encoding="utf-8")
    assert run("app.server.export_worker", tmp_path / "job.json") == 0
    with zipfile.ZipFile(tmp_path / "e.zip") as archive:
        archive.extractall(tmp_path / "zip")
    amap = store.read(3)
    window = view.Window((0, 20), (0, 20))
    shown = view.Shown(amap, None, "token", window, view.map_cells(amap, None, window))
    (tmp_path / "zip/cells.csv").write_bytes(downloads.csv_bytes([shown]))
    assert checked(tmp_path / "zip") > 5000


def test_nobody_writes_csv_in_another_way():
    """Whoever writes CSV does so by ``write_csv`` and is one of the commands above."""
    files = [path for room in ("probe", "app", "analysis") for path in sorted((ROOT / room).rglob("*.py"))]
    callers: dict[str, set[str]] = {}
    for path in files:
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        for call in calls:
            callers.setdefault(ast.unparse(call.func).split(".")[-1], set()).add(str(path.relative_to(ROOT)))
    assert callers["write_csv"] == WRITERS | set(UNTRIED)
    assert callers["to_csv"] == {"probe/scoring/tables.py"} and not {"writer", "DictWriter"} & set(callers)


def test_half_a_character_is_refused_and_not_written(tmp_path, capsys):
    """Lone surrogates come in by JSON escapes: as an id, a category, or a text."""
    teacher = tiny.model_directory(tmp_path / "teacher", "llama", "sentencepiece")
    tiny.checkpoint_directory(tmp_path / "one", teacher)
    for field in ("id", "category", "prompt", "output"):
        row = {"id": "a", "category": "b", "prompt": "c", "output": "d", field: "=\udc80"}
        (tmp_path / "data.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        extract = ["extract", "--checkpoint", f"{tmp_path}/one", "--data", f"{tmp_path}/data.jsonl"]
        assert probe_main.main([*extract, "--out", f"{tmp_path}/maps"]) == 3
        assert "half of a surrogate pair" in capsys.readouterr().err and not (tmp_path / "maps").exists()
