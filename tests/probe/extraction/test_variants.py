"""Maps of dskd-cma-b and dskd-cma-m from a checkpoint: without a transformer, stored and measured like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from app.server import live
from probe.__main__ import main
from probe.distillation.measure import Tables, span_accuracy
from probe.errors import DamagedError
from probe.extraction.embedding_maps import maps_of_pairs
from probe.extraction.extractor import Extractor
from probe.files import write_manifest
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.models.checkpoint import KIND, SCHEMA, load_checkpoint
from probe.models.loading import input_embeddings
from probe.models.monotone import path_posteriors
from probe.text.examples import Example
from tests.support import tiny
from tests.support.dense_variants import gaps

METHODS = {"bytes": "dskd-cma-b", "order": "dskd-cma-m"}
EXAMPLES = [Example(f"t{i}", prompt, (text,), "") for i, (prompt, text) in enumerate(tiny.TEXTS)]
RATE = 0.05  # λ as initialised


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("variants")
    teacher = tiny.model_directory(root / "teacher", "llama")
    for name, method in {"plain": "dskd-cma", **METHODS}.items():
        tiny.checkpoint_directory(root / name, teacher, method=method)
    return root


def maps_of(checkpoint: Path) -> dict[tuple[str, str], AttentionMap]:
    return {(one.example_id, one.direction): one for one in Extractor.load([checkpoint]).maps(EXAMPLES)}


def with_gap(plain: AttentionMap) -> np.ndarray:
    """The weights with bytes from DSKD-CMA's of the same projectors: log A is S but for a number a row (t2s) or column
    (s2t), which changes no softmax in that direction."""
    biased = torch.from_numpy(plain.weights).double().log() - RATE * gaps((plain.student.spans, plain.teacher.spans))
    return biased.softmax(1 if plain.direction == "t2s" else 0).numpy()


def test_maps_with_bytes_are_the_plain_ones_with_the_gap(room: Path) -> None:
    """Both checkpoints have the same projectors, so that λ's factor e^(−λ g) is all between them."""
    found, plain = maps_of(room / "bytes"), maps_of(room / "plain")
    first, second = (load_file(room / name / "projectors.safetensors") for name in ("bytes", "plain"))
    assert torch.equal(first["query.weight"], second["query.weight"])
    for key, amap in found.items():
        assert amap.method == "dskd-cma-b"
        np.testing.assert_allclose(amap.weights, with_gap(plain[key]), atol=2e-6, rtol=0)


def test_maps_in_order_are_the_posteriors_of_the_scores(room: Path) -> None:
    extractor = Extractor.load([room / "order"])
    checkpoint, source = load_checkpoint(room / "order"), extractor.sources[0]
    for pair in extractor.tokenizer.encode(EXAMPLES):
        student = [source.student_table[list(ids)].double() for ids in (pair.student.inputs, pair.student.targets)]
        teacher = [source.teacher_table[list(ids)].double() for ids in (pair.teacher.inputs, pair.teacher.targets)]
        query = checkpoint.require_attention().query.double()
        scores = query(torch.cat(student, 1)) @ (torch.cat(teacher, 1) / 0.9).T / (2 * teacher[0].shape[1]) ** 0.5
        (posteriors,) = path_posteriors([scores.detach()])
        for amap in maps_of_pairs(source, [pair]):
            dim = 1 if amap.direction == "t2s" else 0
            wanted = posteriors / posteriors.sum(dim, keepdim=True)
            np.testing.assert_allclose(amap.weights, wanted.numpy(), atol=1e-5, rtol=0)
            assert amap.method == "dskd-cma-m"


@pytest.mark.parametrize("name", METHODS)
def test_company_changes_no_map(name: str, room: Path) -> None:
    together = maps_of(room / name)
    for example in EXAMPLES:
        for amap in Extractor.load([room / name]).maps([example]):
            np.testing.assert_array_equal(amap.weights, together[amap.example_id, amap.direction].weights)


@pytest.mark.parametrize("name", METHODS)
def test_no_transformer_is_loaded_or_run(name: str, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a transformer was asked for")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)
    monkeypatch.setattr(transformers.PreTrainedModel, "__init__", refuse)
    assert len(maps_of(room / name)) == 2 * len(EXAMPLES)


@pytest.mark.parametrize("name", METHODS)
def test_they_are_extracted_stored_and_typed_in_like_any_other(name: str, room: Path, tmp_path: Path) -> None:
    data = tiny.data_file(tmp_path / "data.jsonl")
    command = ["extract", "--checkpoint", str(room / name), "--data", str(data), "--out", str(tmp_path / "maps")]
    assert main([*command, "--untrained-baseline"]) == 0
    store, wanted = MapStore.open(tmp_path / "maps"), maps_of(room / name)
    stored = [amap for amap in store if amap.checkpoint == name]
    assert {amap.method for amap in stored} == {METHODS[name]} and len(stored) == len(wanted)
    for amap in stored:
        np.testing.assert_allclose(amap.weights, wanted[amap.example_id, amap.direction].weights, atol=1e-3)
    typed, _ = live.maps_of(room, name, tiny.TEXTS[0][0], tiny.TEXTS[0][1])
    for direction, amap in typed.items():
        np.testing.assert_array_equal(amap.weights, wanted["t0", direction].weights)


def test_the_untrained_baseline_reads_neither_bytes_nor_order(room: Path) -> None:
    untrained = [
        {(m.example_id, m.direction): m.weights for m in Extractor.load([room / name], untrained_baseline=True).maps(
            EXAMPLES) if m.checkpoint == "untrained"} for name in ("plain", *METHODS)
    ]  # fmt: skip
    for other in untrained[1:]:
        for key, weights in other.items():
            np.testing.assert_array_equal(weights, untrained[0][key])


@pytest.mark.parametrize("name", ["plain", *METHODS])
def test_a_run_is_measured_on_the_maps_that_are_extracted(name: str, room: Path) -> None:
    extractor = Extractor.load([room / name])
    pairs = extractor.tokenizer.encode(EXAMPLES)
    attention = load_checkpoint(room / name).require_attention()
    tables = Tables(extractor.sources[0].student_table.float(), input_embeddings(room / "teacher").float())
    found = span_accuracy(pairs, tables, attention, 0.9)
    mass = rows = 0.0
    for pair, amap in zip(pairs, maps_of_pairs(extractor.sources[0], pairs, direction="t2s"), strict=True):
        linked = gaps((pair.student.axis.spans, pair.teacher.axis.spans)).numpy() == 0
        mass, rows = mass + float((amap.weights * linked).sum()), rows + len(amap.weights)
    assert found.rows == rows
    assert found.gold_mass_possible == pytest.approx(mass / rows, abs=1e-5)


def change_projectors(checkpoint: Path, change) -> Path:
    """Rewrite the projectors, and the manifest as if they had been written so."""
    tensors = load_file(checkpoint / "projectors.safetensors")
    change(tensors)
    save_file(tensors, checkpoint / "projectors.safetensors")
    write_manifest(checkpoint, KIND, SCHEMA, {"name": "x", "method": "dskd-cma-b", "version": "0"})
    return checkpoint


@pytest.mark.parametrize("missing", ["gap", "offset.weight"])
def test_a_missing_piece_is_refused(missing: str, room: Path, tmp_path: Path) -> None:
    checkpoint = tiny.checkpoint_directory(tmp_path / "b", room / "teacher", method="dskd-cma-b")
    assert set(load_file(checkpoint / "projectors.safetensors")) > {"gap", "offset.weight"}
    with pytest.raises(DamagedError, match=f"{missing}: wanted shape .*, found no such tensor"):
        load_checkpoint(change_projectors(checkpoint, lambda tensors: tensors.pop(missing)))


def test_bytes_that_a_method_does_not_have_are_refused(room: Path, tmp_path: Path) -> None:
    checkpoint = tiny.checkpoint_directory(tmp_path / "plain", room / "teacher")
    with pytest.raises(DamagedError, match="gap: wanted shape no such tensor"):
        load_checkpoint(change_projectors(checkpoint, lambda tensors: tensors.update(gap=torch.zeros(1))))
