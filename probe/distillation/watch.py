"""Files that are written during a run: its events, the probe curve and its maps, TensorBoard's file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe.distillation.events import EVENTS, add_event, rewind_events
from probe.distillation.probe_curve import CURVE, MAPS, ProbeSet, due, probe_maps, probe_row, rewind, write_probe
from probe.distillation.setup import Setup

if TYPE_CHECKING:
    from accelerate import Accelerator

KEPT = (CURVE, MAPS, EVENTS)  # what the checkpoint publishes; TensorBoard's file names the machine, so it stays outside


class Watch:
    """Writes into the state directory of a run; without ``probe_every`` every call does nothing.

    ``step`` is always the number of optimiser steps done. A run that goes on from a saved state drops what the steps
    after it wrote, and writes it again: the curve ends as if nothing had happened. Of several ``processes`` all call,
    and the first one writes.
    """

    def __init__(
        self, setup: Setup, directory: Path, report: Callable[[str], None], processes: Accelerator | None = None
    ) -> None:
        self._setup, self._directory, self._report = setup, directory, report
        self._processes = processes
        self._writes = processes is None or processes.is_main_process
        self._on = setup.config.probe_every > 0
        probed = self._on and setup.attention is not None and setup.normalisation is not None
        self._probes = ProbeSet.of(setup) if probed else None
        if self._on and not probed:
            report(f"no probe: {setup.config.method} has no attention maps; events are written")
        self._step, self._board = 0, None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files and directories that belong into the checkpoint."""
        return tuple(path for name in KEPT if self._on and (path := self._directory / name).exists())

    def begin(self, step: int) -> None:
        """A run starts (step 0) or goes on; it is probed where ``step`` is due and not yet in the curve."""
        if not self._on:
            return
        self._step = step
        there = self._rewind(step) if self._writes else False
        if self._processes is not None:
            from accelerate.utils import broadcast_object_list

            (there,) = broadcast_object_list([there])
        self._event("resume" if step else "start", step, steps=self._setup.config.steps)
        if not there:
            self.stepped(step)

    def _rewind(self, step: int) -> bool:
        """Drop what later steps wrote; whether ``step`` itself is in the curve."""
        if step == 0:
            for name in (CURVE, EVENTS):
                (self._directory / name).unlink(missing_ok=True)
        else:
            rewind_events(self._directory, step)
        self._board = _board(self._directory, step)
        return self._probes is not None and rewind(self._directory, step, self._probes)

    def stepped(self, step: int) -> None:
        """``step`` steps are done: probe, if it is time."""
        self._step = step
        if self._probes is None or not due(self._setup.config, step):
            return
        maps = probe_maps(self._setup, self._probes, step)
        row = probe_row(self._setup, self._probes, maps, step)
        if not self._writes:  # the other processes only give their share of the weights
            return
        write_probe(self._directory, row, maps, self._probes)
        numbers = {key: value for key, value in row.items() if isinstance(value, float)}
        self._event("probe", step, **numbers)
        self._report(f"step {step}: probe " + ", ".join(f"{key} {value:.4f}" for key, value in numbers.items()))

    def logged(self, entry: dict[str, float]) -> None:
        """An entry of the loss curve, whose ``step`` counts from 0."""
        self._event("log", int(entry["step"]) + 1, **{key: value for key, value in entry.items() if key != "step"})

    def saved(self, step: int) -> None:
        """The state after ``step`` steps is on disk."""
        self._event("save", step)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """An exception inside is an event too (with its kind, not its text, which may name places)."""
        try:
            yield
        except BaseException as error:
            if self.files:  # nothing is made for a run that has written nothing
                self._event("error", self._step, error=type(error).__name__)
            raise

    def end(self) -> None:
        """The last step is done; the checkpoint comes next."""
        self._event("end", self._step)
        if self._board is not None:
            self._board.close()

    def _event(self, kind: str, step: int, **values: Any) -> None:
        if not self._on or not self._writes:
            return
        add_event(self._directory, kind, step, **values)
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)


def _board(directory: Path, step: int) -> Any:
    """A TensorBoard writer at ``<out>.tensorboard`` beside the run, None where tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    place = directory.with_suffix(".tensorboard")
    return SummaryWriter(str(place), purge_step=step + 1 if step else None)
