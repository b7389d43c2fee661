"""What files take from others: tests nothing from tests, the product nothing private of a library without a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from probe.models.private_torch import graph_is_kept
from tests.house.rooms import modules
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


# What of torch is private and has no public counterpart -> why the product cannot do without it.
PRIVATE = {
    "torch._C._autograd._get_current_graph_task_keep_graph": "a backward pass scales its gradients in place, which "
    "saves a tensor of the head's size, but must not where another backward pass will read them again",
    "torch._subclasses.FakeTensorMode": "a dry run traces real passes of a model that does not fit into memory",
    "torch.utils._python_dispatch.TorchDispatchMode": "it counts the storages that each operation makes",
}


def private_parts(file: Path) -> set[str]:
    """Imports from private modules, and private attributes of what is not the file's own."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {name for name in imported(tree) if any(part.startswith("_") for part in name.split(".")[:-1])}
    defined = {getattr(node, "name", "") for node in ast.walk(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls") and node.attr not in defined:
                found.add(f"{owner}.{node.attr}")
    return {name for name in found if not name.startswith("__future__")}


def test_private_parts_of_libraries_are_used_in_one_file_and_for_a_reason() -> None:
    found = {file: private_parts(file) for file in modules().values()}
    used = {file.relative_to(ROOT).as_posix(): parts for file, parts in found.items() if parts}
    whole = {name for name in used.pop("probe/models/private_torch.py") if name != "torch._C._autograd"}
    assert used == {} and whole - {"torch._C"} == set(PRIVATE)


def test_a_second_backward_pass_is_seen_inside_the_first() -> None:
    """What torch says of a kept graph: the reason why gradients are scaled in place only where none follows."""
    seen: list[bool] = []

    class Ask(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            seen.append(graph_is_kept())
            return grad

    made = Ask.apply(torch.ones(2, requires_grad=True)).sum()
    made.backward(retain_graph=True)
    made.backward()
    assert seen == [True, False]
