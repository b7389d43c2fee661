"""Files that the dashboard reads beside maps, for its tests: those of `analysis.key_query`, and of probed runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from app.data import key_query, training_runs
from tests.support.dashboard import app_maps

STEPS = (0, 250, 500)
Text = tuple[str, str, str]  # id, category, text


def make_run(folder: Path, *, maps: bool = True, top: float = 0.6, texts: Sequence[Text] | None = None) -> Path:
    folder.mkdir(parents=True)
    frame = pd.DataFrame({"step": STEPS, "top1_sure": [0.05, 0.4, top], "energy_distance": [19.0, 15.0, 13.0]})
    frame.to_csv(folder / training_runs.CURVE, index=False)
    if maps:
        names = [f"step-{step:06d}" for step in STEPS]
        app_maps.make_store(folder / training_runs.MAPS, texts or app_maps.example_texts(3), checkpoints=names)
    return folder


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
