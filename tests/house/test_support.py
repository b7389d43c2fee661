"""Tests stand alone: what several need lies in tests/support, and the product has nothing that tests alone use."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support import ROOT


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all modules that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def others_among(names: Iterator[str]) -> list[str]:
    return [name for name in names if any(part.startswith("test_") for part in name.split(".")[:-1])]


def test_no_test_imports_another_test() -> None:
    for file in sorted((ROOT / "tests").rglob("*.py")):
        found = others_among(imported(ast.parse(file.read_text(encoding="utf-8"))))
        assert not found, f"{file.relative_to(ROOT)}: move what {found[0]} shares into tests/support"


def test_an_import_of_a_test_is_seen() -> None:
    code = "import tests.support.tiny\nfrom tests.app.test_x import y\ndef f():\n    from .test_z import w"
    assert others_among(imported(ast.parse(code))) == ["tests.app.test_x.y", "test_z.w"]
