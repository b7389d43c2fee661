"""The frame around commands: exit codes, one message, quiet pipes; and each command's help and report."""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from probe import cli
from probe.__main__ import COMMANDS, main
from probe.commands import doctor
from probe.errors import DamagedError, DataError, DiskError, NonFiniteError, ProbeError, UnsafeError, UsageError
from probe.files import atomic_directory
from probe.maps.store import MapStore
from probe.version import __version__
from tests.support import ROOT
from tests.support.bad_input import build_room, fill, flip


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_room(tmp_path_factory.mktemp("room"))


def parser() -> argparse.ArgumentParser:
    made = cli.make_parser("tool", "A tool.", "  tool --debug")
    made.add_argument("--count", type=cli.positive, default=1)
    return made


def outcome(error: BaseException | int | None, argv: list[str] | None = None) -> int:
    """The exit code of a command that raises ``error``, or returns it."""

    def run(args: argparse.Namespace) -> int | None:
        if isinstance(error, BaseException):
            raise error
        return error

    return cli.main(parser, run, argv or [])


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (0, 0), (4, 4), (UsageError("x"), 2), (DataError("x"), 3), (DamagedError("x"), 4),
     (NonFiniteError("x"), 5), (DiskError("x"), 6), (UnsafeError("x"), 7), (ProbeError("x"), 1),
     (KeyboardInterrupt(), 130), (MemoryError(), 1),
     (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), 1),
     (OSError(errno.ENOSPC, "No space left on device"), 6), (OSError(errno.EDQUOT, "quota"), 6),
     (OSError(errno.EROFS, "Read-only file system"), 6), (OSError(errno.EIO, "I/O"), 6),
     (FileNotFoundError(errno.ENOENT, "No such file", "a"), 3), (IsADirectoryError(errno.EISDIR, "Is a dir", "a"), 3),
     (PermissionError(errno.EACCES, "denied", "a"), 3), (OSError(errno.ECONNRESET, "reset"), 1), (KeyError("x"), 1),
     (BrokenPipeError(), 141), (SystemExit(3), 3), (SystemExit(None), 0), (SystemExit("no"), 1)],
)  # fmt: skip
def test_exit_codes(error: BaseException | int | None, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(error) == code
    err = capsys.readouterr().err
    silent = not isinstance(error, BaseException) or isinstance(error, BrokenPipeError)
    silent = silent or (isinstance(error, SystemExit) and not isinstance(error.code, str))
    assert err.count("error: ") == (0 if silent else 1)
    assert "Traceback" not in err


def test_a_bug_is_called_a_bug_and_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(KeyError("x")) == 1
    assert "unexpected KeyError: 'x'. This is a bug" in capsys.readouterr().err
    assert outcome(DataError("line 3"), ["--debug"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.rstrip().endswith("error: line 3")


@pytest.mark.parametrize("argv", [["--nope"], ["--coun", "3"], ["--count", "0"], ["--count", "x"], ["stray"]])
def test_usage_errors_are_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(None, argv) == 2
    assert "usage: tool" in capsys.readouterr().err


def test_an_error_while_the_parser_is_built_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> argparse.ArgumentParser:
        raise DamagedError("half an installation")

    assert cli.main(broken, lambda args: None, []) == 4
    assert capsys.readouterr().err == "error: half an installation\n"


def test_warnings_of_libraries_stay_away_unless_debugging() -> None:
    def run(args: argparse.Namespace) -> None:
        warnings.warn("chatter", stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cli.main(parser, run, []) == 0
        assert not caught
        assert cli.main(parser, run, ["--debug"]) == 0
        assert [str(w.message) for w in caught] == ["chatter"]


def test_the_handler_of_sigterm_is_put_back_and_threads_may_run_commands() -> None:
    before = signal.getsignal(signal.SIGTERM)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(outcome(DataError("x"))))
    thread.start()
    thread.join()
    assert codes == [3]
    assert outcome(None) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_unwinds_so_that_nothing_half_written_is_left(tmp_path: Path) -> None:
    def run(args: argparse.Namespace) -> None:
        with atomic_directory(tmp_path / "out") as part:
            (part / "file").write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    assert cli.main(parser, run, []) == 143
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_says_that_it_interrupted(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    outside = signal.signal(number, signal.SIG_DFL)  # what nohup ignores around the tests is not ignored in this one
    try:
        assert cli.main(parser, lambda args: os.kill(os.getpid(), number) or time.sleep(5), []) == 128 + number
        assert capsys.readouterr().err == f"error: interrupted ({number.name}); nothing was left half written.\n"
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, outside)


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert cli.main(parser, lambda args: os.kill(os.getpid(), signal.SIGHUP), []) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(cli.progress(range(3), total=3, label="maps")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_progress_counts_for_a_person(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(cli.progress(iter("ab"), total=2, label="maps")) == ["a", "b"]
    assert "maps 2/2" in capsys.readouterr().err


def process(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m probe doctor --json | true", shell=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stderr == ""


def test_help_needs_no_torch_and_names_every_command() -> None:
    code = "import sys, probe.__main__ as m; m.main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert all(f"    {name}" in {line[: len(name) + 4] for line in done.stdout.splitlines()} for name in COMMANDS)
    assert "exit codes: 0 ok" in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"usage: python -m probe {command}" in out
    assert "--debug" in out
    assert f"python -m probe {command} " in out.split("usage", 1)[1].split("\n", 1)[1], "no example"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--version"], ["extract", "--version"]):
        assert main(argv) == 0
        assert capsys.readouterr().out == f"probe {__version__}\n"


def test_debug_before_and_after_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for argv in (["--debug", "verify", str(tmp_path)], ["verify", str(tmp_path), "--debug"]):
        assert main(argv) == 4
        assert "Traceback" in capsys.readouterr().err


# --- extract ------------------------------------------------------------------------------------


def test_extract_reports_and_records_how_the_maps_were_made(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = "extract --checkpoint {d}/cma {d}/ga --untrained-baseline --data {d}/data.jsonl --out {d}/full --json"
    assert main(fill(command, room)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["maps"] == 36
    assert report["examples"] == 6
    assert report["checkpoints"] == ["cma", "ga", "untrained"]
    store = MapStore.open(room / "full")
    provenance = store.provenance
    assert set(provenance["checkpoints"]) == {"cma", "ga", "untrained"}
    assert provenance["checkpoints"]["ga"]["method"] == "dskd-cma-ga"
    assert len(provenance["checkpoints"]["cma"]["manifest_sha256"]) == 64
    assert provenance["normalisation"]["sigma_k"] == {"cma": 0.9, "ga": 0.9, "untrained": 0.9}
    assert provenance["data"]["name"] == "data.jsonl"
    assert provenance["version"] == __version__
    assert store.student_fingerprint == MapStore.open(room / "maps").student_fingerprint
    assert set(store.index["direction"]) == {"t2s", "s2t"}


def test_the_recorded_command_makes_the_same_maps_again(room: Path) -> None:
    command = MapStore.open(room / "maps").provenance["command"]
    assert command.startswith("python -m probe extract --checkpoint ")
    assert main([*command.split()[3:], "--overwrite"]) == 0
    again = fill("extract --checkpoint {d}/cma {d}/ga --data {d}/data.jsonl --out {d}/maps2", room)
    assert main(again) == 0
    for name in ("index.parquet", "maps-00000.safetensors"):
        assert (room / "maps" / name).read_bytes() == (room / "maps2" / name).read_bytes()


@pytest.mark.parametrize("kind", ["batch", "masked", "example"])
def test_every_normalisation_through_the_command(kind: str, room: Path, tmp_path: Path) -> None:
    command = "extract --checkpoint {d}/cma --data {d}/data.jsonl --direction t2s --dtype float32 --batch-size 4"
    assert main([*fill(command, room), "--normalisation", kind, "--out", str(tmp_path / "maps")]) == 0
    store = MapStore.open(tmp_path / "maps")
    assert set(store.index["normalisation"]) == {kind}
    assert len(store) == 6


# --- doctor and verify --------------------------------------------------------------------------


def test_verify_names_what_is_whole(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, words in (("cma", "a whole checkpoint"), ("maps", "a whole map store"), ("sft", "sft")):
        assert main(["verify", str(room / place)]) == 0
        assert words in capsys.readouterr().out
    (room / "sft" / "notes.txt").write_text("mine")
    assert main(["verify", str(room / "sft"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"][0]["unlisted"] == ["notes.txt"]


def test_verify_of_a_cache(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from probe.files import sha256_of

    states = tmp_path / "cache" / "teacher-states" / "abc-float16"
    states.mkdir(parents=True)
    (states / "1.safetensors").write_bytes(b"numbers and more numbers, forty bytes or more of them")
    entry = {"file": "1.safetensors", "sha256": sha256_of(states / "1.safetensors"), "keys": ["k"]}
    (states / "1.json").write_text(json.dumps(entry))
    assert main(["verify", str(tmp_path / "cache")]) == 0
    assert "a whole teacher cache" in capsys.readouterr().out
    flip("1.safetensors")(states)
    assert main(["verify", str(tmp_path / "cache")]) == 4
    assert "altered" in capsys.readouterr().err
    (states / "1.json").write_text('{"file": "../../../x", "sha256": "0", "keys": []}')
    assert main(["verify", str(tmp_path / "cache")]) == 7


def test_doctor_lists_and_json_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert main(["doctor", "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert len(lines) == len(report["findings"])
    assert report["ok"] == (code == 0)
    assert {"torch", "cache", "browser"} <= {finding["name"] for finding in report["findings"]}


def test_doctor_names_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "REQUIRED", ("torch", "no-such-package"))
    assert main(["doctor"]) == 4
    assert "MISSING  no-such-package: not installed; pip install" in capsys.readouterr().out


def test_doctor_without_a_converted_teacher(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path))
    main(["doctor"])
    assert "smollm2" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [], "doctor only looks"
    (tmp_path / "models" / "smollm2-135m").mkdir(parents=True)
    assert main(["doctor"]) == 4
    assert "delete" in capsys.readouterr().out
