"""The journal of an evaluation: each response as it is drawn, one JSON line each, so that a stopped run goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

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


def response_key(model: str, settings: str, example: Example, seed: int) -> str:
    """32 hexadecimal digits over all that decides a response: weights, settings, id, prompt and seed."""
    parts = json.dumps([SAMPLER, model, settings, example.id, example.prompt, seed])
    return hashlib.sha256(parts.encode("ascii")).hexdigest()[:32]


class ResponseJournal:
    """Puts responses on record in a file and gives those that are there already; used as a context manager.

    A line that is no response is passed over, so its response is drawn again. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._stack = path, contextlib.ExitStack()
        self._journal: Journal | None = None
        self._known: dict[str, DrawnResponse] = {}

    def __enter__(self) -> ResponseJournal:
        if self._path is not None:
            self._known = dict(_read(self._path))
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
            self._journal.add(asdict(drawn))


def _read(path: Path) -> Iterator[tuple[str, DrawnResponse]]:
    for record in read_journal(path):
        with contextlib.suppress(TypeError):
            drawn = DrawnResponse(**record)
            if isinstance(drawn.response, str) and isinstance(drawn.key, str):
                yield drawn.key, drawn
