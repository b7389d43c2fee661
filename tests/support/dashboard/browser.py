"""The dashboard in a real browser, for the tests and for README's pictures.

python -m tests.support.dashboard.browser --screenshot page.png [--maps MAPS --gold GOLD] [--query "sort=best"]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import ROOT

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
PATIENCE = 60_000  # ms; a machine that is busy with other work is slow, not wrong
# Charts, without the small picture of a whole map by which one steers.
CHART = "[data-testid='stElementContainer']:not(.st-key-overview-of-the-map) [data-testid='stVegaLiteChart']"
MAP = f"{CHART} canvas, {CHART} svg"


def chromium() -> str | None:
    """Path of a Chromium on this machine: $CHROMIUM, the system's, or Playwright's own; None if there is none."""
    names = [os.environ.get("CHROMIUM", ""), "/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"]
    found = next((path for path in map(shutil.which, filter(None, names)) if path), None)
    if found:
        return found
    caches = Path.home().glob(".cache/ms-playwright/chromium*/*/chrome*")
    return next((str(path) for path in sorted(caches) if os.access(path, os.X_OK) and path.is_file()), None)


def missing() -> str:
    """Why no browser test can run here, or an empty string if they can."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed (pip install playwright)"
    return "" if chromium() else "no Chromium found (apt-get install chromium, or playwright install chromium)"


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[str]:
    """Run the dashboard with ``arguments`` (--maps …) and yield its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port), "--", *arguments]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"http://localhost:{port}"
            _wait(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(10)


def _wait(address: str, process: subprocess.Popen[bytes], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with exit code {process.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
            return
        time.sleep(0.1)
    raise TimeoutError(f"no answer from {address} within {seconds:.0f} s")


@contextlib.contextmanager
def browser(width: int = 1440, height: int = 900, scale: float = 1) -> Iterator[Any]:
    """A context of a headless Chromium; ``scale`` 2 makes pictures for high-resolution screens."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        context = chrome.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
        try:
            yield context
        finally:
            chrome.close()


def open_map(page: Any, url: str) -> float:
    """Open ``url``, wait until a heatmap is drawn, and return the seconds that took."""
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(MAP, state="visible", timeout=PATIENCE)
    return time.perf_counter() - start


def settle(page: Any) -> None:
    """Wait until the page has stopped running and drawing."""
    page.wait_for_timeout(300)
    page.wait_for_selector("[data-testid='stStatusWidget']", state="detached", timeout=PATIENCE)
    page.wait_for_timeout(500)


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.support.dashboard.browser", description="Take a picture.")
    parser.add_argument("--screenshot", type=Path, required=True, metavar="OUT.png")
    parser.add_argument("--maps", help="a map store (default: the demo's)")
    parser.add_argument("--gold", help="gold for it")
    parser.add_argument("--query", default="", help="query string of the page, e.g. 'compare=dskd-cma-ga&sort=best'")
    parser.add_argument("--size", default="1440x900", help="window, WIDTHxHEIGHT")
    parser.add_argument("--scale", type=float, default=1, help="pixels a CSS pixel")
    parser.add_argument("--scroll", type=int, default=0, help="scroll down by so many pixels first")
    options = parser.parse_args()
    if reason := missing():
        parser.error(reason)
    arguments = [
        part for name in ("maps", "gold") if (value := getattr(options, name)) for part in (f"--{name}", value)
    ]
    width, height = map(int, options.size.split("x"))
    with server(*arguments) as address, browser(width, height, options.scale) as context:
        page = context.new_page()
        seconds = open_map(page, f"{address}/?{options.query}")
        settle(page)
        if options.scroll:
            page.mouse.move(width - 200, height / 2)
            page.mouse.wheel(0, options.scroll)
            page.wait_for_timeout(500)
        page.screenshot(path=str(options.screenshot))
        print(f"first heatmap after {seconds:.2f} s; saved {options.screenshot}")


if __name__ == "__main__":
    main()
