"""Hook of the docs site (mkdocs.yml): takes the roles of docstrings away, which Markdown does not know."""

from __future__ import annotations

import re
from typing import Any

ROLE = re.compile(r":(?:mod|class|func|meth|attr|data|exc):(?=<(?:code|a)\b)")


def on_page_content(html: str, **_: Any) -> str:
    """Take the roles away; the names stay, as code."""
    return ROLE.sub("", html)
