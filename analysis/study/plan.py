"""The study's plan as data: pairs, stages, arms, seeds, comparisons, read from a YAML file a pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from probe.errors import UsageError

STAGES = Path(__file__).parent / "stages"
RECIPES = "probe/recipes"
SLOPE = "dose"  # in place of two arms: the slope over the arms that have a dose
ENDPOINTS = ("E1", "E2")


@dataclass(frozen=True)
class Arm:
    """One condition: a recipe with settings. ``kind`` is its class; ``dose`` the share of rows that are wrong."""

    name: str
    kind: str
    recipe: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    dose: float | None = None


@dataclass(frozen=True)
class PlannedRun:
    """An arm under one seed; ``name`` names its directory, and the same run in two stages is one."""

    pair: str
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm.name}-s{self.seed}"


@dataclass(frozen=True)
class Source:
    """A file that --data-dir must hold."""

    name: str
    examples: int
    sha256: str


@dataclass(frozen=True)
class Slice:
    """Examples [first, last) of a source, as a file of their own."""

    name: str
    of: str
    first: int
    last: int


@dataclass(frozen=True)
class GoldSource:
    """Manual alignments and their texts; ``move``: they are on another pair's tokens and go through the bytes."""

    file: str
    texts: str
    move: bool


@dataclass(frozen=True)
class Plan:
    """What is run and compared on one pair. ``start`` is the arm that the others start from ('' if it is shipped)."""

    pair: str
    reference: str
    start: str
    gold: GoldSource | None
    sources: tuple[Source, ...]
    slices: tuple[Slice, ...]
    stages: Mapping[str, tuple[Arm, ...]]
    confirmatory: tuple[tuple[str, tuple[str, ...]], ...]  # (endpoint, (first, second) or (SLOPE,))

    @property
    def arms(self) -> dict[str, Arm]:
        """Every arm once, in the order of the stages."""
        return {arm.name: arm for arms in self.stages.values() for arm in arms}

    def runs(self, stage: str) -> list[PlannedRun]:
        """The runs of a stage, all arms of a seed before the next seed, so that what is cut is cut evenly.

        Raises:
            UsageError: no such stage.
        """
        if stage not in self.stages:
            raise UsageError(f"the pair {self.pair} has no stage {stage!r}; it has {', '.join(self.stages)}.")
        arms = self.stages[stage]
        seeds = dict.fromkeys(seed for arm in arms for seed in arm.seeds)
        return [PlannedRun(self.pair, arm, seed) for seed in seeds for arm in arms if seed in arm.seeds]


def shipped_pairs() -> tuple[str, ...]:
    """The pairs that have a file in ``stages/``."""
    return tuple(sorted(path.stem for path in STAGES.glob("*.yaml")))


def read_plan(pair: str | Path, changes: Path | None = None) -> Plan:
    """The plan of a shipped pair, or of a YAML file of the same form.

    ``changes`` is a YAML file that changes it: ``seeds``, ``settings`` (of every run) and ``arms`` (name to settings).

    Raises:
        UsageError: no such pair or file, not YAML, an unknown or missing key; names the file.
    """
    path = STAGES / f"{pair}.yaml" if str(pair) in shipped_pairs() else Path(pair)
    if not path.is_file():
        raise UsageError(f"no pair {str(pair)!r}: wanted {', '.join(shipped_pairs())}, or a YAML file like theirs.")
    values = _changed(_read(path), _read(changes) if changes else {}, changes)
    try:
        return _plan(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is no plan: {type(error).__name__} {error}. Compare {STAGES}/small.yaml.") from error


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: wanted `key: value` lines, found {type(values).__name__}.")
    return values


def _changed(values: dict[str, Any], changes: dict[str, Any], place: Path | None) -> dict[str, Any]:
    if unknown := sorted(set(map(str, changes)) - {"seeds", "settings", "arms"}):
        raise UsageError(f"{place}: unknown key {unknown[0]!r}. It may hold seeds, settings, arms.")
    arms = dict(changes.get("arms") or {})
    known = {arm["arm"] for listed in values.get("stages", {}).values() for arm in listed}
    if strange := sorted(set(arms) - known):
        raise UsageError(f"{place}: no arm {strange[0]!r}; the pair has {', '.join(sorted(known))}.")
    stages = {
        stage: [{**arm, "set": {**arm.get("set", {}), **arms.get(arm["arm"], {})}} for arm in listed]
        for stage, listed in values.get("stages", {}).items()
    }
    settings = {**values.get("settings", {}), **(changes.get("settings") or {})}
    return {**values, "settings": settings, "stages": stages, "seeds": changes.get("seeds", values.get("seeds"))}


def _plan(values: dict[str, Any]) -> Plan:
    stages = {str(name): tuple(_arms(listed, values)) for name, listed in values["stages"].items()}
    plan = Plan(
        pair=str(values["pair"]),
        reference=str(values["reference"]),
        start=str(values.get("start", "")),
        gold=GoldSource(**values["gold"]) if values.get("gold") else None,
        sources=tuple(Source(name, **found) for name, found in values["files"].items()),
        slices=tuple(Slice(name, **found) for name, found in values.get("slices", {}).items()),
        stages=stages,
        confirmatory=tuple(_comparisons(values.get("confirmatory", {}))),
    )
    _check(plan)
    return plan


def _arms(listed: list[dict[str, Any]], values: dict[str, Any]) -> Iterator[Arm]:
    for found in listed:
        settings = {**values["settings"], **found.get("set", {})}
        seeds = tuple(int(seed) for seed in found.get("seeds", values["seeds"]))
        dose = float(found["dose"]) if "dose" in found else None
        yield Arm(str(found["arm"]), str(found["class"]), str(found["recipe"]), settings, seeds, dose)


def _comparisons(found: Mapping[str, list[list[str]]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for endpoint, listed in found.items():
        for names in listed:
            yield endpoint, tuple(names)


def _check(plan: Plan) -> None:
    """A confirmatory comparison names arms that exist; an arm in two stages is the same in both."""
    known = set(plan.arms)
    for endpoint, names in plan.confirmatory:
        if endpoint not in ENDPOINTS or (names != (SLOPE,) and (len(names) != 2 or not set(names) <= known)):
            raise ValueError(f"the confirmatory comparison {endpoint}: {list(names)} names no two arms of the plan")
    for arms in plan.stages.values():
        for arm in arms:
            if replace(arm, dose=plan.arms[arm.name].dose) != plan.arms[arm.name]:
                raise ValueError(f"the arm {arm.name} is not the same in two stages")
