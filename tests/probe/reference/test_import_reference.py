"""`probe import-reference`: weights, projectors, adapters and align.jsonl of the public code, to the last digit."""

from __future__ import annotations

import ast
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from probe.__main__ import main
from probe.errors import DamagedError, UnsafeError
from probe.maps.store import MapStore
from probe.models.attention import measure_sigmas
from probe.models.checkpoint import load_checkpoint
from probe.models.loading import input_embeddings, load_causal_lm, load_tokenizer
from probe.reference.files import read_tensors
from probe.reference.import_reference import ImportOptions, import_reference
from probe.reference.models import read_model
from probe.reference.projectors import looks_untrained, read_projectors
from probe.text.examples import read_examples
from probe.text.tokenization import PairTokenizer
from tests.support import ROOT, public_code, tiny
from tests.support.tiny import extract_maps


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return public_code.outputs(tmp_path_factory.mktemp("public"))


@pytest.fixture
def room(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "room")


def run(room: Path, *more: str, **instead: str) -> int:
    options = {"student": f"{room}/student", "teacher": f"{room}/teacher", "projector": f"{room}/student/projector.pt",
               "data": f"{room}/data.jsonl", "out": f"{room}/out", "max_length": "64", **instead}  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    return main(["import-reference", *words, *more])


def tables(room: Path) -> tuple[Tensor, Tensor]:
    student = read_tensors(room / "student" / "pytorch_model.bin")["transformer.wte.weight"]
    return student, input_embeddings(room / "teacher")


# --- the checkpoint -------------------------------------------------------------------------------


def test_an_imported_checkpoint_holds_what_the_files_held(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_tensors(room / "student" / "pytorch_model.bin")
    assert run(room, "--projector-config", f"{room}/projector_config.json") == 0, capsys.readouterr().err
    checkpoint = load_checkpoint(room / "out")
    after = load_causal_lm(checkpoint.student_directory).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    wanted = public_code.projectors().state_dict()
    assert all(
        torch.equal(tensor, wanted[name]) for name, tensor in checkpoint.require_attention().state_dict().items()
    )
    assert (checkpoint.config.method, checkpoint.config.teacher) == ("dskd-cma", f"{room}/teacher")
    assert "sigma_k" in capsys.readouterr().out
    assert main(["verify", f"{room}/out"]) == 0


def test_the_library_imports_what_the_command_imports(room: Path) -> None:
    assert run(room) == 0
    paths = {"student": room / "student", "projector": room / "student" / "projector.pt", "data": room / "data.jsonl"}
    counted: list[tuple[int, str]] = []

    def watched(items: list[object], *, total: int, label: str) -> list[object]:
        counted.append((total, label))
        return items

    out = room / "library" / "out"
    made = import_reference(
        ImportOptions(**paths, teacher=f"{room}/teacher", out=out, max_length=64), command="me", watched=watched
    )
    assert len(counted) == 1 and counted[0][0] > 0 and made.maps is None
    for name in ("config.json", "metrics.json", "projectors.safetensors", "student/model.safetensors"):
        assert (out / name).read_bytes() == (room / "out" / name).read_bytes(), name
    cards = [(place / "README.md").read_text() for place in (room / "out", out)]
    by_command = [card.partition("\nMade by ") for card in cards]
    assert by_command[0][0] == by_command[1][0] and by_command[1][2] == "`me`.\n"
    assert by_command[0][2].startswith("`python -m probe import-reference --student ")


def test_the_stored_normalisation_is_measured_on_the_data(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(room, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    pair = PairTokenizer(load_tokenizer(room / "student"), load_tokenizer(room / "teacher"), max_length=64)
    pairs = pair.encode(read_examples(room / "data.jsonl"))
    model, table = load_causal_lm(room / "teacher"), input_embeddings(room / "teacher")
    hidden = []
    for side in (pair.teacher for pair in pairs):  # one text at a time, without padding
        with torch.no_grad():
            out = model(input_ids=torch.tensor([side.ids[:-1]]), output_hidden_states=True)
        hidden.append(out.hidden_states[-1][0, side.start :])
    flat = [[i for pair in pairs for i in getattr(pair.teacher, name)] for name in ("inputs", "targets")]
    wanted = measure_sigmas(table[flat[0]], table[flat[1]], torch.cat(hidden))
    for name in ("sigma_k", "sigma_h", "sigma_e"):
        assert said["normalisation"][name] == pytest.approx(getattr(wanted, name), rel=1e-5)
    # the published one, by hand: all positions of the padded batch, token 0 outside the response
    rows = torch.zeros(len(pairs), 64, 2 * 16) + torch.cat([table[0], table[0]])
    for row, pair in enumerate(pairs):
        both = torch.cat([table[list(pair.teacher.inputs)], table[list(pair.teacher.targets)]], dim=-1)
        rows[row, pair.teacher.start : pair.teacher.start + len(both)] = both
    assert said["reference"]["published_sigma_k"] == pytest.approx(rows.double().std().item(), rel=1e-6)


def test_maps_in_the_published_normalisation_are_those_of_the_public_code(room: Path) -> None:
    assert run(room) == 0
    examples = read_examples(room / "data.jsonl")
    maps = extract_maps(room / "out", examples, direction="t2s", normalisation="batch", batch_size=1, padded_length=64)
    pairs = PairTokenizer(load_tokenizer(room / "student"), load_tokenizer(room / "teacher")).encode(examples)
    for amap, pair in zip(maps, pairs, strict=True):
        ids = ([*pair.student.inputs, pair.student.targets[-1]], [*pair.teacher.inputs, pair.teacher.targets[-1]])
        wanted = public_code.published_map(public_code.projectors(), tables(room), ids, 64)
        assert np.allclose(amap.weights, wanted.numpy(), atol=1e-6)


def test_key_query_matching_is_imported_without_its_discriminator(room: Path) -> None:
    assert run(room, "--method", "dskd-cma-ga") == 0
    checkpoint = load_checkpoint(room / "out")
    assert checkpoint.config.method == "dskd-cma-ga" and checkpoint.discriminator is None
    assert "never saves the discriminator" in (room / "out/README.md").read_text()
    assert main(["verify", f"{room}/out"]) == 0


def test_shards_and_half_precision_are_read(room: Path) -> None:
    state = read_tensors(room / "student/pytorch_model.bin")
    names = list(state)
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    (room / "student/pytorch_model.bin").unlink()
    for number, part in enumerate((names[:5], names[5:]), start=1):
        torch.save({name: half[name] for name in part}, room / f"student/pytorch_model-{number:05d}-of-00002.bin")
    found = read_model(room / "student").state_dict()
    assert all(torch.equal(found[name], tensor.float()) for name, tensor in half.items())


def test_a_full_disk_leaves_nothing(
    room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    lines = [public_code.align_line(room, "Count.", "1, 2, 3", tables(room))]
    before = sorted(room.rglob("*"))
    monkeypatch.setattr("probe.files._sync", full)
    options = dump(room, lines)
    assert run(room, *options, "--teacher-out", f"{room}/kept") == 6
    assert "No space left" in capsys.readouterr().err
    assert sorted(room.rglob("*")) == sorted([*before, room / "align.jsonl"])


# --- adapters -------------------------------------------------------------------------------------


def by_hand(model: dict[str, Tensor], state: dict[str, Tensor], transposed: bool) -> dict[str, Tensor]:
    """W + (6 / 2) B A for every adapted layer."""
    merged = dict(model)
    for name in state:
        if name.endswith("lora_A.weight"):
            layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            update = 3.0 * state[name.replace("lora_A", "lora_B")] @ state[name]
            merged[f"{layer}.weight"] = model[f"{layer}.weight"] + (update.T if transposed else update)
    return merged


@pytest.mark.parametrize("pickle", [True, False])
def test_a_students_adapter_is_merged(pickle: bool, room: Path) -> None:
    public_code.adapter(room / "lora", _plain_student(room), pickle=pickle, fan_in_fan_out=True)
    assert run(room, "--lora", f"{room}/lora") == 0
    suffix = "bin" if pickle else "safetensors"
    state = read_tensors(room / f"lora/adapter_model.{suffix}")
    assert len(state) == 2
    wanted = by_hand(read_model(room / "student").state_dict(), state, transposed=True)
    found = load_causal_lm(room / "out/student").state_dict()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in found)
    assert not torch.equal(found["transformer.h.0.attn.c_attn.weight"],
                           read_model(room / "student").state_dict()["transformer.h.0.attn.c_attn.weight"])  # fmt: skip


def _plain_student(room: Path) -> Path:
    """The same student as safetensors, for peft to make an adapter for."""
    return tiny.model_directory(room / "plain", "gpt2", "small-bpe", width=12, seed=2)


def test_a_teachers_adapter_counts_in_the_normalisation_and_can_be_kept(room: Path) -> None:
    public_code.adapter(room / "lora", room / "teacher")
    assert run(room) == 0
    assert run(room, "--teacher-lora", f"{room}/lora", out=f"{room}/out2") == 0
    kept = ("--teacher-lora", f"{room}/lora", "--teacher-out", f"{room}/merged")
    assert run(room, *kept, out=f"{room}/out3") == 0
    plain, adapted, merged = (load_checkpoint(room / name).config for name in ("out", "out2", "out3"))
    assert plain.normalisation and adapted.normalisation and merged.normalisation
    assert plain.normalisation.sigma_k == adapted.normalisation.sigma_k
    assert plain.normalisation.sigma_h != adapted.normalisation.sigma_h
    assert merged.normalisation.sigma_h == pytest.approx(adapted.normalisation.sigma_h, rel=1e-6)
    assert (adapted.teacher, merged.teacher) == (f"{room}/teacher", f"{room}/merged")
    wanted = by_hand(
        load_causal_lm(room / "teacher").state_dict(), read_tensors(room / "lora/adapter_model.bin"), False
    )
    found = load_causal_lm(room / "merged").state_dict()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in found)


def test_a_pickled_teacher_needs_a_place_to_be_written_to(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public_code.pickled(room / "teacher")
    assert run(room) == 2
    assert "--teacher-out" in capsys.readouterr().err
    assert run(room, "--teacher-out", f"{room}/safe") == 0
    assert list(extract_maps(room / "out", read_examples(room / "data.jsonl")))


# --- projectors -----------------------------------------------------------------------------------


def saved(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    torch.save(change(public_code.projector_state(public_code.projectors())), path)
    return path


def test_linear_layers_in_a_row_are_folded_exactly(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = torch.nn.Linear(24, 7), torch.nn.Linear(7, 32)
    layers = {"query.0.weight": first.weight, "query.0.bias": first.bias, "query.1.weight": second.weight,
              "query.1.bias": second.bias}  # fmt: skip
    path = saved(tmp_path / "projector.pt", lambda state: {**state, **{k: v.detach() for k, v in layers.items()}})
    query, x = read_projectors(path, None, 12, 16).get_submodule("query"), torch.randn(9, 24)
    assert torch.allclose(query(x), second(first(x)), atol=1e-6)


def test_a_query_that_was_never_trained_is_noticed(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(room) == 0
    assert "looks untrained" in capsys.readouterr().out
    saved(room / "student/projector.pt", lambda state: {name: 1.5 * tensor for name, tensor in state.items()})
    assert run(room, out=f"{room}/out2") == 0
    assert "looks untrained" not in capsys.readouterr().out
    trained = load_checkpoint(ROOT / "checkpoints/dskd-cma").require_attention().query
    assert not looks_untrained(trained)


def test_a_method_without_a_query_is_imported_without_it(room: Path) -> None:
    assert run(room, "--method", "dskd-clp") == 0
    checkpoint = load_checkpoint(room / "out")
    assert checkpoint.attention is not None and set(checkpoint.attention.state_dict()) == {
        "t2s.weight", "t2s.bias", "s2t.weight", "s2t.bias",
    }  # fmt: skip
    with pytest.raises(DamagedError, match="no query projector"):
        checkpoint.require_attention()


def test_a_bare_linear_and_bfloat16_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.pt", lambda s: {k.replace(".0.", "."): v.bfloat16() for k, v in s.items()})
    found = read_projectors(path, None, 12, 16).state_dict()
    assert all(torch.equal(found[k], v.bfloat16().float()) for k, v in public_code.projectors().state_dict().items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: {k: v for k, v in s.items() if "query" not in k}, "no projector 'query', only s2t, t2s"),
        (lambda s: {k: v for k, v in s.items() if k != "t2s.0.bias"}, r"t2s.0: .*found \{'weight': \(12, 16\)\}"),
        (lambda s: {**s, "query.0.weight": torch.zeros(32, 26)}, r"wanted shape \(32, 24\), found \(32, 26\)"),
        (lambda s: {**s, "query.2.weight": torch.zeros(32, 32), "query.2.bias": torch.zeros(32)}, r"\[0, 2\].*affine"),
        (lambda s: {**s, "kq_linear1.weight": torch.zeros(2)}, "kq_linear1.weight"),
        (lambda s: {**s, "query.1.weight": torch.zeros(32, 9), "query.1.bias": torch.zeros(32)}, "takes 9 .* gives 32"),
        (lambda s: {**s, "query.0.bias": torch.zeros(32, 1)}, "wanted a matrix as weight and a vector"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error_with_both_numbers(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], says: str, tmp_path: Path
) -> None:
    with pytest.raises(DamagedError, match=says):
        read_projectors(saved(tmp_path / "projector.pt", change), None, 12, 16)


def test_a_config_with_a_layer_that_is_not_affine_is_refused(room: Path) -> None:
    path = room / "projector_config.json"
    for structure in ("2s-relu-2t", "2s-2t-relu", "2s-gelu"):
        path.write_text(json.dumps({"query": {"enabled": True, "structure": structure}}))
        with pytest.raises(DamagedError, match="not affine"):
            read_projectors(room / "student/projector.pt", path, 12, 16)
    path.write_text(json.dumps({"query": {"enabled": False, "structure": "2s-relu-2t"}}))
    read_projectors(room / "student/projector.pt", path, 12, 16)


# --- align.jsonl ----------------------------------------------------------------------------------


def dump(room: Path, lines: list[dict[str, Any]]) -> tuple[str, ...]:
    tiny.write_jsonl(room / "align.jsonl", lines)
    return ("--align", f"{room}/align.jsonl", "--maps-out", f"{room}/maps")


def test_align_jsonl_becomes_maps_labelled_by_targets(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = read_examples(room / "data.jsonl")
    lines = [public_code.align_line(room, one.prompt, one.output, tables(room)) for one in examples]
    assert run(room, *dump(room, lines)) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "cannot tell" in said and "standard deviation of a padded batch" in said
    store = MapStore.open(room / "maps")
    assert "cannot_tell" in store.provenance
    pairs = PairTokenizer(load_tokenizer(room / "student"), load_tokenizer(room / "teacher")).encode(examples)
    assert len(store) == len(lines)
    for amap, line, pair in zip(store, lines, pairs, strict=True):
        assert amap.text == pair.text and not amap.truncated
        assert (amap.student.ids, amap.teacher.ids) == (pair.student.targets, pair.teacher.targets)
        assert (amap.student.spans, amap.teacher.spans) == (pair.student.axis.spans, pair.teacher.axis.spans)
        assert list(amap.student.pieces[:-1]) == line["student"][1:]  # an input is the target of the position before it
        assert np.array_equal(amap.weights, np.float32(line["alignment"]))
        assert (amap.direction, amap.normalisation) == ("t2s", "batch")


def test_examples_give_ids_and_the_end_of_texts_that_were_cut(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = read_examples(room / "data.jsonl")
    lines = [public_code.align_line(room, one.prompt, one.output, tables(room), most=40) for one in examples]
    options = dump(room, lines)
    assert run(room, *options) == 3
    assert "--align-data" in capsys.readouterr().err
    assert run(room, *options, "--align-data", f"{room}/data.jsonl") == 0
    maps = list(MapStore.open(room / "maps"))
    assert [amap.example_id for amap in maps] == [one.id for one in examples]
    cut = maps[-1]
    assert cut.truncated and not maps[0].truncated
    last = cut.student.spans[-1]
    assert 0 < last[0] < last[1] < len(cut.text.encode())  # a piece of the text, not the end token
    assert len(cut.student) == len(lines[-1]["student"])


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"student": ["Ġ", "zz", "Ġ"]}, 3, "align.jsonl:1"),
        ({"student": [1, 2]}, 3, "align.jsonl:1"),
        ({"alignment": [[1.0]]}, 3, "need weights of that shape"),
        ({"alignment": "x"}, 3, "analyse.py"),
        ({"teacher": None}, 3, "analyse.py"),
        ({"alignment": [[float("nan")]], "student": ["a"], "teacher": ["a"]}, 5, "NaN"),
        ({"alignment": [[0.5]], "student": ["a"], "teacher": ["a"]}, 3, "rows sum to 1"),
    ],
)
def test_a_dump_that_is_wrong_is_refused(
    change: dict[str, Any], code: int, says: str, room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = public_code.align_line(room, "Count.", "1, 2, 3", tables(room))
    assert run(room, *dump(room, [{**good, **change}])) == code
    assert says in capsys.readouterr().err
    assert not (room / "maps").exists()


def test_maps_whose_rows_lost_weight_to_padding_are_left_out_and_counted(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = public_code.align_line(room, "Count.", "1, 2, 3", tables(room))
    bad = {**one, "alignment": [[0.0] * len(row) for row in one["alignment"]]}
    assert run(room, *dump(room, [one, bad])) == 0
    assert "1 maps left out" in capsys.readouterr().out
    assert len(MapStore.open(room / "maps")) == 1


def test_another_text_than_the_dumps_is_named(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [public_code.align_line(room, "Count.", "the quick brown", tables(room))]
    assert run(room, *dump(room, lines), "--align-data", f"{room}/data.jsonl") == 3
    err = capsys.readouterr().err
    assert "align.jsonl:1" in err and "but the text has" in err


# --- pickles are read here alone ------------------------------------------------------------------


def test_only_the_importer_unpickles() -> None:
    """Every call and import in the rooms that could unpickle is in probe/reference/files.py, with weights_only=True."""
    found = {}
    for file in (file for room in ("probe", "app", "analysis") for file in sorted((ROOT / room).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Import | ast.ImportFrom) else ""
            call = text.partition("(")[0] if isinstance(node, ast.Call) else ""
            names = {alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")}
            module = getattr(node, "module", None)
            calls = ("torch.load", "np.load", "numpy.load", "pd.read_pickle", "eval", "exec", "compile", "__import__")
            risky = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
            if (
                (call in calls and "allow_pickle=False" not in text)  # numpy then refuses whatever is pickled
                or names & risky or module in risky or "trust_remote_code=True" in text or "allow_pickle=True" in text
            ):  # fmt: skip
                found.setdefault(file.relative_to(ROOT).as_posix(), []).append(text)
    assert list(found) == ["probe/reference/files.py"], found
    assert sorted(found["probe/reference/files.py"]) == [
        "import pickle", "torch.load(path, map_location='cpu', weights_only=True)",
    ]  # fmt: skip


def test_nobody_but_the_importer_reaches_the_reader_of_pickles() -> None:
    from tests.house.rooms import imports, modules

    def users(name: str) -> set[str]:
        return {user for user in modules() if f"probe.{name}" in imports(user)}

    assert users("reference.files") == {"probe.reference.models", "probe.reference.projectors"}
    assert users("reference.projectors") == {"probe.reference.pieces"}
    assert users("reference.models") == {"probe.reference.pieces", "probe.reference.calibration"}
    assert users("reference.pieces") == users("reference.calibration") == {"probe.reference.import_reference"}


def test_a_pickle_that_calls_something_is_named(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"query.0.weight": Payload()}, tmp_path / "projector.pt")
    with pytest.raises(UnsafeError, match="could execute code"):
        read_tensors(tmp_path / "projector.pt")
    assert not (tmp_path / "ran").exists()
