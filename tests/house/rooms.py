"""The table of rooms, and the walk that holds it against the imports: `python -m tests.house.rooms` prints both."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT

PACKAGES = ("probe", "app", "analysis")

# Step by step from the bottom. A room may use rooms of lower steps and itself; rooms of one step do not use each other.
STEPS: tuple[tuple[str, ...], ...] = (
    ("probe/errors", "probe/version", "probe/held"),
    ("probe/files", "probe/cli", "probe"),
    ("probe/journal",),
    ("probe/text",),
    ("probe/models", "probe/maps"),
    ("probe/gold", "probe/extraction"),
    ("probe/scoring",),
    ("probe/distillation/losses", "probe/plotting"),
    ("probe/distillation",),
    ("probe/distillation/dry_run", "probe/evaluation", "probe/reference"),
    ("probe/api", "probe/commands"),
    ("probe/__main__",),
    ("app/data", "analysis/gold", "analysis/heatmaps", "analysis/report"),
    ("app/server",),
    ("app/draw",),
    ("app", "analysis"),
)
# What a room may use of the library besides itself; every other room: whatever stands on a lower step.
ONLY: Mapping[str, tuple[str, ...]] = {
    "probe/distillation/losses": (
        "probe.models.attention", "probe.models.map_rule", "probe.models.byte_gap", "probe.models.private_torch",
        "probe.errors",
    ),  # fmt: skip
}
TORCH_FREE = ("text", "maps", "gold", "scoring", "plotting")  # not even in a function
LIMIT = {"probe/distillation": 30}  # Python files in one folder
USUAL_LIMIT = 20
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Arrow:
    """One import: ``source`` and ``target`` are dotted names of modules."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the product."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


@functools.cache
def step_of() -> dict[str, int]:
    """Room -> its step."""
    return {room: number for number, rooms in enumerate(STEPS) for room in rooms}


def room_of(module: str) -> str:
    """The innermost room of the table that holds a module: a file of its own, else the nearest folder."""
    path = module.replace(".", "/")
    while path not in step_of():
        path = path.rpartition("/")[0]
        if not path:
            raise LookupError(f"{module} lies in no room of the table; put it where it belongs, or add the room")
    return path


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _nodes(tree: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    """The nodes that are executed; without ``lazy`` only what importing the module executes."""
    for child in ast.iter_child_nodes(tree):
        if _is_type_checking(child) or (not lazy and isinstance(child, FUNCTIONS)):
            continue
        yield child
        yield from _nodes(child, lazy=lazy)


def tree_of(name: str) -> ast.Module:
    """The syntax of a module."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@functools.cache
def imports(name: str, lazy: bool = True) -> frozenset[str]:
    """Modules that ``name`` imports, as dotted names (both a.b and a for ``from a import b``)."""
    found = set()
    for node in _nodes(tree_of(name), lazy=lazy):
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
    """Everything that ``name`` imports, through modules of the product."""
    seen, todo = set(), [name]
    while todo:
        module = todo.pop()
        for target in imports(module, lazy):
            if target not in seen:
                seen.add(target)
                todo += [target] if target in modules() else []
    return frozenset(seen)


def top(names: Iterable[str]) -> set[str]:
    """The packages that dotted names begin with."""
    return {name.split(".")[0] for name in names}


@functools.cache
def arrows(lazy: bool = True) -> tuple[Arrow, ...]:
    """Every import of one module of the product by another; the packages on the way to a module are not counted."""
    found = []
    for source in modules():
        targets = {target for target in imports(source, lazy) if target in modules() and target != source}
        inner = {target for target in targets if any(other.startswith(f"{target}.") for other in targets)}
        found += [Arrow(source, target) for target in sorted(targets - (inner - _named(source, inner)))]
    return tuple(found)


def _named(source: str, packages: set[str]) -> set[str]:
    """Those of ``packages`` that ``source`` takes something from which is no module of theirs."""
    named = set()
    for node in _nodes(tree_of(source), lazy=True):
        if isinstance(node, ast.ImportFrom) and node.module in packages:
            named |= {node.module for alias in node.names if f"{node.module}.{alias.name}" not in modules()}
    return named


def upward(found: Iterable[Arrow] | None = None) -> list[Arrow]:
    """Arrows to a higher step, or to another room of the same step, or past what :data:`ONLY` allows."""
    wrong = []
    for arrow in arrows() if found is None else found:
        source, target = room_of(arrow.source), room_of(arrow.target)
        if source == target:
            continue
        allowed = ONLY.get(source)
        if step_of()[target] >= step_of()[source] or (allowed is not None and arrow.target not in allowed):
            wrong.append(arrow)
    return wrong


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Groups of two or more nodes that reach each other (strongly connected components, Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in list(graph):
        if node not in index:
            visit(node)
    return found


def module_circles() -> list[list[str]]:
    """Modules that import each other, imports inside functions included."""
    graph: dict[str, list[str]] = {name: [] for name in modules()}
    for arrow in arrows():
        graph[arrow.source].append(arrow.target)
    return circles(graph)


def room_circles() -> list[list[str]]:
    """Rooms that import each other."""
    graph: dict[str, set[str]] = {room: set() for room in step_of()}
    for arrow in arrows():
        source, target = room_of(arrow.source), room_of(arrow.target)
        if source != target:
            graph[source].add(target)
    return circles(graph)


def files_in_folders() -> Counter[str]:
    """Python files that lie directly in each folder of product and tests; empty ``__init__.py`` do not count."""
    files = [*modules().values(), *sorted((ROOT / "tests").rglob("*.py"))]
    return Counter(file.parent.relative_to(ROOT).as_posix() for file in files if file.stat().st_size)


def main() -> None:
    """Print the rooms with their files, the circles and the arrows upward."""
    members = Counter(room_of(name) for name in modules())
    for number, rooms in enumerate(STEPS):
        print(f"{number:2}  " + "   ".join(f"{room} ({members[room]})" for room in rooms if members[room]))
    between = {(room_of(a.source), room_of(a.target)) for a in arrows()}
    print(f"\n{len(modules())} modules, {len(members)} rooms, {sum(a != b for a, b in between)} arrows between rooms")
    for title, found in (("circles of modules", module_circles()), ("circles of rooms", room_circles())):
        print(f"{len(found)} {title}" + "".join(f"\n  {', '.join(group)}" for group in found))
    print(f"{len(upward())} arrows upward" + "".join(f"\n  {arrow}" for arrow in upward()))
    crowded = {f: n for f, n in files_in_folders().items() if n > LIMIT.get(f, USUAL_LIMIT)}
    print(f"{len(crowded)} folders too full" + "".join(f"\n  {f}: {n} files" for f, n in crowded.items()))


if __name__ == "__main__":
    main()
