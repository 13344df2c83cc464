"""The distribution behind CMA-ES."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.strategies.pycma import Distribution, Variant, default_population


@pytest.mark.parametrize(("dim", "expected"), [(1, 6), (2, 6), (6, 9), (12, 11), (32, 14), (60, 16)])
def test_default_population(dim: int, expected: int) -> None:
    assert default_population(dim) == expected


def test_samples_have_the_asked_mean_and_spread() -> None:
    distribution = Distribution(np.array([0.4, 0.6, 0.5]), 0.05, 2000, np.random.default_rng(0))
    points = np.stack(distribution.generation())
    # standard error of the mean is 0.0011, of the standard deviation 0.0008
    assert np.abs(points.mean(axis=0) - [0.4, 0.6, 0.5]).max() < 0.005
    assert np.abs(points.std(axis=0) - 0.05).max() < 0.005


def test_far_late_points_move_the_mean_less() -> None:
    def step(late: list[int]) -> float:
        distribution = Distribution(np.full(3, 0.5), 0.3, 6, np.random.default_rng(0))
        far = distribution.generation()
        distribution._es.sigma = 0.001  # as after many generations of convergence
        near = distribution.generation()
        start = distribution._es.mean.copy()
        distribution.update([far[0], *near[1:]], [0.0, *range(1, 6)], late)
        return float(np.linalg.norm(distribution._es.mean - start))

    assert step([0]) < 0.01
    assert step([]) > 0.05


def test_soundness() -> None:
    distribution = Distribution(np.full(2, 0.5), 0.1, 6, np.random.default_rng(0))
    assert distribution.is_sound()
    for lost in (0.0, 1e-14, 1e14, np.nan):
        distribution._es.sigma = lost
        assert not distribution.is_sound()


@pytest.mark.parametrize("variant", ["full", "separable", "vkd"])
def test_variants_draw_from_the_given_generator_only(variant: Variant) -> None:
    def run(*, reseeds: bool) -> list[list[float]]:
        distribution = Distribution(np.full(3, 0.5), 0.2, 6, np.random.default_rng(0), variant=variant)
        drawn = []
        for _ in range(8):
            if reseeds:
                np.random.seed(0)  # noqa: NPY002
            points = [*distribution.generation(), *distribution.extra()]
            assert len(points) == 7
            distribution.update(points, [float(np.sum((point - 0.3) ** 2)) for point in points], [0])
            drawn += [point.tolist() for point in points]
        return drawn

    before = repr(np.random.get_state(legacy=False))  # noqa: NPY002
    plain = run(reseeds=False)
    assert repr(np.random.get_state(legacy=False)) == before  # noqa: NPY002
    assert plain == run(reseeds=True)


def test_a_genome_from_elsewhere_is_a_point() -> None:
    distribution = Distribution(np.full(1, 0.5), 0.2, 6, np.random.default_rng(0))
    assert distribution.point_of(np.array([1.5])).tolist() == [1.0, 0.5]
    assert distribution.mean.tolist() == [0.5]
