"""A map as a picture on the boards that a ``transformers.Trainer`` reports to: TensorBoard, W&B, trackio."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from probe.gold.reading import Gold
from probe.maps.attention_map import AttentionMap
from probe.plotting import attention_heatmap

NAME = "alignment/map"
# The trainer's reporting callback, and the module it reports to; both packages log {name: Image(pixels)}.
MODULES = {"WandbCallback": "wandb", "TrackioCallback": "trackio"}


def show_map(callbacks: Iterable[Any], amap: AttentionMap, gold: Gold, step: int) -> None:
    """Draw the map once, and hand it to each board among the trainer's ``callbacks``; without a board nothing is drawn.

    Numbers go through ``Trainer.log``; a picture cannot, for the trainer saves as JSON what it logged.
    """
    found = list(callbacks)
    writers = [writer for one in found if (writer := getattr(one, "tb_writer", None)) is not None]
    modules = [sys.modules[name] for one in found if (name := MODULES.get(type(one).__name__)) in sys.modules]
    if not (writers or modules):
        return
    pixels = _pixels(amap, gold)
    for writer in writers:
        writer.add_image(NAME, pixels, step, dataformats="HWC")
    for module in modules:
        module.log({NAME: module.Image(pixels, caption=f"{amap.example_id}, step {step}"), "train/global_step": step})


def _pixels(amap: AttentionMap, gold: Gold) -> np.ndarray:
    """The heatmap as bytes [height, width, red green blue]."""
    figure: Any = attention_heatmap(amap, gold=gold).figure
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
