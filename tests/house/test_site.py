"""The docs site: every page in its menu, every link and anchor leads somewhere, nothing comes from a network."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.house import site
from tests.house.rooms import modules
from tests.support import ROOT

CONFIG = ROOT / "mkdocs.yml"
NOT_FOR_CALLERS = {"probe.commands"}  # its face is `--help`


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The site without its docstrings, which take longer (`make docs` has them), and every warning of the build."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mkdocs").addHandler(handler)
    folder = tmp_path_factory.mktemp("site")
    try:
        build(load_config(str(CONFIG), site_dir=str(folder), plugins=["search"]))
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    return folder, said


def test_every_page_is_in_the_menu_and_every_link_leads_somewhere(built: tuple[Path, list[str]]) -> None:
    """mkdocs warns of pages that the menu leaves out, of pages and anchors that are not there."""
    folder, said = built
    assert said == []
    pages = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not (folder / page).is_file()} == set()


FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]+src="(?:\w+:)?//|<link[^>]+stylesheet[^>]+href="(?:\w+:)?//|"""
    r"""(?:@import|url\()\s*["']?(?:https?:)?//"""
)


def test_pages_fetch_nothing_from_elsewhere(built: tuple[Path, list[str]]) -> None:
    files = [file for suffix in ("html", "css") for file in built[0].rglob(f"*.{suffix}")]
    assert len(files) > 10
    assert [file.name for file in files if FETCHED.search(file.read_text(encoding="utf-8"))] == []
    assert FETCHED.search('<script defer src="https://cdn.example/x.js">') and FETCHED.search(
        "@import url(//fonts.example)"
    )


def test_the_reference_names_every_room_that_people_call() -> None:
    """Each room of the library, or a part of it; and no name that leads nowhere."""
    named = re.findall(r"^::: (\S+)$", (ROOT / "docs/reference.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {name for name in named if name not in modules()} == set()
    rooms = {".".join(name.split(".")[:2]) for name in modules() if re.match(r"probe\.\w+\.", name)} - NOT_FOR_CALLERS
    assert {room for room in rooms if not any(f"{name}.".startswith(f"{room}.") for name in named)} == set()


def test_roles_of_docstrings_are_taken_away() -> None:
    assert site.on_page_content("see :class:<code>Gold</code>, a <code>:class:</code>") == (
        "see <code>Gold</code>, a <code>:class:</code>"
    )
