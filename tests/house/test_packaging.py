"""What pip installs is what the folders hold: every room and its data; and axes are checked wherever they are named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from setuptools.dist import Distribution

from tests.house.rooms import PACKAGES, imports, modules
from tests.support import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DATA = (".j2", ".yaml", ".typed")  # what code opens beside itself


def built_files() -> set[str]:
    """Files that a wheel would hold, as setuptools itself finds them; nothing is built."""
    distribution = Distribution({"script_name": "pyproject.toml"})
    distribution.parse_config_files(["pyproject.toml"])
    distribution.include_package_data = False  # else files that git happens to track would count
    command = distribution.get_command_obj("build_py")
    command.build_lib = "."
    command.finalize_options()
    return {Path(path).as_posix() for path in command.get_outputs(include_bytecode=False)}


@pytest.fixture(scope="module")
def built() -> set[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return built_files()


def test_every_module_is_installed(built: set[str]) -> None:
    product = {file.relative_to(ROOT).as_posix() for file in modules().values()}
    assert len(product) > 200
    assert product - built == set(), "a folder without __init__.py is no package"
    assert {path.split("/")[0] for path in built} == set(PACKAGES), "tests and docs stay at home"


def test_what_modules_open_beside_themselves_is_installed(built: set[str]) -> None:
    """`analysis/gold` holds texts for this repository's own jobs; they stay there."""
    data = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.suffix in DATA
    }
    assert {"probe/py.typed", "probe/recipes/dskd-cma.yaml", "analysis/report/page.html.j2"} <= data
    assert data - built == set(), "name them in [tool.setuptools.package-data]"


def checked_packages() -> list[str]:
    """What `--jaxtyping-packages` of pytest names, without the checker at its end."""
    options = PYPROJECT["tool"]["pytest"]["ini_options"]["addopts"]
    found = re.search(r"--jaxtyping-packages=(\S+)", options)
    assert found
    return found[1].split(",")[:-1]


def test_axes_are_checked_wherever_they_are_named() -> None:
    """jaxtyping checks the modules under the names that it is given; a name that leads nowhere checks nothing."""
    named = checked_packages()
    typed = {name for name in modules() if any(one.split(".")[0] == "jaxtyping" for one in imports(name))}
    assert "probe.models.attention" in typed
    assert {name for name in typed if not any(f"{name}.".startswith(f"{one}.") for one in named)} == set()
    assert [one for one in named if not any(f"{name}.".startswith(f"{one}.") for name in typed)] == []


def required(name: str) -> set[str]:
    """The packages of a requirements file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {re.split(r"[<>=\[;]", line)[0].strip().lower() for line in lines if line.strip()}


# requirement -> the name under which Python knows it, where that is another
IMPORTED_AS = {"pyyaml": "yaml", "scikit-learn": "sklearn", "rouge-score": "rouge_score"}
NOT_IMPORTED = {"gguf"}  # transformers imports it, to read the packaged teacher


def test_every_dependency_has_its_reason() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    named = {
        re.sub(r"\(.*", "", name).strip().lower()
        for row in re.findall(r"^\| ([^|]+) \|", table, flags=re.MULTILINE)
        for name in row.split(",")
    }
    assert (required("requirements.txt") | required("requirements-dev.txt")) - named == set()


def test_every_dependency_of_the_product_is_imported_by_it() -> None:
    found = {one.split(".")[0] for name in modules() for one in imports(name)}
    wanted = {IMPORTED_AS.get(name, name) for name in required("requirements.txt")}
    assert wanted - found - NOT_IMPORTED == set(), "installed for nothing: take it off, or say who imports it"
