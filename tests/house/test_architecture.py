"""The arrows of the architecture, walked in the imports; the weight of ``import probe``; and the length of files."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("probe", "app", "analysis")
TORCH_FREE = (
    "maps.attention_map", "maps.store", "maps.index", "scoring.alignment", "text.spans", "gold.reading", "scoring.metrics", "scoring.measures", "scoring.ties",
    "scoring.baselines", "scoring.statistics", "scoring.tables", "scoring.runs", "plotting", "text.display", "text.tokenization", "text.examples", "distillation.config", "files",
    "errors", "cli", "__main__", "scoring.report", "commands.extract", "commands.doctor", "commands.verify",
    "gold.record", "gold.formats", "gold.transfer", "gold.places", "gold.moving", "gold.sources", "commands.gold_inputs",
    "commands.gold", "gold.adjudication", "gold.agreement", "scoring.extractions",
    "evaluation.rouge", "evaluation.journal", "evaluation.tables", "evaluation.evaluate",
)  # fmt: skip
TYPED_IN = ("app.server.live", "app.page_try_text")
HEAVY = ("torch", "transformers", "matplotlib", "pandas", "numpy", "pyarrow", "streamlit", "scipy")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
LINES = 300
# file -> why it may be longer than LINES
LONG = {
    "probe/maps/store.py": "writer and reader of one format; apart, each would need the other's private names",
}


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module in the rooms."""
    found = {}
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _nodes(tree: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    """The nodes that are executed; without ``lazy`` only what importing the module executes."""
    for child in ast.iter_child_nodes(tree):
        if _is_type_checking(child) or (not lazy and isinstance(child, FUNCTIONS)):
            continue
        yield child
        yield from _nodes(child, lazy=lazy)


@functools.cache
def imports(name: str, lazy: bool = True) -> frozenset[str]:
    """Modules that ``name`` imports, as dotted names (both a.b and a for ``from a import b``)."""
    found = set()
    for node in _nodes(ast.parse(modules()[name].read_text(encoding="utf-8")), lazy=lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".")[: -node.level] if modules()[name].name != "__init__.py" else name.split(".")
                base = ".".join([*package, *filter(None, [node.module])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def reached(name: str, *, lazy: bool) -> frozenset[str]:
    """Everything that ``name`` imports, through modules of the rooms."""
    seen, todo = set(), [name]
    while todo:
        module = todo.pop()
        for target in imports(module, lazy):
            if target not in seen:
                seen.add(target)
                todo += [target] if target in modules() else []
    return frozenset(seen)


def top(names: frozenset[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def test_the_walk_sees_the_rooms() -> None:
    assert {"probe", "probe.extraction.extractor", "probe.distillation.losses.attended", "app.main"} <= set(modules())
    assert "torch" in top(reached("probe.extraction.extractor", lazy=False))
    assert "probe.errors" in imports("probe.cli")


def test_probe_imports_neither_app_nor_analysis_nor_tests() -> None:
    for name in modules():
        if name.split(".")[0] == "probe":
            assert not top(imports(name)) & {"app", "analysis", "tests"}, name
        assert "tests" not in top(imports(name)), name


def test_app_and_analysis_do_not_import_each_other() -> None:
    for name in modules():
        room = name.split(".")[0]
        if room in ("app", "analysis"):
            assert not top(imports(name)) & ({"app", "analysis"} - {room}), name


@pytest.mark.parametrize(
    ("library", "owner"),
    [("streamlit", "app"), ("altair", "app"), ("matplotlib", "probe.plotting"), ("seaborn", "probe.plotting")],
)
def test_one_owner_for_each_drawing_library(library: str, owner: str) -> None:
    """A helper file of plotting (``plotting_…``) counts as plotting."""
    for name in modules():
        if library in top(imports(name)):
            assert name.startswith(owner), f"{name} imports {library}, which belongs to {owner}"


@pytest.mark.parametrize("name", TORCH_FREE)
def test_what_works_from_stored_maps_never_imports_torch(name: str) -> None:
    """Through any chain of imports at module level; commands may load it lazily, in the function that needs it."""
    module = f"probe.{name}"
    assert module in modules(), f"{module} is gone; take it off the list"
    assert not top(reached(module, lazy=False)) & {"torch", "transformers"}


@pytest.mark.parametrize("name", ["maps.attention_map", "scoring.alignment", "scoring.metrics", "scoring.tables", "plotting"])
def test_the_narrow_waist_does_not_even_import_torch_lazily(name: str) -> None:
    assert not top(reached(f"probe.{name}", lazy=True)) & {"torch", "transformers"}


def test_the_dashboard_needs_no_torch() -> None:
    """Only the page of typed-in texts does, in the function that makes their maps: importing it loads none either."""
    for name in modules():
        if name.startswith("app"):
            lazy = name not in TYPED_IN
            assert not top(reached(name, lazy=lazy)) & {"torch", "transformers"}, name
    assert "torch" in top(imports("app.server.live"))


def test_losses_import_neither_trainer_nor_logging() -> None:
    for name in (
        "losses.attended",
        "losses.aligned",
        "losses.divergences",
        "losses.divergence_gradients",
        "losses.fused_head",
        "losses.student_head",
        "losses.guided_head",
        "losses.key_query",
        "losses.terms",
        "losses.transport",
    ):
        found = reached(f"probe.distillation.{name}", lazy=True)
        assert not found & {"probe.distillation.trainer", "probe.distillation.steps", "probe.distillation.config", "logging"}, name


@pytest.mark.parametrize("statement", ["import probe", "import probe.__main__, probe.cli, probe.errors"])
def test_import_probe_is_light(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_is_longer_than_argued() -> None:
    lengths = {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for file in modules().values()
    }
    long = {name: length for name, length in lengths.items() if length > LINES and name not in LONG}
    assert not long, f"split these, or give the reason in LONG: {long}"
    assert not set(LONG) - {name for name, length in lengths.items() if length > LINES}, "take it off LONG"
