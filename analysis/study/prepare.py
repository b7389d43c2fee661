"""What a planned run needs before it starts: its texts, its settings with places filled in, the runs it starts from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import probe
from analysis.study.plan import Plan, PlannedRun, Slice
from probe.distillation.config import TrainConfig, read_recipe
from probe.errors import DataError, UsageError
from probe.files import MANIFEST, atomic_file, read_manifest, sha256_of

RECIPES = Path(probe.__file__).parent / "recipes"
PLACE = re.compile(r"\{(data|slices|runs)\}")


@dataclass(frozen=True)
class Places:
    """Where a pair's files lie: ``out``/PAIR/{runs,records,maps,logs,slices}, and the folder of the given texts."""

    root: Path
    data: Path

    def folder(self, name: str) -> Path:
        """One of runs, records, maps, logs, slices."""
        return self.root / name

    def checkpoint(self, run: PlannedRun) -> Path:
        """Where the run's checkpoint goes."""
        return self.folder("runs") / run.name

    def filled(self, value: Any) -> Any:
        """A setting with {data}, {slices} and {runs} replaced, in texts and lists of texts."""
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, str):
            return value
        known = {"data": self.data, "slices": self.folder("slices"), "runs": self.folder("runs")}
        return PLACE.sub(lambda found: str(known[found[1]]), value)


def overrides(run: PlannedRun, places: Places) -> list[str]:
    """The run's settings as ``--set`` takes them: name, seed and the arm's settings; JSON is YAML."""
    values = {**run.arm.settings, "name": run.arm.name, "seed": run.seed}
    return [f"{key}={json.dumps(places.filled(value), ensure_ascii=False)}" for key, value in values.items()]


def recipe_of(run: PlannedRun) -> Path:
    """The shipped recipe of the run's arm."""
    return RECIPES / f"{run.arm.recipe}.yaml"


def config_of(run: PlannedRun, places: Places) -> TrainConfig:
    """The run's settings, checked. Raises UsageError that names the arm for a setting or recipe that is none."""
    try:
        return read_recipe(recipe_of(run), overrides(run, places))
    except UsageError as error:
        raise UsageError(f"arm {run.arm.name}: {error}") from error


def train_command(run: PlannedRun, places: Places) -> list[str]:
    """The arguments after ``python -m`` that train the run, or go on where it was cut."""
    out = ["--out", str(places.checkpoint(run)), "--resume", "--threads", "1"]
    return ["probe", "train", str(recipe_of(run)), "--set", *overrides(run, places), *out]


def is_finished(run: PlannedRun, places: Places) -> bool:
    """Whether the run's checkpoint is there and whole.

    Raises:
        UsageError: it was made with other settings. DamagedError: it is damaged.
    """
    directory = places.checkpoint(run)
    if not (directory / MANIFEST).is_file():
        return False
    read_manifest(directory, "checkpoint", 1)
    stored = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("settings", {})
    wanted = config_of(run, places).as_dict()
    if changed := sorted(key for key, value in stored.items() if key in wanted and wanted[key] != value):
        key = changed[0]
        raise UsageError(
            f"{directory} was made with {key} = {stored[key]!r}, the plan says {wanted[key]!r}. "
            "Choose another --out, set it back, or move that directory away."
        )
    return True


def missing_starts(run: PlannedRun, places: Places) -> list[str]:
    """The runs that this one starts from and that are not there yet."""
    begin = str(places.folder("runs"))
    wanted = [places.filled(value) for key, value in run.arm.settings.items() if key in ("student", "teacher")]
    named = [Path(value) for value in wanted if str(value).startswith(begin)]
    return [path.name for path in named if not (path / MANIFEST).is_file()]


def write_texts(plan: Plan, places: Places) -> dict[str, str]:
    """Check the texts that the plan wants and cut its slices; returns notes by file where one is not the study's own.

    Raises:
        DataError: a file is missing, saying which and where it comes from, or too short for a slice.
    """
    notes = {}
    for source in plan.sources:
        path = places.data / source.name
        if not path.is_file():
            raise DataError(
                f"wanted {source.name} ({source.examples:,} examples, sha256 {source.sha256[:12]}…) in {places.data}, "
                "found no such file. Make it from databricks-dolly-15k.jsonl of the hub by "
                "`python -m analysis.study.dolly`, or give --data-dir (docs/study/repeat.md)."
            )
        if (found := sha256_of(path)) != source.sha256:
            notes[source.name] = f"sha256 {found[:12]}…, the study's own has {source.sha256[:12]}…: numbers will differ"
    for part in plan.slices:
        _write_slice(part, places)
    return notes


def _write_slice(part: Slice, places: Places) -> None:
    """The slice's lines as they stand; a file that holds them already is left alone, so that its age says nothing."""
    lines = (places.data / part.of).read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.strip()][part.first : part.last]
    if len(kept) < part.last - part.first:
        raise DataError(f"{places.data / part.of}: {part.name} wants {part.last} examples of it, found {len(lines)}.")
    path, text = places.folder("slices") / part.name, "".join(kept)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with atomic_file(path) as made:
            made.write_text(text, encoding="utf-8")


def digests(config: TrainConfig) -> dict[str, str]:
    """sha256 (8 digits) of the texts that a run reads, by file name."""
    named = [*config.data, str(getattr(config, "stop_data", ""))]
    return {Path(name).name: sha256_of(name)[:8] for name in named if name}


def settings_of(config: TrainConfig, places: Places) -> Mapping[str, Any]:
    """The settings without the places of this machine: folders become {data}, {slices}, {runs} again."""
    known = {"data": places.data, "slices": places.folder("slices"), "runs": places.folder("runs")}

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        for name, folder in known.items():
            if isinstance(value, str) and value.startswith(f"{folder}/"):
                return f"{{{name}}}{value.removeprefix(str(folder))}"
        return value

    return {key: plain(value) for key, value in config.as_dict().items()}


def check_all(runs: Sequence[PlannedRun], places: Places) -> None:
    """Every run's settings are read before the first one starts: a typing error must not ring after a night."""
    for run in runs:
        config_of(run, places)
