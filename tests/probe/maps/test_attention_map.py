"""The map and its store: what goes in comes out, few bytes, little memory, and nothing damaged is ever believed."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from probe.errors import DamagedError, DataError, DiskError, NonFiniteError, UnsafeError, UsageError
from probe.files import write_manifest
from probe.maps import store as map_store
from probe.maps.attention_map import AttentionMap, check_map
from probe.maps.store import MapStore, MapStoreWriter
from probe.text.axis import TokenAxis

PROVENANCE = {"student_tokenizer": "5" * 16, "teacher_tokenizer": "7" * 16, "command": "probe extract"}


def axis(count: int, text: str) -> TokenAxis:
    """``count`` targets: the text's characters cut evenly by bytes (ASCII), then EOS."""
    cuts = np.linspace(0, len(text), count).astype(int)
    spans = [*zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True), (len(text), len(text))]
    pieces = tuple(text[a:b].replace(" ", "Ġ") for a, b in spans[:-1]) + ("</s>",)
    tokens = tuple(p.replace("Ġ", "␣") for p in pieces[:-1]) + ("‹eos›",)
    return TokenAxis(tokens, pieces, tuple((7 * k) % 997 for k in range(count)), tuple(spans))


def make_map(seed: int = 0, n: int = 5, m: int = 7, direction: str = "t2s", **changes) -> AttentionMap:
    rng = np.random.default_rng(seed)
    words = rng.choice(["the", "of", "student", "and", "teacher", "map", "alignment"], n + m)
    text = " ".join(words.tolist())
    scores = np.exp(rng.normal(0, 3, (n, m)))
    weights = (scores / scores.sum(axis=1 if direction == "t2s" else 0, keepdims=True)).astype(np.float32)
    amap = AttentionMap(
        f"ex-{seed}", "prose", "dskd-cma", "dskd-cma", direction, "frozen", text, axis(n, text), axis(m, text), weights
    )
    return dataclasses.replace(amap, **changes)


def write(path: Path, maps, **options) -> MapStore:
    with MapStoreWriter(path, provenance=PROVENANCE, **options) as writer:
        for amap in maps:
            writer.add(amap)
    return MapStore.open(path)


def resign(path: Path) -> None:
    """Make the manifest agree with whatever the files hold now, as an attacker would."""
    manifest = json.loads((path / "manifest.json").read_text())
    provenance = manifest["provenance"]
    write_manifest(path, manifest["kind"], manifest["schema_version"], provenance)


def shard(path: Path) -> Path:
    return path / "maps-00000.safetensors"


# ---- the map ----


def test_weights_must_have_the_shape_of_the_axes():
    with pytest.raises(DataError, match=r"5 student × 7 teacher targets, got 7 × 5"):
        make_map(weights=np.ones((7, 5), np.float32) / 5)


def test_direction_and_axis_lengths_are_checked():
    with pytest.raises(DataError, match="t2s or s2t, got 'both'"):
        make_map(direction="t2s") and dataclasses.replace(make_map(), direction="both")
    with pytest.raises(DataError, match="2 tokens, 2 pieces, 1 ids, 2 spans"):
        TokenAxis(("a", "b"), ("a", "b"), (1,), ((0, 1), (1, 2)))


@pytest.mark.parametrize(("direction", "side"), [("t2s", "row 1"), ("s2t", "column 1")])
def test_the_side_of_the_direction_sums_to_one(direction, side):
    amap = make_map(direction=direction)
    check_map(amap)
    weights = amap.weights.copy()
    weights[:, 1] *= 0.5 if direction == "s2t" else 1
    weights[1, :] *= 0.5 if direction == "t2s" else 1
    with pytest.raises(DataError, match=f"{side} sums to 0.5; wanted 1 within 0.002"):
        check_map(dataclasses.replace(amap, weights=weights))


def test_weights_outside_the_interval_and_non_finite_ones_are_refused():
    weights = make_map().weights.copy()
    weights[2, :2] = -0.25, weights[2, :2].sum() + 0.25
    with pytest.raises(DataError, match=r"\[0, 1\], got -0.25"):
        check_map(make_map(weights=weights))
    weights[3, 4] = np.nan
    with pytest.raises(NonFiniteError, match=r"weight \(3, 4\) is nan"):
        check_map(make_map(weights=weights))


def test_spans_outside_the_text_and_lone_surrogates_are_refused():
    with pytest.raises(DataError, match=r"span 0 is \[.*\); the text has 3 bytes"):
        check_map(make_map(text="abc"))
    with pytest.raises(DataError, match=r"lone surrogate '\\ud800'"):
        check_map(make_map(text=make_map().text + "\ud800"))


# ---- the round trip ----


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_written_is_read(tmp_path, dtype):
    text = "語 🙂 é\n"
    spans = ((0, 3), (3, 8), (8, 12), (12, 12))
    side = TokenAxis(("語", "␣🙂", "␣é⏎", "‹eos›"), ("èª", "Ġð", "Ġé", "</s>"), (1, 2, 3, 2**31 - 1), spans)
    even = np.full((4, 4), 0.25, np.float32)
    odd = AttentionMap("a/b\t\x00🙂", "", "ck", "m", "s2t", "batch", text, side, side, even, truncated=True)
    maps = [make_map(0), make_map(1, 30, 20, direction="s2t"), odd, make_map(2, 1, 1)]
    store = write(tmp_path / "maps", maps, dtype=dtype)
    assert len(store) == 4
    for wanted, found in zip(maps, store, strict=True):
        exact = wanted.weights.astype(dtype).astype(np.float32)
        assert found.weights.dtype == np.float32
        np.testing.assert_array_equal(found.weights, exact)
        assert dataclasses.replace(found, weights=wanted.weights) == wanted
    assert (store.student_fingerprint, store.teacher_fingerprint) == ("5" * 16, "7" * 16)


def test_half_precision_keeps_the_sums(tmp_path):
    store = write(tmp_path / "maps", [make_map(k, 300, 300) for k in range(3)])
    for amap in store:
        np.testing.assert_allclose(amap.weights.sum(axis=1, dtype=np.float64), 1, atol=2e-3)


def test_index_has_the_columns_of_the_contract(tmp_path):
    store = write(tmp_path / "maps", [make_map(0), make_map(1, direction="s2t", category="code")])
    columns = (  # as in the contract
        "example_id category checkpoint method direction normalisation n_student n_teacher text student_tokens "
        "teacher_tokens student_pieces teacher_pieces student_ids teacher_ids student_spans teacher_spans truncated "
        "shard key"
    )
    for frame in (store.index, pd.read_parquet(tmp_path / "maps" / "index.parquet")):
        assert " ".join(frame.columns) == columns
        assert frame.category.tolist() == ["prose", "code"]
        assert frame.n_student.tolist() == [5, 5]
        assert frame.shard.tolist() == ["maps-00000.safetensors"] * 2
    spans = [list(pair) for pair in store.index.student_spans[0]]
    assert spans == [list(pair) for pair in make_map(0).student.spans]


def test_the_safetensors_library_reads_our_shards(tmp_path):
    write(tmp_path / "maps", [make_map(0), make_map(1)])
    tensors = load_file(shard(tmp_path / "maps"))
    np.testing.assert_array_equal(tensors["00000001"], make_map(1).weights.astype(np.float16))


def test_select_and_access(tmp_path):
    maps = [make_map(k, direction=d, checkpoint=c) for k in range(3) for c in "ab" for d in ("t2s", "s2t")]
    store = write(tmp_path / "maps", maps)
    assert store.select() == list(range(12))
    assert store.select(example_id="ex-1") == [4, 5, 6, 7]
    assert store.select(example_id=["ex-0", "ex-2"], checkpoint="b", direction="s2t") == [3, 11]
    assert store.select(checkpoint=None, direction="t2s", category="none") == []
    assert store.read("00000003").checkpoint == "b"
    assert store[-1].example_id == "ex-2"
    with pytest.raises(IndexError, match="row 12 of a map store of 12"):
        store.read(12)
    with pytest.raises(KeyError):
        store.read("nothing")
    with pytest.raises(UsageError, match="cannot be selected by 'n_student'"):
        store.select(n_student="5")


def test_an_empty_store_is_a_store(tmp_path):
    assert len(write(tmp_path / "maps", [])) == 0


def test_same_maps_same_bytes(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name, [make_map(k, 40, 50) for k in range(20)], shard_mb=0.02)
    names = sorted(os.listdir(tmp_path / "one"))
    assert len(names) > 4
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


# ---- size, speed, memory ----


def test_a_tenth_of_the_bytes_of_float_lists(tmp_path):
    maps = [make_map(k, 60, 70, direction=d) for k in range(40) for d in ("t2s", "s2t")]
    write(tmp_path / "maps", maps)
    stored = sum(file.stat().st_size for file in (tmp_path / "maps").iterdir())
    lists = sum(len(json.dumps({"id": a.example_id, "weights": a.weights.tolist()})) + 1 for a in maps)
    assert stored <= lists / 10, f"{stored / lists:.4f}"


def test_one_read_takes_less_than_ten_milliseconds(tmp_path):
    store = write(tmp_path / "maps", [make_map(k, 60, 70) for k in range(50)])
    times = []
    for row in range(50):
        start = time.perf_counter()
        store.read(row)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 0.010


def test_the_writer_holds_one_shard_however_many_maps(tmp_path):
    def peak(count: int) -> int:
        base = make_map(0, 60, 70)
        tracemalloc.start()
        with MapStoreWriter(tmp_path / f"m{count}", provenance=PROVENANCE, shard_mb=0.5) as writer:
            for k in range(count):
                writer.add(dataclasses.replace(base, example_id=str(k)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(70)  # imports and caches
    few, many = peak(150), peak(1200)
    assert many < few + 300_000, f"{few} -> {many}"


# ---- damage ----


@pytest.fixture
def path(tmp_path) -> Path:
    write(tmp_path / "maps", [make_map(0), make_map(1), make_map(2)])
    return tmp_path / "maps"


def test_no_store_and_an_unfinished_one(path, tmp_path):
    with pytest.raises(DamagedError, match="does not exist"):
        MapStore.open(tmp_path / "none")
    (path / "manifest.json").unlink()
    with pytest.raises(DamagedError, match="has no manifest.json"):
        MapStore.open(path)


def test_a_flipped_bit_or_a_cut_shard_gives_no_map(path):
    whole = shard(path).read_bytes()
    for damage in (whole[:-1], whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], b""):
        shard(path).write_bytes(damage)
        store = MapStore.open(path)
        with pytest.raises(DamagedError, match="sha256"):
            store.read(0)
        with pytest.raises(DamagedError, match="sha256"):
            store.verify()
    shard(path).unlink()
    with pytest.raises(DamagedError, match="lacks maps-00000.safetensors"):
        MapStore.open(path)


def test_a_cut_shard_is_noticed_even_unverified(path):
    shard(path).write_bytes(shard(path).read_bytes()[:-1])
    with pytest.raises(DamagedError, match="cannot be read"):
        MapStore.open(path, verify=False).read(0)


def test_a_damaged_index_is_noticed(path):
    whole = (path / "index.parquet").read_bytes()
    (path / "index.parquet").write_bytes(whole[:100] + bytes([whole[100] ^ 4]) + whole[101:])
    with pytest.raises(DamagedError, match="index.parquet is altered"):
        MapStore.open(path)
    (path / "index.parquet").write_bytes(b"PAR1 nonsense PAR1")
    resign(path)
    with pytest.raises(DamagedError, match="cannot be read as a map index"):
        MapStore.open(path)


def header(body: dict, data: bytes = b"") -> bytes:
    text = json.dumps(body).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{" * 100,
        header({"00000000": {"dtype": "F16", "shape": [5, 7], "data_offsets": [0, 10**12]}}),
        header({"00000000": {"dtype": "F16", "shape": [5, 7], "data_offsets": [-70, 0]}}),
        header({"00000000": {"dtype": "F16", "shape": [2**40, 2**40], "data_offsets": [0, 70]}}, bytes(70)),
        header({"00000000": {"dtype": "python", "shape": [5, 7], "data_offsets": [0, 70]}}, bytes(70)),
        header({"other": {"dtype": "F16", "shape": [5, 7], "data_offsets": [0, 70]}}, bytes(70)),
        b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    ],
    ids=["length 2^63", "length 1e9", "offset outside", "negative", "overflow", "dtype", "no key", "pickle"],
)
def test_a_malicious_shard_is_an_error_and_nothing_else(path, content):
    shard(path).write_bytes(content)
    resign(path)
    store = MapStore.open(path)
    with pytest.raises(DamagedError, match="cannot be read"):
        store.read(0)


def test_numbers_that_are_no_map_are_refused_though_the_hash_agrees(path):
    keys = {f"{k:08d}": make_map(k).weights.astype(np.float16) for k in range(3)}
    keys["00000000"], keys["00000001"] = keys["00000000"].T.copy(), keys["00000001"] * 2
    keys["00000002"][0, 0] = np.inf
    map_store._write_shard(shard(path), keys)
    resign(path)
    store = MapStore.open(path)
    with pytest.raises(DamagedError, match=r"index says 5 × 7 float weights, .* holds 7 × 5 float16"):
        store.read(0)
    with pytest.raises(DamagedError, match="sums to|got .* to"):
        store.read(1)
    with pytest.raises(DamagedError, match="is inf"):
        store.read(2)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("shard", "../outside.safetensors", "not in the manifest"),
        ("shard", None, "not in the manifest"),
        ("direction", "sideways", "t2s or s2t, got 'sideways'"),
        ("text", "", "the text has 0 bytes"),
        ("n_student", 6, "index says 6 × 7"),
        ("student_ids", [1, 2], "2 ids"),
        ("student_spans", None, "is damaged"),
        ("key", "00000009", "cannot be read"),
    ],
)
def test_an_index_row_that_does_not_describe_the_map(path, column, value, message):
    frame = pd.read_parquet(path / "index.parquet")
    frame[column] = pd.Series([value, *frame[column].tolist()[1:]], dtype=frame[column].dtype)
    frame.to_parquet(path / "index.parquet", index=False)
    resign(path)
    store = MapStore.open(path)
    with pytest.raises(DamagedError, match=message):
        store.read(0)
    assert store.read(1).example_id == "ex-1"


def test_an_index_without_a_column_or_with_fewer_rows(path):
    frame = pd.read_parquet(path / "index.parquet")
    frame.drop(columns="text").to_parquet(path / "index.parquet")
    resign(path)
    with pytest.raises(DamagedError, match="lacks the columns text"):
        MapStore.open(path)
    frame.iloc[:2].to_parquet(path / "index.parquet", index=False)
    resign(path)
    with pytest.raises(DamagedError, match="2 rows; the manifest says 3 maps"):
        MapStore.open(path)


def test_links_are_refused(path, tmp_path):
    shard(path).rename(tmp_path / "elsewhere")
    shard(path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeError, match="is a link"):
        MapStore.open(path)


def test_fingerprints_must_be_there(tmp_path):
    with MapStoreWriter(tmp_path / "maps", provenance={}):
        pass
    with pytest.raises(DamagedError, match="wanted a student_tokenizer fingerprint"):
        _ = MapStore.open(tmp_path / "maps").student_fingerprint


# ---- the writer is all or nothing ----


def test_a_failing_block_leaves_nothing_and_keeps_the_old_store(tmp_path):
    target = tmp_path / "maps"
    with pytest.raises(ZeroDivisionError), MapStoreWriter(target, provenance=PROVENANCE, shard_mb=1e-4) as writer:
        writer.add(make_map(0))
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []
    write(target, [make_map(0)])
    with pytest.raises(NonFiniteError), MapStoreWriter(target, provenance=PROVENANCE) as writer:
        writer.add(make_map(1, weights=np.full((5, 7), np.nan, np.float32)))
    assert [amap.example_id for amap in MapStore.open(target)] == ["ex-0"]
    write(target, [make_map(3)])
    assert [amap.example_id for amap in MapStore.open(target)] == ["ex-3"]
    assert os.listdir(tmp_path) == ["maps"]


@pytest.mark.filterwarnings("error")
def test_a_full_disk_is_a_disk_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path, tensors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(map_store, "_write_shard", full)
    with pytest.raises(DiskError, match="No space left"):
        write(tmp_path / "maps", [make_map(0)])
    assert os.listdir(tmp_path) == []


def test_other_peoples_files_are_not_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="is not a map store, so it is not overwritten"):
        MapStoreWriter(tmp_path / "home", provenance=PROVENANCE)
    with pytest.raises(UsageError, match="is a file"):
        MapStoreWriter(tmp_path / "home" / "thesis.tex", provenance=PROVENANCE)
    (tmp_path / "empty").mkdir()
    assert len(write(tmp_path / "empty", [make_map(0)])) == 1


def test_repeated_maps_and_bad_settings_are_refused(tmp_path):
    with pytest.raises(DataError, match="is there already"):
        write(tmp_path / "maps", [make_map(0), make_map(0)])
    with pytest.raises(UsageError, match="float16 or float32, got 'int8'"):
        MapStoreWriter(tmp_path / "maps", provenance={}, dtype="int8")
    with pytest.raises(DataError, match="must be JSON"):
        MapStoreWriter(tmp_path / "maps", provenance={"path": Path(".")})
    with pytest.raises(DataError, match="must be JSON"):
        MapStoreWriter(tmp_path / "maps", provenance={"name": "\ud800"})


# --- a store that is rewritten while it is read ---------------------------------------------------


def test_a_reader_keeps_the_store_that_it_opened(tmp_path: Path) -> None:
    first = write(tmp_path / "maps", [make_map(seed) for seed in range(6)], shard_mb=1e-4)
    wanted = [make_map(seed).weights.astype(np.float16) for seed in range(6)]
    assert np.array_equal(first.read(0).weights, wanted[0])
    second = write(tmp_path / "maps", [make_map(seed) for seed in range(10, 14)], shard_mb=1e-4)
    first.verify()
    for row in range(6):  # shards that it had not opened yet
        assert np.array_equal(first.read(row).weights, wanted[row])
    assert [amap.example_id for amap in second] == [f"ex-{seed}" for seed in range(10, 14)]


def test_opening_while_the_store_is_replaced_gives_one_of_the_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is read of the old store, then another takes its place, so no index fits it."""
    write(tmp_path / "maps", [make_map(seed) for seed in range(3)])
    read, calls = map_store.read_manifest, []

    def replaced_after(*arguments, **options):
        manifest = read(*arguments, **options)
        if not calls:
            calls.append(1)
            write(tmp_path / "maps", [make_map(seed) for seed in range(5, 9)])
        return manifest

    monkeypatch.setattr(map_store, "read_manifest", replaced_after)
    assert [amap.example_id for amap in MapStore.open(tmp_path / "maps")] == ["ex-5", "ex-6", "ex-7", "ex-8"]


def test_a_store_that_never_rests_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "maps", [make_map()])
    monkeypatch.setattr(map_store.HeldDirectory, "replaced", True)
    with pytest.raises(DiskError, match="was rewritten 20 times while it was opened"):
        MapStore.open(tmp_path / "maps")
