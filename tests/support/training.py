"""Settings of a training run, of a recipe that a room of files has."""

from __future__ import annotations

from typing import Any

import yaml

from probe.distillation.config import TrainConfig, read_recipe
from tests.faults.room import Room


def config(room: Room, **values: Any) -> TrainConfig:
    """The settings of the room's recipe, with some changed."""
    return read_recipe(room.recipe, [f"{key}={yaml.safe_dump(value).splitlines()[0]}" for key, value in values.items()])
