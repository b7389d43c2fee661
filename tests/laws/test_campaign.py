"""The campaign over properties: all are found, a false law is caught and printed, examples are counted as they run."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from tests.laws import __main__ as laws
from tests.laws.count import counted

PLANTED = """
import pytest
from hypothesis import assume, given, strategies as st
from tests.support.strategies import law

@law(5)
@given(st.integers(0, 10**6))
def test_true(number):
    assume(number % 2)
    assert number >= 0

@pytest.mark.parametrize("sign", [1, -1])
@law(5, cases=2)
@given(st.integers(0, 10**6))
def test_false(sign, number):
    assert number < 1000

@law(5)
@given(st.booleans(), st.integers(0, 2))
def test_small(one, two):
    pass

def test_no_property():
    assert False
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("planted")
    (folder / "test_planted.py").write_text(PLANTED, encoding="utf-8")
    return folder, folder / "journal" / "laws.jsonl"


def printed_by(arguments: list[str]) -> tuple[int, str]:
    """Exit code and standard output of the command."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = laws.main(arguments)
    return code, out.getvalue()


@pytest.fixture(scope="module")
def ran(planted) -> tuple[int, str]:
    folder, journal = planted
    return printed_by(["--folder", str(folder), "--journal", str(journal), "--examples", "250"])


def line_of(printed: str, name: str) -> str:
    return next(line for line in printed.splitlines() if line.startswith(f"test_planted.py::{name}"))


def test_every_property_is_found():
    found = Counter(one.file for one in laws.properties(laws.ROOT / "tests"))
    decorator = re.compile(r"^@given\(", re.MULTILINE)
    files = (laws.ROOT / "tests").rglob("test_*.py")
    wanted = {file: len(decorator.findall(file.read_text(encoding="utf-8"))) for file in files}
    wanted[Path(__file__)] -= PLANTED.count("\n@given(")
    assert found == Counter({name: count for name, count in wanted.items() if count})
    assert sum(found.values()) >= 45


def test_a_false_law_is_caught_and_printed(ran):
    code, printed = ran
    assert code == 1
    assert line_of(printed, "test_false").endswith("FALSIFIED")
    assert re.search(r"^    .*number=1000,$", printed, re.MULTILINE), "not the smallest counter-example"
    assert "4 properties" not in printed and "3 properties" in printed and "1 falsified" in printed


def test_examples_are_those_that_ran(ran):
    _, printed = ran
    assert re.search(r"::test_true +250 +[1-9]\d* +\d+\.\d  ok$", printed, re.MULTILINE)  # those assumed away on top
    assert re.search(r"::test_small +6 +0 +\d+\.\d  ok, no more found$", printed, re.MULTILINE)  # all there are


def test_a_later_run_draws_what_is_missing(planted, ran):
    folder, journal = planted
    arguments = ["--folder", str(folder), "--journal", str(journal), "--only", "test_true", "--examples"]
    before = journal.read_text(encoding="utf-8")
    journal.write_text(before + '{"property": "test_pla\n', encoding="utf-8")  # stopped in the middle of a line
    for wanted, runs in ((200, 0), (300, 1)):
        code, printed = printed_by([*arguments, str(wanted)])
        assert code == 0 and int(line_of(printed, "test_true").split()[1]) == max(250, wanted)
        lines = journal.read_text(encoding="utf-8").splitlines()[before.count("\n") + 1 :]
        assert [json.loads(line)["examples"] for line in lines] == [50] * runs


def test_an_edited_property_begins_again(planted):
    folder, _ = planted
    before = set(laws.properties(folder))
    (folder / "test_planted.py").write_text(PLANTED.replace("number >= 0", "number >= -1"), encoding="utf-8")
    assert {one.name for one in set(laws.properties(folder)) - before} == {"test_true"}


@pytest.mark.parametrize("wanted", [1, 77])
def test_the_counter_counts_bodies_that_end(wanted):
    tally: Counter[str] = Counter()
    seen = []

    @settings(max_examples=wanted, database=None)
    @given(st.integers(0, 10**9))
    def law(number: int) -> None:
        seen.append(number)
        assume(number % 3)

    law.hypothesis.inner_test = counted(law.hypothesis.inner_test, tally)
    law()
    assert (tally["passed"], tally["failed"]) == (wanted, 0) and tally["rejected"] == len(seen) - wanted


def test_nothing_counts_after_the_first_failure():
    tally: Counter[str] = Counter()
    outcomes = iter([None, UnsatisfiedAssumption(), AssertionError(), None, None])

    def law() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    run = counted(law, tally)
    run()
    for kind in (UnsatisfiedAssumption, AssertionError):
        with pytest.raises(kind):
            run()
    run()
    assert tally == {"passed": 1, "rejected": 1, "failed": 1}


def test_a_name_that_no_property_has_is_refused(capsys):
    with pytest.raises(SystemExit):
        laws.main(["--only", "no_such_property"])
    assert "no_such_property" in capsys.readouterr().err
