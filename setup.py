"""What a wheel holds: the library, and inside it, as files of `probe/doors/`, the folders `app` and `analysis`.

Both are found by their path (`probe.commands.outside`) and never imported as `probe.doors.app`, so nothing called `app`
or `analysis` lies in site-packages. Which files come along, and everything else, is in pyproject.toml.
"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

DOORS = "probe.doors"


class Build(build_py):
    """The package `probe.doors` is the root of the project, whose own Python files (this one) are no part of it."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        return [] if package == DOORS else super().find_package_modules(package, package_dir)


setup(
    packages=[*find_packages(include=["probe", "probe.*"]), DOORS],
    package_dir={DOORS: "."},
    cmdclass={"build_py": Build},
)
