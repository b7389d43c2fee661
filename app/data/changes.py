"""What changed from one run to another on one example, line by line; plain data for the page that compares runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from app.data.view import Shown
from probe.maps.attention_map import by_rows, column_axis, row_axis
from probe.scoring.metrics import gold_cells


def difference_cells(reference: Shown, run: Shown) -> pd.DataFrame:
    """The cells of ``run`` with the weight of the ``reference``, and how much more the run gives."""
    weights = reference.cells["weight"].to_numpy()
    return run.cells.assign(reference=weights, difference=run.cells["weight"].to_numpy() - weights)


def changed_lines(reference: Shown, run: Shown) -> pd.DataFrame:
    """One row a line (student row of t2s, teacher column of s2t), the most changed first.

    Columns: ``line`` (its number), ``token``, ``gold`` (tokens that gold links it with), for each run the heaviest
    token and its weight, the weight on gold, and ``moved``: the share of the line's weight that lies elsewhere.
    ``change`` is the run's weight on gold minus the reference's; NaN for lines without gold.
    """
    first, second = reference.amap, run.amap
    lines = [by_rows(amap, amap.weights) for amap in (first, second)]
    _, possible = gold_cells(first, reference.gold)
    linked = by_rows(first, possible)
    names = np.array(column_axis(first).tokens, dtype=object)
    has_gold = linked.any(axis=1)
    on_gold = [np.where(has_gold, (weights * linked).sum(axis=1), np.nan) for weights in lines]
    best = [weights.argmax(axis=1) for weights in lines]
    places = np.arange(len(linked))
    frame = pd.DataFrame(
        {
            "line": places,
            "token": row_axis(first).tokens,
            "gold": [" ".join(names[row]) for row in linked],
            "reference looks at": names[best[0]],
            "its weight": lines[0][places, best[0]].astype(float),
            "this run looks at": names[best[1]],
            "weight": lines[1][places, best[1]].astype(float),
            "on gold, reference": on_gold[0],
            "on gold, this run": on_gold[1],
            "change": on_gold[1] - on_gold[0],
            "moved": np.abs(lines[1] - lines[0]).sum(axis=1) / 2,
            "heaviest": best[1],
        }
    )
    size = frame["change"].abs().fillna(frame["moved"] * 0) if reference.gold is not None else frame["moved"]
    return frame.loc[size.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)
