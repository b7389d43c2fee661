"""Pages of the dashboard through Streamlit's AppTest, and what stands on them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from probe.gold.reading import write_gold
from tests.support import ROOT
from tests.support.dashboard import app_maps

TEXTS = [*app_maps.example_texts(6), ("hostile", "**bad**", " ".join(app_maps.HOSTILE))]


def make_files(folder: Path) -> tuple[Path, Path]:
    """A map store of ``TEXTS`` by two checkpoints in both directions, and its gold."""
    golds = app_maps.make_store(folder / "maps", TEXTS)
    write_gold(folder / "gold.jsonl", golds)
    return folder / "maps", folder / "gold.jsonl"


def open_page(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object, **query: str) -> AppTest:
    """Run the page ``name`` of a dashboard started with ``arguments``, as its link with ``query`` opens it."""
    monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
    test = AppTest.from_file(str(ROOT / "app/page.py"), default_timeout=600)
    test._page_hash = calc_hash(name)  # AppTest can name pages that are files, not those that are functions
    for key, value in query.items():
        test.query_params[key] = value
    return test.run()


def listed(test: AppTest) -> pd.DataFrame:
    """The example list in the sidebar."""
    return test.sidebar.dataframe[0].value


def shown(test: AppTest) -> str:
    """All plain text on the page."""
    return "\n".join(str(element.value) for element in [*test.text, *test.code, *test.caption])


def marked(test: AppTest) -> str:
    """Everything on the page that Streamlit would render as Markdown."""
    kinds = (test.markdown, test.caption, test.error, test.warning, test.info, test.subheader, test.title, test.header)
    bodies = [element.value for kind in kinds for element in kind]
    return "\n".join([*bodies, *(metric.label for metric in test.metric), *(button.label for button in test.button)])


def charts(test: AppTest) -> list[str]:
    """The specifications of the charts on the page, as they are sent, without small pictures of whole maps."""
    return [spec for spec in _specs(test) if not _is_overview(spec)]


def overviews(test: AppTest) -> list[str]:
    """The small pictures of whole maps, by which one steers through long ones."""
    return [spec for spec in _specs(test) if _is_overview(spec)]


def _specs(test: AppTest) -> list[str]:
    return [chart.proto.spec for chart in test.get("vega_lite_chart")]


def _is_overview(spec: str) -> bool:
    return json.loads(spec)["data"] == {"name": "blocks"}
