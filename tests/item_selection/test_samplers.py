"""Chosen items: as many as asked, weights that stand for all, unbiased where items are drawn at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.item_selection import samplers
from searcher.item_selection.clusters import cluster
from searcher.item_selection.samplers import Sampler

SAMPLERS: dict[str, Sampler] = {
    name: getattr(samplers, name)
    for name in (
        "random_items",
        "stratified_items",
        "balanced_items",
        "anchor_items",
        "medoid_items",
        "irt_items",
        "irt_medoid_items",
    )
}


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@given(data=st.data())
def test_items_are_distinct_and_weights_sum_to_one(name: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 30))
    m = data.draw(st.integers(1, n - 1))
    n_respondents = data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    responses = (rng.random((n_respondents, n)) < 0.5).astype(np.float64)
    chosen, weights = SAMPLERS[name](responses, m, np.random.default_rng(0))
    assert chosen.shape == weights.shape == (m,)
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen[0] <= chosen[-1] < n
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1)
    again = SAMPLERS[name](responses, m, np.random.default_rng(0))
    np.testing.assert_array_equal(again[0], chosen)
    neighbours = samplers.nearest_neighbours(responses, chosen, np.random.default_rng(0))
    assert ((neighbours >= 0) & (neighbours < m)).all()
    assert m == 1 or (neighbours != np.arange(m)).all()


@pytest.mark.parametrize("name", ["random_items", "stratified_items", "balanced_items", "anchor_items", "irt_items"])
def test_the_weighted_mean_is_unbiased_for_a_candidate_unlike_all_respondents(name: str) -> None:
    rng = np.random.default_rng(2)
    responses = (rng.random((5, 60)) < 0.6).astype(np.float64)
    candidate = rng.random(60)
    values = []
    for seed in range(400):
        chosen, weights = SAMPLERS[name](responses, 20, np.random.default_rng(seed))
        values.append(weights @ candidate[chosen])
    assert np.mean(values) == pytest.approx(candidate.mean(), abs=float(4 * np.std(values) / 20))


@pytest.mark.parametrize("name", ["anchor_items", "medoid_items"])
def test_duplicated_items_are_one_cluster(name: str) -> None:
    """Three kinds of items, 30, 20 and 10 of each: any candidate that answers equals alike is estimated exactly."""
    kinds = np.repeat([0, 1, 2], [30, 20, 10])
    responses = np.array([[0.0, 1, 1], [1, 1, 0]])[:, kinds]
    for m in (6, 12, 24):
        chosen, weights = SAMPLERS[name](responses, m, np.random.default_rng(m))
        for kind, share in enumerate([30 / 60, 20 / 60, 10 / 60]):
            assert weights[kinds[chosen] == kind].sum() == pytest.approx(share)


def test_stratified_items_come_from_every_difficulty() -> None:
    responses = np.tile(np.repeat([0.0, 1.0], [75, 25]), (3, 1))
    chosen, weights = samplers.stratified_items(responses, 20, np.random.default_rng(0))
    assert (chosen >= 75).sum() == 5
    np.testing.assert_allclose(weights, 1 / 20)


def test_balanced_items_take_as_many_rare_ones() -> None:
    responses = np.tile(np.repeat([0.0, 1.0], [90, 10]), (3, 1))
    chosen, weights = samplers.balanced_items(responses, 10, np.random.default_rng(0))
    assert (chosen >= 90).sum() == 5
    assert weights[chosen >= 90].sum() == pytest.approx(0.1)


def test_neighbours_are_answered_alike() -> None:
    responses = np.array([[0.0, 1, 0, 1, 0, 1]])
    neighbours = samplers.nearest_neighbours(responses, np.arange(6), np.random.default_rng(0))
    assert (responses[0, neighbours] == responses[0]).all()


def test_respondents_on_other_scales_count_alike() -> None:
    responses = np.array([[0.0, 0, 1, 1], [0, 1000, 0, 1000]])
    labels, _ = cluster(samplers._equal_scale(responses).T, 4, np.random.default_rng(0))
    assert len(set(labels.tolist())) == 4
    constant = np.array([[5.0, 5.0, 5.0]])
    np.testing.assert_array_equal(samplers._equal_scale(constant), constant)


def test_clusters_that_are_apart_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=90)
    points = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])[truth] + 0.1 * rng.standard_normal((90, 2))
    labels, distances = cluster(points, 3, rng)
    assert len({(t, label) for t, label in zip(truth.tolist(), labels.tolist(), strict=True)}) == 3
    assert distances.max() < 1
    assert cluster(np.zeros((5, 2)), 3, rng)[0].tolist() == [0] * 5
