"""README is true: its commands parse with the real parsers, its targets are in the Makefile, its tree is the tree."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess

import pytest

from app.server.arguments import arguments
from probe.gold.reading import read_gold
from probe.maps.store import MapStore
from probe.scoring.metrics import score_map
from tests.house.readme_tree import tree
from tests.support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every command of the bash blocks as words, comments dropped, continued lines joined."""
    lines = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


COMMANDS = commands()
LAUNCHERS = ("torchrun", "accelerate")


def test_readme_has_commands() -> None:
    assert len(COMMANDS) >= 10
    assert {words[0] for words in COMMANDS} <= {"make", "python", "streamlit", "source", "pip", "git", "cd", *LAUNCHERS}


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] == "make"], ids=" ".join)
def test_make_targets_exist(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in words[1:] if "=" not in word and not word.startswith("-")):
        assert re.search(rf"^{re.escape(target)}:", makefile, flags=re.MULTILINE), f"make has no target {target}"
    assert subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True).returncode == 0


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] == "python"], ids=" ".join)
def test_python_commands_parse(words: list[str]) -> None:
    """With the parser that the module itself uses; nothing is run."""
    assert words[1] == "-m", "README runs modules"
    if words[2] == "pytest":
        return
    module = importlib.import_module("probe.__main__" if words[2] == "probe" else words[2])
    args = module.build_parser().parse_args(words[3:])
    for name in ("recipe",):
        if recipe := getattr(args, name, None):
            from probe.distillation.config import read_recipe

            read_recipe(ROOT / recipe, args.set)


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] in LAUNCHERS], ids=" ".join)
def test_launched_commands_parse(words: list[str]) -> None:
    """By the launcher's parser up to ``-m probe``, and by ours after it."""
    if words[0] == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        assert words[1] == "launch"
        launched = launch_command_parser().parse_args(words[2:])
    else:
        from torch.distributed.run import get_args_parser

        launched = get_args_parser().parse_args(words[1:])
    assert launched.module and launched.training_script == "probe"
    test_python_commands_parse(["python", "-m", "probe", *launched.training_script_args])


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] == "streamlit"], ids=" ".join)
def test_the_dashboard_command_parses(words: list[str]) -> None:
    assert words[:2] == ["streamlit", "run"]
    assert (ROOT / words[2]).is_file()
    assert words[3] == "--"
    options = arguments(words[4:])
    assert (str(options.maps), str(options.gold)) == ("out/maps", "gold.jsonl")


def test_files_that_commands_and_links_name_exist() -> None:
    linked = re.findall(r"\]\((?!https?://|#)([^)]+)\)", README)
    quoted = re.findall(r"`((?:probe|app|analysis|tests|checkpoints|docs)/[\w./-]+)`", README)
    missing = [path for path in [*linked, *quoted] if not (ROOT / path).exists()]
    assert missing == []


def tree_paths() -> list[str]:
    """Paths of the tree block: an entry without indent is a file or (with a slash) the folder of the indented ones."""
    match = re.search(r"<!-- tree: begin -->(.*?)<!-- tree: end -->", README, flags=re.DOTALL)
    assert match, "README has no tree block"
    folder, paths = "", []
    for line in match.group(1).splitlines():
        if not line.strip() or line.startswith("```"):
            continue
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
            paths.append(name)
        else:
            paths.append(folder + name)
    return paths


def test_every_path_of_the_tree_exists() -> None:
    paths = tree_paths()
    assert paths, "the tree is empty"
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert len(paths) == len(set(paths))


def test_the_tree_is_what_the_files_say() -> None:
    """`python -m tests.house.readme_tree --write` makes it."""
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked archive has no list of files that git knows")
    assert f"<!-- tree: begin -->\n{tree()}\n<!-- tree: end -->" in README


def test_exit_codes_are_those_of_the_errors() -> None:
    from probe import errors

    assert errors.UsageError.exit_code == 2 and errors.UnsafeError.exit_code == 7
    codes = "0 ok, 2 usage, 3 bad data, 4 damaged checkpoint or store, 5 non-finite numbers, 6 disk, 7 refused as"
    assert f"Exit codes: {codes} unsafe" in " ".join(README.split())


def test_python_blocks_compile_and_their_names_are_real() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
        for module, names in re.findall(r"^from (\S+) import (.+)$", block, flags=re.MULTILINE):
            loaded = importlib.import_module(module)
            assert all(hasattr(loaded, name.strip()) for name in names.split(","))
    assert callable(MapStore.open) and callable(read_gold) and callable(score_map)


def test_parsers_refuse_what_readme_does_not_mean() -> None:
    """The check above would be worth nothing if parsers took anything."""
    from probe.__main__ import build_parser

    with pytest.raises(SystemExit):
        build_parser().parse_args(["extract", "--checkpoints", "a", "--data", "b", "--out", "c"])
    assert isinstance(build_parser(), argparse.ArgumentParser)
