"""Attention maps on disk: a directory that is written as a stream and checked before a map is believed.

``manifest.json`` (sha256 of the rest, written last), ``index.parquet`` (one row a map) and ``maps-NNNNN.safetensors``.
The same maps in the same order give the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from probe.errors import DamagedError, DataError, DiskError, NonFiniteError, UsageError
from probe.files import MANIFEST, atomic_directory, check_file, read_manifest, sha256_of, write_manifest
from probe.held import HeldDirectory
from probe.maps.attention_map import AttentionMap, check_map
from probe.maps.index import SCHEMA, map_to_row, read_index, row_to_map

if TYPE_CHECKING:
    import pandas as pd

KIND = "map store"
SCHEMA_VERSION = 1
INDEX = "index.parquet"
REWRITES = 20  # so often a store may be replaced while one reader opens it
OPEN_SHARDS = 16  # memory-mapped at a time by one reader
PACK_ROWS = 128  # index rows that wait as Python objects

_IDENTITY = ("example_id", "checkpoint", "method", "direction", "normalisation")


class MapStoreWriter:
    """Write a map store; used as a context manager, and nothing is at ``path`` unless the block succeeds.

    Memory holds one shard, however many maps are added. An earlier map store (or an empty directory) at ``path`` is
    replaced at the end; anything else there is refused.

    Args:
        path: the directory to make.
        provenance: how the maps were made, any JSON; the tokenizer fingerprints go under ``student_tokenizer`` and
            ``teacher_tokenizer``.
        dtype: of the stored weights. float16 keeps three digits in two bytes.
        shard_mb: a shard is written when its weights reach this many MiB; its sha256 is what the first read of it
            waits for (0.9 ms a MiB, 2 cores of 2026).

    Raises:
        UsageError: ``path`` holds something that is not a map store, or an unknown dtype.
        DiskError: the disk is full; ``path`` is as it was.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        provenance: dict[str, Any],
        dtype: Literal["float16", "float32"] = "float16",
        shard_mb: float = 4,
    ) -> None:
        if dtype not in ("float16", "float32"):
            raise UsageError(f"wanted weights stored as float16 or float32, got {dtype!r}.")
        self.path = Path(path).resolve()
        try:  # now, not after hours of adding maps
            json.dumps(provenance, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise DataError(f"the provenance of a {KIND} must be JSON in real Unicode: {error}.") from error
        self._provenance, self._dtype, self._shard_bytes = provenance, np.dtype(dtype), shard_mb * 2**20
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._tensors: dict[str, np.ndarray] = {}
        self._bytes = self._shards = self._count = 0
        self._seen: set[int] = set()
        _refuse_other_directory(self.path)

    def __enter__(self) -> MapStoreWriter:
        with contextlib.ExitStack() as stack:
            self._part = stack.enter_context(atomic_directory(self.path))
            # An own, unbuffered handle: its OSError keeps the errno, and closing it cannot fail a second time.
            handle = stack.enter_context(open(self._part / INDEX, "wb", buffering=0))
            self._index = pq.ParquetWriter(handle, SCHEMA, compression="zstd", compression_level=12)
            stack.callback(self._abandon_index)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if error is None:
            try:
                self._finish()
            except BaseException as failure:
                if not self._stack.__exit__(type(failure), failure, failure.__traceback__):
                    raise
                return None
        return self._stack.__exit__(kind, error, trace)

    def add(self, amap: AttentionMap) -> None:
        """Append one map.

        Raises:
            DataError: not a map by :func:`probe.maps.attention_map.check_map`, or one of the same example, checkpoint,
                method, direction and normalisation was added before.
            NonFiniteError: a weight is NaN or infinite.
            DiskError: the shard that this map completes cannot be written.
        """
        check_map(amap)
        identity = hash(tuple(getattr(amap, name) for name in _IDENTITY))
        if identity in self._seen:
            raise DataError(
                f"the {amap.direction} map of example {amap.example_id!r} by {amap.checkpoint!r} is there already; "
                "give each example its own id."
            )
        self._seen.add(identity)
        key = f"{self._count:08d}"
        self._rows.append(map_to_row(amap, f"maps-{self._shards:05d}.safetensors", key))
        self._tensors[key] = np.ascontiguousarray(amap.weights, dtype=self._dtype)
        self._bytes += self._tensors[key].nbytes
        self._count += 1
        if len(self._rows) == PACK_ROWS:
            self._pack()
        if self._bytes >= self._shard_bytes:
            self._flush()

    def _pack(self) -> None:
        """Turn the waiting rows into Arrow: a tenth of the memory of Python objects."""
        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, schema=SCHEMA))
            self._rows = []

    def _flush(self) -> None:
        self._pack()
        if self._tables:
            _write_shard(self._part / f"maps-{self._shards:05d}.safetensors", self._tensors)
            self._index.write_table(pa.concat_tables(self._tables))
            self._tables, self._tensors, self._bytes = [], {}, 0
            self._shards += 1

    def _abandon_index(self) -> None:
        # After an error the half index is thrown away with its directory; a second failure to write it is no news.
        with contextlib.suppress(Exception):
            self._index.close()

    def _finish(self) -> None:
        self._flush()
        self._index.close()
        write_manifest(self._part, KIND, SCHEMA_VERSION, {**self._provenance, "maps": self._count})


class MapStore:
    """Read a map store: maps in the order they were added, by row number, by key, or one after the other.

    A store that is rewritten meanwhile stays readable as it was opened: its directory is kept until nobody reads it.
    Opening checks the manifest and the index; a shard's sha256 is checked when its first map is read (or all of them by
    :meth:`verify`), before any map of it is given. Each map read is checked against its index row and must be a map.
    """

    def __init__(self, held: HeldDirectory, manifest: dict[str, Any], table: pa.Table, *, verify: bool) -> None:
        self.path, self.manifest, self._table, self._held = held.path, manifest, table, held
        self._keys: dict[str, int] = {key: row for row, key in enumerate(table["key"].to_pylist())}
        if len(self._keys) != len(table):
            found = f"{len(table)} rows, but {len(self._keys)} keys"
            raise DamagedError(f"{self.path / INDEX}: {found}. Make the {KIND} again.")
        if empty := next((name for name in (*_IDENTITY, "category") if table[name].null_count), None):
            raise DamagedError(f"{self.path / INDEX}: a row has nothing as {empty}. Make the {KIND} again.")
        if len(table.group_by(list(_IDENTITY)).aggregate([])) != len(table):
            raise DamagedError(
                f"{self.path / INDEX}: two maps have the same {', '.join(_IDENTITY)}. Make the {KIND} again."
            )
        digests = manifest["files"] if verify else dict.fromkeys(manifest["files"])
        # Without a reference back to the store, so that it lets go of its directory as soon as nobody has it.
        self._shard = functools.lru_cache(OPEN_SHARDS)(functools.partial(_open_shard, held, digests))

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = True) -> MapStore:
        """Open the store at ``path``; ``verify=False`` trusts the bytes (a worker whose parent has verified them).

        Raises:
            DamagedError: no store, an unfinished one, another schema version, an altered file, a wrong index.
            UnsafeError: a file of the store is a symbolic link or lies outside it.
        """
        path = Path(path)
        if not path.is_dir():  # which only the reader of its manifest explains
            read_manifest(path, KIND, SCHEMA_VERSION)
        for _ in range(REWRITES):
            held = HeldDirectory(path)
            try:
                store = cls._opened(held, path, verify=verify)
            except (DamagedError, FileNotFoundError):
                if not held.replaced:
                    raise
            else:
                if not held.replaced:  # else its manifest may be the old one's and its index the new one's
                    return store
        raise DiskError(f"{path} was rewritten {REWRITES} times while it was opened. Wait until its writers end.")

    @classmethod
    def _opened(cls, held: HeldDirectory, path: Path, *, verify: bool) -> MapStore:
        manifest = read_manifest(path, KIND, SCHEMA_VERSION, verify=False)
        if INDEX not in manifest["files"]:
            raise DamagedError(f"{path / MANIFEST} does not list {INDEX}; the {KIND} is damaged. Make it again.")
        index = check_file(path, INDEX, manifest["files"][INDEX] if verify else None, KIND)
        store = cls(held, manifest, read_index(index), verify=verify)
        if (wanted := manifest["provenance"].get("maps")) not in (None, len(store)):
            raise DamagedError(f"{index}: {len(store)} rows; the manifest says {wanted} maps. Make the {KIND} again.")
        return store

    def verify(self) -> None:
        """Check the sha256 of every file now, instead of at first touch. Raises DamagedError or UnsafeError."""
        read_manifest(self._held.place, KIND, SCHEMA_VERSION)

    @functools.cached_property
    def index(self) -> pd.DataFrame:
        """The index as a DataFrame, one row a map, columns as in ``SCHEMA``; lists are numpy arrays."""
        return self._table.to_pandas()

    def column(self, name: str) -> list[Any]:
        """One column of the index, a value a map: what a list of maps needs, without the lists of tokens."""
        return self._table[name].to_pylist()

    @property
    def provenance(self) -> dict[str, Any]:
        """How the maps were made, as the writer was told."""
        return self.manifest["provenance"]

    @property
    def student_fingerprint(self) -> str:
        """The student tokenizer's fingerprint. Raises DamagedError when the store does not say."""
        return self._fingerprint("student_tokenizer")

    @property
    def teacher_fingerprint(self) -> str:
        """The teacher tokenizer's fingerprint. Raises DamagedError when the store does not say."""
        return self._fingerprint("teacher_tokenizer")

    @property
    def fingerprints(self) -> tuple[str, str]:
        """Of the student's and of the teacher's tokenizer."""
        return self.student_fingerprint, self.teacher_fingerprint

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the manifest, which holds those of all files."""
        return sha256_of(self.path / MANIFEST)

    def _fingerprint(self, name: str) -> str:
        found = self.provenance.get(name)
        if not isinstance(found, str):
            raise DamagedError(f"{self.path / MANIFEST}: wanted a {name} fingerprint, found {found!r}.")
        return found

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, row: int) -> AttentionMap:
        return self.read(row)

    def __iter__(self) -> Iterator[AttentionMap]:
        return (self.read(row) for row in range(len(self)))

    def select(self, **wanted: str | Collection[str] | None) -> list[int]:
        """Rows whose columns have the wanted values, as in ``select(checkpoint="sft", direction=["t2s", "s2t"])``.

        A column whose wanted value is None is not looked at.
        """
        mask = pa.chunked_array([np.ones(len(self), bool)])
        for column, value in wanted.items():
            if column not in SCHEMA.names or SCHEMA.field(column).type != pa.string():
                raise UsageError(f"maps cannot be selected by {column!r}; columns: {', '.join(SCHEMA.names[:6])}.")
            if value is not None:
                values = [value] if isinstance(value, str) else list(value)
                mask = pc.and_(mask, pc.is_in(self._table[column], pa.array(values, pa.string())))
        return np.flatnonzero(mask.to_numpy()).tolist()

    def read(self, key: int | str) -> AttentionMap:
        """Read one map by row number (negative counts from the end) or by its ``key``; weights are float32.

        Raises:
            IndexError, KeyError: no such row or key.
            DamagedError: the shard is altered, or what it holds is not the map that the index describes.
            UnsafeError: the shard is a symbolic link.
        """
        number = self._keys[key] if isinstance(key, str) else int(key)
        if not -len(self) <= number < len(self):
            raise IndexError(f"row {number} of a map store of {len(self)} maps")
        number %= len(self)
        row = self._table.slice(number, 1).to_pylist()[0]
        place = f"{self.path}, map {number}"
        if row["shard"] not in self.manifest["files"]:
            raise DamagedError(f"{place}: its shard {row['shard']!r} is not in the manifest. Make the {KIND} again.")
        try:
            amap = row_to_map(row, self._weights(place, row))
            check_map(amap)
        except (DataError, NonFiniteError, TypeError) as error:
            raise DamagedError(f"{place} is damaged: {error} Make the {KIND} again.") from error
        return amap

    def _weights(self, place: str, row: dict[str, Any]) -> np.ndarray:
        wanted = (row["n_student"], row["n_teacher"])
        try:
            weights = self._shard(row["shard"]).get_tensor(row["key"])
        except (SafetensorError, ValueError, TypeError, OSError) as error:
            raise DamagedError(f"{place}: {row['shard']} cannot be read ({error}). Make the {KIND} again.") from error
        if weights.shape != wanted or weights.dtype not in (np.float16, np.float32):
            found = f"{' × '.join(map(str, weights.shape))} {weights.dtype}"
            raise DamagedError(
                f"{place}: the index says {wanted[0]} × {wanted[1]} float weights, {row['shard']} holds {found}. "
                f"Make the {KIND} again."
            )
        return weights.astype(np.float32)


def _open_shard(held: HeldDirectory, digests: Mapping[str, str | None], name: str) -> Any:
    place = held.place
    try:
        return safe_open(check_file(place, name, digests[name], KIND), framework="numpy")
    except (DamagedError, OSError):
        if held.place == place:
            raise
    return safe_open(check_file(held.place, name, digests[name], KIND), framework="numpy")  # it was replaced just now


def _refuse_other_directory(path: Path) -> None:
    if path.is_dir() and any(path.iterdir()):
        try:
            read_manifest(path, KIND, SCHEMA_VERSION, verify=False)
        except DamagedError as error:
            raise UsageError(
                f"{path} exists and is not a {KIND}, so it is not overwritten. Choose another --out or remove it."
            ) from error
    elif path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; a {KIND} is a directory. Choose another --out.")


def _write_shard(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write a safetensors file without a second copy of the weights in memory: u64 length, JSON header, data."""
    header: dict[str, Any] = {}
    offset = 0
    for key, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[key] = {
            "dtype": f"F{8 * tensor.itemsize}",
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            handle.write(tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).data)
