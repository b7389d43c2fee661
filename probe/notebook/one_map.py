"""A map in a notebook: an attention map that knows its gold and its unit; grouped, drawn, shown, saved."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.scoring.aggregation import UNITS, in_unit
from probe.scoring.tables import write_csv

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TARGET = "target"  # what a row and a column are, unless they are groups of tokens


@dataclass(frozen=True, repr=False)
class Map(AttentionMap):
    """An attention map with what a person does with it; everything that takes a map takes this one.

    Attributes:
        gold: the links of its example, where they are known. unit: what a row and a column are.
    """

    gold: Gold | None = None
    unit: str = TARGET

    @classmethod
    def of(cls, amap: AttentionMap, gold: Gold | None = None) -> Map:
        """The map with its gold."""
        values = {field.name: getattr(amap, field.name) for field in dataclasses.fields(AttentionMap)}
        return cls(**values, gold=gold, unit=amap.unit if isinstance(amap, Map) else TARGET)

    def grouped(self, unit: str) -> Map:
        """The map by ``chunk`` or ``word`` (rows still sum to 1), with its gold. Raises UsageError for another unit."""
        made, gold = in_unit(self, self.gold, unit)
        return replace(made, gold=gold, unit=self.unit if unit == UNITS[0] else unit)  # type: ignore[return-value, call-arg]

    def show(self, gold: Gold | None = None) -> Map:
        """The map, for a notebook to show, with this gold where it has none of its own."""
        return replace(self, gold=gold or self.gold)

    def plot(self, **options: Any) -> Axes:
        """The heatmap with its gold; ``options`` are those of :func:`probe.plotting.attention_heatmap`."""
        from probe.plotting import attention_heatmap

        return attention_heatmap(self, **{"gold": self.gold, "unit": self.unit, **options})

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: labels of the map, ``student``, ``teacher``, their tokens and the ``weight``."""
        return cells(self)

    def to_csv(self, path: Path | str) -> Path:
        """Write :meth:`to_frame`; no cell runs as a formula in a spreadsheet. Raises DiskError."""
        write_csv(self.to_frame(), path)
        return Path(path)


def cells(amap: AttentionMap) -> pd.DataFrame:
    """One row per cell of a map."""
    rows, columns = np.indices(amap.weights.shape).reshape(2, -1)
    tokens = (np.array(axis.tokens, dtype=object) for axis in (amap.student, amap.teacher))
    student, teacher = (names[index] for names, index in zip(tokens, (rows, columns), strict=True))
    places = {"student": rows, "teacher": columns, "student_token": student, "teacher_token": teacher}
    return pd.DataFrame({**labels(amap), **places, "weight": amap.weights.ravel()})


def labels(amap: AttentionMap) -> dict[str, str]:
    """Which map it is."""
    return {name: getattr(amap, name) for name in ("example_id", "checkpoint", "direction")}
