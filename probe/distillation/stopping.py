"""Early stopping: a watched measure every few steps, the best state kept on disk and put back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from probe.distillation.held_out import bits_of
from probe.distillation.likelihood import bits_per_byte
from probe.distillation.probe_curve import read_pairs
from probe.distillation.setup import Setup
from probe.distillation.sharded import spread_like, whole_tensor
from probe.errors import DamagedError, UsageError
from probe.files import atomic_file, check_seal, sealed, sha256_of, write_json
from probe.scoring.tables import SCHEMA_VERSION, write_csv
from probe.version import __version__

if TYPE_CHECKING:
    from accelerate import Accelerator

STATE, CURVE = "stopping.json", "stop_curve.csv"


class Stopping:
    """Watches bits per byte of ``stop_data`` (else of the held-out examples); without ``stop_on`` it does nothing.

    A measure below all before it is the best, and the state then is kept: everything that is trained, in a file of the
    run's state directory. After ``stop_patience`` measures without a new best the run ends; its end puts the best state
    back. The start (step 0) counts, so a run that only harms ends where it began. A resumed run drops what later steps
    measured and measures it again: it ends as if nothing had happened. Of several processes all call, the first writes.
    """

    def __init__(
        self, setup: Setup, directory: Path, report: Callable[[str], None], processes: Accelerator | None = None
    ) -> None:
        self._setup, self._directory, self._report, self._processes = setup, directory, report, processes
        self._writes = processes is None or processes.is_main_process
        self.on = bool(setup.config.stop_on)
        self._rows: list[dict[str, Any]] = []
        self._kept = 0  # the best step when the run's state was last saved: resuming needs its file
        limit = setup.config.stop_limit or None
        watched = setup.config.stop_data
        self._pairs = (read_pairs(setup, watched, limit) if watched else setup.held_out[:limit]) if self.on else []
        if self.on and not any(pair.text for pair in self._pairs):
            raise UsageError("stop_on: wanted texts to watch, found no response in stop_data or the held-out examples.")

    @property
    def best(self) -> dict[str, Any]:
        """The row of the lowest measure, the first of equals."""
        return min(self._rows, key=lambda row: row["bits_per_byte"])

    def begin(self, step: int) -> None:
        """A run starts (step 0), or goes on after ``step`` steps."""
        if not self.on:
            return
        if step:
            self._rows = [row for row in _read(self._directory / STATE) if row["step"] <= step]
            if not self._rows:
                raise DamagedError(f"{self._directory / STATE} has no measure up to step {step}; delete the directory.")
            self._kept = self.best["step"]
            self._prune()
        else:
            self._measure(0)

    def stepped(self, step: int) -> bool:
        """``step`` steps are done: measure, if it is time; whether the run ends here."""
        config = self._setup.config
        if not self.on or not (step % config.stop_every == 0 or step == config.steps):
            return False
        self._measure(step)
        waited = len(self._rows) - 1 - self._rows.index(self.best)
        if waited < config.stop_patience:
            return False
        self._report(f"step {step}: stops, for {waited} measures were no better than that of step {self.best['step']}")
        return True

    def saved(self) -> None:
        """The run's state is on disk: what only an earlier one needed may go."""
        if self.on:
            self._kept = self.best["step"]
            self._prune()

    def end(self) -> dict[str, float]:
        """Put the best state back and write the curve; the numbers for ``metrics.json``."""
        if not self.on:
            return {}
        best, last = self.best, self._rows[-1]
        self._restore(best)
        if self._writes:
            write_csv(self._frame(), self._directory / CURVE)
        return {
            "best_step": float(best["step"]),
            "stopped_step": float(last["step"]),
            "stop_bits_per_byte": best["bits_per_byte"],
        }

    @property
    def files(self) -> tuple[Path, ...]:
        """What belongs into the checkpoint."""
        return (self._directory / CURVE,) if self.on else ()

    def _measure(self, step: int) -> None:
        value = self._agreed(bits_per_byte(bits_of(self._setup, self._pairs), self._pairs))
        new = not self._rows or value < self.best["bits_per_byte"]
        self._rows.append({"step": step, "bits_per_byte": value, "sha256": ""})
        if new:
            self._keep(self._rows[-1])
        if self._writes:
            write_json(self._directory / STATE, sealed({"rows": self._rows}))
            self._prune()
        self._report(f"step {step}: watched bits per byte {value:.4f}" + " (the best so far)" * new)

    def _agreed(self, value: float) -> float:
        """The first process's number: rounding on another device must not end one process and not the others."""
        if self._processes is None or self._processes.num_processes == 1:
            return value
        from accelerate.utils import broadcast_object_list

        (agreed,) = broadcast_object_list([value])
        return float(agreed)

    def _file(self, step: int) -> Path:
        return self._directory / f"best-{step:07d}.safetensors"

    def _keep(self, row: dict[str, Any]) -> None:
        parameters = self._setup.trained.named_parameters()
        state = {name: whole_tensor(p.detach()).cpu().clone().contiguous() for name, p in parameters.items()}
        if self._writes:
            with atomic_file(self._file(row["step"])) as part:
                save_file(state, part)
            row["sha256"] = sha256_of(self._file(row["step"]))

    def _prune(self) -> None:
        needed = {self._file(step) for step in (self._kept, self.best["step"])}
        for old in self._directory.glob("best-*.safetensors") if self._writes else ():
            if old not in needed:
                old.unlink()

    @torch.no_grad()
    def _restore(self, row: dict[str, Any]) -> None:
        file = self._file(row["step"])
        if self._processes is not None:
            self._processes.wait_for_everyone()
        if not file.is_file() or (row["sha256"] and sha256_of(file) != row["sha256"]):
            raise DamagedError(f"{file}, the best state of the run, is missing or altered; delete {self._directory}.")
        try:
            state = load_file(file)
        except SafetensorError as error:
            raise DamagedError(f"{file} is not a readable safetensors file ({error}); it is damaged.") from error
        for name, parameter in self._setup.trained.named_parameters().items():
            parameter.copy_(spread_like(state[name], parameter))

    def _frame(self) -> pd.DataFrame:
        config, best = self._setup.config, self.best["step"]
        watched = sha256_of(config.stop_data)[:8] if config.stop_data else "held-out"
        signature = (
            f"bits:response+eos|method:{config.method}|seed:{config.seed}|texts:{watched}+{len(self._pairs)}|"
            f"version:{__version__}"
        )
        return pd.DataFrame(
            {
                "schema_version": SCHEMA_VERSION,
                "signature": signature,
                "step": row["step"],
                "bits_per_byte": row["bits_per_byte"],
                "best": row["step"] == best,
            }
            for row in self._rows
        )


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        check_seal(values, ("rows",), path, required=True)
        return [{key: row[key] for key in ("step", "bits_per_byte", "sha256")} for row in values["rows"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path}: cannot read what was watched ({error}); delete {path.parent}.") from error
