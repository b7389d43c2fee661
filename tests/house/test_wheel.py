"""A wheel of the project: it brings everything along, takes no other package's name, and works from any directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from probe.__main__ import COMMANDS, build_parser
from probe.commands.outside import ANALYSIS
from tests.support import ROOT
from tests.support.dashboard.app_maps import example_texts, make_store

PARTS = ("probe", "app", "analysis", ".streamlit", "setup.py", "pyproject.toml", "requirements.txt", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy: a build leaves folders behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, source / part)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """What an installation unpacks."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A directory with folders of the same names, which are not meant."""
    for name in ("app", "analysis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    return tmp_path


def start(site: Path, elsewhere: Path, *words: str) -> subprocess.Popen[str]:
    """What the console script does, in an environment that holds the unpacked wheel."""
    code = "import sys; from probe.__main__ import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-P", "-c", code, *words]
    return subprocess.Popen(
        command, cwd=elsewhere, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_the_wheel_holds_every_file_under_one_name(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"probe", next(n for n in names if "dist-info" in n).split("/")[0]}
    here = {
        file.relative_to(ROOT).as_posix()
        for folder in ("probe", "app", "analysis")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in (".py", ".yaml", ".j2", ".jsonl", ".txt")
    }
    wanted = {name if name.startswith("probe/") else f"probe/doors/{name}" for name in here}
    assert wanted <= names and "probe/doors/.streamlit/config.toml" in names
    assert "probe/doors/setup.py" not in names
    entries = next(name for name in names if name.endswith("entry_points.txt"))
    assert b"probe = probe.__main__:main" in zipfile.ZipFile(wheel).read(entries)


def test_commands_run_from_anywhere(site, elsewhere):
    out, problem = start(site, elsewhere, "failures", "--help").communicate(timeout=120)
    assert out.startswith("usage: probe failures") and not problem, problem
    running = start(site, elsewhere, "export-heatmaps", "nothing", "--out", "out")
    _, problem = running.communicate(timeout=120)
    assert running.returncode == 4 and problem.startswith("error: no map store at nothing")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--help"])
    shown = capsys.readouterr().out
    for name in (*COMMANDS, *ANALYSIS):
        assert f"\n    {name}" in shown
    for module, _ in ANALYSIS.values():
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_view_serves_a_store_and_ends_when_told(site, elsewhere):
    make_store(elsewhere / "maps", example_texts(2))
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    server = start(site, elsewhere, "view", "maps", "--port", str(port))
    try:
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://localhost:{port}/", timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < end, server.communicate()
                time.sleep(0.3)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://localhost:{port}/", timeout=5)


def test_view_refuses_what_is_not_there(site, elsewhere):
    running = start(site, elsewhere, "view", "maps")
    _, problem = running.communicate(timeout=120)
    assert running.returncode == 3 and "wanted a map store, found no manifest.json" in problem
