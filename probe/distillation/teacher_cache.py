"""Teacher states on disk: last hidden states of the response positions, computed once and shared by every run."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from probe.distillation.dataset import side_batch
from probe.distillation.finite import check_finite
from probe.distillation.unpadded import response_states
from probe.errors import DamagedError, NonFiniteError
from probe.files import atomic_file, check_seal, refuse_outside, sealed, sha256_of, write_json
from probe.models.delta import DELTA, is_delta
from probe.text.tokenization import TokenizedSide

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHARD_EXAMPLES = 64
TOKENS_PER_FORWARD = 2048


def state_key(side: TokenizedSide) -> str:
    """Content address of one example's states: its ids and where its response starts."""
    packed = struct.pack(f"<q{len(side.ids)}q", side.start, *side.ids)
    return hashlib.sha256(packed).hexdigest()[:32]


@dataclass(frozen=True)
class Shard:
    """One file of states and its digest."""

    file: str
    sha256: str
    keys: tuple[str, ...]


class TeacherCache:
    """A directory of shards for one teacher and one storage type.

    Every shard is written atomically with its digest beside it, so an interrupted fill goes on where it stopped and
    runs that share texts share states.

    Args:
        directory: the cache's root; states lie in ``<root>/<teacher fingerprint>-<dtype>``.
        fingerprint: identifies the teacher's weights (see :func:`model_fingerprint`).
        dtype: ``float16`` or ``float32`` of the stored states.
    """

    def __init__(self, directory: Path, fingerprint: str, dtype: str = "float16") -> None:
        self.directory = directory / f"{fingerprint}-{dtype}"
        self.dtype = torch.float16 if dtype == "float16" else torch.float32
        self._shards = {key: shard for shard in self._read_shards() for key in shard.keys}

    def _read_shards(self) -> Iterator[Shard]:
        for path in sorted(self.directory.glob("*.json")):
            try:
                entry = json.loads(path.read_text(encoding="utf-8"))
                check_seal(entry, ("file", "sha256", "keys"), path)
                yield Shard(entry["file"], entry["sha256"], tuple(entry["keys"]))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DamagedError(f"{path}: a damaged entry of the teacher cache ({error}). Delete it.") from error

    def missing(self, sides: Sequence[TokenizedSide]) -> list[TokenizedSide]:
        """The sides whose states are not stored yet, without repeats, shortest first."""
        wanted = {state_key(side): side for side in sides}
        return sorted((s for key, s in wanted.items() if key not in self._shards), key=lambda side: len(side.ids))

    def fill(
        self,
        sides: Sequence[TokenizedSide],
        model: Callable[[], PreTrainedModel],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Compute and store what is missing; ``model`` is called only when something is."""
        todo = self.missing(sides)
        if not todo:
            return
        teacher = model()
        for first in range(0, len(todo), SHARD_EXAMPLES):
            part = todo[first : first + SHARD_EXAMPLES]
            states: dict[str, Tensor] = {}
            for group in _groups(part):
                for side, hidden in zip(group, last_hidden_states(teacher, group), strict=True):
                    stored = hidden.to(self.dtype).cpu()
                    if not torch.isfinite(stored).all():
                        raise NonFiniteError(
                            f"the teacher's last hidden states hold NaN or infinity as {self.dtype}: the largest is "
                            f"{hidden.abs().max():.3g}. If that is a number, set teacher_dtype to float32."
                        )
                    states[state_key(side)] = stored
            self.add(states)
            progress(first + len(part), len(todo))

    def add(self, states: dict[str, Tensor]) -> None:
        """Write one shard of states [teacher, d_t] by :func:`state_key`, and its digest after it."""
        name = hashlib.sha256("".join(sorted(states)).encode()).hexdigest()[:16]
        file = self.directory / f"{name}.safetensors"
        with atomic_file(file) as part:
            save_file({key: value.contiguous() for key, value in states.items()}, part)
        shard = Shard(file.name, sha256_of(file), tuple(states))
        entry = {"file": shard.file, "sha256": shard.sha256, "keys": list(shard.keys)}
        write_json(file.with_suffix(".json"), sealed(entry))
        self._shards.update(dict.fromkeys(shard.keys, shard))

    def load(self, sides: Sequence[TokenizedSide]) -> dict[str, Float[Tensor, "teacher d_t"]]:
        """Read the states of ``sides`` into memory, by :func:`state_key`, checking each shard's digest once."""
        wanted = {state_key(side): len(side.targets) for side in sides}
        states: dict[str, Tensor] = {}
        for shard in {self._shards[key].file: self._shards[key] for key in wanted}.values():
            path = self.directory / shard.file
            way_out = f"Delete {path.with_suffix('.json').name}; the next run computes the states again."
            refuse_outside(self.directory, shard.file, "teacher cache")
            if not path.is_file() or sha256_of(path) != shard.sha256:
                raise DamagedError(f"{path}: missing or altered (its sha256 is not the recorded one). {way_out}")
            try:
                tensors = load_file(path)
            except SafetensorError as error:
                raise DamagedError(f"{path}: not a readable safetensors file ({error}).") from error
            check_finite(tensors, str(path), way_out)
            states.update({key: tensors[key] for key in shard.keys if key in wanted})
        for key, length in wanted.items():
            if states[key].shape[0] != length:
                raise DamagedError(f"teacher cache: {key}: wanted {length} positions, found {states[key].shape[0]}.")
        return states


def _groups(sides: Sequence[TokenizedSide]) -> Iterator[list[TokenizedSide]]:
    """Cut a list sorted by length into batches of about TOKENS_PER_FORWARD padded tokens."""
    group: list[TokenizedSide] = []
    for side in sides:
        if group and (len(group) + 1) * len(side.ids) > TOKENS_PER_FORWARD:
            yield group
            group = []
        group.append(side)
    if group:
        yield group


@torch.no_grad()
def last_hidden_states(model: PreTrainedModel, sides: Sequence[TokenizedSide]) -> list[Float[Tensor, "position d"]]:
    """Last hidden states (after the final norm, what the head reads) of each side's response positions."""
    batch = side_batch(sides).to(model.device)
    return list(response_states(model, batch).split(list(batch.lengths)))


def model_fingerprint(directory: Path) -> str:
    """16 hexadecimal digits over the configuration and the weights files of a model directory.

    Of a delta also over ``delta.json``, which has the digest of its base.
    """
    digest = hashlib.sha256()
    delta = [directory / DELTA] if is_delta(directory) else []
    for file in [directory / "config.json", *sorted(directory.glob("*.safetensors")), *delta]:
        digest.update(sha256_of(file).encode())
    return digest.hexdigest()[:16]
