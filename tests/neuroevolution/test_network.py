"""Networks as vectors: layout, logits and scores against torch's own modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.neuroevolution.network import Network, Scorer

SIZES = st.lists(st.integers(1, 7), min_size=2, max_size=5).map(tuple)


def module_of(network: Network, vector: np.ndarray) -> torch.nn.Sequential:
    """The same network made of torch's linear layers, filled position by position."""
    parts: list[torch.nn.Module] = []
    start = 0
    for inputs, units in zip(network.sizes[:-1], network.sizes[1:], strict=True):
        layer = torch.nn.Linear(inputs, units)
        middle = start + inputs * units
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(vector[start:middle].reshape(inputs, units).T))
            layer.bias.copy_(torch.tensor(vector[middle : middle + units]))
        start = middle + units
        parts += [layer, torch.nn.ReLU()]
    assert start == network.n_parameters
    return torch.nn.Sequential(*parts[:-1])


def test_number_of_parameters_is_the_papers() -> None:
    assert Network((64, 256, 10)).n_parameters == 19_210


@given(sizes=SIZES, n=st.integers(1, 20), seed=st.integers(0, 99))
def test_logits_are_those_of_torch_layers(sizes: tuple[int, ...], n: int, seed: int) -> None:
    network, rng = Network(sizes), np.random.default_rng(seed)
    vector = network.random(1, 1.0, rng)[0]
    inputs = rng.standard_normal((n, sizes[0])).astype(np.float32)
    expected = module_of(network, vector)(torch.tensor(inputs))
    torch.testing.assert_close(network.logits(torch.tensor(vector), torch.tensor(inputs)), expected)


@given(sizes=SIZES, n=st.integers(1, 40), n_networks=st.integers(1, 6), seed=st.integers(0, 99))
def test_scores_of_one_and_of_many_agree_with_torch(sizes: tuple[int, ...], n: int, n_networks: int, seed: int) -> None:
    network, rng = Network(sizes), np.random.default_rng(seed)
    population = network.random(n_networks, 1.0, rng)
    inputs = rng.standard_normal((n, sizes[0])).astype(np.float32)
    labels = rng.integers(sizes[-1], size=n)
    scorer = Scorer(network, inputs, labels)
    many = scorer.correct(population)
    assert many.shape == (n_networks, n)
    for vector, correct in zip(population, many, strict=True):
        logits = module_of(network, vector)(torch.tensor(inputs)).detach().numpy()
        best_two = np.sort(logits, axis=1)[:, -2:]
        is_clear = np.ones(n, bool) if sizes[-1] == 1 else best_two[:, 1] - best_two[:, 0] > 1e-5
        expected = logits.argmax(axis=1) == labels
        np.testing.assert_array_equal(correct[is_clear], expected[is_clear])
        np.testing.assert_array_equal(scorer.correct(vector)[is_clear], expected[is_clear])


def test_population_larger_than_the_cache_is_scored_one_by_one() -> None:
    network, rng = Network((3, 300, 4)), np.random.default_rng(0)
    inputs, labels = rng.standard_normal((2000, 3)).astype(np.float32), rng.integers(4, size=2000)
    scorer, population = Scorer(network, inputs, labels), network.random(3, 1.0, rng)
    expected = np.stack([scorer.correct(vector) for vector in population])
    np.testing.assert_array_equal(scorer.correct(population), expected)


def test_of_equal_logits_the_first_class_counts() -> None:
    network = Network((2, 3, 4))
    scorer = Scorer(network, np.ones((4, 2), np.float32), np.arange(4))
    zeros = np.zeros((2, network.n_parameters), np.float32)
    assert scorer.correct(zeros[0]).tolist() == [True, False, False, False]
    assert scorer.correct(zeros).tolist() == [[True, False, False, False]] * 2
    assert scorer.accuracy(zeros[0]) == 0.25


def test_scoring_changes_neither_networks_nor_data() -> None:
    network, rng = Network((2, 3, 4)), np.random.default_rng(0)
    inputs, labels = rng.standard_normal((5, 2)).astype(np.float32), rng.integers(4, size=5)
    vector = network.random(1, 1.0, rng)[0]
    before = [a.copy() for a in (inputs, labels, vector)]
    scorer = Scorer(network, inputs, labels)
    first = scorer.correct(vector)
    second = scorer.correct(-vector)
    assert first is not second
    np.testing.assert_array_equal(scorer.correct(vector), first)
    for array, copy in zip((inputs, labels, vector), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("sizes", [(), (3,), (3, 0), (0, 2)])
def test_impossible_sizes(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sizes of two layers"):
        Network(sizes)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [((3, 5), [0, 1, 1], r"shape \(3, 2\)"), ((0, 2), [], "n > 0"), ((2, 2), [0, 4], "labels from 0 to 3")],
)
def test_data_that_does_not_fit(shape: tuple[int, int], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scorer(Network((2, 4)), np.zeros(shape, np.float32), np.array(labels, np.int64))
