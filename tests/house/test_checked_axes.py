"""Axes are checked wherever they are named; what a wheel holds is in test_wheel.py."""

from __future__ import annotations

import re
import tomllib

from tests.house.rooms import imports, modules
from tests.support import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


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
