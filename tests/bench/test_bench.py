"""The bench runs at tiny sizes: every point has its row, both sides agree, and nothing here depends on the clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.bench import __main__ as bench
from tests.bench import curves as bench_curves
from tests.bench import extraction as bench_extraction
from tests.bench import models as bench_models
from tests.bench import report as bench_report
from tests.bench import steps as bench_steps
from tests.bench import store as bench_store
from tests.bench import tokenization as bench_tokenization
from tests.bench.frame import Row, at_least, below, command, in_child, skipped
from tests.bench.texts import dolly_like


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Children's functions are called here: no peaks of their own, but seconds less of importing."""

    def call(function: Any, *, threads: int | None = 1, **arguments: Any) -> Any:
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)))))

    threads = torch.get_num_threads()
    children = bench_curves, bench_extraction, bench_models, bench_report, bench_steps, bench_store, bench_tokenization
    for module in children:
        monkeypatch.setattr(module, "in_child", call)
    yield
    torch.set_num_threads(threads)


def test_rows_say_whether_the_target_is_reached():
    assert at_least("a", 12, 12, "how") == Row("a", "12", "≥ 12", True, "how")
    assert at_least("a", 11.94, 12, "how", " x") == Row("a", "11.9 x", "≥ 12 x", False, "how")
    assert below("a", 2.5e-5, 1e-4, "how").reached and not below("a", 10, 10, "how").reached
    assert at_least("a", 4321.4, 2000, "how").measured == "4,321"
    assert skipped("a", "< 3 s", "no Chromium") == Row("a", "-", "< 3 s", None, "not measured: no Chromium")


def test_a_failing_command_says_what_it_printed():
    with pytest.raises(RuntimeError, match="ended with 3.*went wrong"):
        command(["-c", "import sys; print('went wrong', file=sys.stderr); sys.exit(3)"])


def test_memory_is_that_of_the_largest_process_not_of_ours():
    filled = "x = bytes(range(256)) * ({} << 12)"  # so many MiB
    parent = "import subprocess, sys; subprocess.check_call([sys.executable, '-c', sys.argv[1]])"
    assert command(["-c", filled.format(1)]).peak_mib < 60
    assert 200 < command(["-c", parent, filled.format(200)]).peak_mib < 260


def test_texts_have_the_lengths_of_dolly_and_are_the_same_every_time():
    records = dolly_like(400)
    assert records == dolly_like(400) and len({record["output"] for record in records}) > 390
    lengths = sorted(len(record["output"]) for record in records)
    assert 200 < lengths[200] < 280 and lengths[-1] <= 1800 and min(lengths) >= 1
    assert dolly_like(3) == records[:3]


def test_the_step_of_the_bench_has_the_same_loss_on_both_sides(in_this_process):
    rows = {row.point: row for row in bench.measure("step", quick=True)}
    assert list(rows) == [
        f"step, toy, cache {cache}: {what}"
        for cache in ("summary", "states", "none")
        for what in ("time", "memory", "loss deviation")
    ]
    assert all(row.reached for point, row in rows.items() if "deviation" in point)


def test_the_curves_have_a_point_for_each_size(in_this_process):
    rows = bench.measure("curves", quick=True)
    assert [row.point.split(":")[0] for row in rows][:2] == ["loss, padding x8"] * 2 and len(rows) == 5
    assert all(" 16: " in row.how and " 32: " in row.how for row in rows[:2])


def test_extraction_and_the_dense_pass_make_the_same_maps(in_this_process):
    rows = bench.measure("extraction", quick=True)
    assert [row.target for row in rows] == ["≥ 2,000", "< 0.0001"]
    assert rows[1].reached, rows[1]


def test_tokenization_is_timed_both_ways_and_within_an_extraction(in_this_process):
    rows = bench.measure("tokenization", quick=True)
    assert [row.target for row in rows] == ["≥ 1.3", "< 50 %"]
    assert 0 < float(rows[1].measured.split()[0]) < 100, rows[1]


def test_all_intervals_of_a_row_are_timed(in_this_process):
    (row,) = bench.measure("intervals", quick=True)
    assert row.point == "intervals of 20 maps" and "scores of 20 maps" in row.how and "10,000 resamples" in row.how


def test_the_table_and_its_json_have_all_rows(tmp_path, capsys, monkeypatch, in_this_process):
    def broken(quick):
        yield below("first", 1, 2, "by hand")
        raise ValueError("no such thing")

    monkeypatch.setattr(bench, "MEASUREMENTS", {"scoring": bench.scoring, "broken": broken})
    assert bench.main(["--quick", "--json", str(tmp_path / "rows.json")]) == 1
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["point"] for row in rows] == ["scoring 20 maps", "first", "broken"]
    assert rows[2]["how"] == "not measured: ValueError: no such thing" and rows[2]["reached"] is None
    printed = capsys.readouterr().out
    assert all(row["point"] in printed for row in rows) and "1 not measured, 0 short" in printed


def test_every_point_of_the_list_is_measured():
    assert list(bench.MEASUREMENTS) == [
        "extraction", "extract", "tokenization", "step", "curves", "store", "export", "report", "intervals", "demo",
        "dashboard", "scoring",
    ]  # fmt: skip


def test_what_a_child_returns_comes_back():
    assert in_child(bench.textwrap.fill, text="a b", width=1) == "a\nb"
