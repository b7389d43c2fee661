"""Hypothesis draws the same examples at every run, so that the gate says the same thing twice; tabs of a real browser.

`python -m tests.laws` searches further: as many new examples as one wishes for each property.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.support.dashboard import browser

settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, database=None, max_examples=int(os.environ.get("PROBE_LAWS", "100")))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser.browser() as context:
        context.set_default_timeout(browser.PATIENCE)
        yield context


@pytest.fixture
def page(chrome: Any) -> Iterator[Any]:
    """A tab of Chromium. Whatever a test does in it: no script of a token runs, and nothing but localhost is asked."""
    page = chrome.new_page()
    page.requests, page.dialogs = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    yield page
    assert page.dialogs == [] and page.evaluate("window.hacked") is None
    assert not [url for url in page.requests if not re.match(r"(https?|wss?)://localhost:|data:|blob:", url)]
    page.close()
