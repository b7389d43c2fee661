"""Training runs as a probed training leaves them, for the dashboard's tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from app.data import training_runs
from tests.support import app_maps

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
