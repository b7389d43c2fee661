"""The files of `python -m analysis.key_query`, for the dashboard's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from app.data import key_query
from tests.support import app_maps


def make_clouds(folder: Path, *, points: int = 30) -> Path:
    """What `python -m analysis.key_query` writes: two checkpoints, before and after, with hostile tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, clouds, figures = np.random.default_rng(0), [], []
    for checkpoint in ("dskd-cma", "dskd-cma-ga"):
        for stage, distance in (("untrained", 19.0), ("trained", 13.0), ("control", 0.1)):
            for side in ("query", "key") if stage != "control" else ():
                places = rng.normal(0, 1, (points, 4)).T + (0 if side == "key" else distance)
                tokens = [app_maps.HOSTILE[number % len(app_maps.HOSTILE)] for number in range(points)]
                labels = {"checkpoint": checkpoint, "stage": stage, "side": side, "example_id": "one"}
                numbers = dict(zip(("pca_x", "pca_y", "tsne_x", "tsne_y"), places, strict=True))
                clouds.append(pd.DataFrame({**labels, "position": range(points), "token": tokens, **numbers}))
            row = {"checkpoint": checkpoint, "stage": stage, "energy_distance": distance, "classifier_accuracy": 0.9}
            figures.append(
                {
                    **row,
                    "schema_version": 1,
                    "n_keys": 9,
                    "new_measure": distance / 2,
                    "signature": f"made:{checkpoint}",
                }
            )
    pd.concat(clouds).to_parquet(folder / key_query.CLOUDS)
    pd.DataFrame(figures).to_csv(folder / key_query.FIGURES, index=False)
    return folder
