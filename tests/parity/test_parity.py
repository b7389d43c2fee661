"""The library, and the dense reference, against the numbers of an independent implementation."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from tests.parity import __main__ as parity
from tests.support.reference import PaddedSide, dense_dskd_cma

FOLDERS = sorted(path.parent for path in parity.GOLDEN.glob("*/expected.json"))


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture(scope="module")
def case(folder):
    return parity.load_case(folder)


def test_both_fixtures_are_here():
    assert [folder.name for folder in FOLDERS] == ["seed0-llama", "seed1-qwen2"]


def test_every_quantity_matches(folder):
    rows = list(parity.compare(folder))
    expected = json.loads((folder / "expected.json").read_text())
    assert {row.case for row in rows} == set(expected) | {f"maps/dskd-{name}" for name in ("cma", "cla", "clp")}
    assert {"uld", "dskd-cma-ga/gan-released/forward_kl", "dskd-cma-ga/ct-released/forward_kl"} < set(expected)
    assert len(rows) == sum(map(len, expected.values())) + 9
    assert [row for row in rows if not row.matches] == []


@pytest.mark.parametrize("name", [name for name in parity.RELEASED_DIVERGENCES if name != "adaptive_kl"])
def test_the_dense_reference_matches_too(folder, case, name):
    expected = json.loads((folder / "expected.json").read_text())[f"dskd-cma/{name}"]
    batch = parity.load_file(folder / "batch.safetensors")
    parts = ("input_ids", "labels", "attention_mask", "position_ids")
    student = PaddedSide(case.student.model, *(batch.get(f"student.{part}") for part in parts))
    teacher = PaddedSide(case.teacher.model, *(batch.get(f"teacher.{part}") for part in parts))
    terms = dense_dskd_cma(student, teacher, case.attention, divergence_name=name)
    names = {
        "loss": "loss",
        "nll_loss": "ce",
        "t2s_ce_loss": "t2s_ce",
        "t2s_kd_loss": "t2s_kd",
        "s2t_kd_loss": "s2t_kd",
    }
    for theirs, ours in names.items():
        assert float(getattr(terms, ours).detach()) == pytest.approx(expected[theirs], abs=1e-4, rel=1e-4)
    parameters = [getattr(case.attention, part).weight for part in ("query", "t2s", "s2t")] + [case.student.embeddings]
    grads = torch.autograd.grad(terms.loss, parameters)
    for part, grad in zip(("query", "t2s", "s2t", "student_embedding"), grads, strict=True):
        assert float(grad.norm()) == pytest.approx(expected[f"grad_norm.{part}"], abs=1e-4, rel=1e-4)


def test_the_command_prints_every_deviation_and_succeeds(capsys):
    assert parity.main([]) == 0
    out = capsys.readouterr().out
    assert "seed0-llama" in out and "seed1-qwen2" in out
    assert "quantities match" in out.splitlines()[-1] and "DIFFERS" not in out


def test_one_wrong_number_fails(tmp_path, capsys):
    copy = shutil.copytree(FOLDERS[0], tmp_path / "copy")
    expected = json.loads((copy / "expected.json").read_text())
    expected["dskd-cma/js_divergence"]["t2s_kd_loss"] *= 1 + 3e-4
    (copy / "expected.json").write_text(json.dumps(expected))
    assert parity.main([str(copy)]) == 1
    differing = [line for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line]
    assert len(differing) == 1 and "t2s_kd_loss" in differing[0]


def test_a_case_that_nobody_computes_fails(tmp_path, capsys):
    copy = shutil.copytree(FOLDERS[0], tmp_path / "copy")
    (copy / "expected.json").write_text(json.dumps({"dskd-new/forward_kl": {"loss": 1.0}}))
    assert parity.main([str(copy)]) == 1
    assert "dskd-new/forward_kl" in capsys.readouterr().out


def test_a_folder_without_numbers_is_refused(tmp_path, capsys):
    assert parity.main([str(tmp_path)]) == 2
    assert "expected.json" in capsys.readouterr().err


def test_missing_numbers_do_not_match():
    assert not parity.Row("case", "quantity", 1.0, None).matches
    assert not parity.Row("case", "quantity", None, 1.0).matches
    assert parity.Row("case", "quantity", None, None).matches
    assert not parity.Row("case", "quantity", 1.0, float("nan")).matches
