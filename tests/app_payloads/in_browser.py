"""Hostile names and tokens on every page in Chromium: nothing runs, nothing is fetched, all of it is text."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.app_payloads.rooms import NAME, Room, file_name
from tests.support.dashboard import browser

SLOW = 300_000  # ms; a room has many runs to score
OURS = re.compile(r"(https?|wss?)://localhost:|data:|blob:")
# What a text would have become if it were markup, script, formula or icon; our own pages have none of these.
LIVE = """() => {
  const all = [...document.querySelectorAll('*')];
  const icons = [...document.querySelectorAll('[data-testid=stIconMaterial]')].map(icon => icon.textContent);
  return {
    hacked: window.hacked ?? null,
    title: document.title.includes('hacked'),
    handlers: all.filter(one => [...one.attributes].some(part => /^on/i.test(part.name))).map(one => one.outerHTML),
    tags: all.filter(one => one.matches('iframe, object, embed, base, math, .katex, form[action], b, details[open],' +
      'meta[http-equiv]')).map(one => one.outerHTML),
    addresses: all.map(one => one.href || one.src).filter(link => typeof link == 'string' && link)
      .filter(link => !['data:', 'blob:'].includes(new URL(link).protocol) && new URL(link).host != location.host),
    icons: icons.filter(icon => /skull|star/.test(icon)),
  };
}"""
QUIET = {"hacked": None, "title": False, "handlers": [], "tags": [], "addresses": [], "icons": []}
# All that can be read: text of the page, of its charts, of what stands in fields, and what screen readers say.
READ = """() => [document.body.textContent,
  ...[...document.querySelectorAll('input, textarea')].map(one => one.value),
  ...[...document.querySelectorAll('[aria-label]')].map(one => one.getAttribute('aria-label')),
  ...[...document.querySelectorAll('[alt]')].map(one => one.getAttribute('alt'))].join('\\n')"""


def squeezed(text: str) -> str:
    """The text without white space and control characters, which a page may show in other ways."""
    return re.sub(r"[\s\x00-\x1f\ufffd]+", "", text)


def check_quiet(page: Any, place: object, seen: Sequence[str]) -> None:
    """Nothing of a token is alive on this page, and those of ``seen`` can be read. Raises AssertionError."""
    missing = list(seen)
    for _ in range(60):  # parts of a page load one after another
        browser.settle(page)
        read = squeezed(page.evaluate(READ))
        missing = [token[:80] for token in missing if squeezed(token)[:60] not in read]
        if not missing:
            break
    assert not missing, (place, "cannot be read", missing)
    assert page.evaluate(LIVE) == QUIET, (place, page.evaluate(LIVE))
    assert page.dialogs == [], (place, page.dialogs)
    assert not [url for url in page.requests if not OURS.match(url)], (place, page.requests)


@contextlib.contextmanager
def watched(context: Any) -> Iterator[Any]:
    """A tab that keeps what it asked for and which dialogs it opened."""
    page = context.new_page()
    page.requests, page.dialogs = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    page.close()


def views(room: Room) -> Iterator[tuple[str, dict[str, object], Sequence[str]]]:
    """A view of each page but Try a text: page, link, and what can be read there."""
    tokens = room.tokens
    names, one, two = [file_name(token) for token in tokens], tokens[0], tokens[1]
    yield "overview", {"by": "category of the example"}, tokens
    yield "browse", {"example": one, "checkpoint": one, "category": one, "pin": "1.1"}, tokens
    yield "compare", {"example": one, "reference": one, "runs": two}, tokens[:2]
    yield "key_query", {"checkpoint": one}, [one]
    yield "training", {"runs": names, "measures": list(tokens), "example": one, "step": 0}, [*names, *tokens]
    yield "annotate", {"example": one, "second": one, "annotator": "Eve"}, tokens
    yield "export", {"checkpoints": list(tokens), "formats": "csv", "category": one}, tokens


def check_room(page: Any, address: str, room: Room, *, typed: bool) -> int:
    """Look at every page of the room, rest on a mark and a button, type the tokens, take a zip; pages looked at."""
    count = 0
    for name, query, seen in views(room):
        page.goto(f"{address}/{name}?{urlencode(query, doseq=True)}", wait_until="commit")
        page.get_by_text("Provenance").wait_for(timeout=SLOW)
        check_quiet(page, (name, room.tokens[0][:80]), seen)
        rest_on_everything(page)
        check_quiet(page, (name, "after hovering", room.tokens[0][:80]), seen)
        count += 1
    check_zip(page, room)
    if typed:
        check_typed(page, address, room)
        count += 1
    return count


def rest_on_everything(page: Any) -> None:
    """Rest the pointer on the first mark of each chart and on the buttons that tell what they do."""
    for mark in page.locator("[data-testid='stVegaLiteChart'] canvas, [data-testid='stVegaLiteChart'] path").all()[:3]:
        with contextlib.suppress(Exception):
            mark.hover(timeout=1_000, force=True)
            page.wait_for_timeout(100)
    for button in page.locator("[data-testid='stDownloadButton'] button, [data-testid='stTooltipHoverTarget']").all()[
        :6
    ]:
        with contextlib.suppress(Exception):
            button.hover(timeout=1_000)
            page.wait_for_timeout(100)


def check_typed(page: Any, address: str, room: Room) -> None:
    """Type all tokens of the room as a text and look at its map."""
    page.goto(f"{address}/try_text?{urlencode({'checkpoint': file_name(room.tokens[0])})}", wait_until="commit")
    text = " ".join(token[:8] for token in room.tokens)
    page.get_by_role("textbox", name="Response").fill(text)
    page.get_by_role("textbox", name="Prompt").fill(text)
    page.get_by_role("button", name="Show the map").click()
    page.get_by_text("Provenance").wait_for(timeout=SLOW)
    check_quiet(page, ("try_text", room.tokens[0][:80]), [])


def check_zip(page: Any, room: Room) -> None:
    """Make the zip of the page Export that is open: its files have plain names, its cells are no formulas."""
    page.get_by_role("button", name="Make the zip").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
        assert len(names) == len(room.tokens) + 2 and all(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) for name in names)
        lines = list(csv.reader(io.StringIO(archive.read("manifest.csv").decode("utf-8-sig"))))
        assert not [cell for line in lines[1:] for cell in line[:5] if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


@contextlib.contextmanager
def house(folder: Path) -> Iterator[str]:
    """A dashboard on whichever room the link ``folder/current`` leads to; make that before. Yields its address."""
    with browser.server(*Room(folder / "current" / NAME, ()).arguments) as address:
        yield address


def enter(folder: Path, room: Room) -> None:
    """Let the dashboard show this room from now on."""
    current = folder / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(room.folder.parent)
