"""Malicious folders: payloads planted where this library reads, the command that meets them, and the exit code it owes.

Whatever runs code leaves a mark (`RAN` beside the room); no test may find one. 7 is refused as unsafe, 4 is damage (the
bytes are no such file), 3 bad data; 0 stands for payloads that are never looked at.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from probe.files import sha256_of
from tests.support import bad_input, public_code
from tests.support.bad_input import EXTRACT, HUGE_HEADER, LIAR_HEADER, SCORE, TRAIN, link, resigned, settings, write

Plant = Callable[[Path], object]
EVALUATE = bad_input.EVALUATE
IMPORT = (
    "import-reference --student {d}/public/student --teacher {d}/public/teacher --data {d}/public/data.jsonl "
    "--projector {d}/public/student/projector.pt --max-length 64 --out {d}/out/imported"
)
WITH_LORA = IMPORT + " --lora {d}/public/lora"
WITH_TEACHER = IMPORT + " --teacher-out {d}/out/teacher"
WITH_ALIGN = IMPORT + " --align {d}/public/align.jsonl --maps-out {d}/out/aligned"
PROJECTOR = "public/student/projector.pt"
VERIFY = "verify {d}/cma"
PAIR = "pair {d}/sft/student {d}/teacher --out {d}/out/pair"
PAIR_FILE = "pair {d}/sft/student {d}/evil.json"
PAIR_GGUF = "pair {d}/evil.gguf {d}/teacher"


@dataclass(frozen=True)
class Payload:
    """``plant`` spoils a room, ``command`` meets it, and must end with ``code`` and one message that ``says`` this."""

    name: str
    command: str
    code: int
    says: str
    plant: Plant


class Runs:
    """An object whose unpickling leaves the mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {self.mark}",)


def build_room(root: Path) -> Path:
    """The room of the bad-input table, and outputs of the public code under public/."""
    bad_input.build_room(root)
    public_code.outputs(root / "public")
    public_code.adapter(root / "public/lora", root / "teacher")
    return root


def mark(room: Path) -> Path:
    """What a payload that runs leaves behind."""
    return room.parent / "RAN"


# --- what is planted ------------------------------------------------------------------------------


def code_file(name: str) -> Plant:
    """A Python file that leaves the mark when it is imported."""
    return lambda room: (room / name).write_text(f"open({str(mark(room))!r}, 'w').close()\n")


def both(*plants: Plant) -> Plant:
    return lambda room: [plant(room) for plant in plants]


def pickle_at(name: str, wrap: Callable[[Runs], Any] = lambda runs: runs) -> Plant:
    """A bare pickle that runs something."""
    return lambda room: (room / name).write_bytes(pickle.dumps(wrap(Runs(mark(room)))))


def torch_at(name: str, wrap: Callable[[Any], Any] = lambda runs: {"query.0.weight": runs}, **options: Any) -> Plant:
    """A file of torch.save that runs something when it is unpickled freely."""
    return lambda room: torch.save(wrap(Runs(mark(room))), room / name, **options)


def saved(name: str, value: Callable[[], Any]) -> Plant:
    """A file of torch.save with an odd value."""
    return lambda room: torch.save(value(), room / name)


def rezipped(name: str, change: Callable[[zipfile.ZipFile, dict[str, bytes]], None]) -> Plant:
    """The archive of a torch file, written again by ``change``."""

    def plant(room: Path) -> None:
        with zipfile.ZipFile(room / name) as archive:
            parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        with zipfile.ZipFile(room / name, "w") as archive:
            change(archive, parts)

    return plant


def deflated(archive: zipfile.ZipFile, parts: dict[str, bytes]) -> None:
    """A zip bomb: 64 MB of zeros in 64 kB."""
    for part, raw in parts.items():
        archive.writestr(part, raw)
    archive.writestr("projector/data/bomb", bytes(2**26), zipfile.ZIP_DEFLATED)


def outside(archive: zipfile.ZipFile, parts: dict[str, bytes]) -> None:
    """Entries that would land outside, if anyone unpacked them."""
    for part, raw in parts.items():
        archive.writestr(part.replace("projector/", "projector/../../"), raw)


def other_pickle(raw: bytes) -> Callable[[zipfile.ZipFile, dict[str, bytes]], None]:
    def change(archive: zipfile.ZipFile, parts: dict[str, bytes]) -> None:
        for part, old in parts.items():
            archive.writestr(part, raw if part.endswith("data.pkl") else old)

    return change


def overlapping(room: Path) -> None:
    """An archive whose directory lists the same large part a thousand times."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("projector/data/0", bytes(4096))
        entry = archive.infolist()[0]
        archive.filelist = [entry] * 1000
    (room / PROJECTOR).write_bytes(data.getvalue())


def fewer_bytes(archive: zipfile.ZipFile, parts: dict[str, bytes]) -> None:
    """Storages shorter than the pickle says."""
    for part, raw in parts.items():
        archive.writestr(part, raw[:8] if "/data/" in part else raw)


def script_module(room: Path) -> None:
    """A TorchScript archive, which carries code."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(room / PROJECTOR))


def nested_tuples() -> bytes:
    """A pickle that doubles: 2^60 leaves by 60 references."""
    return b"\x80\x02)" + b"q\x00h\x00\x86" * 60 + b"."


def relocated(name: str) -> Plant:
    """The directory becomes a link to a copy outside."""

    def plant(room: Path) -> None:
        target = room / f"outside-{Path(name).name}"
        os.rename(room / name, target)
        (room / name).symlink_to(target, target_is_directory=True)

    return plant


def unlisted(name: str) -> Plant:
    """The file is there, but its directory's manifest (whole in itself) does not list it."""

    def plant(room: Path) -> None:
        target = room / "aside"
        (room / name).rename(target)
        resigned(lambda room: None)(room)
        target.rename(room / name)

    return plant


def pipe(name: str) -> Plant:
    """A named pipe, which nobody writes to."""

    def plant(room: Path) -> None:
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).unlink(missing_ok=True)
        os.mkfifo(room / name)

    return plant


def linked(name: str, target: str) -> Plant:
    """A new link; ``{d}`` in its target is the room, which has a secret.txt."""

    def plant(room: Path) -> None:
        (room / "secret.txt").write_text("a secret of this machine")
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).symlink_to(target.replace("{d}", str(room)))

    return plant


def named_outside(name: str, key: str) -> Plant:
    """A configuration that names a file outside as one of its tokenizer's."""

    def plant(room: Path) -> None:
        (room / "secret.txt").write_text("a secret of this machine")
        settings(name, **{key: str(room / "secret.txt")})(room)

    return plant


def without_tokenizer(name: str) -> Plant:
    """As ``model.save_pretrained`` alone leaves a directory."""

    def plant(room: Path) -> None:
        for file in (room / name).iterdir():
            if file.name not in ("config.json", "generation_config.json", "model.safetensors"):
                file.unlink()

    return plant


def empty_vocabulary(name: str) -> Plant:
    """A tokenizer.json that is whole, and has no token but its end."""

    def plant(room: Path) -> None:
        values = json.loads((room / name / "tokenizer.json").read_text())
        values["model"].update(vocab={}, merges=[])
        (room / name / "tokenizer.json").write_text(json.dumps(values))

    return plant


def shard_index(name: str, shard: str, key: str = "transformer.wte.weight") -> Plant:
    """An index of shards that names one elsewhere."""
    return write(name, json.dumps({"metadata": {}, "weight_map": {key: shard}}))


def pickled_weights(name: str, wrap: Callable[[Any], Any] = lambda runs: {"w": runs}) -> Plant:
    """A model directory with a pickle that runs something in the place of its weights."""

    def plant(room: Path) -> None:
        for file in (room / name).glob("*.safetensors"):
            file.unlink()
        torch_at(f"{name}/pytorch_model.bin", wrap)(room)

    return plant


def redirecting_adapter(name: str) -> Plant:
    """An adapter in a model directory: transformers would load the base that it names instead."""

    def plant(room: Path) -> None:
        values = {"peft_type": "LORA", "base_model_name_or_path": str(room / "evil"), "target_modules": ["c_attn"]}
        (room / name / "adapter_config.json").write_text(json.dumps(values))
        torch_at(f"{name}/adapter_model.bin")(room)

    return plant


def cache_entry(change: Callable[[Path, dict[str, Any]], dict[str, Any]]) -> Plant:
    """A filled cache of teacher states, with an entry changed (and sealed again)."""

    def plant(room: Path) -> None:
        from probe.__main__ import main
        from probe.files import SEAL, sealed

        assert main(bad_input.fill(TRAIN.replace("out/run", "first"), room)) == 0
        entry = next((room.parent / "cache/teacher-states").glob("*/*.json"))
        values = json.loads(entry.read_text())
        values.pop(SEAL, None)
        entry.write_text(json.dumps(sealed(change(entry, values))))

    return plant


def shard_outside(entry: Path, values: dict[str, Any]) -> dict[str, Any]:
    target = entry.parent.parent / "elsewhere.safetensors"
    os.rename(entry.parent / values["file"], target)
    return {**values, "file": f"../{target.name}"}


def shard_linked(entry: Path, values: dict[str, Any]) -> dict[str, Any]:
    target = entry.parent.parent / "elsewhere.safetensors"
    os.rename(entry.parent / values["file"], target)
    (entry.parent / values["file"]).symlink_to(target)
    return values


def shard_pickled(entry: Path, values: dict[str, Any]) -> dict[str, Any]:
    (entry.parent / values["file"]).write_bytes(pickle.dumps(Runs(entry.parents[3] / "RAN")))
    return {**values, "sha256": sha256_of(entry.parent / values["file"])}


def state_elsewhere(room: Path) -> None:
    """The state of an interrupted run that points at a file outside."""
    from probe.distillation.config import read_recipe
    from probe.files import sealed

    place = room / "out/run.training"
    place.mkdir(parents=True)
    os.rename(room / "cma/projectors.safetensors", room / "state.safetensors")
    described = {
        "step": 1, "file": "../../state.safetensors", "sha256": sha256_of(room / "state.safetensors"),
        "settings": read_recipe(str(room / "recipe.yaml"), []).as_dict(), "inputs": {}, "curve": [],
    }  # fmt: skip
    (place / "state.json").write_text(json.dumps(sealed(described)))


def lora(**changes: Any) -> Plant:
    return settings("public/lora/adapter_config.json", **changes)


def bytes_of_pickle(name: str) -> Plant:
    return resigned(pickle_at(name), name.partition("/")[0])


CODE = {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config", "AutoTokenizer": ["evil.T", "evil.T"]}
MESSAGES = [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "Hello."}]
BREAK_OUT = "{{ cycler.__init__.__globals__.os.system('x') }}"
DEEP = "[" * 100_000 + "]" * 100_000
EVIL = code_file("cma/student/evil.py")
CHECKPOINTS = [
    Payload("student: a pickle for weights", EXTRACT, 7, "pickled weights", resigned(pickled_weights("cma/student"))),
    Payload("student: auto_map in config.json", EXTRACT, 7, "auto_map", resigned(both(
        EVIL, settings("cma/student/config.json", auto_map=CODE)))),
    Payload("student: auto_map in tokenizer_config.json", EXTRACT, 7, "auto_map", resigned(both(
        EVIL, settings("cma/student/tokenizer_config.json", auto_map=CODE)))),
    Payload("student: auto_map in a nested config", EXTRACT, 7, "auto_map", resigned(both(
        EVIL, settings("cma/student/config.json", text_config={"auto_map": CODE})))),
    Payload("student: code of a pipeline", EXTRACT, 7, "custom_pipelines", resigned(both(
        EVIL, settings("cma/student/config.json", custom_pipelines={"x": {"impl": "evil.P", "pt": ["A"]}})))),
    Payload("student: attention kernels from a repository", EXTRACT, 7, "attn_implementation", resigned(
        settings("cma/student/config.json", _attn_implementation="evil/kernels"))),
    Payload("student: an adapter that names another base", EXTRACT, 7, "adapter_config", resigned(
        redirecting_adapter("cma/student"))),
    Payload("student: an index of shards elsewhere", EXTRACT, 7, "../../teacher", resigned(
        shard_index("cma/student/model.safetensors.index.json", "../../teacher/model.safetensors"))),
    Payload("student: an index of absolute shards", EXTRACT, 7, "/etc/passwd", resigned(
        shard_index("cma/student/model.safetensors.index.json", "/etc/passwd"))),
    Payload("student: weights linked outside", EXTRACT, 7, "link", resigned(link("cma/student/model.safetensors"))),
    Payload("student: a directory linked outside", EXTRACT, 7, "lies outside", resigned(relocated("cma/student"))),
    Payload("student: a tokenizer of its own code", EXTRACT, 4, "tokenizer", resigned(both(
        code_file("cma/student/tokenization_evil.py"), lambda room: (room / "cma/student/tokenizer.json").unlink(),
        settings("cma/student/tokenizer_config.json", tokenizer_class="EvilTokenizer")))),
    Payload("student: a pickle for tokenizer.json", EXTRACT, 4, "tokenizer",
            bytes_of_pickle("cma/student/tokenizer.json")),
    Payload("student: a config without an end", EXTRACT, 4, "config.json", resigned(
        write("cma/student/config.json", DEEP))),
    Payload("student: a huge header", EXTRACT, 4, "safetensors", resigned(
        write("cma/student/model.safetensors", HUGE_HEADER))),
    Payload("student: a chat template that breaks out", EXTRACT, 0, "", resigned(both(
        EVIL, settings("cma/student/tokenizer_config.json", chat_template=BREAK_OUT)))),
    Payload("student: a chat template that breaks out, over messages", EXTRACT, 3, "chat template", both(
        resigned(both(EVIL, settings("cma/student/tokenizer_config.json", chat_template=BREAK_OUT))),
        write("data.jsonl", json.dumps({"messages": MESSAGES})))),
    Payload("student: code that nothing names", EXTRACT, 0, "", resigned(both(
        EVIL, code_file("cma/student/modeling_gpt2.py"), code_file("cma/student/__init__.py")))),
    Payload("projectors: linked outside", EXTRACT, 7, "link", link("cma/projectors.safetensors")),
    Payload("projectors: a bare pickle", EXTRACT, 4, "safetensors", bytes_of_pickle("cma/projectors.safetensors")),
    Payload("projectors: a torch file", EXTRACT, 4, "safetensors", resigned(torch_at("cma/projectors.safetensors"))),
    Payload("projectors: a huge header", EXTRACT, 4, "safetensors", resigned(
        write("cma/projectors.safetensors", HUGE_HEADER))),
    Payload("projectors: a header that lies", EXTRACT, 4, "safetensors", resigned(
        write("cma/projectors.safetensors", LIAR_HEADER))),
    Payload("projectors: a header without an end", EXTRACT, 4, "safetensors", resigned(
        write("cma/projectors.safetensors", struct.pack("<Q", 100_000) + b"[" * 100_000))),
    Payload("discriminator: a pickle", EXTRACT.replace("{d}/cma", "{d}/ga"), 4, "discriminator",
            bytes_of_pickle("ga/discriminator.safetensors")),
    Payload("projectors: not in the manifest", EXTRACT, 4, "not in the manifest", unlisted(
        "cma/projectors.safetensors")),
    Payload("student: weights not in the manifest", EXTRACT, 4, "not in the manifest", unlisted(
        "cma/student/model.safetensors")),
    Payload("manifest: a link outside", EXTRACT, 7, "link", link("cma/manifest.json")),
    Payload("manifest: a file above", EXTRACT, 7, "../data.jsonl",
            settings("cma/manifest.json", files={"../data.jsonl": "0" * 64})),
    Payload("manifest: an absolute file", EXTRACT, 7, "/etc/passwd",
            settings("cma/manifest.json", files={"/etc/passwd": "0" * 64})),
    Payload("manifest: without an end", EXTRACT, 4, "manifest.json", write("cma/manifest.json", DEEP)),
    Payload("settings: without an end", EXTRACT, 4, "config.json", resigned(write("cma/config.json", DEEP))),
    Payload("metrics: without an end", EXTRACT, 4, "metrics.json", resigned(write("cma/metrics.json", DEEP))),
    Payload("verify: a pickle beside", VERIFY, 7, "extra.pkl", pickle_at("cma/extra.pkl")),
    Payload("verify: code beside", VERIFY, 7, "evil.py", EVIL),
    Payload("evaluate: auto_map in a checkpoint", EVALUATE, 7, "auto_map", resigned(both(
        EVIL, settings("cma/student/config.json", auto_map=CODE)))),
    Payload("evaluate: auto_map of the tokenizer", EVALUATE, 7, "auto_map", resigned(both(
        EVIL, settings("cma/student/tokenizer_config.json", auto_map=CODE)))),
    Payload("evaluate: an adapter that names another base", EVALUATE.replace("{d}/cma", "{d}/teacher"), 7,
            "adapter_config", redirecting_adapter("teacher")),
    Payload("evaluate: a plain directory of pickles", EVALUATE.replace("{d}/cma", "{d}/teacher"), 7, "pickled weights",
            pickled_weights("teacher")),
    Payload("evaluate: generation by its own code", EVALUATE, 7, "custom_generate", resigned(both(EVIL, write(
        "cma/student/generation_config.json", json.dumps({"custom_generate": "evil/repo"}))))),
]  # fmt: skip
TEACHERS = [
    Payload("teacher: auto_map", EXTRACT, 7, "auto_map", both(
        code_file("teacher/evil.py"), settings("teacher/config.json", auto_map=CODE))),
    Payload("teacher: a pipe for weights", EXTRACT, 7, "neither a file nor a directory", pipe(
        "teacher/model.safetensors")),
    Payload("teacher: a pickle for weights", EXTRACT, 7, "pickled weights", pickled_weights("teacher")),
    Payload("teacher: weights linked outside", EXTRACT, 7, "link", link("teacher/model.safetensors")),
    Payload("teacher: tokenizer linked outside", EXTRACT, 7, "link", link("teacher/tokenizer.json")),
    Payload("teacher: an index of shards elsewhere", EXTRACT, 7, "../cma", shard_index(
        "teacher/model.safetensors.index.json", "../cma/student/model.safetensors")),
    Payload("teacher: an adapter that names another base", TRAIN, 7, "adapter_config", redirecting_adapter("teacher")),
    Payload("teacher: in training, a pickle for weights", TRAIN, 7, "pickled weights", pickled_weights("teacher")),
    Payload("student to train: a pickle for weights", TRAIN, 7, "pickled weights", pickled_weights("sft/student")),
    Payload("student to train: auto_map", TRAIN, 7, "auto_map", settings("sft/student/config.json", auto_map=CODE)),
    Payload("student to train: a template linked outside", TRAIN, 7, "link", linked(
        "sft/student/additional_chat_templates/x.jinja", "{d}/secret.txt")),
    Payload("student to train: a deeper link outside", TRAIN, 7, "link", linked(
        "sft/student/a/b/c.txt", "../../../../secret.txt")),
    Payload("student to train: a folder linked outside", TRAIN, 7, "link", linked(
        "sft/student/additional_chat_templates", "{d}/maps")),
    Payload("student to train: a link to nothing outside", TRAIN, 7, "link", linked(
        "sft/student/chat_template.jinja", "{d}/not-yet")),
    Payload("student to train: a link to itself", TRAIN, 7, "itself", linked(
        "sft/student/additional_chat_templates/x.jinja", "x.jinja")),
    Payload("student to train: a link to its own folder", TRAIN, 7, "no end", linked("sft/student/deep/again", "..")),
    Payload("student to train: a pipe for a template", TRAIN, 7, "neither a file nor a directory", pipe(
        "sft/student/additional_chat_templates/x.jinja")),
    Payload("student to train: blobs that are not a hub's", TRAIN.replace("recipe", "moved"), 7, "link", both(
        linked("snapshots/student/chat_template.jinja", "{d}/secret.txt"), lambda room: [
            os.rename(file, room / "snapshots/student" / file.name) for file in (room / "sft/student").iterdir()],
        lambda room: (room / "moved.yaml").write_text(
            (room / "recipe.yaml").read_text().replace(f"{room}/sft", f"{room}/snapshots/student")))),
    Payload("student to train: a vocabulary elsewhere", TRAIN, 7, "vocab_file", named_outside(
        "sft/student/tokenizer_config.json", "vocab_file")),
    Payload("student to train: a template elsewhere", TRAIN, 7, "chat_template_file", named_outside(
        "sft/student/tokenizer_config.json", "chat_template_file")),
    Payload("checkpoint to extract: a template linked outside", EXTRACT, 7, "link", linked(
        "cma/student/additional_chat_templates/x.jinja", "{d}/secret.txt")),
    Payload("teacher: a template linked outside", EXTRACT, 7, "link", linked(
        "teacher/additional_chat_templates/x.jinja", "{d}/secret.txt")),
    Payload("student to train: no tokenizer", TRAIN, 4, "tokenizer.json", without_tokenizer("sft/student")),
    Payload("student to train: an empty tokenizer", TRAIN, 4, "no tokens", empty_vocabulary("sft/student")),
    Payload("checkpoint to extract: an empty tokenizer", EXTRACT, 4, "tokenizer", resigned(
        empty_vocabulary("cma/student"))),
    Payload("teacher: no tokenizer", EXTRACT, 4, "tokenizer.json", without_tokenizer("teacher")),
    Payload("a run to resume: a state elsewhere", TRAIN + " --resume", 7, "state.safetensors", state_elsewhere),
    Payload("cached states: a shard elsewhere", TRAIN, 7, "elsewhere", cache_entry(shard_outside)),
    Payload("cached states: a linked shard", TRAIN, 7, "link", cache_entry(shard_linked)),
    Payload("cached states: a pickle for a shard", TRAIN, 4, "safetensors", cache_entry(shard_pickled)),
]  # fmt: skip
STORES = [
    Payload("store: a shard linked outside", SCORE, 7, "link", link(bad_input.SHARD)),
    Payload("store: the index linked outside", SCORE, 7, "link", link("maps/index.parquet")),
    Payload("store: a manifest of files above", SCORE, 7, "../gold.jsonl",
            settings("maps/manifest.json", files={"index.parquet": "0" * 64, "../gold.jsonl": "0" * 64})),
    Payload("store: a pickle for a shard", SCORE, 4, "maps-00000", bytes_of_pickle(bad_input.SHARD)),
    Payload("store: a pickle for the index", SCORE, 4, "index.parquet", bytes_of_pickle("maps/index.parquet")),
    Payload("store: an index with a huge footer", SCORE, 4, "index.parquet", resigned(
        write("maps/index.parquet", b"PAR1" + bytes(64) + struct.pack("<I", 2**31 - 1) + b"PAR1"), "maps")),
    Payload("store: a shard with a huge header", SCORE, 4, "maps-00000", resigned(
        write(bad_input.SHARD, HUGE_HEADER), "maps")),
    Payload("store: a shard whose header lies", SCORE, 4, "maps-00000", resigned(
        write(bad_input.SHARD, LIAR_HEADER), "maps")),
]  # fmt: skip
IMPORTS = [
    Payload("projector.pt: os.system", IMPORT, 7, "could execute code", torch_at(PROJECTOR)),
    Payload("projector.pt: os.system as a key's neighbour", IMPORT, 7, "could execute code", torch_at(
        PROJECTOR, lambda runs: [runs])),
    Payload("projector.pt: a bare pickle", IMPORT, 7, "bare pickle", pickle_at(PROJECTOR)),
    Payload("projector.pt: a file of old torch", IMPORT, 7, "bare pickle", torch_at(
        PROJECTOR, _use_new_zipfile_serialization=False)),
    Payload("projector.pt: a protocol-0 pickle", IMPORT, 4, "not a file of torch.save", lambda room: (
        room / PROJECTOR).write_bytes(pickle.dumps(Runs(mark(room)), protocol=0))),
    Payload("projector.pt: builtins.eval", IMPORT, 7, "could execute code", rezipped(
        PROJECTOR, other_pickle(b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R."))),
    Payload("projector.pt: torch.hub", IMPORT, 7, "could execute code", rezipped(
        PROJECTOR, other_pickle(b"\x80\x02ctorch.hub\nload\nX\x04\x00\x00\x00evil\x85R."))),
    Payload("projector.pt: a whole module", IMPORT, 7, "could execute code", saved(
        PROJECTOR, lambda: torch.nn.Linear(2, 2))),
    Payload("projector.pt: TorchScript", IMPORT, 7, "", script_module),
    Payload("projector.pt: a zip bomb", IMPORT, 7, "compressed", rezipped(PROJECTOR, deflated)),
    Payload("projector.pt: overlapping parts", IMPORT, 7, "unfolds to", overlapping),
    Payload("projector.pt: parts with names outside", IMPORT, 4, "cannot be read", rezipped(PROJECTOR, outside)),
    Payload("projector.pt: storages that are shorter", IMPORT, 4, "cannot be read", rezipped(PROJECTOR, fewer_bytes)),
    Payload("projector.pt: one number as a petabyte", IMPORT, 7, "would unfold", saved(
        PROJECTOR, lambda: {"query.0.weight": torch.zeros(1).expand(2**24, 2**24)})),
    Payload("projector.pt: tuples that double", IMPORT, 4, "dictionary of named tensors", rezipped(
        PROJECTOR, other_pickle(nested_tuples()))),
    Payload("projector.pt: no tensors", IMPORT, 4, "named tensors", saved(PROJECTOR, lambda: {"query.0.weight": "x"})),
    Payload("projector.pt: a sparse tensor", IMPORT, 4, "ordinary tensors", saved(
        PROJECTOR, lambda: {"query.0.weight": torch.eye(4).to_sparse()})),
    Payload("projector.pt: linked outside", IMPORT, 7, "link", link(PROJECTOR)),
    Payload("imported student: os.system", IMPORT, 7, "could execute code", pickled_weights("public/student")),
    Payload("imported student: auto_map", IMPORT, 7, "auto_map", both(
        code_file("public/student/evil.py"), settings("public/student/config.json", auto_map=CODE))),
    Payload("imported student: auto_map of the tokenizer", IMPORT, 7, "auto_map", both(
        code_file("public/student/evil.py"), settings("public/student/tokenizer_config.json", auto_map=CODE))),
    Payload("imported student: linked weights", IMPORT, 7, "link", link("public/student/pytorch_model.bin")),
    Payload("imported student: an index of shards elsewhere", IMPORT, 7, "../../teacher", shard_index(
        "public/student/pytorch_model.bin.index.json", "../../teacher/pytorch_model.bin")),
    Payload("imported student: an adapter that names another base", IMPORT, 7, "adapter_config",
            redirecting_adapter("public/student")),
    Payload("imported teacher: os.system", WITH_TEACHER, 7, "could execute code", pickled_weights("public/teacher")),
    Payload("imported teacher: auto_map", WITH_TEACHER, 7, "auto_map", both(
        code_file("public/teacher/evil.py"), settings("public/teacher/config.json", auto_map=CODE))),
    Payload("adapter: os.system", WITH_LORA, 7, "could execute code", torch_at("public/lora/adapter_model.bin")),
    Payload("adapter: a bare pickle", WITH_LORA, 7, "bare pickle", pickle_at("public/lora/adapter_model.bin")),
    Payload("adapter: linked outside", WITH_LORA, 7, "link", link("public/lora/adapter_model.bin")),
    Payload("adapter: a module to import", WITH_LORA, 7, "megatron_config", lora(
        megatron_config={"x": 1}, megatron_core="evil")),
    Payload("adapter: auto_map", WITH_LORA, 7, "auto_map", lora(auto_map=CODE)),
    Payload("adapter: a setting that is not known", WITH_LORA, 7, "eva_config", lora(eva_config={"rho": 2})),
    Payload("adapter: a pattern that never ends", WITH_LORA, 4, "list of names", lora(target_modules="(a+)+$")),
    Payload("adapter: of another kind", WITH_LORA, 4, "LORA", lora(peft_type="PROMPT_TUNING")),
    Payload("adapter: a config without an end", WITH_LORA, 4, "adapter", write(
        "public/lora/adapter_config.json", DEEP)),
    Payload("align.jsonl: without an end", WITH_ALIGN, 3, "align.jsonl:1", write("public/align.jsonl", DEEP)),
]  # fmt: skip
# GGUF: magic, version, tensors, keys; then one key that says how long its text, or its list, is.
GGUF_HEAD = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 3) + b"abc"
PAIRS = [
    Payload("pair: tokenizer with code of its own", PAIR, 7, "auto_map", both(
        code_file("teacher/evil.py"), settings("teacher/tokenizer_config.json", auto_map=CODE))),
    Payload("pair: tokenizer linked outside", PAIR, 7, "link", link("teacher/tokenizer.json")),
    Payload("pair: a pipe in the directory", PAIR, 7, "neither a file nor a directory", pipe(
        "teacher/tokenizer_config.json")),
    Payload("pair: a chat template that breaks out", PAIR, 0, "", settings(
        "teacher/tokenizer_config.json", chat_template=BREAK_OUT)),
    Payload("pair: a tokenizer without an end", PAIR, 4, "cannot be loaded", write("teacher/tokenizer.json", DEEP)),
    Payload("pair: a file without an end", PAIR_FILE, 4, "neither", write("evil.json", DEEP)),
    Payload("pair: a pickle for a tokenizer", PAIR_FILE, 4, "neither", pickle_at("evil.json")),
    Payload("pair: GGUF with a text longer than the file", PAIR_GGUF, 4, "cannot be rebuilt", lambda room: (
        room / "evil.gguf").write_bytes(GGUF_HEAD + struct.pack("<IQ", 8, 2**62))),
    Payload("pair: GGUF with a list longer than the file", PAIR_GGUF, 4, "cannot be rebuilt", lambda room: (
        room / "evil.gguf").write_bytes(GGUF_HEAD + struct.pack("<IIQ", 9, 8, 2**62))),
    Payload("pair: GGUF with more keys than bytes", PAIR_GGUF, 4, "cannot be rebuilt", lambda room: (
        room / "evil.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**62, 2**62))),
    Payload("pair: a pickle for GGUF", PAIR_GGUF, 4, "cannot be rebuilt", pickle_at("evil.gguf")),
]  # fmt: skip
PAYLOADS = [*CHECKPOINTS, *TEACHERS, *STORES, *IMPORTS, *PAIRS]
