"""Acquisition functions against exact integration and against BoTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from searcher.gaussian_process.acquisition import (
    hypervolume_improvement,
    improvement,
    reference_point,
    survival,
    utility,
)
from searcher.gaussian_process.goal import Goal
from searcher.gaussian_process.isolation import isolated
from searcher.gaussian_process.observations import Observations, standardize
from searcher.gaussian_process.posterior import Posterior, PosteriorSamples
from searcher.gaussian_process.surrogate import fit
from searcher.multi_objective.hypervolume import hypervolume

FREE = torch.full((2,), -torch.inf, dtype=torch.float64)


def two_objectives(stderr: float = 0.01) -> Posterior:
    genomes = np.array([[0.1, 0.2], [0.5, 0.5], [0.9, 0.6], [0.3, 0.9], [0.7, 0.1]])
    fitness = np.stack([-(genomes**2).sum(1), -((genomes - 0.8) ** 2).sum(1)], axis=1)
    of = Observations(genomes, fitness, np.full((5, 2), stderr))
    return Posterior(of, fit(of))


def log_density_grid(
    posterior: Posterior, genome: torch.Tensor, size: int = 400
) -> tuple[list[np.ndarray], np.ndarray]:
    """Midpoints of a grid over six deviations of each objective at a genome, and the weights of the cells."""
    mean = posterior.mean(genome)[:, 0].numpy()
    deviation = posterior.covariance(genome)[:, 0, 0].sqrt().numpy()
    edges = np.linspace(-6, 6, size + 1)
    weights = np.diff(norm.cdf(edges))
    middles = (edges[1:] + edges[:-1]) / 2
    return [m + d * middles for m, d in zip(mean, deviation, strict=True)], np.outer(weights, weights)


def test_hypervolume_improvement_against_exact_integration() -> None:
    """With hardly any noise the front is known, and the expectation is an integral over two normal variables."""
    posterior = two_objectives(1e-6)
    reference = np.array([-2.0, -2.0])
    samples = PosteriorSamples(posterior, posterior.genomes, 4096, 0)
    with isolated(0):
        promise = hypervolume_improvement(samples, torch.tensor(reference), FREE)
    front = posterior.outcomes.values
    known = hypervolume(front, reference)
    for genome in torch.tensor([[0.4, 0.4], [0.9, 0.9], [0.6, 0.7]], dtype=torch.float64):
        (first, second), weights = log_density_grid(posterior, genome[None], 60)
        gains = [[hypervolume(np.vstack([front, [a, b]]), reference) - known for b in second] for a in first]
        assert promise(genome[None]).exp().item() == pytest.approx(float((weights * gains).sum()), rel=0.05, abs=1e-4)


def test_composite_improvement_against_exact_integration() -> None:
    posterior = two_objectives(1e-6)
    value = utility(Goal("worst", (1.0, 2.0), 0.25), posterior.outcomes)
    assert value is not None
    promise = improvement(PosteriorSamples(posterior, posterior.genomes, 4096, 0), value, FREE)
    best = value(torch.tensor(posterior.outcomes.values)).max()
    for genome in torch.tensor([[0.4, 0.4], [0.6, 0.5], [0.45, 0.6]], dtype=torch.float64):
        (first, second), weights = log_density_grid(posterior, genome[None])
        pairs = torch.tensor(np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1))
        expected = float((weights * (value(pairs) - best).clamp_min(0).numpy()).sum())
        assert promise(genome[None]).exp().item() == pytest.approx(expected, rel=0.05, abs=1e-4)


def test_a_reference_point_is_subtracted_before_weighting() -> None:
    """Differences of the composite are those of the achievement function, up to its common unit."""
    outcomes = two_objectives(1e-6).outcomes
    weights, wished, share = np.array([1.0, 2.0]), np.array([0.3, -0.4]), 0.1
    value = utility(Goal("worst", (1.0, 2.0), share, (), tuple(wished.tolist())), outcomes)
    assert value is not None
    standardised = np.random.default_rng(0).normal(size=(20, 2))
    beyond = weights * (standardised * outcomes.scale + outcomes.shift - wished)
    expected = (beyond.min(axis=1) + share * beyond.mean(axis=1)) / (weights * outcomes.scale).max()
    np.testing.assert_allclose(np.diff(value(torch.tensor(standardised)).numpy()), np.diff(expected), atol=1e-12)


@pytest.mark.parametrize("n_objectives", [2, 3, 4])
def test_hypervolume_improvement_is_botorchs(n_objectives: int) -> None:
    """BoTorch draws other base samples, so the two agree within the error of the samples."""
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from botorch.sampling import SobolQMCNormalSampler

    rng = np.random.default_rng(2)
    genomes = rng.random((8, 3))
    fitness = np.stack([-((genomes - c) ** 2).sum(1) for c in rng.random((n_objectives, 3))], axis=1)
    of = Observations(genomes, fitness, np.full((8, n_objectives), 0.05))
    found, outcomes = fit(of), standardize(of)
    gps = []
    for i in range(n_objectives):
        kernel = get_covar_module_with_dim_scaled_prior(3, use_rbf_kernel=False)
        y, noise = torch.tensor(outcomes.values[:, i, None]), torch.tensor(outcomes.variances[:, i, None])
        gp = SingleTaskGP(torch.tensor(genomes), y, noise, covar_module=kernel, outcome_transform=None)
        kernel.lengthscale = found.lengthscales[i]
        gp.mean_module.constant.data.copy_(found.constants[i])
        gps.append(gp.eval())
    reference = torch.full((n_objectives,), -2.0, dtype=torch.float64)
    with isolated(0):
        theirs = qLogNoisyExpectedHypervolumeImprovement(
            ModelListGP(*gps),
            ref_point=reference,
            X_baseline=torch.tensor(genomes),
            sampler=SobolQMCNormalSampler(torch.Size([256]), seed=1),
        )
        free = torch.full((n_objectives,), -torch.inf, dtype=torch.float64)
        samples = PosteriorSamples(Posterior(of, found), torch.tensor(genomes), 256, 0)
        ours = hypervolume_improvement(samples, reference, free)
        new = torch.tensor(rng.random((6, 3)))
        np.testing.assert_allclose(ours(new).exp(), theirs(new[:, None]).exp().detach(), rtol=0.2, atol=0.02)


def test_a_pending_genome_promises_nothing_more() -> None:
    posterior = two_objectives()
    genome = torch.tensor([[0.45, 0.55]], dtype=torch.float64)
    for scalarize in ("front", "worst", "sum"):
        value = utility(Goal(scalarize, (1.0, 1.0), 0.25), posterior.outcomes)
        promises = []
        for known in (posterior.genomes, torch.cat([posterior.genomes, genome])):
            samples = PosteriorSamples(posterior, known, 128, 0)
            with isolated(0):
                if value is None:
                    promise = hypervolume_improvement(samples, torch.tensor([-2.0, -2.0], dtype=torch.float64), FREE)
                else:
                    promise = improvement(samples, value, FREE)
            promises.append(promise(genome).exp().item())
        assert promises[1] < 0.05 * promises[0]


def test_constraints_cut_the_promise() -> None:
    posterior = two_objectives()
    value = utility(Goal("sum", (1.0, 0.0)), posterior.outcomes)
    assert value is not None
    samples = PosteriorSamples(posterior, posterior.genomes, 256, 0)
    bound = torch.tensor([-torch.inf, 0.5], dtype=torch.float64)
    axis = torch.linspace(0, 1, 15, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    free, bounded = (grid[improvement(samples, value, b)(grid).argmax()][None] for b in (FREE, bound))
    assert holds(posterior, free, 0.5) < 0.1
    assert holds(posterior, bounded, 0.5) > 0.3


def holds(posterior: Posterior, genome: torch.Tensor, bound: float) -> float:
    """Probability that the second objective is above a bound."""
    deviation = posterior.covariance(genome)[1, 0, 0].sqrt()
    return float(norm.sf(bound, posterior.mean(genome)[1].item(), deviation.item()))


def test_two_failures_make_their_neighbours_unattractive() -> None:
    scored, failed = torch.rand(5, 3, dtype=torch.float64), torch.full((2, 3), 0.9, dtype=torch.float64)
    new = torch.tensor([[0.9, 0.9, 0.9], [0.1, 0.1, 0.1]], dtype=torch.float64)
    assert survival(scored, failed[:1])(new).tolist() == [0.0, 0.0]
    near, far = survival(scored, failed)(new).exp().tolist()
    assert near < 0.5
    assert far > 0.95


def test_reference_point_leaves_room_beside_a_single_front_member() -> None:
    means = np.array([[1.0, 1.0], [0.0, 0.2], [-1.0, 0.5]])
    assert reference_point(means, np.array([True, False, False])).tolist() == [0.0, 0.5]
    spread = np.array([[0.0, 1.0], [1.0, 0.0], [0.9, 0.9]])
    np.testing.assert_allclose(reference_point(spread, np.ones(3, dtype=bool)), [-0.1, -0.1])
