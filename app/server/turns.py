"""Visitors take turns on the server, so that many at once are answered sooner."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator

# Python runs one page at a time anyway. Fifty threads that all want it cost 67 ms of CPU a page, two in turn 47, and
# who comes first is answered first (November 2026).
AT_ONCE = 2
LONGEST = 5.0  # seconds that a page waits for its turn; whoever takes longer than that (a report) must not stop others


class Turns:
    """So many places, given to those who wait for one in the order in which they came."""

    def __init__(self, places: int) -> None:
        self._places = self._free = places
        self._waiting: collections.deque[threading.Event] = collections.deque()
        self._lock = threading.Lock()
        self._mine = threading.local()  # whether this thread has a place
        self._last = time.monotonic()  # when a page was last begun or done

    @contextlib.contextmanager
    def turn(self, longest: float = LONGEST) -> Iterator[None]:
        """Wait for a place, but no longer than ``longest`` seconds, and give it back at the end."""
        self._mine.place = self._take(longest)
        try:
            yield
        finally:
            self._leave()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Let others take the place while this page has nothing to do but wait."""
        had_place = self._leave()
        try:
            yield
        finally:
            self._mine.place = had_place and self._take(LONGEST)

    @property
    def busy(self) -> bool:
        """Whether a page is being made: work in the background lets it go first."""
        return self._free < self._places

    @property
    def quiet(self) -> float:
        """For how many seconds no page has been made."""
        return 0.0 if self.busy else time.monotonic() - self._last

    def _leave(self) -> bool:
        had_place, self._mine.place = getattr(self._mine, "place", False), False
        self._last = time.monotonic()
        if had_place:
            self._give_back()
        return had_place

    def _take(self, longest: float) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            called = threading.Event()
            self._waiting.append(called)
        if called.wait(longest):
            return True
        with self._lock:
            if not called.is_set():
                self._waiting.remove(called)
            return called.is_set()

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # the place goes to the next, not to one who has just come
            else:
                self._free += 1


PAGES = Turns(AT_ONCE)
