"""report.html: one file that says what the CSV files say, needs no network, and runs nothing whatever a token says."""

from __future__ import annotations

import html.parser
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.report import findings
from analysis.report import page as html_report
from analysis.report.page import Part, Picture, Table, extremes, render
from probe.gold.reading import write_gold
from probe.maps.store import MapStoreWriter
from tests.support.aligned import axis, make_gold, make_map
from tests.support.dashboard import browser
from tests.support.payloads import PAYLOADS
from tests.support.reports import PROVENANCE, make_store, report

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


class Page(html.parser.HTMLParser):
    """What a browser would see: tags with attributes, headings, table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    make_store(folder)
    assert report(folder, figures=True) == 0
    return folder


@pytest.fixture(scope="module")
def page(room):
    return Page((room / "report" / "report.html").read_text(encoding="utf-8"))


def allowed(page: Page) -> None:
    """Nothing in the page runs, loads or sends."""
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "base", "form", "svg", "video", "input"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action", "data", "srcdoc"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#part-")), (tag, name, value)


def test_it_needs_nothing_but_itself(page):
    allowed(page)
    policies = [a for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert [policy["content"] for policy in policies] == [POLICY]


def test_its_numbers_are_those_of_the_csv(room, page):
    runs = pd.read_csv(room / "report" / "runs.csv")
    cells = " ".join(page.texts["table"])
    for _, row in runs.iterrows():
        low, high = row["top1_possible_low"], row["top1_possible_high"]
        assert f"{row['top1_possible']:.2f} [{low:.2f},\u00a0{high:.2f}]" in cells
        assert row["checkpoint"] in cells and row["signature"] in cells
    for _, row in pd.read_csv(room / "report" / "comparisons.csv").iterrows():
        assert f"{row['difference']:+.3f} [" in cells and f"{row['p_holm']:.4f}" in cells
    for number in ("0.99", "0.75"):  # the key-query gap of the fixture
        assert number in cells


def test_every_extraction_and_macro_mean_is_in_the_page(room, page):
    cells = " ".join(page.texts["table"])
    extractions = pd.read_csv(room / "report" / "extractions.csv")
    for _, row in extractions.iterrows():
        for name in ("precision", "recall", "f1", "aer"):
            assert f"{row[name]:.2f} [{row[f'{name}_low']:.2f},\u00a0{row[f'{name}_high']:.2f}]" in cells
    stored = extractions[~extractions["checkpoint"].str.startswith("baseline:")]
    assert len(stored) == 28 and all(signature in cells for signature in stored["signature"])
    for _, row in pd.read_csv(room / "report" / "runs.csv").dropna(subset="f1_macro").iterrows():
        assert f"{row['f1_macro']:.2f} [{row['f1_macro_low']:.2f},\u00a0{row['f1_macro_high']:.2f}]" in cells


def test_an_extraction_finding_names_the_ends_and_the_order():
    f1 = {"a": (0.5, 0.7, 0.6), "b": (0.4, 0.6, 0.65), "u": (0.1, 0.2, 0.9)}
    rows = [
        {"checkpoint": name, "method": "untrained" if name == "u" else "x", "links": way, "f1": value}
        for name, values in f1.items()
        for way, value in zip(("argmax", "mutual", "threshold"), values, strict=True)
    ]
    frame = pd.DataFrame(rows)
    said = "How links are taken moves F1 of a from 0.50 (argmax) to 0.70 (mutual)"
    assert findings.extraction_finding(frame) == f"{said}; the checkpoints change places"
    assert (
        findings.extraction_finding(frame[frame["links"] != "threshold"]) == f"{said}; the checkpoints keep their order"
    )
    assert findings.extraction_finding(frame[frame["checkpoint"] == "a"]) == said
    assert findings.extraction_finding(frame[frame["checkpoint"] == "u"]) == "Links are taken in one way only"


def test_columns_of_numbers_are_told_from_words():
    rows = (("a", "−0.1 [−0.20,\u00a00.10]", "12ab"), ("b", "–", "1,234"))
    assert Table("", ("x", "y", "z"), rows).numbers == (False, True, False)


def test_headings_state_findings(page):
    assert page.texts["h1"] == ["good finds a possible link for 100 % of the student positions"]
    headings = page.texts["h2"]
    assert headings[0].startswith("t2s: 100 % of student positions look at a right teacher token; no map that ignores")
    chance = re.compile(r"That good is ahead of bad by \S+ points \(t2s, .*\) could be chance")
    assert any(map(chance.fullmatch, headings))
    assert any(heading.startswith("Where the maps are worst: ") for heading in headings)
    assert any(heading.startswith("How links are taken moves F1 of good from ") for heading in headings)
    assert "After training a held-out classifier partly tells queries from keys" in headings


def test_a_comparison_says_who_is_ahead():
    row = {"score": "top1_possible", "direction": "t2s", "first": "a", "second": "b"}
    row |= {"difference": -0.05, "p_holm": 0.01}
    assert findings.comparison_finding(pd.DataFrame([row])) == "b is ahead of a by 5.0 points (t2s, Holm p = 0.0100)"
    assert findings.comparison_finding(pd.DataFrame([row])[:0]) == "There is no pair of checkpoints to compare"


def test_screen_readers_get_captions_headers_and_words_for_pictures(page):
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert "‹U+" not in " ".join(page.texts["body"])
    assert tables == sum(tag == "caption" for tag, _ in page.tags) and tables >= 8
    assert {a.get("scope") for tag, a in page.tags if tag == "th"} == {"col", "row"}
    images = [a for tag, a in page.tags if tag == "img"]
    # breakdowns; extractions; 3 best and 3 worst by 2 checkpoints
    assert len(images) == 2 + 1 + 6 * 2 and all(a["alt"] for a in images)
    assert ("html", {"lang": "en"}) in page.tags and [tag for tag, _ in page.tags].count("h1") == 1


def test_provenance_names_files_hashes_versions_and_the_command(room, page):
    from probe.files import sha256_of

    text = " ".join(page.texts["table"])
    assert sha256_of(room / "gold.jsonl") in text and sha256_of(room / "maps/manifest.json") in text
    assert re.search(r"python -m analysis.alignment_report \S+maps --gold \S+ --out \S+report --links argmax", text)
    assert "matplotlib" in text and "Python" in text


def test_no_figures_writes_no_page(room):
    assert report(room, out="bare") == 0
    assert not list((room / "bare").glob("*.html"))


def test_extremes_by_hand():
    scores = [1.0, 1.0, 0.2, 0.5, 0.4, 0.9, 0.0, 0.3]
    sizes = [12, 20, 12, 12, 12, 12, 4, 12]
    rows = {"example_id": [f"e{k}" for k in range(8)], "top1_possible": scores, "n_positions": sizes}
    frame = pd.DataFrame({**rows, "checkpoint": "a", "direction": "t2s"})
    best, worst = extremes(frame, ["a"], "t2s")
    assert [name for name, _ in best] == ["e1", "e0", "e5"]  # of equals the longer first
    assert worst == [("e2", 0.2), ("e7", 0.3), ("e4", 0.4)]  # e6 has too few positions
    best, worst = extremes(frame[:4], ["a"], "t2s")
    assert [name for name, _ in best] == ["e1", "e0", "e3"] and [name for name, _ in worst] == ["e2"]


def everywhere(payload: str) -> str:
    table = Table(payload, (payload, payload), ((payload, payload), ("x", payload)))
    picture = Picture("data:image/png;base64,", payload, (payload, payload))
    part = Part(payload, payload, (table,), (picture,), (table,))
    return render(payload, payload, [part], [payload])


def test_payloads_stay_text():
    assert len(set(PAYLOADS)) >= 100
    for payload in PAYLOADS:
        text = everywhere(payload)
        page = Page(text)
        allowed(page)
        wanted = Page(everywhere("harmless"))
        assert [tag for tag, _ in page.tags] == [tag for tag, _ in wanted.tags], payload
        assert page.texts["h2"] == [html_report.visible(payload)]
        assert "\0" not in text and "\u202e" not in text


def hostile_store(folder):
    """A store whose ids, texts, tokens and checkpoint names are payloads."""
    golds = {}
    with MapStoreWriter(folder / "maps", provenance=PROVENANCE | {"command": PAYLOADS[0]}) as writer:
        for number in range(6):
            pieces = [payload for payload in PAYLOADS[number::6] if "\0" not in payload]
            text = "".join(pieces)
            amap = make_map(axis(text, pieces), axis(text, pieces), text=text, example_id=PAYLOADS[number * 5])
            golds[amap.example_id] = make_gold(amap)
            weights = np.eye(*amap.weights.shape, dtype=np.float32)
            for name in ("<script>window.hacked=1</script>", '"><img src=x onerror=alert(1)>'):
                writer.add(replace(amap, checkpoint=name, method=name, category=PAYLOADS[number], weights=weights))
    write_gold(folder / "gold.jsonl", golds)


@pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "a browser is there")
def test_nothing_runs_in_a_browser(tmp_path, capsys):
    hostile_store(tmp_path)
    assert report(tmp_path, figures=True) == 0, capsys.readouterr().err
    dialogs, requests = [], []
    with browser.browser() as context:
        page = context.new_page()
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "report/report.html").as_uri(), wait_until="load")
        for fold in page.query_selector_all("summary"):
            fold.click()
        page.wait_for_timeout(200)
        assert page.evaluate("window.hacked") is None and page.title().startswith("<script>window.hacked=1")
        assert page.evaluate("document.scripts.length + document.querySelectorAll('iframe, svg, form').length") == 0
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert dialogs == []
    assert [url for url in requests if not url.startswith(("file:", "data:image/"))] == []
    assert sum(url.startswith("file:") for url in requests) == 1
