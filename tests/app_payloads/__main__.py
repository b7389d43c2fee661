"""Hostile links, names and tokens against all pages: `python -m tests.app_payloads` tries all, the tests a part.

Whatever an address says, a page draws what it can, quotes it as text, and reads and writes nothing but its own folders.
Whatever a file says, pages show it as text; see `app_payloads_pages.py` (AppTest) and `app_payloads_browser.py`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest

from app.data.annotations import NAME as ANNOTATOR
from app.data.annotations import Annotations, Saved
from probe.gold.reading import write_gold
from tests.app_payloads import in_browser as app_payloads_browser
from tests.app_payloads import on_pages as app_payloads_pages
from tests.app_payloads.on_pages import check_sent, strings
from tests.app_payloads.tokens import LINKS, TOKENS
from tests.support import tiny
from tests.support.dashboard import app_maps, browser
from tests.support.dashboard.app_files import make_clouds, make_run
from tests.support.dashboard.app_pages import ROOT, marked, open_page, shown

LOOK = ("unit", "scale", "size", "from", "pin")
# The parameters of each page: those of which no payload is a value, whose note must be there, and all others.
NOTED = {
    "overview": ("maps", "by", "of"),
    "browse": ("example", "checkpoint", "direction", "category", "sort", "against", "pin"),
    "compare": ("example", "reference", "runs", "direction", "category", "sort", "pin"),
    "key_query": ("checkpoint", "projection"),
    "training": ("runs", "measures", "run", "example", "direction", "step", "unit", "scale"),
    "annotate": ("example", "second", "brush", "format"),
    "try_text": ("checkpoint", "direction"),
    "export": ("checkpoint", "direction", "category", "sort", "against", "checkpoints", "directions", "formats"),
}
OTHER = {
    "browse": ("normalisation", "score", "length", "differ", "compare", *LOOK[:4]),
    "compare": LOOK[:4],
    "training": ("size", "from", "pin"),
    "annotate": ("annotator", "weights", "from"),
    "try_text": LOOK,
    "export": ("normalisation", "score", "length", "differ"),
}
SHORT = [("one", "prose", "A cat sat."), ("two", "names", "Ann and Bo."), ("three", "prose", "naïve café")]
CANARY = "canary-3f91"  # stands in files that no page may read
WATCHED = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.link",
)


@dataclass(frozen=True)
class House:
    """A dashboard's folders, and beside and above them files that are none of its business."""

    folder: Path

    @property
    def arguments(self) -> list[str]:
        inner = self.folder / "house"
        return [
            "--maps",
            str(inner / "maps"),
            "--gold",
            str(inner / "gold.jsonl"),
            "--checkpoints",
            str(inner / "checkpoints"),
        ]

    def own(self) -> list[Path]:
        """What pages may read: what the command line names, what they keep themselves, Python and the code."""
        inner = self.folder / "house"
        names = ("maps", "gold.jsonl", "key_query", "training", "annotations", "checkpoints")
        prefixes = {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)}
        system = map(Path, ("/sys/fs/cgroup", "/dev/null", "/etc/mime.types"))  # which Python itself looks at
        own = [*(inner / name for name in names), self.cache, self.folder / "teacher"]
        return [*own, *map(Path, prefixes), *system, ROOT]

    @property
    def cache(self) -> Path:
        """Where the dashboard keeps reports from one start to the next."""
        return self.folder / "cache"

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file outside the annotations and the cache, with its size and time."""
        places = (self.folder / "house/annotations", self.cache)
        found = [path for path in self.folder.rglob("*") if not any(path.is_relative_to(place) for place in places)]
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found if not path.is_dir()}


def make_house(folder: Path) -> House:
    """Every folder of a dashboard; canaries around them, and symbolic links in them that lead to those."""
    inner = folder / "house"
    inner.mkdir(parents=True)
    golds = app_maps.make_store(inner / "maps", SHORT)
    write_gold(inner / "gold.jsonl", golds)
    make_clouds(inner / "key_query", points=4)
    make_run(inner / "training/cma", texts=SHORT)
    tiny.checkpoint_directory(inner / "checkpoints/tiny", tiny.model_directory(folder / "teacher", "llama"))
    first = next(iter(golds.values()))
    Annotations(inner / "annotations").save("Anna", {}, Saved(first))
    outside = make_run(folder / "outside/run", texts=SHORT)
    (outside / "probe_curve.csv").write_text(f"step,{CANARY}\n0,1\n", encoding="utf-8")
    app_maps.make_store(folder / "outside/maps", [("secret", CANARY, CANARY)])
    Annotations(folder / "outside/notes").save(CANARY, {}, Saved(first))
    for place in (folder / "secret.txt", folder / "outside/secret.txt", inner / "secret.txt"):
        place.write_text(CANARY, encoding="utf-8")
    for name, target in (("training", "run"), ("checkpoints", "run"), ("annotations", "notes")):
        (inner / name / "link").symlink_to(folder / "outside" / target)
    return House(folder)


class Watch:
    """What this process opens, lists, makes and removes, while ``on``: Python tells each of it before it happens."""

    def __init__(self) -> None:
        self.on, self.paths = False, set[str]()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event in WATCHED and arguments and isinstance(arguments[0], (str, bytes, os.PathLike)):
            self.paths.add(os.fsdecode(arguments[0]))

    def strangers(self, house: House) -> list[str]:
        """Paths outside the house, the code and Python, and outside the folders for temporary files."""
        own = [str(path) for path in house.own()] + [str(path.resolve()) for path in house.own()]
        temporary = os.path.join(tempfile.gettempdir(), "tmp")
        return [path for path in self.paths if os.path.isabs(path) and not _below(path, own) and not (
            path.startswith(temporary) and not path.startswith(str(house.folder))
        )]  # fmt: skip


def _below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of the folders, or in one of them once links are followed; a page may look at a folder."""
    real = os.path.realpath(path)
    return any(real == folder or real.startswith(folder + os.sep) for folder in folders) or path in folders


def check_link(monkeypatch: pytest.MonkeyPatch, house: House, watch: Watch, name: str, payload: str) -> AppTest:
    """Open a page whose link says ``payload`` for everything but the search. Raises AssertionError."""
    query = dict.fromkeys((*NOTED[name], *OTHER.get(name, ())), payload)
    test = _open(monkeypatch, house, watch, name, query)
    _check_shown(test, name, payload)
    if payload.strip() and [element.value for element in test.subheader] != ["No example matches"]:
        for parameter in NOTED[name]:
            if (parameter, payload) == ("pin", "0.0"):
                continue  # which is a cell of every map
            assert f"{parameter} = {payload[:200]}" in shown(test), (name, parameter, payload[:80])
    return test


def check_forged(monkeypatch: pytest.MonkeyPatch, test: AppTest, watch: Watch, name: str, payload: str) -> None:
    """Let the browser say that every field and list of the page, the search included, has the value ``payload``."""
    with monkeypatch.context() as patch:
        for kind, field in FORGED.items():
            patch.setattr(f"streamlit.testing.v1.element_tree.{kind}._widget_state", property(_forger(field, payload)))
        watch.on = True
        test.run()
        watch.on = False
    _check_shown(test, name, payload)


FORGED = {"Selectbox": "string_value", "Multiselect": "string_array_value", "TextInput": "string_value"}


def _forger(field: str, payload: str) -> Any:
    def state(widget: Any) -> Any:
        made = WidgetState(id=widget.id)
        if field == "string_array_value":
            made.string_array_value.data[:] = [payload, payload]
        else:
            setattr(made, field, payload)
        return made

    return state


def _open(monkeypatch: pytest.MonkeyPatch, house: House, watch: Watch, name: str, query: dict[str, str]) -> AppTest:
    watch.on = True
    try:
        return open_page(monkeypatch, name, *house.arguments, **query)
    finally:
        watch.on = False


def _check_shown(test: AppTest, name: str, payload: str) -> None:
    """No error, no markup, nothing of the files that are none of the page's business."""
    assert not test.exception and not test.error, (name, payload[:80], [error.value for error in test.exception])
    assert "<" not in payload or payload not in marked(test), (name, payload[:80])
    if len(payload) > 3 and not payload.isalnum() and not payload.startswith("out"):
        check_sent(test, [payload[:200]], (name, payload[:80]))
    assert not [field for field, text in strings(test) if CANARY in text], (name, payload[:80])


def check_links(monkeypatch: pytest.MonkeyPatch, house: House, payloads: Sequence[str]) -> int:
    """Try all payloads on all pages; returns how many pages were opened. Raises AssertionError."""
    monkeypatch.setenv("PROBE_CACHE", str(house.cache))
    watch, before, count = Watch(), house.files(), 0
    for payload in payloads:
        for name in NOTED:
            test = check_link(monkeypatch, house, watch, name, payload)
            check_forged(monkeypatch, test, watch, name, payload)
        count += 2 * len(NOTED) + check_annotator(monkeypatch, house, watch, payload)
    assert not watch.strangers(house), watch.strangers(house)[:20]
    changed = set(house.files().items()) ^ set(before.items())
    assert not changed, sorted(changed)[:20]
    return count


def check_annotator(monkeypatch: pytest.MonkeyPatch, house: House, watch: Watch, payload: str) -> int:
    """Annotate under the name ``payload``: it is a name, and the file lies in the folder, or it is refused."""
    test = _open(monkeypatch, house, watch, "annotate", {"annotator": payload})
    name = " ".join(payload.split())
    accept = [button for button in test.button if button.key == "accept"]
    assert bool(accept) == bool(ANNOTATOR.fullmatch(name) and name != "link"), payload[:80]  # which leads outside
    for button in accept:
        watch.on = True
        button.click().run()
        watch.on = False
        assert not test.exception and "Saved as" in shown(test), payload[:80]
    return 1 + len(accept)


def check_tokens(monkeypatch: pytest.MonkeyPatch, folder: Path, tokens: Sequence[str]) -> tuple[int, int, int]:
    """Every token on every page, through AppTest and in Chromium where there is one: pages of both, and texts."""
    checkpoint = tiny.checkpoint_directory(folder / "checkpoint", tiny.model_directory(folder / "teacher", "llama"))
    made = list(app_payloads_pages.rooms(folder, tokens, checkpoint))
    sums = [app_payloads_pages.check_room(monkeypatch, room, typed=True) for room in made]
    looked = 0
    if not browser.missing():
        app_payloads_browser.enter(folder, made[0])
        with app_payloads_browser.house(folder) as address, browser.browser() as context:
            context.set_default_timeout(browser.PATIENCE)
            for room in made:
                app_payloads_browser.enter(folder, room)
                with app_payloads_browser.watched(context) as page:
                    looked += app_payloads_browser.check_room(page, address, room, typed=True)
    return sum(pages for pages, _ in sums), sum(texts for _, texts in sums), looked


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.app_payloads", description=__doc__)
    parser.add_argument("--only", choices=("links", "tokens"), help="one of the two campaigns")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="every N-th value and token, from the K-th on")
    options = parser.parse_args()
    only, (part, of) = options.only, map(int, options.part.split("/"))
    values, tokens = LINKS[part - 1 :: of], TOKENS[part - 1 :: of]
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        if only != "tokens":
            count = check_links(monkeypatch, make_house(Path(folder) / "links"), values)
            print(f"{len(values)} values of links, {count} pages: no error, no markup, no file read or written outside")
        if only != "links":
            pages, texts, looked = check_tokens(monkeypatch, Path(folder) / "tokens", tokens)
            print(
                f"{len(TOKENS)} tokens and names, {pages} pages through AppTest ({texts:,} texts held one): all as text"
            )
            print(f"the same on {looked} pages in Chromium: nothing ran, nothing was fetched, no dialog")


if __name__ == "__main__":
    main()
