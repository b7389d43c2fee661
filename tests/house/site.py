"""Hook of the docs site (mkdocs.yml): docstrings name things as `:class:` and the like, unknown to Markdown."""

from __future__ import annotations

import re
from typing import Any

ROLE = re.compile(r":(?:mod|class|func|meth|attr|data|exc):(?=<(?:code|a)\b)")


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles away; the names stay, as code."""
    return ROLE.sub("", html)
