"""`python -m analysis.study.dolly` picks the study's examples out of a larger file, in order; says what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.study import dolly, plan
from analysis.study.plan import Source, read_plan
from probe import cli
from probe.errors import DataError
from probe.text.examples import read_examples

HUB = [
    {
        "instruction": f"Ask {number}? ",
        "context": f"Some {number}.\n",
        "response": f" Answer\n{number}",
        "category": "x",
    }
    for number in range(20)
]


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lists of two files: examples 3 and 1 with their context, and 7 without it, with an id."""
    monkeypatch.setattr(dolly, "STAGES", tmp_path)
    keys = [dolly.digest(one["instruction"], one["response"]) for one in HUB]
    (tmp_path / "dolly-dev.txt").write_text(f"{keys[3]} +\n{keys[1]} +\n", encoding="ascii")
    (tmp_path / "dolly-more.txt").write_text(f"{keys[7]} - 7\n", encoding="ascii")
    return tmp_path


def hub_file(folder: Path, records: list[dict[str, str]]) -> Path:
    path = folder / "hub.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_the_examples_come_in_the_studys_order_and_form(lists: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(dolly.build_parser, dolly.run, [str(hub_file(lists, HUB)), "--out", str(lists / "data")]) == 0
    assert "2 of 2 examples, not quite as the study's" in capsys.readouterr().out
    dev = read_examples(lists / "data/dolly-dev.jsonl")
    assert [one.output for one in dev] == ["Answer\n3", "Answer\n1"]
    assert "### Instruction:\nAsk 3?\n\n### Input:\nSome 3.\n\n### Response:\n" in dev[0].prompt
    (more,) = read_examples(lists / "data/dolly-more.jsonl")
    assert more.id == "dolly-more-7" and "### Input" not in more.prompt


def test_white_space_does_not_hide_an_example() -> None:
    assert dolly.digest(" a  b", "c\n") == dolly.digest("a b", "c") != dolly.digest("a b c", "d")


def test_another_data_set_is_refused(lists: Path) -> None:
    with pytest.raises(DataError, match="found 0 of the 2 examples"):
        dolly.make(Source("dolly-dev.jsonl", 2, ""), {}, lists)
    assert cli.main(dolly.build_parser, dolly.run, [str(hub_file(lists, [{"text": "x"}])), "--out", str(lists)]) == 3


def test_the_shipped_lists_are_as_long_as_the_plan_says() -> None:
    for source in read_plan("small").sources:
        entries = dolly.listed(source.name)
        assert len(entries) == source.examples == len({key for _, key, _ in entries})
    assert (plan.STAGES / "dolly-dev.txt").is_file()
