"""Pytest plugin (`-p tests.laws.count`) that counts how often the body of each property test ran to its end.

It wraps hypothesis's `inner_test`, so examples are counted as they run, whatever `max_examples` says.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis.errors import UnsatisfiedAssumption

VARIABLE = "LAWS_COUNT"  # environment: the file to write the count to

_tally: Counter[str] = Counter()
_failures: list[str] = []


def counted(test: Callable[..., Any], tally: Counter[str]) -> Callable[..., Any]:
    """``test`` that adds to ``tally``: ``passed``, ``rejected`` (by `assume`) and ``failed``.

    Nothing that passes after the first failure is counted: that is hypothesis looking for a smaller example.
    """

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            result = test(*args, **kwargs)
        except UnsatisfiedAssumption:
            tally["rejected"] += 1
            raise
        except Exception:  # hypothesis's own stop signal (an example grew too long) is none
            tally["failed"] += 1
            raise
        tally["passed"] += not tally["failed"]
        return result

    return run


def counter_examples(error: BaseException) -> Iterator[str]:
    """What hypothesis says of an error, or of each error of a group: the smallest example, and the message."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from counter_examples(part)
    else:
        notes = [note for note in getattr(error, "__notes__", []) if "@reproduce_failure" not in note]
        yield "\n".join([*notes, f"{type(error).__name__}: {str(error)[:500]}"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    functions = {getattr(item, "obj", None) for item in items}
    for function in functions:
        if hasattr(function, "hypothesis"):
            function.hypothesis.inner_test = counted(function.hypothesis.inner_test, _tally)


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported need not be looked through again and again: a tenth of the time (2026-11)


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None and not isinstance(call.excinfo.value, pytest.skip.Exception):
        _failures.extend(counter_examples(call.excinfo.value))


def pytest_sessionfinish() -> None:
    found = {"examples": _tally["passed"], "rejected": _tally["rejected"], "failures": _failures}
    found["seconds"] = round(time.process_time(), 1)
    Path(os.environ[VARIABLE]).write_text(json.dumps(found), encoding="utf-8")
