"""The journal of an evaluation: each response as it is drawn, one JSON line each, so that a stopped run goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from probe.files import disk_errors
from probe.text.examples import Example

SAMPLER = 1  # raised when the same settings would draw other responses


@dataclass(frozen=True)
class Drawn:
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


class Journal:
    """Appends responses to a file and gives those that are there already; used as a context manager.

    A last line torn by a crash is cut off; a line that is no response is passed over, so its response is drawn again.
    Without a path nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._stack = path, contextlib.ExitStack()
        self._known: dict[str, Drawn] = {}

    def __enter__(self) -> Journal:
        if self._path is not None:
            self._known = dict(_read(self._path))
            with disk_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._stack.enter_context(open(self._path, "a", encoding="utf-8"))
                if self._file.tell() and self._path.read_bytes()[-1:] != b"\n":
                    self._file.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def known(self) -> Mapping[str, Drawn]:
        """What is on record, by key."""
        return self._known

    def add(self, drawn: Drawn) -> None:
        """Put a response on record, on disk before the next one is drawn. Raises DiskError where it cannot be."""
        self._known[drawn.key] = drawn
        if self._path is not None:
            with disk_errors(self._path):
                self._file.write(json.dumps(asdict(drawn), ensure_ascii=True) + "\n")
                self._file.flush()


def _read(path: Path) -> list[tuple[str, Drawn]]:
    found: list[tuple[str, Drawn]] = []
    if path.is_file():
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                drawn = Drawn(**json.loads(line))
                if isinstance(drawn.response, str) and isinstance(drawn.key, str):
                    found.append((drawn.key, drawn))
    return found
