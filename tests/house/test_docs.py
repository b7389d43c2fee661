"""README and docs are true: commands parse with the real parsers, links lead somewhere, Python runs, trees true."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.server.arguments import arguments
from tests.house import readme_tree
from tests.support import ROOT

README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
MORE = (ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md")  # their links and paths are checked too
LAUNCHERS = ("torchrun", "accelerate")
KNOWN = {"make", "python", "streamlit", "source", "pip", "git", "cd", "probe", *LAUNCHERS}
FOLDERS = "probe|app|analysis|tests|checkpoints|docs"  # results/ may be yet to come


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of these languages, also where a list indents them."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^\1```", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", body, flags=re.MULTILINE) for indent, name, body in found if name in languages]


def commands() -> list[tuple[str, list[str]]]:
    """Page and words of every command, comments dropped, continued lines joined."""
    found = []
    for page in PAGES:
        lines = [line for block in blocks(page, "bash", "sh") for line in block.replace("\\\n", " ").splitlines()]
        found += [(page.name, words) for line in lines if (words := shlex.split(line, comments=True))]
    return found


COMMANDS = commands()


def of(*programs: str) -> list:
    """Those commands, each once, as parameters of a test."""
    chosen = {" ".join(words): words for _, words in COMMANDS if words[0] in programs}
    return [pytest.param(words, id=line) for line, words in chosen.items()]


def test_there_are_commands_and_all_are_known() -> None:
    assert len(COMMANDS) >= 30
    assert {page for page, _ in COMMANDS} >= {"README.md", "training.md", "evaluation.md", "gold.md", "trust.md"}
    assert [(page, words) for page, words in COMMANDS if words[0] not in KNOWN] == []


@pytest.mark.parametrize("words", of("make"))
def test_make_targets_exist(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in words[1:] if "=" not in word and not word.startswith("-")):
        assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), f"make has no target {target}"
    assert subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True).returncode == 0


class Parsed(Exception):
    """The command line was understood; nothing after that shall run."""


def started(name: str):
    """The module that `python -m NAME` runs."""
    name = "probe.__main__" if name == "probe" else name
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"there is no module {name}"
    return importlib.import_module(f"{name}.__main__" if spec.submodule_search_locations else name)


def parsed(words: list[str], patch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Arguments as the module's own parser reads them. Campaigns parse in their `main`, which then goes no further."""
    module = started(words[2])
    if hasattr(module, "build_parser"):
        return module.build_parser().parse_args(words[3:])
    assert "argparse" in text_of(Path(module.__file__)), f"{module.__name__} has no parser: it would run"
    parse, found = argparse.ArgumentParser.parse_args, []

    def stop(self, args=None, namespace=None):
        found.append(parse(self, args, namespace))
        raise Parsed

    patch.setattr(argparse.ArgumentParser, "parse_args", stop)
    patch.setattr(sys, "argv", words[2:])
    with pytest.raises(Parsed):
        module.main()
    return found[0]


@pytest.mark.parametrize("words", of("python", "probe"))
def test_python_commands_parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the parser that the module itself uses; nothing is run."""
    words = ["python", "-m", *words] if words[0] == "probe" else words
    assert words[1] == "-m", "docs run modules"
    if words[2] == "pytest":
        assert all((ROOT / path).exists() for path in words[3:] if not path.startswith("-"))
        return
    args = parsed(words, monkeypatch)
    if recipe := getattr(args, "recipe", None):
        from probe.distillation.config import read_recipe

        read_recipe(ROOT / recipe, args.set)


@pytest.mark.parametrize("words", of(*LAUNCHERS))
def test_launched_commands_parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the launcher's parser up to ``-m probe``, and by ours after it."""
    if words[0] == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        assert words[1] == "launch"
        launched = launch_command_parser().parse_args(words[2:])
    else:
        from torch.distributed.run import get_args_parser

        launched = get_args_parser().parse_args(words[1:])
    assert launched.module and launched.training_script == "probe"
    test_python_commands_parse(["python", "-m", "probe", *launched.training_script_args], monkeypatch)


@pytest.mark.parametrize("words", of("streamlit"))
def test_the_dashboard_command_parses(words: list[str]) -> None:
    assert words[:2] == ["streamlit", "run"]
    assert (ROOT / words[2]).is_file()
    assert words[3] == "--"
    options = arguments(words[4:])
    assert str(options.maps) == words[words.index("--maps") + 1]
    assert "--gold" not in words or str(options.gold) == words[words.index("--gold") + 1]


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=lambda page: page.name)
def test_files_that_links_and_text_name_exist(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)", text_of(page))
    quoted = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text_of(page))
    missing = [path for path in linked if not (page.parent / path).exists()]
    assert missing + [path for path in quoted if not (ROOT / path).exists()] == []


def test_readme_leads_to_every_page_or_to_the_index() -> None:
    index = text_of(ROOT / "docs/index.md")
    for page in PAGES[1:]:
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f"](docs/{name})" in text_of(README) or f"]({name})" in index or name == "index.md", name


def test_the_trees_are_what_the_files_say() -> None:
    """`python -m tests.house.readme_tree --write` makes both."""
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked archive has no list of files that git knows")
    assert f"<!-- rooms: begin -->\n{readme_tree.rooms()}\n<!-- rooms: end -->" in text_of(README)
    assert text_of(readme_tree.FILES) == readme_tree.files()


def test_every_folder_of_code_is_in_the_trees() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked archive has no list of files that git knows")
    assert readme_tree.folders_of_code() - set(readme_tree.FOLDERS) == set(), "say in FOLDERS what it holds"
    assert [folder for folder in readme_tree.FOLDERS if not (ROOT / folder).is_dir()] == []


def test_readme_can_be_read_in_one_go() -> None:
    assert len(text_of(README).splitlines()) <= 150


def test_exit_codes_are_those_of_the_errors() -> None:
    from probe import errors

    assert errors.UsageError.exit_code == 2 and errors.UnsafeError.exit_code == 7
    codes = "0 ok, 2 usage, 3 bad data, 4 damaged checkpoint or store, 5 non-finite numbers, 6 disk, 7 refused as"
    assert f"Exit codes: {codes} unsafe" in " ".join(text_of(README).split())


PYTHON = [
    pytest.param(block, id=f"{page.stem}-{n}") for page in PAGES for n, block in enumerate(blocks(page, "python"))
]


@pytest.mark.parametrize("block", PYTHON)
def test_python_blocks_compile_and_their_names_are_real(block: str) -> None:
    """Those that make or open maps are run by `tests/probe/test_api.py`."""
    compile(block, "docs", "exec")
    for module, names in re.findall(r"^from (\S+) import (.+)$", block, flags=re.MULTILINE):
        loaded = importlib.import_module(module)
        assert all(hasattr(loaded, name.strip()) for name in names.split("#")[0].split(","))


def test_readme_has_python() -> None:
    assert any("probe.load(" in block for block in blocks(README, "python"))


def test_parsers_refuse_what_docs_do_not_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above would be worth nothing if parsers took anything."""
    with pytest.raises(SystemExit):
        parsed(["python", "-m", "probe", "extract", "--checkpoints", "a", "--data", "b", "--out", "c"], monkeypatch)
    with pytest.raises(SystemExit):
        parsed(["python", "-m", "tests.laws", "--examples", "many"], monkeypatch)
    with pytest.raises(AssertionError, match="no parser"):
        parsed(["python", "-m", "tests.hostile"], monkeypatch)
    with pytest.raises(AssertionError, match="no module"):
        parsed(["python", "-m", "tests.nowhere"], monkeypatch)
