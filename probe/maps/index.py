"""The index of a map store: its columns, and a map's way to a row and back. Parquet, so anyone's pandas reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from probe.errors import DamagedError
from probe.maps.attention_map import AttentionMap
from probe.text.axis import TokenAxis

_STRINGS = pa.list_(pa.string())
_IDS = pa.list_(pa.int32())
_SPANS = pa.list_(pa.list_(pa.int32(), 2))
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("example_id", "category", "checkpoint", "method", "direction")),
        ("normalisation", pa.string()),
        ("n_student", pa.int32()),
        ("n_teacher", pa.int32()),
        ("text", pa.string()),
        ("student_tokens", _STRINGS),
        ("teacher_tokens", _STRINGS),
        ("student_pieces", _STRINGS),
        ("teacher_pieces", _STRINGS),
        ("student_ids", _IDS),
        ("teacher_ids", _IDS),
        ("student_spans", _SPANS),
        ("teacher_spans", _SPANS),
        ("truncated", pa.bool_()),
        ("shard", pa.string()),
        ("key", pa.string()),
    ]
)


def read_index(path: Path) -> pa.Table:
    """Read an index file as a table of ``SCHEMA``.

    Raises:
        DamagedError: not Parquet, a column is missing, or one has values of another type.
    """
    try:
        found = pq.read_schema(path).names
        if missing := [name for name in SCHEMA.names if name not in found]:
            raise DamagedError(f"{path} lacks the columns {', '.join(missing)}. Make the map store again.")
        # Cast: an index written by pandas has int64 and list<list> where ours has int32 and list<pair>.
        return pq.read_table(path, columns=SCHEMA.names).select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read as a map index ({error}). Make the map store again.") from error


def map_to_row(amap: AttentionMap, shard: str, key: str) -> dict[str, Any]:
    """The index row of a map whose weights are tensor ``key`` of file ``shard``."""
    row: dict[str, Any] = {name: getattr(amap, name) for name in SCHEMA.names if hasattr(amap, name)}
    for side in ("student", "teacher"):
        axis: TokenAxis = getattr(amap, side)
        row[f"n_{side}"] = len(axis)
        for part in ("tokens", "pieces", "ids", "spans"):
            row[f"{side}_{part}"] = getattr(axis, part)
    return {**row, "shard": shard, "key": key}


def row_to_map(row: dict[str, Any], weights: np.ndarray) -> AttentionMap:
    """The map of an index row and its weights. Raises DataError or TypeError when the row contradicts itself."""

    def axis(side: str) -> TokenAxis:
        tokens, pieces, ids = (tuple(row[f"{side}_{part}"]) for part in ("tokens", "pieces", "ids"))
        return TokenAxis(tokens, pieces, ids, tuple((start, end) for start, end in row[f"{side}_spans"]))

    labels = ("example_id", "category", "checkpoint", "method", "direction", "normalisation", "text")
    return AttentionMap(
        **{name: row[name] for name in labels},
        student=axis("student"),
        teacher=axis("teacher"),
        weights=weights,
        truncated=row["truncated"],
    )
