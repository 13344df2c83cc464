"""Gene effects: known effects are found, noise is not, the leave-one-out error is the real one."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.analysis.sensitivity import _best_penalty, _features, _fit, gene_effects, is_enough


def sample(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, d))


def test_effects_of_an_additive_quadratic_are_exact_without_noise() -> None:
    x = sample(400, 4)
    parts = np.stack([2 * x[:, 0], -x[:, 1], 4 * (x[:, 2] - 0.5) ** 2, 0 * x[:, 3]], axis=1)
    found = gene_effects(x, parts.sum(axis=1))
    assert found.explained > 0.99
    assert found.effects == pytest.approx(parts.std(axis=0), abs=0.02)
    assert found.directions[:3] == ("rises", "falls", "bends")
    assert found.effects[3] < 0.02 < found.effects[:3].min()
    assert (found.low <= found.high).all()


def test_noise_alone_explains_nothing_and_stays_below_its_line() -> None:
    below, explained = [], []
    for seed in range(20):
        found = gene_effects(sample(80, 6, seed), np.random.default_rng(100 + seed).normal(size=80))
        below.append(found.effects.max() <= found.noise)
        explained.append(found.explained)
    assert np.mean(below) >= 0.8  # 95 % expected
    assert max(explained) < 0.15


def test_the_left_out_errors_are_those_of_refitting() -> None:
    x = _features(sample(25, 3))
    y = np.random.default_rng(1).normal(size=25) + x[:, 0]
    penalty, errors, explained = _best_penalty(x, y)
    # each row left out in turn; the ridge term stays what it was for all rows, as does the standardisation
    refitted = []
    for i in range(25):
        rest = np.delete(np.arange(25), i)
        centre, mean = x[rest].mean(axis=0), y[rest].mean()
        centred = x[rest] - centre
        gram = centred.T @ centred + 25 * penalty * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (y[rest] - mean))
        refitted.append(y[i] - mean - (x[i] - centre) @ weights)
    assert errors == pytest.approx(np.array(refitted), rel=1e-9)
    alone = np.array([y[i] - np.delete(y, i).mean() for i in range(25)])
    assert explained == pytest.approx(1 - (errors**2).sum() / (alone**2).sum())
    assert _fit(x, y[:, None], penalty).shape == (6, 1)


def test_constant_genes_have_no_effect_and_results_repeat() -> None:
    x = sample(60, 3)
    x[:, 1] = 0.5
    first, second = (gene_effects(x, x[:, 0] ** 2) for _ in range(2))
    assert first.effects[1] == 0
    assert first.directions[1] == "bends"
    assert np.array_equal(first.low, second.low)
    assert first.noise == second.noise


def test_the_units_are_the_scores() -> None:
    x = sample(100, 2)
    y = x[:, 0] + 0.05 * np.random.default_rng(3).normal(size=100)
    small, large = gene_effects(x, y), gene_effects(x, 1000 * y)
    assert large.effects == pytest.approx(1000 * small.effects)
    assert large.explained == pytest.approx(small.explained)


def test_too_few_candidates_are_refused() -> None:
    assert not is_enough(19, 1)
    assert is_enough(20, 6)
    assert not is_enough(20, 7)
    assert not is_enough(100, 0)
    with pytest.raises(ValueError, match="per gene"):
        gene_effects(sample(20, 7), np.zeros(20))


def test_a_constant_score_is_explained_by_nothing() -> None:
    found = gene_effects(sample(30, 2), np.ones(30))
    assert found.explained == 0.0
    assert found.effects == pytest.approx([0.0, 0.0])
