"""The key-query panel of report.html: the folder that is given, the one beside the maps, or what checkpoints carry."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.report.findings import GAP_SCORES
from analysis.report.key_query import by_checkpoint, folder_of, key_query_part, read_key_query, source_row
from probe.errors import DataError
from probe.files import sha256_of
from probe.gold.reading import read_gold
from probe.maps.store import MapStore
from probe.scoring.report import build_report
from probe.scoring.tables import write_csv
from tests.support.reports import make_store, report

STAGES = ("untrained", "trained", "control")


def figures(*checkpoints, first=0.1):
    """Rows as ``analysis.key_query`` writes them; the measures are ``first``, ``first`` + 1 and so on, all distinct."""
    rows = []
    for checkpoint in checkpoints:
        for stage in STAGES:
            measures = {name: first + len(rows) * len(GAP_SCORES) + k for k, name in enumerate(GAP_SCORES)}
            labels = {"schema_version": 1, "signature": f"sig {checkpoint} {stage}", "checkpoint": checkpoint}
            rows.append({**labels, "method": "dskd-cma", "stage": stage, "n_queries": 5, **measures})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def scored(room):
    return build_report([MapStore.open(room / "maps")], read_gold(room / "gold.jsonl"), resamples=20)


def cells(part):
    return {cell for table in (*part.tables, *part.folded) for row in table.rows for cell in row}


def test_without_a_folder_the_panel_shows_what_checkpoints_carry(scored):
    part = key_query_part(scored, None)
    assert part.heading == "After training a held-out classifier partly tells queries from keys"
    assert part.tables[0].rows == ((GAP_SCORES["classifier_accuracy"], "good", "0.99", "0.75"),)
    assert source_row(scored, None) == ("keys and queries", "carried by the checkpoints", "–")


def test_a_folder_is_shown_for_the_checkpoints_that_the_maps_are_of(scored, tmp_path):
    write_csv(figures("good", "elsewhere"), tmp_path / "key_query.csv")
    read = read_key_query(tmp_path)
    part = key_query_part(scored, read)
    assert len(part.tables[0].rows) == len(GAP_SCORES) and len(part.pictures) == 1
    assert part.tables[0].rows[1] == ("energy distance", "good", "1.1", "12.1", "23.1")  # 11 measures a stage
    assert "sig good control" in cells(part) and not {"elsewhere", "sig elsewhere control", "0.99"} & cells(part)
    digest = sha256_of(tmp_path / "key_query.csv")
    assert source_row(scored, read) == ("keys and queries", str(tmp_path / "key_query.csv"), digest)


def test_a_folder_of_other_checkpoints_is_named_and_not_shown(scored, tmp_path):
    write_csv(figures("elsewhere"), tmp_path / "key_query.csv")
    read = read_key_query(tmp_path)
    assert key_query_part(scored, read) == key_query_part(scored, None)
    said = f"{tmp_path}/key_query.csv has none of these checkpoints; carried by the checkpoints"
    assert source_row(scored, read) == ("keys and queries", said, "–")


def test_the_command_takes_the_given_folder_before_the_one_beside_the_maps(room, capsys):
    write_csv(figures("good"), room / "key_query/key_query.csv")
    write_csv(figures("bad", first=0.7), room / "given/key_query.csv")
    assert report(room, "--key-query", str(room / "given"), figures=True) == 0
    page = (room / "report/report.html").read_text(encoding="utf-8")
    assert sha256_of(room / "given/key_query.csv") in page and f"--key-query {room}/given" in page
    assert "sig bad trained" in page and "sig good trained" not in page
    # whatever the panel shows, the report's own key_query.csv is what the checkpoints carry
    assert pd.read_csv(room / "report/key_query.csv")["classifier_accuracy_after"].tolist() == [0.75]


def test_rows_by_checkpoint(tmp_path):
    write_csv(figures("=a", "b"), tmp_path / "key_query.csv")
    read = read_key_query(tmp_path)
    wide = by_checkpoint(read.of(["b", "=a"]))
    assert wide["checkpoint"].tolist() == ["=a", "b"]  # the apostrophe of the file is gone
    assert wide["classifier_accuracy_before"].tolist() == pytest.approx([0.1, 0.1 + 33])
    assert wide["energy_distance_control"].tolist() == pytest.approx([1.1 + 22, 1.1 + 55])
    assert len(read.of(["c"])) == 0


def test_a_folder_is_looked_for_beside_each_store(tmp_path):
    stores = [tmp_path / name / "maps" for name in ("one", "two")]
    assert folder_of(None, stores) is None
    write_csv(figures("b"), tmp_path / "two/key_query/key_query.csv")
    assert folder_of(None, stores) == tmp_path / "two/key_query"
    with pytest.raises(DataError, match="holds no key_query.csv"):
        folder_of(tmp_path / "one", stores)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda frame: frame.drop(columns=["stage", "mmd"]), "lacks the columns stage, mmd"),
        (lambda frame: frame.assign(mmd="much"), "could not convert string to float"),
        (lambda frame: frame[:0].iloc[:, :0], "No columns to parse|lacks the columns"),
    ],
)
def test_a_damaged_file_is_named_before_anything_is_written(room, tmp_path, capsys, break_it, message):
    write_csv(break_it(figures("good")), tmp_path / "key_query.csv")
    with pytest.raises(DataError, match=message):
        read_key_query(tmp_path)
    assert report(room, "--key-query", str(tmp_path), out="broken", figures=True) == 3
    assert "Make it again" in capsys.readouterr().err and not (room / "broken").exists()
