"""The batch export through its real command: names, manifest, resume, workers, refusals."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.export_heatmaps import build_parser, run
from analysis.heatmaps import drawing
from analysis.heatmaps.files import ManifestLine, file_names, source_hash
from probe import cli
from probe.errors import DiskError
from probe.files import sha256_of
from probe.gold.reading import Gold, write_gold
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore, MapStoreWriter
from probe.text.axis import TokenAxis

AXIS = TokenAxis(("a", "b", "‹eos›"), ("a", "b", "</s>"), (1, 2, 0), ((0, 1), (1, 2), (2, 2)))
WEIGHTS = np.array([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)
PROVENANCE = {"student_tokenizer": "s" * 16, "teacher_tokenizer": "t" * 16}
DIAGONAL = frozenset({(0, 0), (1, 1), (2, 2)})


def make_map(example_id: str = "ex-0", direction: str = "t2s", **changes) -> AttentionMap:
    weights = WEIGHTS if direction == "t2s" else WEIGHTS.T.copy()
    amap = AttentionMap(example_id, "prose", "ck", "dskd-cma", direction, "frozen", "ab", AXIS, AXIS, weights)
    return dataclasses.replace(amap, **changes)


def make_gold(example_id: str = "ex-0", **changes) -> Gold:
    gold = Gold(example_id, "ab", AXIS.tokens, AXIS.tokens, "s" * 16, "t" * 16, DIAGONAL, DIAGONAL)
    return dataclasses.replace(gold, **changes)


def write_store(path: Path, maps) -> Path:
    with MapStoreWriter(path, provenance=PROVENANCE) as writer:
        for amap in maps:
            writer.add(amap)
    return path


@pytest.fixture
def room(tmp_path) -> Path:
    write_store(tmp_path / "maps", [make_map(k, d) for k in ("ex-0", "ex-1") for d in ("t2s", "s2t")])
    write_gold(tmp_path / "gold.jsonl", [make_gold("ex-0"), make_gold("ex-1")])
    return tmp_path


def export(room: Path, *options: str, workers: int = 1) -> int:
    return cli.main(build_parser, run, [f"{room}/maps", "--out", f"{room}/out", "--workers", str(workers), *options])


def refused(room: Path, capsys, code: int, words: str, *options: str) -> None:
    assert export(room, *options) == code
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == "" and "Traceback" not in captured.err
    assert not (room / "out").exists()


def manifest(room: Path) -> pd.DataFrame:
    return pd.read_csv(room / "out" / "manifest.csv", index_col="file")


def test_a_file_for_each_map_with_its_scores(room, capsys):
    assert export(room, "--gold", f"{room}/gold.jsonl") == 0
    names = [f"ex-{k}--ck--{d}.png" for k in (0, 1) for d in ("t2s", "s2t")]
    assert sorted(os.listdir(room / "out")) == sorted([".journal.jsonl", "manifest.csv", *names])
    table = manifest(room)
    assert list(table.index) == names
    row = table.loc["ex-1--ck--t2s.png"]
    assert (row.example_id, row.checkpoint, row.method, row.direction) == ("ex-1", "ck", "dskd-cma", "t2s")
    assert row.top1_sure == pytest.approx(2 / 3)  # rows 0 and 2 hit the diagonal
    assert row.gold_mass_sure == pytest.approx((0.8 + 0.3 + 0.8) / 3, abs=1e-3)
    assert (row.n_student, row.n_teacher, row.n_positions, row.schema_version) == (3, 3, 3, 1)
    for name in names:
        assert (room / "out" / name).read_bytes()[:4] == b"\x89PNG"
        assert table.loc[name].sha256 == sha256_of(room / "out" / name)
    assert "4 heatmaps drawn, 0 kept" in capsys.readouterr().out


def test_two_workers_write_the_same_bytes(room):
    assert export(room, "--gold", f"{room}/gold.jsonl", "--format", "svg") == 0
    (room / "out").rename(room / "one")
    assert export(room, "--gold", f"{room}/gold.jsonl", "--format", "svg", workers=2) == 0
    names = sorted(os.listdir(room / "one"))
    assert sorted(os.listdir(room / "out")) == names and len(names) == 6
    for name in names:
        assert (room / "one" / name).read_bytes() == (room / "out" / name).read_bytes(), name


def test_resume_draws_only_what_is_missing_or_would_differ(room, capsys):
    export(room)
    os.remove(room / "out" / "ex-0--ck--s2t.png")  # missing
    (room / "out" / "ex-1--ck--t2s.png").write_bytes(b"half a picture")  # altered
    before = {name: (room / "out" / name).stat().st_mtime_ns for name in os.listdir(room / "out")}
    capsys.readouterr()
    assert export(room, "--resume", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["drawn"], report["kept"], report["without_gold"]) == (4, 2, 2, 4)
    changed = {n for n, time in before.items() if (room / "out" / n).stat().st_mtime_ns != time and n.endswith("png")}
    assert changed == {"ex-1--ck--t2s.png"}
    assert len(manifest(room)) == 4
    write_gold(room / "gold.jsonl", [make_gold("ex-0")])  # gold for one example: its two pictures change
    assert export(room, "--resume", "--json", "--gold", f"{room}/gold.jsonl") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["drawn"], report["kept"], report["without_gold"]) == (2, 2, 2)
    assert manifest(room).loc["ex-0--ck--t2s.png"].top1_sure == pytest.approx(2 / 3)
    assert np.isnan(manifest(room).loc["ex-1--ck--t2s.png"].top1_sure)


def test_an_interrupted_export_is_resumed(room, monkeypatch, capsys):
    draw, calls = drawing._draw, []

    def interrupted(job, **options) -> ManifestLine:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(job)
        return draw(job, **options)

    monkeypatch.setattr(drawing, "_draw", interrupted)
    assert export(room) == 130
    assert not (room / "out" / "manifest.csv").exists()
    with open(room / "out" / ".journal.jsonl", "a") as journal:
        journal.write('{"file": "cut off')
    monkeypatch.undo()
    capsys.readouterr()
    assert export(room, "--resume") == 0
    assert "2 heatmaps drawn, 2 kept" in capsys.readouterr().out
    assert len(manifest(room)) == 4


def test_a_full_disk_is_one_message_and_leaves_nothing(room, monkeypatch, capsys):
    def full(job, **options):
        raise DiskError("cannot write the picture: No space left on device")

    monkeypatch.setattr(drawing, "_draw", full)
    refused(room, capsys, 6, "No space left")


def test_choosing_maps(room):
    assert export(room, "--direction", "s2t", "--examples", "ex-1", "--checkpoint", "ck") == 0
    assert list(manifest(room).index) == ["ex-1--ck--s2t.png"]
    assert export(room, "--limit", "3") == 0
    assert len(manifest(room)) == 3


def test_refusals(room, capsys):
    gold = f"{room}/gold.jsonl"
    refused(room, capsys, 2, "--examples ex-7: ", "--examples", "ex-0", "ex-7")
    refused(room, capsys, 2, "--checkpoint sft: ", "--checkpoint", "sft")
    refused(room, capsys, 2, "bmp", "--format", "bmp")
    refused(room, capsys, 2, "--workers", "--workers", "0")
    refused(room, capsys, 3, "gold.json", "--gold", f"{room}/none/gold.jsonl")
    write_gold(gold, [make_gold("other")])
    refused(room, capsys, 3, "none of its 1 alignments", "--gold", gold)
    write_gold(gold, [make_gold(student_tokens=("a", "B", "‹eos›"))])
    refused(room, capsys, 3, "first difference at index 1", "--gold", gold)
    write_gold(gold, [make_gold(student_tokenizer="x" * 16)])
    refused(room, capsys, 3, "another student tokenizer", "--gold", gold)
    shard = room / "maps" / "maps-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    refused(room, capsys, 4, "maps-00000")


def test_an_empty_store_has_nothing_to_draw(tmp_path, capsys):
    write_store(tmp_path / "maps", [])
    refused(tmp_path, capsys, 2, "has no map for these options (0 maps in all)")


HOSTILE = [
    "a/b", "a_b", "A_B", "../../etc/passwd", "/etc/passwd", "..", "", ".hidden", "-rf", "con", "日本語", "語",
    "x\n\t\0y", "x" * 300, "x" * 299 + "y", "a b", "a  b", "=1+1", "é", "e\u0301", "ok-1.2_3",
]  # fmt: skip


def test_hostile_ids_give_safe_and_different_names(tmp_path):
    maps = [make_map(name, d, checkpoint=c) for name in HOSTILE for d in ("t2s", "s2t") for c in ("ck", "../other")]
    maps += [make_map("ok-1.2_3", checkpoint="ck", normalisation="batch")]
    store = MapStore.open(write_store(tmp_path / "maps", maps))
    names = file_names(store, "png")
    assert len({name.casefold() for name in names}) == len(maps)
    for name in names:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"), name
        assert len(name) <= 200 and not name.startswith((".", "-")) and ".." not in name, name
    assert names[0].startswith("a_b--ck--t2s--")
    assert "con--ck--t2s.png" in names
    # Names do not depend on what else is chosen, and hardly on what else is in the store.
    assert file_names(store, "png") == names


def test_a_hostile_id_stays_in_the_folder(tmp_path):
    write_store(tmp_path / "maps", [make_map("../../escape"), make_map("=cmd|' /C calc'!A0")])
    assert export(tmp_path) == 0
    assert sorted(os.listdir(tmp_path)) == ["maps", "out"]
    assert manifest(tmp_path).example_id.tolist() == ["../../escape", "'=cmd|' /C calc'!A0"]


def test_the_source_hash_sees_everything_that_is_drawn():
    amap, gold = make_map(), make_gold()
    base = source_hash(amap, gold, "png")
    weights = WEIGHTS.copy()
    weights[0, :2] += np.float32([1e-3, -1e-3])
    assert source_hash(make_map(), make_gold(), "png") == base
    others = [
        source_hash(make_map(weights=weights), gold, "png"),
        source_hash(make_map(checkpoint="other"), gold, "png"),
        source_hash(make_map(truncated=True), gold, "png"),
        source_hash(amap, None, "png"),
        source_hash(amap, make_gold(sure=frozenset({(0, 0)})), "png"),
        source_hash(amap, gold, "svg"),
    ]
    assert len({base, *others}) == 7


def test_help_shows_examples_and_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, analysis.export_heatmaps as e; e.build_parser().print_help();"
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout and "--resume" in done.stdout
    assert done.stdout.strip().endswith("[]")
