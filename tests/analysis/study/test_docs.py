"""The commands of docs/study/repeat.md parse with the real parsers, and its stages are the pairs'."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from analysis.study.plan import read_plan, shipped_pairs
from tests.support import ROOT

PAGE = (ROOT / "docs/study/repeat.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_parse(words: list[str]) -> None:
    assert words[:2] == ["python", "-m"]
    importlib.import_module(words[2]).build_parser().parse_args(words[3:])


def test_every_stage_of_every_pair_has_its_command() -> None:
    given = {
        (words[words.index("--stage") + 1], words[words.index("--pair") + 1])
        for words in COMMANDS
        if "--stage" in words
    }
    assert given == {(stage, pair) for pair in shipped_pairs() for stage in read_plan(pair).stages}


def test_the_changes_that_it_shows_are_taken(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    path = tmp_path / "changes.yaml"
    path.write_text(block, encoding="utf-8")
    runs = {one.name: one for one in read_plan("small", path).runs("1")}
    assert len(runs) == 24 and runs["dskd-cma-ga-s1"].arm.settings["kappa"] == 0.1
