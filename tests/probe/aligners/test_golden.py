"""Aligners against the originals: frozen groups of TRL, KDFlow and NeMo RL on real tokens of ten awkward texts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from probe.aligners import ALIGNERS
from probe.aligners.cells import group_cells
from probe.text.axis import TokenAxis
from tests.support import ROOT

GOLDEN = json.loads((ROOT / "tests/golden/aligners.json").read_text(encoding="utf-8"))


def _axis(side: dict) -> TokenAxis:
    spans = tuple((start, end) for start, end in side["spans"])
    return TokenAxis(tuple(side["tokens"]), tuple(side["pieces"]), tuple(side["ids"]), spans)


NAMES = ("gold-bytes", "gold-decode", "simple-ctkd", "nemo-dp", "nemo-offsets", "alm-unconstrained", "alm-space")


@pytest.mark.parametrize("name", NAMES)
def test_groups_are_those_of_the_original(name):
    """40 cases; without the ten of a SentencePiece teacher, which TRL refuses and ALM rewrites as bytes first."""
    cases = [case for case in GOLDEN["cases"] if name in case["groups"]]
    assert len(cases) == (30 if name in ("gold-bytes", "alm-unconstrained", "alm-space") else 40)
    for case in cases:
        student, teacher = _axis(case["student"]), _axis(case["teacher"])
        found = ALIGNERS[name].align(case["text"], student, teacher)
        wanted = group_cells(case["groups"][name], student, teacher)
        assert np.array_equal(found, wanted), (name, case["pair"], case["text"])
