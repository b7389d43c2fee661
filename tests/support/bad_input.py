"""The table of bad input: what is done to a good room, the command that meets it, the exit code, the words it must say.

``{d}`` in a command is a fresh copy of the room: teacher/, cma/, ga/, sft/, data.jsonl, maps/, gold.jsonl, recipe.yaml.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from probe.files import MANIFEST, write_manifest
from probe.gold.reading import write_gold
from probe.maps import store as map_store
from probe.maps.store import MapStore
from probe.models import checkpoint
from probe.scoring.alignment import span_gold
from tests.support import tiny

Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """``command`` is run after ``damage`` was done; ``code`` and ``says`` (all of them, in any case) are demanded."""

    name: str
    command: str
    code: int
    says: tuple[str, ...]
    damage: Damage = lambda room: None


def case(name: str, command: str, code: int, *says: str, damage: Damage = lambda room: None) -> Case:
    return Case(name, command, code, says, damage)


def build_room(root: Path) -> Path:
    """Everything good; each case spoils one thing in a copy."""
    from probe.__main__ import main

    tiny.model_directory(root / "teacher", "llama", "bpe", width=16, seed=1)
    tiny.checkpoint_directory(root / "cma", root / "teacher")
    tiny.checkpoint_directory(root / "ga", root / "teacher", method="dskd-cma-ga", seed=2)
    tiny.checkpoint_directory(root / "sft", root / "teacher", method="sft")
    tiny.data_file(root / "data.jsonl")
    assert main(fill("extract --checkpoint {d}/cma {d}/ga --data {d}/data.jsonl --out {d}/maps", root)) == 0
    store = MapStore.open(root / "maps")
    prints = (store.student_fingerprint, store.teacher_fingerprint)
    maps = [store.read(row) for row in store.select(checkpoint="cma", direction="t2s")]
    write_gold(root / "gold.jsonl", [
        span_gold(amap.example_id, amap.text, amap.student, amap.teacher, prints) for amap in maps
    ])  # fmt: skip
    (root / "recipe.yaml").write_text(
        "name: tiny\nmethod: dskd-cma\nstudent: {d}/sft\nteacher: {d}/teacher\ndata: [{d}/data.jsonl]\n"
        "held_out: 2\nsteps: 2\nbatch_size: 2\nmax_length: 64\ncalibration: 2\n"
    )
    return root


def fill(command: str, room: Path) -> list[str]:
    """The words of a command, with ``{d}`` filled in."""
    return [word.replace("{d}", str(room)) for word in command.split()]


# --- damage: each returns what spoils a room ------------------------------------------------------


def data(*lines: str | bytes) -> Damage:
    """Another data.jsonl."""
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return lambda room: (room / "data.jsonl").write_bytes(b"".join(line + b"\n" for line in raw))


def record(**changes: Any) -> Damage:
    """A data.jsonl whose second line has other values (``...`` drops the key)."""
    good = {"prompt": "Say a.", "output": "a b c"}
    second = {key: value for key, value in {**good, **changes}.items() if value is not ...}
    return data(json.dumps(good), json.dumps(second))


def write(name: str, text: str | bytes) -> Damage:
    return lambda room: (room / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def remove(name: str) -> Damage:
    return lambda room: (room / name).unlink()


def flip(name: str, at: int = -40) -> Damage:
    """One bit of the file, by default in the last bytes of its data."""

    def damage(room: Path) -> None:
        raw = bytearray((room / name).read_bytes())
        raw[at] ^= 1
        (room / name).write_bytes(raw)

    return damage


def cut(name: str, keep: float = 0.5) -> Damage:
    def damage(room: Path) -> None:
        raw = (room / name).read_bytes()
        (room / name).write_bytes(raw[: int(len(raw) * keep)])

    return damage


def link(name: str) -> Damage:
    """The file becomes a symbolic link to a copy outside its directory."""

    def damage(room: Path) -> None:
        target = room / f"outside-{Path(name).name}"
        (room / name).rename(target)
        (room / name).symlink_to(target)

    return damage


def both(*damages: Damage) -> Damage:
    return lambda room: [damage(room) for damage in damages]


def resigned(damage: Damage, directory: str = "cma") -> Damage:
    """``damage`` by someone who writes a fitting manifest afterwards, so that only later checks can see it."""

    def both(room: Path) -> None:
        damage(room)
        place = room / directory
        manifest = json.loads((place / MANIFEST).read_text())
        (place / MANIFEST).unlink()
        write_manifest(place, manifest["kind"], manifest["schema_version"], manifest["provenance"])

    return both


def tensors(name: str = "cma/projectors.safetensors", **changes: torch.Tensor | None) -> Damage:
    """Other tensors in a safetensors file (``__`` stands for a dot; None drops one)."""

    def damage(room: Path) -> None:
        state = {**load_file(room / name), **{key.replace("__", "."): value for key, value in changes.items()}}
        save_file({key: value for key, value in state.items() if value is not None}, room / name, {"format": "pt"})

    return damage


def settings(name: str, **changes: Any) -> Damage:
    """Other values in a JSON file (``...`` drops the key)."""

    def damage(room: Path) -> None:
        values = {**json.loads((room / name).read_text()), **changes}
        (room / name).write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))

    return damage


def gold_line(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Damage:
    """The third gold record, changed."""

    def damage(room: Path) -> None:
        lines = (room / "gold.jsonl").read_text().splitlines()
        third = json.loads(lines[2])
        lines[2] = json.dumps({**third, **change(third)})
        (room / "gold.jsonl").write_text("\n".join(lines) + "\n")

    return damage


def pickled_student(room: Path) -> None:
    state = load_file(room / "cma/student/model.safetensors")
    torch.save(state, room / "cma/student/pytorch_model.bin")
    (room / "cma/student/model.safetensors").unlink()


def slow_tokenizer(room: Path) -> None:
    """A tokenizer in Python, which knows no offsets."""
    from transformers import ByT5Tokenizer

    for name in ("tokenizer.json", "tokenizer_config.json"):
        (room / "teacher" / name).unlink()
    ByT5Tokenizer().save_pretrained(room / "teacher")


def other_teacher(**options: Any) -> Damage:
    arguments = {"architecture": "llama", "tokenizer": "bpe", "width": 16, "seed": 1, **options}
    return lambda room: tiny.model_directory(room / "other", **arguments)


def stored_elsewhere(room: Path) -> None:
    (room / "again").mkdir()
    os.rename(room / "ga", room / "again" / "cma")


def twice(name: str) -> Damage:
    """A map store whose first map is in the index twice; with a column's name, one whose second has no value there."""

    def damage(room: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = room / "maps/index.parquet"
        table = pq.read_table(path)
        rows = table.to_pylist()
        rows[1] = {**rows[1], name: None} if name else {**rows[0], "key": rows[1]["key"]}
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)

    return resigned(damage, "maps")


def piped(name: str) -> Damage:
    """A named pipe, which nobody writes to."""

    def damage(room: Path) -> None:
        (room / name).unlink()
        os.mkfifo(room / name)

    return damage


def looped(name: str) -> Damage:
    """The file or folder becomes a link to itself."""

    def damage(room: Path) -> None:
        if (room / name).exists():
            (room / name).rename(room / "aside")
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).symlink_to(room / name)

    return damage


NAN = torch.full((32, 24), math.nan)
HUGE_HEADER = struct.pack("<Q", 1 << 60) + b"{}"
LIE = b'{"query.weight":{"dtype":"F32","shape":[9999,9999],"data_offsets":[0,399920004]}}'
LIAR_HEADER = struct.pack("<Q", len(LIE)) + LIE
EXTRACT = "extract --checkpoint {d}/cma --data {d}/data.jsonl --out {d}/out/maps"
SCORE = "score {d}/maps --gold {d}/gold.jsonl --resamples 50 --out {d}/out/report"
REPORT = "alignment_report {d}/maps --gold {d}/gold.jsonl --resamples 50 --out {d}/out/report"
HEATMAPS = "export_heatmaps {d}/maps --gold {d}/gold.jsonl --out {d}/out/png"
TRAIN = "train {d}/recipe.yaml --out {d}/out/run"
EVALUATE = "evaluate --checkpoint {d}/cma --data {d}/data.jsonl --max-prompt-length 64 --max-new-tokens 2 --seeds 10"
SHARD = "maps/maps-00000.safetensors"

EXAMPLES_FILE = [
    case("data missing", EXTRACT, 3, "data.jsonl", "does not exist", damage=remove("data.jsonl")),
    case("data is a directory", EXTRACT.replace("data.jsonl", "teacher"), 3, "is a directory"),
    case("data empty", EXTRACT, 3, "data.jsonl:1", "holds no example", damage=data()),
    case("data all blank", EXTRACT, 3, "holds no example", damage=data("", "  ")),
    case("broken JSON", EXTRACT, 3, "data.jsonl:2", "not JSON", damage=data('{"prompt": "a", "output": "b"}', "{")),
    case("truncated JSON", EXTRACT, 3, "data.jsonl:1", damage=data('{"prompt": "a", "output": "b')),
    case("a JSON array", EXTRACT, 3, "data.jsonl:1", "a list", damage=data('[{"prompt": "a", "output": "b"}]')),
    case("JSON nested too deep", EXTRACT, 3, "data.jsonl:1", damage=data("[" * 100_000)),
    case("NaN in JSON", EXTRACT, 3, "data.jsonl:1", "NaN", damage=data('{"prompt": "a", "output": "b", "x": NaN}')),
    case("wrong output key", EXTRACT, 3, "data.jsonl:2", "rename 'response'", damage=record(output=..., response="x")),
    case("no prompt", EXTRACT, 3, "data.jsonl:2", "'instruction'", damage=record(prompt=...)),
    case("output a number", EXTRACT, 3, "data.jsonl:2", "a number", damage=record(output=7)),
    case("output null", EXTRACT, 3, "data.jsonl:2", "null", damage=record(output=None)),
    case("output empty", EXTRACT, 3, "data.jsonl:2", "empty", damage=record(output="")),
    case("outputs empty", EXTRACT, 3, "data.jsonl:2", "empty list", damage=record(output=[])),
    case("outputs with null", EXTRACT, 3, "data.jsonl:2", "null", damage=record(output=["a", None])),
    case("prompt a list", EXTRACT, 3, "data.jsonl:2", "'prompt'", damage=record(prompt=["a"])),
    case("id empty", EXTRACT, 3, "data.jsonl:2", "'id'", damage=record(id="")),
    case("id twice", EXTRACT, 3, ":2", "line 1", damage=data(*['{"id": "a", "prompt": "p", "output": "o"}'] * 2)),
    case("category a number", EXTRACT, 3, "data.jsonl:2", "'category'", damage=record(category=3)),
    case("lone surrogate in output", EXTRACT, 3, ":2", "surrogate", "d83d", damage=record(output="a \ud83d b")),
    case("lone surrogate in prompt", EXTRACT, 3, ":2", "surrogate", damage=record(prompt="\udc00")),
    case("not UTF-8", EXTRACT, 3, ":1", "UTF-8", "0xE9", damage=data(b'{"prompt": "caf\xe9", "output": "b"}')),
    case("UTF-16", EXTRACT, 3, "UTF-16", damage=data('{"prompt": "a"}'.encode("utf-16"))),
]
OPTIONS = [
    case("no command", "", 2, "COMMAND"),
    case("unknown command", "extrct", 2, "invalid choice", "extrct"),
    case("unknown option", EXTRACT + " --fast", 2, "--fast"),
    case("shortened option", EXTRACT + " --norm frozen", 2, "--norm"),
    case("unknown direction", EXTRACT + " --direction up", 2, "up", "t2s"),
    case("unknown normalisation", EXTRACT + " --normalisation none", 2, "none", "frozen"),
    case("unknown dtype", EXTRACT + " --dtype int8", 2, "int8", "float16"),
    case("no --out", EXTRACT.split(" --out")[0], 2, "--out"),
    case("limit zero", EXTRACT + " --limit 0", 2, "--limit", "above 0"),
    case("limit a word", EXTRACT + " --limit few", 2, "--limit", "few"),
    case("batch size negative", EXTRACT + " --batch-size -1", 2, "--batch-size"),
    case("padding too short", EXTRACT + " --normalisation batch --padded-length 5", 2, "padded length", "got 5"),
    case("out is there", EXTRACT.replace("out/maps", "maps"), 2, "maps exists already", "--overwrite"),
    case("out is something else", EXTRACT.replace("out/maps", "sft") + " --overwrite", 2, "sft", "not a map store"),
    case("out below a file", EXTRACT.replace("out/maps", "gold.jsonl/maps"), 2, "gold.jsonl is a file"),
    case("out is a file", EXTRACT.replace("out/maps", "gold.jsonl") + " --overwrite", 2, "gold.jsonl", "directory"),
    case("two of one name", EXTRACT.replace("{d}/cma", "{d}/cma {d}/again/cma"), 2, "'cma' 2 times",
         damage=stored_elsewhere),
    case("named like the baseline", EXTRACT.replace("{d}/cma", "{d}/untrained") + " --untrained-baseline", 2,
         "'untrained' 2 times", damage=lambda room: os.rename(room / "ga", room / "untrained")),
]  # fmt: skip
CHECKPOINTS = [
    case("checkpoint missing", EXTRACT.replace("cma", "nothing"), 4, "nothing", "does not exist"),
    case("not a checkpoint", EXTRACT.replace("{d}/cma", "{d}/teacher"), 4, "teacher", MANIFEST),
    case("a store as checkpoint", EXTRACT.replace("{d}/cma", "{d}/maps"), 4, "wanted a checkpoint", "map store"),
    case("manifest missing", EXTRACT, 4, MANIFEST, "unfinished", damage=remove("cma/manifest.json")),
    case("manifest broken", EXTRACT, 4, MANIFEST, "damaged", damage=cut("cma/manifest.json")),
    case("manifest a list", EXTRACT, 4, MANIFEST, damage=write("cma/manifest.json", "[]")),
    case("schema of the future", EXTRACT, 4, "99", damage=settings("cma/manifest.json", schema_version=99)),
    case("projector missing", EXTRACT, 4, "lacks projectors.safetensors", damage=remove("cma/projectors.safetensors")),
    case("projector missing, re-signed", EXTRACT, 4, "lacks projectors.safetensors", "random",
         damage=resigned(remove("cma/projectors.safetensors"))),
    case("projector flipped", EXTRACT, 4, "projectors", "sha256", damage=flip("cma/projectors.safetensors")),
    case("projector truncated", EXTRACT, 4, "projectors.safetensors", damage=cut("cma/projectors.safetensors")),
    case("projector truncated, re-signed", EXTRACT, 4, "projectors.safetensors", "not a readable",
         damage=resigned(cut("cma/projectors.safetensors"))),
    case("projector empty, re-signed", EXTRACT, 4, "projectors.safetensors",
         damage=resigned(write("cma/projectors.safetensors", b""))),
    case("huge header, re-signed", EXTRACT, 4, "projectors.safetensors",
         damage=resigned(write("cma/projectors.safetensors", HUGE_HEADER))),
    case("lying header, re-signed", EXTRACT, 4, "projectors.safetensors",
         damage=resigned(write("cma/projectors.safetensors", LIAR_HEADER))),
    case("projector of another pair", EXTRACT, 4, "query.weight", "(32, 24)", "(32, 26)",
         damage=resigned(tensors(query__weight=torch.zeros(32, 26)))),
    case("projector without query", EXTRACT, 4, "query.weight", "no such tensor",
         damage=resigned(tensors(query__weight=None))),
    case("projector with more", EXTRACT, 4, "spare", damage=resigned(tensors(spare=torch.zeros(2)))),
    case("projector NaN", EXTRACT, 5, "query.weight", "NaN", damage=resigned(tensors(query__weight=NAN))),
    case("student embeddings NaN", EXTRACT, 5, "student embedding", "NaN", damage=resigned(
        tensors("cma/student/model.safetensors", transformer__wte__weight=torch.full((280, 12), math.nan)))),
    case("sigma zero", EXTRACT, 5, "sigma_k", damage=resigned(settings("cma/config.json", normalisation={
        "kind": "frozen", "sigma_k": 0.0, "sigma_h": 1.0, "sigma_e": 1.0}))),
    case("config broken", EXTRACT, 4, "config.json", damage=resigned(cut("cma/config.json"))),
    case("config lacks a key", EXTRACT, 4, "config.json", damage=resigned(settings("cma/config.json", teacher=...))),
    case("metrics missing", EXTRACT, 4, "metrics.json", damage=resigned(remove("cma/metrics.json"))),
    case("metrics broken", EXTRACT, 4, "metrics.json", damage=resigned(write("cma/metrics.json", "{"))),
    case("sft has no maps", EXTRACT.replace("{d}/cma", "{d}/sft"), 4, "no query projector", "sft"),
    case("ga without discriminator", EXTRACT.replace("{d}/cma", "{d}/ga"), 4, "discriminator.safetensors",
         damage=resigned(remove("ga/discriminator.safetensors"), "ga")),
    case("student weights missing", EXTRACT, 4, "student", "no *.safetensors",
         damage=resigned(remove("cma/student/model.safetensors"))),
    case("student config missing", EXTRACT, 4, "student/config", damage=resigned(remove("cma/student/config.json"))),
    case("student config broken", EXTRACT, 4, "config.json", "JSON", damage=resigned(cut("cma/student/config.json"))),
    case("student of no known type", EXTRACT, 4, "student",
         damage=resigned(settings("cma/student/config.json", model_type="perceptron"))),
    case("tokenizer missing", EXTRACT, 4, "tokenizer", damage=resigned(remove("cma/student/tokenizer.json"))),
    case("tokenizer broken", EXTRACT, 4, "tokenizer", damage=resigned(cut("cma/student/tokenizer.json"))),
    case("tokenizer without offsets", EXTRACT, 4, "offsets", "ByT5", damage=slow_tokenizer),
    case("other student tokenizers", EXTRACT.replace("{d}/cma", "{d}/cma {d}/third"), 4, "share both tokenizers",
         damage=lambda room: tiny.checkpoint_directory(room / "third", room / "teacher", tokenizer="bpe")),
    case("teacher unknown", EXTRACT + " --teacher no-such/model", 4, "no-such/model", "smollm2-135m"),
    case("teacher directory missing", EXTRACT + " --teacher {d}/nothing", 4, "nothing"),
    case("teacher wider", EXTRACT + " --teacher {d}/other", 4, "320 x 16", "320 x 32", damage=other_teacher(width=32)),
    case("teacher trained on", EXTRACT + " --teacher {d}/other", 4, "embeddings", "fingerprint",
         damage=other_teacher(seed=9)),
    case("teacher of other tokens", EXTRACT + " --teacher {d}/other", 4, "tokenizer", "fingerprint",
         damage=other_teacher(tokenizer="sentencepiece")),
    case("teacher weights truncated", EXTRACT, 4, "teacher", "safetensors", damage=cut("teacher/model.safetensors")),
    case("teacher huge header", EXTRACT, 4, "teacher", damage=write("teacher/model.safetensors", HUGE_HEADER)),
]  # fmt: skip
UNSAFE = [
    case("pickled student", EXTRACT, 7, "pytorch_model.bin", "refused", damage=resigned(pickled_student)),
    case("student wants its code run", EXTRACT, 7, "auto_map",
         damage=resigned(settings("cma/student/config.json", auto_map={"AutoModel": "x.Y"}))),
    case("teacher wants its code run", EXTRACT, 7, "auto_map",
         damage=settings("teacher/config.json", auto_map={"AutoModel": "x.Y"})),
    case("manifest reaches outside", EXTRACT, 7, "../data.jsonl",
         damage=settings("cma/manifest.json", files={"../data.jsonl": "0" * 64})),
    case("projector is a link", EXTRACT, 7, "projectors", "link", damage=link("cma/projectors.safetensors")),
    case("teacher weights are a link", EXTRACT, 7, "link", damage=link("teacher/model.safetensors")),
    case("shard is a link", SCORE, 7, "maps-00000", "link", damage=link(SHARD)),
    case("verify meets a pickle", "verify {d}/cma", 7, "extra.pkl", damage=write("cma/extra.pkl", b"\x80\x04N.")),
]  # fmt: skip
STORES = [
    case("store missing", SCORE.replace("{d}/maps", "{d}/nothing"), 4, "nothing", "does not exist"),
    case("not a store", SCORE.replace("{d}/maps", "{d}/teacher"), 4, "teacher", MANIFEST),
    case("a checkpoint as store", SCORE.replace("{d}/maps", "{d}/cma"), 4, "wanted a map store", "checkpoint"),
    case("store manifest missing", SCORE, 4, MANIFEST, damage=remove("maps/manifest.json")),
    case("store manifest broken", SCORE, 4, MANIFEST, damage=cut("maps/manifest.json")),
    case("index flipped", SCORE, 4, "index.parquet", damage=flip("maps/index.parquet")),
    case("index truncated, re-signed", SCORE, 4, "index.parquet", damage=resigned(cut("maps/index.parquet"), "maps")),
    case("index missing", SCORE, 4, "index.parquet", damage=remove("maps/index.parquet")),
    case("shard flipped", SCORE, 4, "maps-00000", "altered", damage=flip(SHARD)),
    case("shard truncated", SCORE, 4, "maps-00000", damage=cut(SHARD)),
    case("shard truncated, re-signed", SCORE, 4, "maps-00000", damage=resigned(cut(SHARD), "maps")),
    case("shard missing", SCORE, 4, "maps-00000", damage=remove(SHARD)),
    case("shard with a huge header, re-signed", SCORE, 4, "maps-00000",
         damage=resigned(write(SHARD, HUGE_HEADER), "maps")),
    case("report meets a flipped shard", REPORT, 4, "maps-00000", "altered", damage=flip(SHARD)),
    case("report on one store twice", REPORT.replace("{d}/maps", "{d}/maps {d}/maps"), 2, "'cma'"),
    case("heatmaps of no store", HEATMAPS.replace("{d}/maps", "{d}/nothing"), 4, "nothing"),
    case("heatmaps of a flipped shard", HEATMAPS, 4, "maps-00000", damage=flip(SHARD)),
    case("heatmaps in an unknown format", HEATMAPS + " --format bmp", 2, "bmp", "png"),
    case("heatmaps with no workers", HEATMAPS + " --workers 0", 2, "--workers"),
    case("heatmaps with broken gold", HEATMAPS, 3, "gold.jsonl:1", damage=write("gold.jsonl", "{\n")),
    case("heatmaps with gold of other tokens", HEATMAPS, 3, "'t2'", "'zz'", damage=gold_line(
        lambda gold: {"teacher_tokens": ["zz", *gold["teacher_tokens"][1:]]})),
    case("heatmaps of an unknown example", HEATMAPS + " --examples t99", 2, "t99", "t0"),
    case("heatmaps of an unknown checkpoint", HEATMAPS + " --checkpoint sft", 2, "sft", "cma"),
    case("heatmaps over a file", HEATMAPS.replace("out/png", "gold.jsonl"), 2, "is a file"),
    case("heatmaps of a linked shard", HEATMAPS, 7, "link", damage=link(SHARD)),
    case("verify nothing", "verify {d}/nothing", 4, "nothing", "not there"),
    case("verify a file", "verify {d}/gold.jsonl", 4, "is a file"),
    case("verify a plain directory", "verify {d}", 4, MANIFEST),
    case("verify a flipped shard", "verify {d}/maps", 4, "maps-00000", damage=flip(SHARD)),
    case("verify a flipped student", "verify {d}/cma", 4, "altered", damage=flip("cma/student/model.safetensors")),
    case("verify another kind", "verify {d}/maps", 4, "sponge", damage=settings("maps/manifest.json", kind="sponge")),
]  # fmt: skip
GOLD = [
    case("gold missing", SCORE, 3, "gold.jsonl", damage=remove("gold.jsonl")),
    case("gold empty", SCORE, 3, "gold.jsonl", damage=write("gold.jsonl", "")),
    case("gold broken JSON", SCORE, 3, "gold.jsonl:2", damage=lambda room: (room / "gold.jsonl").write_text(
        (room / "gold.jsonl").read_text().splitlines()[0] + "\n{")),
    case("gold lacks a key", SCORE, 3, "gold.jsonl:1", "student_tokens", damage=write(
        "gold.jsonl", '{"id": "t0", "text": "x", "student_tokenizer": "a", "teacher_tokenizer": "b"}\n')),
    case("gold for other tokens", SCORE, 3, "'t2'", "index 1", "'zz'", damage=gold_line(
        lambda gold: {"student_tokens": [gold["student_tokens"][0], "zz", *gold["student_tokens"][2:]]})),
    case("gold for another text", SCORE, 3, "'t2'", "another text", damage=gold_line(lambda gold: {"text": "Other."})),
    case("gold of another tokenizer", SCORE, 3, "'t2'", "fingerprint", "feedfeedfeedfeed",
         damage=gold_line(lambda gold: {"teacher_tokenizer": "feedfeedfeedfeed"})),
    case("gold link out of range", SCORE, 3, "gold.jsonl:3", "[999, 0]",
         damage=gold_line(lambda gold: {"possible": [*gold["possible"], [999, 0]]})),
    case("gold link with a fraction", SCORE, 3, "gold.jsonl:3", "whole numbers",
         damage=gold_line(lambda gold: {"sure": [[0.5, 0]]})),
    case("gold sure but not possible", SCORE, 3, "gold.jsonl:3", "not in 'possible'",
         damage=gold_line(lambda gold: {"possible": []})),
    case("gold id twice", SCORE, 3, "'t0'", "twice", damage=gold_line(lambda gold: {"id": "t0"})),
    case("gold of other examples", SCORE, 3, "no map has gold", damage=lambda room: (room / "gold.jsonl").write_text(
        (room / "gold.jsonl").read_text().replace('"id": "t', '"id": "u'))),
    case("gold of unknown format", SCORE.replace("gold.jsonl", "gold.csv"), 3, "gold.csv", ".jsonl",
         damage=write("gold.csv", "a,b\n")),
    case("gold in broken Pharaoh", SCORE.replace("gold.jsonl", "gold.talp"), 3, "gold.talp:1", "0~0",
         damage=write("gold.talp", "t0\t0~0\n")),
    case("report over a file", SCORE.replace("out/report", "data.jsonl"), 2, "data.jsonl is a file"),
    case("unknown links", SCORE + " --links best", 2, "best", "argmax"),
    case("unknown option of score", SCORE + " --fast", 2, "--fast"),
    case("report without gold", "alignment_report {d}/maps --out {d}/out/report", 2, "--gold"),
    case("report with broken gold", REPORT, 3, "gold.jsonl:1", damage=write("gold.jsonl", "nonsense\n")),
]  # fmt: skip
TRAINING = [
    case("recipe missing", TRAIN.replace("recipe", "nothing"), 2, "nothing.yaml", "probe/recipes"),
    case("recipe no YAML", TRAIN, 2, "recipe.yaml", "YAML", damage=write("recipe.yaml", "a: [")),
    case("recipe a list", TRAIN, 2, "recipe.yaml", "list", damage=write("recipe.yaml", "- a\n")),
    case("recipe with an unknown setting", TRAIN + " --set speed=9", 2, "speed"),
    case("recipe without a method", TRAIN, 2, "'method'", damage=write("recipe.yaml", "name: a\nstudent: new\n")),
    case("recipe of unknown method", TRAIN + " --set method=magic", 2, "magic", "dskd-cma"),
    case("recipe with a word for a number", TRAIN + " --set steps=many", 2, "steps"),
    case("recipe out of range", TRAIN + " --set kd_rate=2", 2, "kd_rate", "between 0 and 1"),
    case("recipe setting without value", TRAIN + " --set steps", 2, "key=value"),
    case("training data missing", TRAIN, 3, "data.jsonl", damage=remove("data.jsonl")),
    case("training data broken", TRAIN, 3, "data.jsonl:1", damage=data("{")),
    case("too few examples", TRAIN + " --set held_out=50", 3, "held_out=50"),
    case("training out is there", TRAIN.replace("out/run", "cma"), 2, "cma exists"),
    case("training without its teacher", TRAIN + " --set teacher={d}/nothing", 4, "nothing"),
    case("training state damaged", TRAIN + " --resume", 4, "run.training", damage=lambda room: (
        (room / "out/run.training").mkdir(parents=True), (room / "out/run.training/state.json").write_text("{"))),
    case("training texts too long for the student", TRAIN + " --set max_length=4000", 2, "max_length", "4000"),
]  # fmt: skip
EVALUATION = [
    case("evaluate without data", "evaluate --checkpoint {d}/cma", 2, "--data"),
    case("evaluate on missing data", EVALUATE, 3, "data.jsonl", "does not exist", damage=remove("data.jsonl")),
    case("evaluate with an empty list of answers", EVALUATE, 3, "data.jsonl:2", "empty list", damage=record(output=[])),
    case("evaluate with a negative seed", EVALUATE.replace("10", "-1"), 2, "seeds", "-1"),
    case("evaluate with one seed twice", EVALUATE + " 10", 2, "different seeds", "10 10"),
    case("evaluate at no temperature there is", EVALUATE + " --temperature -1", 2, "temperature", "-1"),
    case("evaluate with top-p 0", EVALUATE + " --top-p 0", 2, "top-p", "0.0"),
    case("evaluate one file twice", EVALUATE.replace("data.jsonl", "data.jsonl {d}/data.jsonl"), 2, "'data'", "Rename"),
    case("evaluate a stranger in domain", EVALUATE + " --in-domain {d}/gold.jsonl", 2, "gold.jsonl", "--in-domain"),
    case("evaluate beyond the positions", EVALUATE + " --max-new-tokens 512", 2, "576 positions", "256"),
    case("evaluate two of one name", EVALUATE.replace("{d}/cma", "{d}/cma {d}/again/cma"), 2, "'cma'", "Rename",
         damage=stored_elsewhere),
    case("evaluate nothing", EVALUATE.replace("cma", "nothing"), 4, "nothing"),
    case("evaluate a map store", EVALUATE.replace("{d}/cma", "{d}/maps"), 4, "maps", "config.json"),
    case("evaluate a flipped student", EVALUATE, 4, "altered", damage=flip("cma/student/model.safetensors")),
    case("evaluate NaN", EVALUATE, 5, "logits", "NaN", damage=resigned(
        tensors("cma/student/model.safetensors", transformer__wte__weight=torch.full((280, 12), math.nan)))),
    case("evaluate into a file", EVALUATE + " --out {d}/gold.jsonl", 2, "gold.jsonl"),
    case("evaluate a student that wants its code run", EVALUATE, 7, "auto_map",
         damage=resigned(settings("cma/student/config.json", auto_map={"AutoModel": "x.Y"}))),
]  # fmt: skip
REFERENCE = "import-reference --student {d}/public --teacher {d}/teacher --data {d}/data.jsonl --out {d}/out/imported"
PROJECTOR = " --projector {d}/public/projector.pt"
IMPORTING = [
    case("import without a projector", REFERENCE, 2, "--projector"),
    case("import with a missing projector", REFERENCE + PROJECTOR, 4, "projector.pt", "not there",
         damage=lambda room: tiny.model_directory(room / "public", "gpt2", width=12)),
    case("import of no student", REFERENCE + PROJECTOR, 4, "public", "config.json"),
    case("import over something", REFERENCE.replace("out/imported", "cma") + PROJECTOR, 2, "cma exists"),
    case("import of maps without a place", REFERENCE + PROJECTOR + " --align {d}/align.jsonl", 2, "--maps-out"),
    case("import of an unknown method", REFERENCE + PROJECTOR + " --method magic", 2, "magic", "dskd-cma"),
    case("import without its texts", REFERENCE + PROJECTOR, 3, "data.jsonl", damage=remove("data.jsonl")),
]  # fmt: skip
LONG = "x" * 300
EDGES = [
    case("data is a pipe", EXTRACT, 3, "data.jsonl", "pipe", damage=piped("data.jsonl")),
    case("training data is a pipe", TRAIN, 3, "data.jsonl", "pipe", damage=piped("data.jsonl")),
    case("data is a link to itself", EXTRACT, 3, "data.jsonl", damage=looped("data.jsonl")),
    case("a teacher that is a link to itself", TRAIN, 4, "teacher", damage=looped("teacher")),
    case("out is a link to itself", EXTRACT, 3, "link", damage=looped("out/maps")),
    case("training out is a link to itself", TRAIN, 3, "out/run", damage=looped("out/run")),
    case("out with a name of 300 letters", EXTRACT + LONG, 2, "name too long"),
    case("training out with a name of 300 letters", TRAIN + LONG, 2, "name too long"),
    case("data with a name of 300 letters", EXTRACT.replace("data.jsonl", LONG), 3, "name too long"),
    case("a recipe of 5,000 brackets", TRAIN, 2, "recipe.yaml", "YAML", damage=write("recipe.yaml", "a: " + "[" * 5000)),  # noqa: E501
    case("a recipe that names NUL", TRAIN, 2, "NUL", damage=lambda room: (room / "recipe.yaml").write_text(
        (room / "recipe.yaml").read_text().replace(f"[{room}/data.jsonl]", '["a\\0b"]'))),
    case("manifest of a name with NUL", EXTRACT, 4, "manifest", damage=settings("cma/manifest.json", files={"a\0b": ""})),  # noqa: E501
    case("manifest of a name of 300 letters", EXTRACT, 4, "no name", damage=settings(
        "cma/manifest.json", files={LONG: ""})),
    case("manifest without provenance", SCORE, 4, "manifest", damage=settings("maps/manifest.json", provenance=[])),
    case("a student of -1 dimensions", EXTRACT, 4, "student_dim", damage=resigned(
        settings("cma/config.json", student_dim=-1))),
    case("a teacher of a billion layers", TRAIN, 4, "num_hidden_layers", "1000000000", damage=settings(
        "teacher/config.json", num_hidden_layers=10**9)),
    case("a trillion resamples", SCORE + " --resamples 1000000000000", 2, "--resamples", "at most"),
    case("a hundred thousand threads", TRAIN + " --threads 100000", 2, "--threads", "at most 1024"),
    case("a store without a category, scored", SCORE, 4, "category", damage=twice("category")),
    case("a store without a category, verified", "verify {d}/maps", 4, "category", damage=twice("category")),
    case("a store of one map twice, scored", SCORE, 4, "same example_id", damage=twice("")),
    case("a store of one map twice, verified", "verify {d}/maps", 4, "same example_id", damage=twice("")),
    case("evaluate a student whose weights do not fit its tokens", EVALUATE, 4, "own forward pass", damage=resigned(both(  # noqa: E501
        settings("cma/student/config.json", vocab_size=5, eos_token_id=0, bos_token_id=0),
        tensors("cma/student/model.safetensors", transformer__wte__weight=torch.zeros(5, 12))))),
]  # fmt: skip
CASES = [*EVALUATION, *EDGES, *IMPORTING, *EXAMPLES_FILE, *OPTIONS, *CHECKPOINTS, *UNSAFE, *STORES, *GOLD, *TRAINING]
assert checkpoint.KIND == "checkpoint" and map_store.KIND == "map store"
