"""Extraction against the equations written densely, in double precision; and what must not matter to a map."""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from probe.__main__ import main
from probe.errors import DamagedError, NonFiniteError, UsageError
from probe.extraction.embedding_maps import maps_of_pairs
from probe.extraction.extractor import Extractor
from probe.extraction.key_sigmas import key_sigmas
from probe.extraction.writing import ExtractionOptions, write_maps
from probe.files import write_manifest
from probe.maps.attention_map import AttentionMap
from probe.maps.store import MapStore
from probe.models.attention import batch_key_sigma, key_sigma
from probe.models.checkpoint import KIND, SCHEMA, load_checkpoint
from probe.models.loading import load_causal_lm
from probe.text.examples import Example, read_examples
from probe.text.tokenization import PairedTokens
from tests.support import tiny
from tests.support.reference import IGNORED, PaddedSide, dense_dskd_cma
from tests.support.tiny import extract_maps


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher, a checkpoint trained on it, and a data file."""
    root = tmp_path_factory.mktemp("room")
    tiny.model_directory(root / "teacher", "llama", "bpe", width=16, seed=1)
    tiny.checkpoint_directory(root / "cma", root / "teacher")
    tiny.data_file(root / "data.jsonl")
    return root


@pytest.fixture(scope="module")
def examples(room: Path) -> list[Example]:
    return read_examples(room / "data.jsonl")


@pytest.fixture(scope="module")
def extractor(room: Path) -> Extractor:
    return Extractor.load([room / "cma"])


@functools.cache
def embeddings(directory: Path) -> torch.Tensor:
    """The embedding table of the whole, loaded model, float64."""
    return load_causal_lm(directory).get_input_embeddings().weight.detach().double()


def dense_weights(checkpoint: Path, teacher: Path, pair: PairedTokens) -> dict[str, np.ndarray]:
    """Both maps of one example by the equations of docs/methods.md, in double precision."""
    e_s, e_t = embeddings(checkpoint / "student"), embeddings(teacher)
    projectors = {name: tensor.double() for name, tensor in load_file(checkpoint / "projectors.safetensors").items()}
    normalisation = load_checkpoint(checkpoint).config.normalisation
    assert normalisation is not None
    x, y = e_s[list(pair.student.inputs)], e_s[list(pair.student.targets)]
    z_in, z = e_t[list(pair.teacher.inputs)], e_t[list(pair.teacher.targets)]
    q = torch.cat([x, y], 1) @ projectors["query.weight"].T + projectors["query.bias"]
    k = torch.cat([z_in, z], 1) / normalisation.sigma_k
    scores = q @ k.T / math.sqrt(2 * e_t.shape[1])
    return {"t2s": torch.softmax(scores, 1).numpy(), "s2t": torch.softmax(scores, 0).numpy()}


def assert_dense(checkpoint: Path, teacher: Path, examples: list[Example]) -> None:
    extractor = Extractor.load([checkpoint])
    for pair in extractor.tokenizer.encode(examples):
        wanted = dense_weights(checkpoint, teacher, pair)
        for amap in maps_of_pairs(extractor.sources[0], [pair]):
            np.testing.assert_allclose(amap.weights, wanted[amap.direction], atol=1e-6, rtol=0)


@pytest.mark.parametrize("architecture", tiny.ARCHITECTURES)
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_every_architecture_in_both_roles_gives_the_dense_maps(
    architecture: str, role: str, tmp_path: Path, examples: list[Example]
) -> None:
    other = "gpt2" if architecture != "gpt2" else "llama"
    teacher = tiny.model_directory(tmp_path / "teacher", architecture if role == "teacher" else other, seed=3)
    student = architecture if role == "student" else other
    assert_dense(tiny.checkpoint_directory(tmp_path / "cma", teacher, architecture=student), teacher, examples)


@pytest.mark.parametrize("width", [8, 16, 32])
def test_either_side_may_be_the_wider_one(width: int, tmp_path: Path, examples: list[Example]) -> None:
    teacher = tiny.model_directory(tmp_path / "teacher", "llama", width=16, seed=4)
    assert_dense(tiny.checkpoint_directory(tmp_path / "cma", teacher, width=width), teacher, examples)


@pytest.mark.parametrize("tokenizers", [("sentencepiece", "bpe"), ("wordpiece", "sentencepiece"), ("bpe", "wordpiece")])
def test_other_tokenizers(tokenizers: tuple[str, str], tmp_path: Path, examples: list[Example]) -> None:
    teacher = tiny.model_directory(tmp_path / "teacher", "qwen2", tokenizers[1], seed=5)
    checkpoint = tiny.checkpoint_directory(tmp_path / "cma", teacher, tokenizer=tokenizers[0])
    assert_dense(checkpoint, teacher, examples)


def test_rows_of_t2s_and_columns_of_s2t_sum_to_one(extractor: Extractor, examples: list[Example]) -> None:
    for amap in extractor.maps(examples):
        sums = amap.weights.sum(axis=1 if amap.direction == "t2s" else 0, dtype=np.float64)
        np.testing.assert_allclose(sums, 1, atol=1e-6)
        assert amap.weights.shape == (len(amap.student), len(amap.teacher))
        assert amap.weights.dtype == np.float32
        assert (amap.checkpoint, amap.method, amap.normalisation) == ("cma", "dskd-cma", "frozen")


def by_key(maps: list[AttentionMap]) -> dict[tuple[str, str], np.ndarray]:
    return {(amap.example_id, amap.direction): amap.weights for amap in maps}


def assert_same(found: list[AttentionMap], wanted: dict[tuple[str, str], np.ndarray]) -> None:
    assert found
    for amap in found:
        np.testing.assert_allclose(amap.weights, wanted[amap.example_id, amap.direction], atol=1e-6, rtol=0)


def test_company_changes_no_map(extractor: Extractor, examples: list[Example]) -> None:
    """Alone, in a batch, in another order, with other mates, in batches of other sizes, at other padding."""
    wanted = by_key(list(extractor.maps(examples)))
    for example in examples:
        assert_same(list(extractor.maps([example])), wanted)
    assert_same(list(extractor.maps(examples[::-1])), wanted)
    for size in (1, 2, 5):
        assert_same(list(extractor.maps(examples, batch_size=size)), wanted)
    strangers = [Example(id=f"s{i}", prompt="p " * i, outputs=("zebra 42 é " * (i + 1),)) for i in range(7)]
    mixed = [amap for amap in extractor.maps([*strangers, *examples]) if (amap.example_id, amap.direction) in wanted]
    assert_same(mixed, wanted)
    assert_same(list(extractor.maps(examples, padded_length=200)), wanted)


def test_more_examples_than_a_chunk_and_other_projection_blocks(
    extractor: Extractor, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = by_key(list(extractor.maps(examples)))
    monkeypatch.setattr("probe.extraction.extractor.CHUNK", 2)
    maps = list(extractor.maps(examples))
    assert len(maps) == 2 * len(examples)
    assert_same(maps, wanted)
    monkeypatch.setattr("probe.extraction.embedding_maps.PROJECTION_ROWS", 7)
    assert_same(list(extractor.maps(examples)), wanted)


def test_no_model_is_run(examples: list[Example], room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("a module was called")

    monkeypatch.setattr(torch.nn.Module, "__call__", forbidden)
    assert len(list(extract_maps(room / "cma", examples, direction="s2t"))) == len(examples)


def table_pairs(extractor: Extractor, pair: PairedTokens) -> tuple[torch.Tensor, torch.Tensor]:
    table = extractor.sources[0].teacher_table
    return table[list(pair.teacher.inputs)], table[list(pair.teacher.targets)]


def test_sigma_of_example_and_masked(extractor: Extractor, examples: list[Example]) -> None:
    pairs = extractor.tokenizer.encode(examples)
    source = extractor.sources[0]
    wanted = [key_sigma(*table_pairs(extractor, pair)) for pair in pairs]
    assert key_sigmas(source, pairs, "example") == pytest.approx(wanted, rel=1e-9)
    first, second = (
        key_sigma(*(torch.cat(part) for part in zip(*(table_pairs(extractor, pair) for pair in batch), strict=True)))
        for batch in (pairs[:4], pairs[4:])
    )
    assert key_sigmas(source, pairs, "masked", batch_size=4) == pytest.approx([first] * 4 + [second] * 2, rel=1e-9)
    assert key_sigmas(source, pairs, "frozen") == [0.9] * len(pairs)


def padded(pairs: list[PairedTokens], side: str, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Input ids, labels (-100 outside the response) and mask, padded to ``length`` positions."""
    ids, mask = torch.zeros(len(pairs), length, dtype=torch.long), torch.zeros(len(pairs), length, dtype=torch.long)
    labels = torch.full((len(pairs), length), IGNORED)
    for row, pair in enumerate(pairs):
        tokens = getattr(pair, side)
        count = len(tokens.ids) - 1
        ids[row, :count], mask[row, :count] = torch.tensor(tokens.ids[:-1]), 1
        labels[row, tokens.start : count] = torch.tensor(tokens.targets)
    return ids, labels, mask


@pytest.mark.parametrize("length", [110, 150])
def test_batch_normalisation_is_the_published_one(
    room: Path, extractor: Extractor, examples: list[Example], length: int
) -> None:
    """σ and the maps of a padded batch as the dense reference computes them with both models run."""
    pairs = extractor.tokenizer.encode(examples)
    sides = {}
    for side, directory in (("student", room / "cma" / "student"), ("teacher", room / "teacher")):
        ids, labels, mask = padded(pairs, side, length)
        sides[side] = PaddedSide(load_causal_lm(directory), ids, labels, mask)
    teacher = sides["teacher"]
    inputs, targets = teacher.pairs()
    zero = extractor.sources[0].teacher_table[0]
    sigma = batch_key_sigma(inputs, targets, teacher.response, zero)
    arguments = {"normalisation": "batch", "batch_size": len(pairs), "padded_length": length}
    found = key_sigmas(extractor.sources[0], pairs, "batch", len(pairs), length)
    assert found == pytest.approx([sigma] * len(pairs), rel=1e-9)
    with torch.no_grad():
        dense = dense_dskd_cma(sides["student"], teacher, extractor.checkpoints[0].require_attention()).weights
    for row, amap in enumerate(extractor.maps(examples, direction="t2s", **arguments)):
        valid = dense[row][sides["student"].response[row]][:, teacher.response[row]]
        np.testing.assert_allclose(amap.weights, valid.numpy(), atol=1e-5)
        assert amap.normalisation == "batch"


def test_batch_normalisation_depends_on_mates_and_padding(extractor: Extractor, examples: list[Example]) -> None:
    source = extractor.sources[0]
    pairs = extractor.tokenizer.encode(examples)
    alone = key_sigmas(source, pairs[:1], "batch")[0]
    assert key_sigmas(source, pairs, "batch")[0] != pytest.approx(alone, rel=1e-4)
    assert key_sigmas(source, pairs[:1], "batch", padded_length=200)[0] != pytest.approx(alone, rel=1e-4)
    with pytest.raises(UsageError, match="padded length of at least"):
        key_sigmas(source, pairs, "batch", padded_length=3)


def test_untrained_baseline_is_seeded_and_keeps_the_embeddings(room: Path, examples: list[Example]) -> None:
    maps = [list(Extractor.load([room / "cma"], untrained_baseline=True).maps(examples)) for _ in range(2)]
    names = [(amap.checkpoint, amap.method) for amap in maps[0]]
    assert names.count(("untrained", "untrained")) == names.count(("cma", "dskd-cma")) == 2 * len(examples)
    for first, second in zip(*maps, strict=True):
        assert np.array_equal(first.weights, second.weights)
    trained, untrained = maps[0][0], maps[0][2 * len(examples)]
    assert (trained.example_id, trained.direction) == (untrained.example_id, untrained.direction)
    assert np.abs(trained.weights - untrained.weights).max() > 0.01


def test_untrained_projector_has_the_bounds_of_a_linear_layer(room: Path) -> None:
    source = Extractor.load([room / "cma"], untrained_baseline=True).sources[1]
    bound = 1 / math.sqrt(source.weight.shape[1])
    for values in (source.weight, source.bias):
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.8 * bound
        assert abs(values.mean()) < 0.3 * bound


def test_a_response_of_one_token_with_its_end(extractor: Extractor) -> None:
    maps = list(extractor.maps([Example(id="one", prompt="Say x.", outputs=("x",))]))
    assert [amap.weights.shape for amap in maps] == [(2, 2), (2, 2)]
    assert maps[0].student.tokens == ("x", "‹eos›")


def test_no_examples_no_maps(extractor: Extractor) -> None:
    assert list(extractor.maps([])) == []


def changed(room: Path, target: Path, **tensors: torch.Tensor | None) -> Path:
    """A copy of the checkpoint with other projector tensors (None drops one), under a valid manifest."""
    shutil.copytree(room / "cma", target)
    state = load_file(target / "projectors.safetensors")
    for name, tensor in tensors.items():
        state.pop(name.replace("_", "."))
        if tensor is not None:
            state[name.replace("_", ".")] = tensor
    save_file(state, target / "projectors.safetensors")
    (target / "manifest.json").unlink()
    write_manifest(target, KIND, SCHEMA, {})
    return target


@pytest.mark.parametrize(
    ("tensors", "error", "message"),
    [
        ({"query_weight": torch.zeros(32, 20)}, DamagedError, r"\(32, 24\).*\(32, 20\)"),
        ({"query_bias": torch.zeros(30)}, DamagedError, r"\(32,\).*\(30,\)"),
        ({"query_weight": None}, DamagedError, "no such tensor"),
        ({"query_weight": torch.full((32, 24), math.nan)}, NonFiniteError, "query.weight"),
        ({"query_bias": torch.full((32,), math.inf)}, NonFiniteError, "query.bias"),
    ],
)
def test_a_wrong_projector_never_gives_a_map(
    room: Path, tmp_path: Path, examples: list[Example], tensors: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        list(extract_maps(changed(room, tmp_path / "cma", **tensors), examples))


def test_a_missing_projector_never_gives_a_map(room: Path, tmp_path: Path, examples: list[Example]) -> None:
    target = changed(room, tmp_path / "cma")
    (target / "projectors.safetensors").unlink()
    (target / "manifest.json").unlink()
    write_manifest(target, KIND, SCHEMA, {})
    with pytest.raises(DamagedError, match="lacks projectors.safetensors"):
        list(extract_maps(target, examples))
    sft = tiny.checkpoint_directory(tmp_path / "sft", room / "teacher", method="sft")
    with pytest.raises(DamagedError, match="has no query projector"):
        list(extract_maps(sft, examples))


def test_another_teacher_is_refused_with_both_numbers(room: Path, tmp_path: Path, examples: list[Example]) -> None:
    wider = tiny.model_directory(tmp_path / "wider", "llama", width=32)
    with pytest.raises(DamagedError, match="320 x 16, found 320 x 32"):
        list(extract_maps(room / "cma", examples, teacher=str(wider)))
    retrained = tiny.model_directory(tmp_path / "retrained", "llama", width=16, seed=99)
    with pytest.raises(DamagedError, match=r"embeddings that .* \(fingerprint"):
        list(extract_maps(room / "cma", examples, teacher=str(retrained)))
    other = tiny.model_directory(tmp_path / "other", "llama", "sentencepiece", width=16, seed=1)
    with pytest.raises(DamagedError, match=r"tokenizer that .* \(fingerprint"):
        list(extract_maps(room / "cma", examples, teacher=str(other)))


def test_checkpoints_of_one_store_share_tokenizers_and_differ_in_name(room: Path, tmp_path: Path) -> None:
    other = tiny.checkpoint_directory(tmp_path / "other", room / "teacher", tokenizer="bpe")
    with pytest.raises(DamagedError, match="student tokenizer of .*cma is .* of .*other is"):
        Extractor.load([room / "cma", other])
    twin = tiny.checkpoint_directory(tmp_path / "cma", room / "teacher")
    with pytest.raises(UsageError, match="'cma' 2 times"):
        Extractor.load([room / "cma", twin])


def test_broken_embeddings_name_the_token(extractor: Extractor, examples: list[Example]) -> None:
    pairs = extractor.tokenizer.encode(examples[:1])
    source = extractor.sources[0]
    table = source.teacher_table.clone()
    table[pairs[0].teacher.targets[2], 1] = math.nan
    with pytest.raises(NonFiniteError, match=f"teacher embedding of token {pairs[0].teacher.targets[2]}"):
        list(maps_of_pairs(replace(source, teacher_table=table), pairs))
    with pytest.raises(NonFiniteError, match="NaN or infinite: its scores"):
        list(maps_of_pairs(replace(source, weight=source.weight * 1e38), pairs))
    with pytest.raises(DamagedError, match="gives id .* has 50 rows"):
        list(maps_of_pairs(replace(source, student_table=source.student_table[:50]), pairs))


# --- into a store ---------------------------------------------------------------------------------


def test_the_library_writes_the_store_of_the_command(room: Path, tmp_path: Path) -> None:
    tiny.data_file(tmp_path / "data.jsonl")
    words = ["--checkpoint", f"{room}/cma", "--data", f"{tmp_path}/data.jsonl", "--untrained-baseline"]
    assert main(["extract", *words, "--out", f"{tmp_path}/command", "--normalisation", "masked"]) == 0
    extractor = Extractor.load([room / "cma"], untrained_baseline=True, max_length=512)
    examples = read_examples(tmp_path / "data.jsonl")
    options = ExtractionOptions(normalisation="masked")
    counted: list[tuple[int, str]] = []

    def watched(items: Iterable[AttentionMap], *, total: int, label: str) -> Iterable[AttentionMap]:
        counted.append((total, label))
        return items

    assert write_maps(extractor, examples, tmp_path / "mine", options, watched=watched) == 2 * 2 * len(examples)
    assert counted == [(2 * 2 * len(examples), "maps")]
    by_command, by_hand = (MapStore.open(tmp_path / name) for name in ("command", "mine"))
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(by_command, by_hand, strict=True))
    left = {key: value for key, value in by_command.provenance.items() if key not in ("data", "command")}
    assert left == by_hand.provenance
    assert left["checkpoints"]["untrained"] == {"method": "untrained", "embeddings_of": "cma"}
    assert by_command.provenance["command"].endswith("--max-length 512 --untrained-baseline")
