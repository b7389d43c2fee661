"""The table of rooms holds: arrows go down, no circles, owners of libraries, the weight of imports, length of files."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from probe.__main__ import COMMANDS
from tests.house import rooms
from tests.house.rooms import Arrow, imports, modules, reached, room_of, top, tree_of, upward
from tests.support import ROOT

TYPED_IN = ("app.server.live", "app.page_try_text")
HEAVY = ("torch", "transformers", "matplotlib", "pandas", "numpy", "pyarrow", "streamlit", "scipy")
LINES = 300
# file -> why it may be longer than LINES
LONG = {
    "probe/maps/store.py": "writer and reader of one format; apart, each would need the other's private names",
}


def of_room(*wanted: str) -> list[str]:
    """Modules of rooms of the library, by the rooms' names."""
    return [name for name in modules() if room_of(name) in {f"probe/{room}" for room in wanted}]


def test_the_walk_sees_the_rooms() -> None:
    assert {"probe", "probe.extraction.extractor", "probe.distillation.losses.attended", "app.main"} <= set(modules())
    assert "torch" in top(reached("probe.extraction.extractor", lazy=False))
    assert "probe.errors" in imports("probe.cli")
    assert Arrow("probe.text.tokenization", "probe.text.spans") in rooms.arrows()


def test_every_file_lies_in_a_room() -> None:
    assert {room_of(name) for name in modules()} <= set(rooms.step_of())
    top_level = {path.name for path in (ROOT / "probe").glob("*.py")}
    assert top_level == {"__init__.py", "__main__.py", "api.py", "cli.py", "errors.py", "files.py", "held.py",
                         "journal.py", "version.py"}  # fmt: skip


def test_no_arrow_goes_upward() -> None:
    assert not upward(), "\n".join(map(str, upward()))


@pytest.mark.parametrize(
    ("arrow", "wrong"),
    [
        (("probe.scoring.metrics", "probe.maps.store"), False),
        (("probe.maps.store", "probe.scoring.metrics"), True),
        (("probe.maps.store", "probe.models.loading"), True),  # of one step
        (("probe.distillation.losses.terms", "probe.text.spans"), True),  # lower, but not among what losses may use
        (("probe.distillation.trainer", "probe.commands.train"), True),
    ],
)
def test_a_wrong_arrow_is_seen(arrow, wrong) -> None:
    assert bool(upward([Arrow(*arrow)])) is wrong


def test_a_file_outside_the_table_is_seen() -> None:
    with pytest.raises(LookupError, match="no room"):
        room_of("elsewhere.thing")


def test_there_are_no_circles() -> None:
    assert rooms.module_circles() == [] and rooms.room_circles() == []


def test_a_planted_circle_is_seen() -> None:
    assert rooms.circles({"a": "b", "b": "c", "c": "b", "d": "a"}) == [["b", "c"]]
    assert rooms.circles({"a": "bc", "b": "d", "c": "d", "d": ""}) == []


def test_probe_imports_neither_app_nor_analysis_nor_tests() -> None:
    for name in modules():
        if name.split(".")[0] == "probe":
            assert not top(imports(name)) & {"app", "analysis", "tests"}, name
        assert "tests" not in top(imports(name)), name


def test_app_and_analysis_do_not_import_each_other() -> None:
    for name in modules():
        package = name.split(".")[0]
        if package in ("app", "analysis"):
            assert not top(imports(name)) & ({"app", "analysis"} - {package}), name


@pytest.mark.parametrize(
    ("library", "owner"),
    [
        ("streamlit", "app"),
        ("altair", "app"),
        ("matplotlib", "probe.plotting"),
        ("seaborn", "probe.plotting"),
        ("argparse", "probe.commands"),
    ],
)
def test_one_owner_for_each_library(library: str, owner: str) -> None:
    """argparse belongs to the doors: commands, ``probe.cli``, and what people start in ``analysis`` and ``app``."""
    doors = {name for name in modules() if room_of(name) in ("probe/cli", "probe/__main__", "app/server", "analysis")}
    doors |= {"analysis.gold.review", "analysis.gold.build", "analysis.gold.changes", "analysis.gold.prefill"}
    for name in modules():
        if library in top(imports(name)) and not (library == "argparse" and name in doors):
            assert name.startswith(owner), f"{name} imports {library}, which belongs to {owner}"


def test_no_library_room_takes_parsed_arguments_or_imports_a_command() -> None:
    for name in modules():
        room = room_of(name)
        if room.startswith("probe/") and room not in ("probe/commands", "probe/cli", "probe/__main__"):
            words = {node.attr for node in ast.walk(tree_of(name)) if isinstance(node, ast.Attribute)}
            assert "Namespace" not in words, f"{name} takes an argparse.Namespace"
            assert not {one for one in imports(name) if one.startswith(("probe.commands", "probe.cli"))}, name


@pytest.mark.parametrize("name", of_room(*rooms.TORCH_FREE))
def test_what_works_from_stored_maps_never_reaches_torch(name: str) -> None:
    """Through any chain of imports, those inside functions included."""
    assert not top(reached(name, lazy=True)) & {"torch", "transformers"}


LIGHT = of_room("commands", "files", "errors", "cli", "version", "journal", "__main__")


@pytest.mark.parametrize("name", LIGHT)
def test_starting_a_command_loads_no_torch(name: str) -> None:
    """Commands load it in the function that needs it."""
    assert not top(reached(name, lazy=False)) & {"torch", "transformers"}


@pytest.mark.parametrize("name", ["rouge", "journal", "tables"])
def test_tables_of_responses_need_no_torch(name: str) -> None:
    assert not top(reached(f"probe.evaluation.{name}", lazy=False)) & {"torch", "transformers"}


def test_the_dashboard_needs_no_torch() -> None:
    """Only the page of typed-in texts does, in the function that makes their maps: importing it loads none either."""
    for name in modules():
        if name.startswith("app"):
            lazy = name not in TYPED_IN
            assert not top(reached(name, lazy=lazy)) & {"torch", "transformers"}, name
    assert "torch" in top(imports("app.server.live"))


def test_losses_import_neither_trainer_nor_logging() -> None:
    for name in of_room("distillation/losses"):
        found = {one for one in reached(name, lazy=True) if one.startswith("probe.") and one in modules()}
        strangers = {one for one in found if not one.startswith("probe.distillation.losses")}
        packages = {"probe.distillation", "probe.models"}
        assert strangers <= {*rooms.ONLY["probe/distillation/losses"], *packages, "probe.models.monotone"}, name
        assert "logging" not in top(reached(name, lazy=True)), name


@pytest.mark.parametrize("statement", ["import probe", "import probe.__main__, probe.cli, probe.errors"])
def test_import_probe_is_light(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_no_help_loads_torch() -> None:
    """Of any command: all of them, one after another in one process."""
    code = (
        "import sys, contextlib, io, probe.__main__ as m\n"
        f"for name in {sorted(COMMANDS)!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "        code = m.main([name, '--help'])\n"
        "    assert code == 0 and 'usage: python -m probe ' + name in out.getvalue(), (name, code)\n"
        "    assert not {'torch', 'transformers'} & set(sys.modules), name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_no_folder_is_crowded() -> None:
    found = {f: n for f, n in rooms.files_in_folders().items() if n > rooms.LIMIT.get(f, rooms.USUAL_LIMIT)}
    assert not found, f"make a room of what belongs together: {found}"


def test_no_file_is_longer_than_argued() -> None:
    lengths = {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines())
        for file in modules().values()
    }
    long = {name: length for name, length in lengths.items() if length > LINES and name not in LONG}
    assert not long, f"split these, or give the reason in LONG: {long}"
    assert not set(LONG) - {name for name, length in lengths.items() if length > LINES}, "take it off LONG"
