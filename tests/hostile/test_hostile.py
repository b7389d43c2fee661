"""Malicious folders through the real commands: nothing runs, exit code 7 (or 4 where it is damage), nothing stays."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.hostile.__main__ import PAYLOADS, Payload, build_room, mark
from tests.support.commands import point_at, run, traces

MOST_SECONDS = 20  # of a payload that wants to take for ever


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_room(tmp_path_factory.mktemp("good"))


@pytest.fixture
def room(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    target = tmp_path / "room"
    shutil.copytree(good, target)
    for name in ("cma", "ga", "sft"):
        point_at(target, name)
    recipe = target / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("{d}", str(target)))
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(target)
    return target


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_nothing_executes(payload: Payload, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    payload.plant(room)
    before, started = traces(room), time.perf_counter()
    capsys.readouterr()
    code = run(payload.command, room)
    captured = capsys.readouterr()
    assert not mark(room).exists(), "the payload ran"
    assert code == payload.code, captured.err
    assert time.perf_counter() - started < MOST_SECONDS
    if payload.code:
        errors = [line for line in captured.err.splitlines() if "error: " in line]
        assert len(errors) == 1 and payload.says in captured.err, captured.err
        assert "Traceback" not in captured.err and "This is a bug" not in captured.err
        assert captured.out == ""
        assert traces(room) == before, "something was left behind"


def test_the_payloads_are_counted() -> None:
    names = {payload.name for payload in PAYLOADS}
    assert len(names) == len(PAYLOADS) >= 90
    assert sum(payload.code == 7 for payload in PAYLOADS) >= 55


def test_the_mark_is_left_by_what_does_run(room: Path) -> None:
    """The payloads are live: unpickled or imported freely, they leave the mark. So its absence says something."""
    import pickle
    import runpy

    import torch

    from tests.hostile import __main__ as hostile

    hostile.pickle_at("evil.pkl")(room)
    pickle.loads((room / "evil.pkl").read_bytes())
    assert mark(room).exists()
    mark(room).unlink()
    hostile.torch_at("evil.pt")(room)
    torch.load(room / "evil.pt", weights_only=False)
    assert mark(room).exists()
    mark(room).unlink()
    hostile.code_file("evil.py")(room)
    runpy.run_path(str(room / "evil.py"))
    assert mark(room).exists()
