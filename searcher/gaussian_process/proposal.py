"""The genome that promises most, found by gradient ascent on the acquisition function from several starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from botorch.generation.gen import gen_candidates_scipy
from botorch.utils.multi_objective.pareto import is_non_dominated
from numpy.typing import NDArray

from searcher.gaussian_process.acquisition import (
    Acquisition,
    Utility,
    hypervolume_improvement,
    improvement,
    reference_point,
    survival,
    utility,
)
from searcher.gaussian_process.goal import Goal
from searcher.gaussian_process.isolation import isolated
from searcher.gaussian_process.posterior import Posterior, PosteriorSamples
from searcher.gaussian_process.sobol import sobol_points

Floats = NDArray[np.float64]

SPACING = 0.005  # largest difference of a gene below which two genomes make the same merge for all that is measurable
N_SAMPLES = 128  # of the posterior
N_SAMPLES_FRONT = {2: 64, 3: 32, 4: 16, 5: 8}  # by objectives: the front of each is cut into up to thousands of boxes
N_PARENTS = 8  # good genomes around which starts are sought beside those spread over the box
SPREADS = (0.02, 0.1)  # standard deviations of these, in units of the cube's side
CHUNK = 64


@dataclass(frozen=True)
class Effort:
    """How hard the maximum is sought.

    Args:
        raw: Genomes whose promise is computed, to choose the starts from.
        starts: From how many the gradient is followed.
        steps: Of L-BFGS from each.
    """

    raw: int = 128
    starts: int = 4
    steps: int = 30


@dataclass(frozen=True, eq=False)
class Known:
    """Genomes without a score; each of shape ``(k, dim)``.

    Args:
        pending: Under evaluation; what they promise is not promised again.
        failed: Could not be evaluated.
    """

    pending: Floats
    failed: Floats


def propose(
    posterior: Posterior, goal: Goal, known: Known, box: Floats, seed: int, effort: Effort | None = None
) -> Floats:
    """The genome in ``box`` that promises most and is not one of those evaluated, pending or failed.

    Args:
        posterior: Given all scores.
        goal: What is maximised.
        known: What else was proposed.
        box: Lower and upper bounds, shape ``(2, dim)``, within the unit cube.
        seed: Decides all that is random.
        effort: How hard the maximum is sought.

    Returns:
        Shape ``(dim,)``.
    """
    effort = effort or Effort()
    with isolated(seed):
        with torch.no_grad():
            promise = acquisition(posterior, goal, known, seed)
            raw = _raw_genomes(posterior, utility(goal, posterior.outcomes), box, seed, effort.raw)
            values = _evaluated(promise, raw)
        found, found_values = _ascended(promise, _spread_out(raw, values, effort.starts), box, effort.steps)
    taken = np.concatenate([posterior.genomes.numpy(), known.pending, known.failed])
    for group, promised in ((found, found_values), (raw, values)):
        for i in np.argsort(-promised, kind="stable"):
            if _gap(group[i], taken) > SPACING:
                return group[i]
    return raw[int(np.argmax([_gap(genome, taken) for genome in raw]))]


def centre(posterior: Posterior, goal: Goal, seed: int) -> Floats:
    """The genome to search around, shape ``(dim,)``: the one with the best posterior mean, or any of the front."""
    with isolated(seed), torch.no_grad():
        good = parents(posterior, utility(goal, posterior.outcomes))
    return good[np.random.default_rng([seed, 2]).integers(len(good))] if goal.scalarize == "front" else good[0]


def acquisition(posterior: Posterior, goal: Goal, known: Known, seed: int) -> Acquisition:
    """The acquisition function of a goal; call it within :func:`isolated`."""
    outcomes = posterior.outcomes
    value = utility(goal, outcomes)
    bounds = torch.full((len(outcomes.scale),), -torch.inf, dtype=torch.float64)
    for objective, bound in goal.at_least:
        standardized = float((bound - outcomes.shift[objective]) / outcomes.scale[objective])
        bounds[objective] = max(float(bounds[objective]), standardized)
    n = N_SAMPLES if value is not None else N_SAMPLES_FRONT[len(outcomes.scale)]
    rival = _rivals(posterior, value, bounds, seed)
    joint = torch.cat([posterior.genomes[rival], torch.tensor(known.pending, dtype=torch.float64)])
    samples = PosteriorSamples(posterior, joint, n, seed)
    if value is not None:
        promise = improvement(samples, value, bounds)
    else:
        means = posterior.middle(posterior.genomes).numpy()
        is_worst = goal.bounded_by == "worst"
        reference = means.min(axis=0) if is_worst else reference_point(means, _best(posterior, None).numpy())
        promise = hypervolume_improvement(samples, torch.tensor(reference), bounds)
    survives = survival(posterior.genomes, torch.tensor(known.failed, dtype=torch.float64))
    return lambda genomes: promise(genomes) + survives(genomes)


def _rivals(posterior: Posterior, value: Utility | None, bounds: torch.Tensor, seed: int) -> torch.Tensor:
    """Which evaluated genomes are the best, or on the front, in any of some samples; shape ``(n,)``, at least one."""
    samples = PosteriorSamples(posterior, posterior.genomes, N_SAMPLES, seed + 1).at_known
    is_allowed = (samples >= bounds).all(dim=-1)
    if value is not None:
        number = torch.where(is_allowed, value(samples), -torch.inf)
        is_rival = number == number.amax(dim=-1, keepdim=True)
    else:
        is_rival = is_non_dominated(torch.where(is_allowed[..., None], samples, -1e6), deduplicate=False)
    return (is_rival & is_allowed).any(dim=0) | _best(posterior, value)


def _best(posterior: Posterior, value: Utility | None) -> torch.Tensor:
    """Which evaluated genomes have the best posterior mean, or one on the front; shape ``(n,)``."""
    means = posterior.middle(posterior.genomes)
    if value is None:
        return is_non_dominated(means)
    number = value(means)
    return number == number.max()


def _raw_genomes(posterior: Posterior, value: Utility | None, box: Floats, seed: int, n: int) -> Floats:
    """Half spread evenly over the box, half normal around good genomes, moving some or all genes."""
    rng = np.random.default_rng([seed, 1])
    dim, n_near = box.shape[1], n // 2
    even = box[0] + sobol_points(dim, n - n_near, seed) * (box[1] - box[0])
    good = parents(posterior, value)
    centres = good[np.arange(n_near) % len(good)]
    moves = rng.normal(size=(n_near, dim)) * np.resize(SPREADS, n_near)[:, None]
    moved = rng.random((n_near, dim)) < np.maximum(rng.choice([1.0, 0.3], size=(n_near, 1)), 1.0 / dim)
    return np.clip(np.concatenate([even, centres + moves * moved]), box[0], box[1])


def parents(posterior: Posterior, value: Utility | None) -> Floats:
    """Evaluated genomes with the best posterior means; those of the front, if there is no one number.

    The best come first; shape ``(k, dim)``.
    """
    if value is None:
        return np.asarray(posterior.genomes[_best(posterior, None)].numpy(), dtype=np.float64)
    numbers = value(posterior.middle(posterior.genomes)).numpy()
    return np.asarray(posterior.genomes.numpy()[np.argsort(-numbers, kind="stable")[:N_PARENTS]], dtype=np.float64)


def _evaluated(promise: Acquisition, genomes: Floats) -> Floats:
    """The promise of genomes of shape ``(n, dim)``, shape ``(n,)``; what is not finite promises nothing."""
    with torch.no_grad():
        found = torch.cat([promise(part) for part in torch.tensor(genomes).split(CHUNK)]).numpy()
    return np.where(np.isfinite(found), found, -np.inf)


def _spread_out(genomes: Floats, values: Floats, n: int) -> Floats:
    """Up to ``n`` of the most promising genomes, none of them near another."""
    radius = 0.05 * np.sqrt(genomes.shape[1])
    chosen: list[Floats] = []
    for i in np.argsort(-values, kind="stable"):
        if all(np.linalg.norm(genomes[i] - other) > radius for other in chosen):
            chosen.append(genomes[i])
        if len(chosen) == n:
            break
    return np.array(chosen)


def _ascended(promise: Acquisition, starts: Floats, box: Floats, steps: int) -> tuple[Floats, Floats]:
    """Local maxima in the box and their promise, shapes ``(s, dim)`` and ``(s,)``."""
    found, _ = gen_candidates_scipy(
        torch.tensor(starts)[:, None],
        lambda genomes: promise(genomes[:, 0]),
        lower_bounds=torch.tensor(box[0]),
        upper_bounds=torch.tensor(box[1]),
        options={"maxiter": steps},
    )
    genomes = np.clip(found.detach()[:, 0].numpy(), box[0], box[1])
    genomes = np.where(np.isfinite(genomes), genomes, starts)
    return genomes, _evaluated(promise, genomes)


def _gap(genome: Floats, others: Floats) -> float:
    """Largest difference of a gene to the nearest of ``others``, shape ``(k, dim)``."""
    return float(np.abs(others - genome).max(axis=1).min()) if len(others) else np.inf
