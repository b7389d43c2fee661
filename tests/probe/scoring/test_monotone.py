"""The monotone posterior: against all paths written out, by hand, its laws; itermax as SimAlign's package has it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.scoring.alignment import links_from_map
from probe.scoring.monotone import FLOOR, monotone_map, monotone_posterior
from tests.support import ROOT
from tests.support.strategies import law

LAW = law(60)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 999))


def random_map(n: int, m: int, seed: int) -> np.ndarray:
    weights = np.random.default_rng(seed).dirichlet(np.full(m, 0.3), size=n)
    return np.maximum(weights, 2 * FLOOR)


def paths(n: int, m: int) -> Iterator[list[tuple[int, int]]]:
    """Every monotone path from (0, 0) to (n - 1, m - 1)."""
    if (n, m) == (1, 1):
        yield [(0, 0)]
        return
    for before in ((n - 1, m), (n, m - 1), (n - 1, m - 1)):
        if min(before) > 0:
            for path in paths(*before):
                yield [*path, (n - 1, m - 1)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 1), (2, 2), (3, 4), (5, 4)])
def test_posterior_is_that_of_all_paths_written_out(shape):
    weights = random_map(*shape, seed=7)
    mass, total = np.zeros(shape), 0.0
    for path in paths(*shape):
        probability = np.prod([weights[cell] for cell in path])
        total += probability
        mass[tuple(np.array(path).T)] += probability
    assert monotone_posterior(weights) == pytest.approx(mass / total, rel=1e-9)


def test_posterior_by_hand():
    """Paths of a 2 x 2 map: the diagonal (.6 · .9) and round either corner (times .4, times .1)."""
    weights = np.array([[0.6, 0.4], [0.1, 0.9]])
    total = 1 + 0.4 + 0.1
    assert monotone_posterior(weights) == pytest.approx(np.array([[1, 0.4 / total], [0.1 / total, 1]]))


def test_order_mends_what_the_heaviest_cell_gets_wrong():
    """A planted diagonal; both rows of a repeated token prefer its first place, and order tells them apart."""
    weights = np.full((5, 5), 0.02) + np.eye(5) * 0.5
    weights[3] = weights[1] = [0.02, 0.5, 0.02, 0.4, 0.02]
    weights[3, 1] = 0.55
    weights /= weights.sum(axis=1, keepdims=True)
    assert (3, 1) in links_from_map(weights)
    assert links_from_map(weights, "monotone") == {(k, k) for k in range(5)}
    assert links_from_map(weights.T, "monotone", direction="s2t") == {(k, k) for k in range(5)}


def test_a_weight_of_zero_is_unlikely_and_not_impossible():
    weights = np.array([[0.0, 1.0], [1.0, 0.0]])  # every path must begin and end on a zero
    posterior = monotone_posterior(weights)
    assert np.isfinite(posterior).all() and posterior[0, 1] == pytest.approx(1 / (2 + 1), rel=1e-6)


@LAW
@given(shapes)
def test_laws_of_the_posterior(shape):
    weights = random_map(*shape)
    posterior = monotone_posterior(weights)
    assert posterior[0, 0] == pytest.approx(1) and posterior[-1, -1] == pytest.approx(1)
    assert (posterior >= 0).all() and (posterior <= 1).all()
    assert (posterior.sum(axis=0) >= 1 - 1e-9).all() and (posterior.sum(axis=1) >= 1 - 1e-9).all()
    assert monotone_posterior(weights.T) == pytest.approx(posterior.T)
    assert monotone_posterior(weights[::-1, ::-1]) == pytest.approx(posterior[::-1, ::-1])
    for direction, axis in (("t2s", 1), ("s2t", 0)):
        assert monotone_map(weights, direction).sum(axis=axis) == pytest.approx(1)


@LAW
@given(shapes, st.floats(0.01, 100))
def test_what_all_paths_pay_alike_changes_nothing(shape, factor):
    """All paths visit the first and the last cell; paths of another number of cells are not alike."""
    weights = random_map(*shape)
    scaled = weights.copy()
    scaled[0, 0] *= factor
    assert monotone_posterior(scaled) == pytest.approx(monotone_posterior(weights), abs=1e-9)


def test_itermax_as_the_package_simalign_does_it():
    """Frozen links of simalign 0.4's own iter_max on 60 maps, 2 and 3 rounds; on some the paper's algorithm differs."""
    cases = json.loads((ROOT / "tests/golden/simalign_itermax.json").read_text(encoding="utf-8"))
    apart = 0
    for case in cases["maps"]:
        weights = np.array(case["weights"])
        for rounds in ("2", "3"):
            wanted = {tuple(link) for link in case["links"][rounds]}
            assert links_from_map(weights, "itermax-simalign", iterations=int(rounds)) == wanted
            apart += links_from_map(weights, "itermax", iterations=int(rounds)) != wanted
    assert len(cases["maps"]) == 60 and apart >= 20


def test_where_package_and_paper_differ():
    """Three rows, four columns, mutual on the diagonal: the paper gives the free column to a row, the package stops."""
    weights = np.array([[0.6, 0.1, 0.1, 0.2], [0.1, 0.6, 0.1, 0.2], [0.1, 0.1, 0.5, 0.3]])
    diagonal = {(k, k) for k in range(3)}
    assert links_from_map(weights, "itermax-simalign") == diagonal
    assert links_from_map(weights, "itermax") == diagonal | {(2, 3)}
    two = np.array([[0.6, 0.3, 0.1], [0.55, 0.3, 0.15]])  # two rows: the package never iterates
    assert links_from_map(two, "itermax-simalign") == {(0, 0)} and links_from_map(two, "itermax") > {(0, 0)}
