"""The journal of an evaluation: each response as it is drawn, one JSON line each, so that a stopped run goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from probe.errors import DamagedError
from probe.files import SEAL, check_seal, sealed
from probe.journal import Journal, read_journal
from probe.text.examples import Example

SAMPLER = 1  # raised when the same settings would draw other responses


@dataclass(frozen=True)
class DrawnResponse:
    """A response on record; ``key`` says what it was drawn from (see :func:`response_key`)."""

    key: str
    response: str
    n_tokens: int
    ended: bool
    prompt_cut: bool
    way: str = ""  # how it was drawn, where not as usual


def response_key(model: str, settings: str, example: Example, seed: int) -> str:
    """32 hexadecimal digits over all that decides a response: weights, settings, id, prompt and seed."""
    parts = json.dumps([SAMPLER, model, settings, example.id, example.prompt, seed])
    return hashlib.sha256(parts.encode("ascii")).hexdigest()[:32]


class ResponseJournal:
    """Puts responses on record in a file and gives those that are there already; used as a context manager.

    Each line is sealed by a digest of itself. One that is no response, or is altered, is passed over, so its response
    is drawn again; ``altered`` counts them. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._stack = path, contextlib.ExitStack()
        self._journal: Journal | None = None
        self._known: dict[str, DrawnResponse] = {}
        self.altered = 0

    def __enter__(self) -> ResponseJournal:
        if self._path is not None:
            records = read_journal(self._path)
            self._known = {drawn.key: drawn for drawn in map(_drawn, records) if drawn is not None}
            self.altered = sum(_drawn(record) is None for record in records)
            self._journal = self._stack.enter_context(Journal(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def known(self) -> Mapping[str, DrawnResponse]:
        """What is on record, by key."""
        return self._known

    def add(self, drawn: DrawnResponse) -> None:
        """Put a response on record, on disk before the next one is drawn. Raises DiskError where it cannot be."""
        self._known[drawn.key] = drawn
        if self._journal is not None:
            self._journal.add(sealed(asdict(drawn)))


def _drawn(record: dict[str, Any]) -> DrawnResponse | None:
    """The response of a record; None where it is none, or not as it was written."""
    with contextlib.suppress(TypeError, DamagedError):
        check_seal(record, [field.name for field in fields(DrawnResponse)], Path(), required=True)
        drawn = DrawnResponse(**{key: value for key, value in record.items() if key != SEAL})
        if isinstance(drawn.response, str) and isinstance(drawn.key, str):
            return drawn
    return None
