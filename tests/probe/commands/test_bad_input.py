"""Bad input through the real commands: one clear message, the documented exit code, nothing half written.

The table is in tests/support/bad_input.py; here are its runner, the cases that need a process or a disk of their own,
and the odd inputs that must work.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probe.maps.store import MapStore
from tests.support import ROOT, tiny
from tests.support.bad_input import (
    CASES,
    EXTRACT,
    HEATMAPS,
    REPORT,
    SCORE,
    TRAIN,
    Case,
    build_room,
    data,
    fill,
    flip,
    write,
)
from tests.support.commands import point_at, run, traces


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_room(tmp_path_factory.mktemp("good"))


@pytest.fixture
def room(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the good room; no network, and a cache of its own."""
    target = tmp_path / "room"
    shutil.copytree(good, target)
    for name in ("cma", "ga", "sft"):  # a checkpoint names its teacher by path; each room has its own
        point_at(target, name)
    recipe = target / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("{d}", str(target)))
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return target



def assert_refused(case_says: tuple[str, ...], code: int, wanted: int, err: str) -> None:
    assert code == wanted, err
    assert "Traceback" not in err
    assert "This is a bug" not in err
    errors = [line for line in err.splitlines() if "error: " in line]
    assert len(errors) == 1, err
    for words in case_says:
        assert words.lower() in err.lower(), f"{words!r} is not in: {err}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(case: Case, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case.damage(room)
    before = traces(room)
    code = run(case.command, room)
    captured = capsys.readouterr()
    assert_refused(case.says, code, case.code, captured.err)
    assert captured.out == ""
    assert traces(room) == before, "something was left behind"


def test_the_table_is_as_long_as_promised() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.code for case in CASES} == {2, 3, 4, 5, 7}  # 6 needs a full disk: below


# --- disks that refuse ----------------------------------------------------------------------------


def failing_sync(number: int, suffix: str = "") -> Callable[[Path], None]:
    """For ``probe.files._sync``: fails for files that end in ``suffix``, as when a delayed write meets a full disk."""

    def sync(path: Path) -> None:
        if suffix in path.name:
            raise OSError(number, os.strerror(number), str(path))

    return sync


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("suffix", [".safetensors", ".parquet", "manifest.json"])
def test_a_write_that_fails_leaves_nothing(
    number: int, suffix: str, room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(room)
    monkeypatch.setattr("probe.files._sync", failing_sync(number, suffix))
    code = run(EXTRACT, room)
    assert_refused((os.strerror(number),), code, 6, capsys.readouterr().err)
    assert traces(room) == before


@pytest.mark.parametrize("command", [SCORE, REPORT, HEATMAPS + " --limit 1", TRAIN])
def test_every_command_that_writes_says_when_the_disk_is_full(
    command: str, room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(room)
    monkeypatch.setattr("probe.files._sync", failing_sync(errno.ENOSPC))
    code = run(command, room)
    assert_refused(("No space left",), code, 6, capsys.readouterr().err)
    left = {name for name in traces(room) - before if (room / name).is_file()}
    assert left <= {"out/png/journal.jsonl"}, "only what --resume goes on from may stay"


def test_a_failed_write_keeps_the_earlier_store(
    room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in (room / "maps").iterdir()}

    monkeypatch.setattr("probe.files._sync", failing_sync(errno.ENOSPC))
    assert run(EXTRACT.replace("out/maps", "maps") + " --overwrite", room) == 6
    assert {path: path.read_bytes() for path in (room / "maps").iterdir()} == before
    MapStore.open(room / "maps").verify()


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[bool]:
    """Mount a tiny file system at ``place``; yields False where this machine does not allow it."""
    place.mkdir(parents=True)
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = shutil.which("mount") is not None and subprocess.run(options, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def process(words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300, **options)  # type: ignore[call-overload]


def test_a_really_full_disk(room: Path) -> None:
    """A file system of 12 kB where mounting is allowed; else a process that may not write files above 4 kB."""
    command = ["probe", *fill(EXTRACT.replace("out/maps", "disk/maps"), room)]
    with small_disk(room / "disk", "12k") as mounted:
        print("full disk: a tmpfs of 12 kB" if mounted else "full disk: RLIMIT_FSIZE of 4 kB (mount is not allowed)")
        limit = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        done = process(command, preexec_fn=limit)
        left = list((room / "disk").iterdir())
    assert_refused(("nothing was left half written",), done.returncode, 6, done.stderr)
    assert left == []


def test_a_really_full_disk_for_the_report(room: Path) -> None:
    command = ["analysis.alignment_report", *fill(REPORT.replace("out/report", "disk/report"), room)[1:]]
    with small_disk(room / "disk", "20k") as mounted:
        limit = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        done = process(command, preexec_fn=limit)
        parts = [path for path in (room / "disk").rglob("*") if "part" in path.name]
    assert_refused(("disk",), done.returncode, 6, done.stderr)
    assert parts == []


def test_a_directory_that_cannot_be_written(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As root no mode forbids writing, so the kernel's own /proc has to do."""
    locked = room / "locked"
    locked.mkdir(mode=0o500)
    place = "/proc" if os.geteuid() == 0 else str(locked)
    code = run(EXTRACT.replace("{d}/out", place), room)
    assert_refused(("cannot write", place), code, 6, capsys.readouterr().err)
    assert list(locked.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_report_into_a_full_pipe_says_so() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "probe", "doctor", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=300)
    assert_refused(("space",), done.returncode, 6, done.stderr)


def test_unknown_teacher_in_a_process_of_its_own(room: Path) -> None:
    done = process(["probe", *fill(EXTRACT + " --teacher no-such/model", room)])
    assert_refused(("no-such/model",), done.returncode, 4, done.stderr)
    assert done.stdout == ""


# --- the dashboard: the same errors, on the page --------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--maps {d}/maps --fast", "--fast"),
        ("--maps", "expected one argument"),
        ("--maps {d}/nothing", "{d}/nothing"),
        ("--maps {d}/teacher", "manifest.json"),
        ("--maps {d}/gold.jsonl", "gold.jsonl"),
        ("--maps {d}/cma", "wanted a map store"),
        ("--maps {d}/flipped", "altered"),
        ("--maps {d}/maps --gold {d}/nothing.jsonl", "nothing.jsonl"),
        ("--maps {d}/maps --gold {d}/broken.jsonl", "broken.jsonl:1"),
    ],
)
def test_the_dashboard_says_what_is_wrong(words: str, says: str, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.testing.v1 import AppTest

    shutil.copytree(room / "maps", room / "flipped")
    flip("flipped/index.parquet")(room)
    write("broken.jsonl", "{\n")(room)
    monkeypatch.setattr(sys, "argv", ["app/main.py", *fill(words, room)])
    page = AppTest.from_file(str(ROOT / "app/page.py"), default_timeout=120).run()
    elements = [*page.error, *page.warning, *page.markdown, *page.code, *page.info]
    shown = " ".join(str(element.value) for element in elements)
    assert not page.exception
    assert says.replace("{d}", str(room)) in shown


# --- odd input that works -------------------------------------------------------------------------


def stored(room: Path) -> MapStore:
    store = MapStore.open(room / "out/maps")
    for amap in store:
        sums = amap.weights.sum(axis=1 if amap.direction == "t2s" else 0)
        assert abs(sums - 1).max() < 2e-3
    return store


def test_the_good_room_is_good(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of the table succeeds where nothing is spoilt: a refusal above has no other reason."""
    again = EXTRACT.replace("{d}/cma", "{d}/out/run").replace("out/maps", "out/more")
    for command in (EXTRACT, SCORE, REPORT, HEATMAPS + " --limit 1", TRAIN, again, "verify {d}/out/run"):
        assert run(command, room) == 0, capsys.readouterr().err
    assert MapStore.open(room / "out/more").index["checkpoint"].unique().tolist() == ["run"]


def test_one_token_output_works(room: Path) -> None:
    data('{"prompt": "", "output": "x"}', '{"prompt": "p", "output": "\\n"}', '{"prompt": "p", "output": " "}')(room)
    assert run(EXTRACT, room) == 0
    assert set(stored(room).index["n_student"]) == {2}  # the token and the end


def test_over_long_text_is_cut_and_flagged(room: Path) -> None:
    data('{"prompt": "p", "output": "' + "quick brown fox " * 2000 + '"}', '{"prompt": "p", "output": "short"}')(room)
    assert run(EXTRACT + " --max-length 64", room) == 0
    index = stored(room).index
    assert index["truncated"].tolist() == [True, True, False, False]
    assert index[["n_student", "n_teacher"]].max().max() <= 64
    spans = index.iloc[0]
    assert spans["student_spans"][-1][1] == spans["teacher_spans"][-1][1] == len(spans["text"].encode())


def test_odd_text_works(room: Path) -> None:
    odd = ["\0 a", "\r\n\t ", "a" * 300, "<|endoftext|> </s>", "\u202eabc", "\uffff\U0010ffff"]
    odd += ["e\u0301\u0323 \u200b\u200d", "👩‍👩‍👧‍👦🏳️‍🌈"]
    tiny.data_file(room / "data.jsonl", [("p", text) for text in odd])
    assert run(EXTRACT, room) == 0
    assert stored(room).index["text"].unique().tolist() == odd


def test_blank_lines_bom_and_crlf_work(room: Path) -> None:
    lines = '\ufeff{"prompt": "p", "output": "o"}\r\n\r\n{"prompt": "q", "output": "r"}'
    (room / "data.jsonl").write_bytes(lines.encode())
    assert run(EXTRACT, room) == 0
    assert len(stored(room)) == 4


def test_overwrite_replaces_a_store(room: Path) -> None:
    options = " --overwrite --limit 1 --direction s2t --dtype float32"
    assert run(EXTRACT.replace("out/maps", "maps") + options, room) == 0
    assert MapStore.open(room / "maps").index[["checkpoint", "direction"]].to_numpy().tolist() == [["cma", "s2t"]]
