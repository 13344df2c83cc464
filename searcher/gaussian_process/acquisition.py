"""Acquisition functions: how much a genome promises, given what is known and what is already being evaluated.

One number: noisy log expected improvement. Front: noisy log expected hypervolume improvement. Both from Ament,
Daulton, Eriksson, Balandat and Bakshy 2023, "Unexpected improvements to expected improvement", for one genome at a
time, with BoTorch's smooth functions and its partitioning of the space above a front.
The one number is a function of the samples of all objectives (a composite, Astudillo and Frazier 2019), because each
objective is smooth in the genes while their minimum is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from botorch.utils.multi_objective.box_decompositions.box_decomposition_list import BoxDecompositionList
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from botorch.utils.safe_math import fatminimum, log_fatmoid, log_fatplus, logmeanexp, logsumexp
from numpy.typing import NDArray

from searcher.gaussian_process.boxes_3d import boxes_above
from searcher.gaussian_process.goal import Goal
from searcher.gaussian_process.observations import Standardized
from searcher.gaussian_process.posterior import PosteriorSamples

Acquisition: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Log of what genomes of shape ``(b, dim)`` promise, shape ``(b,)``."""

Utility: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Standardised fitness of shape ``(..., m)`` to one number each, shape ``(...)``."""

TAU = 1e-6  # width of the smooth improvement, in standardised units
TAU_BOX = 1e-3  # of the smooth minimum of log side lengths
TAU_BOUND = 1e-3  # of the smooth step at a constraint
FEW_FAILURES = 1  # so many are accidents; more have a reason that may lie in the genes
FAILURE_WIDTH = 0.1  # root mean square distance per gene over which a failure speaks


def utility(goal: Goal, outcomes: Standardized) -> Utility | None:
    """The one number of ``sum`` and ``worst``; None for ``front``.

    It is divided by the largest weighted scale of an objective, so that it is of order 1 whatever the units.
    """
    if goal.scalarize == "front":
        return None
    weights = torch.tensor(goal.weights, dtype=torch.float64)
    zero = torch.tensor(goal.reference or [0.0] * len(goal.weights), dtype=torch.float64)
    scaled, shifted = weights * torch.tensor(outcomes.scale), weights * (torch.tensor(outcomes.shift) - zero)
    unit, counts = scaled.max(), weights > 0
    slopes, offsets = scaled / unit, (shifted - shifted[counts].min()) / unit

    def weighted_sum(fitness: torch.Tensor) -> torch.Tensor:
        return fitness @ slopes

    def worst(fitness: torch.Tensor) -> torch.Tensor:
        weighted = (fitness * slopes + offsets)[..., counts]
        return weighted.amin(dim=-1) + goal.mean_share * weighted.mean(dim=-1)

    return worst if goal.scalarize == "worst" else weighted_sum


def improvement(samples: PosteriorSamples, value: Utility, bounds: torch.Tensor) -> Acquisition:
    """Noisy log expected improvement of one number.

    Args:
        samples: Joint with the evaluated and the pending genomes, over whose best the improvement counts.
        value: The number.
        bounds: Smallest allowed standardised fitness, shape ``(m,)``; -inf where there is none.
    """
    known = value(samples.at_known)  # (n, r)
    is_allowed = (samples.at_known >= bounds).all(dim=-1)
    nothing = known.amin(dim=-1) - 1.0  # where a sample allows no known genome, every allowed one improves
    best = torch.where(is_allowed, known, -torch.inf).amax(dim=-1)
    best = torch.where(is_allowed.any(dim=-1), best, nothing)[:, None]

    def promise(genomes: torch.Tensor) -> torch.Tensor:
        found = samples.at(genomes)
        gain = log_fatplus(value(found) - best, tau=TAU)
        return logmeanexp(gain + _log_allowed(found, bounds), dim=0)

    return promise


def hypervolume_improvement(samples: PosteriorSamples, reference: torch.Tensor, bounds: torch.Tensor) -> Acquisition:
    """Noisy log expected hypervolume improvement.

    Args:
        samples: Joint with the evaluated and the pending genomes, whose front is to be improved.
        reference: Bounds the hypervolume, standardised, shape ``(m,)``.
        bounds: Smallest allowed standardised fitness, shape ``(m,)``; -inf where there is none.
    """
    is_allowed = (samples.at_known >= bounds).all(dim=-1, keepdim=True)
    lower, upper = _cells(torch.where(is_allowed, samples.at_known, reference), reference)
    lengths = (upper - lower).log()

    def promise(genomes: torch.Tensor) -> torch.Tensor:
        found = samples.at(genomes)
        above = log_fatplus(found[:, :, None] - lower[:, None], tau=TAU)  # (n, b, cells, m)
        sides = fatminimum(above, lengths[:, None], tau=TAU_BOX)
        gain = logsumexp(sides.sum(dim=-1), dim=-1)
        return logmeanexp(gain + _log_allowed(found, bounds), dim=0)

    return promise


def survival(scored: torch.Tensor, failed: torch.Tensor) -> Acquisition:
    """Log penalty for what may fail: from the share of scored ones among its neighbours, and one more.

    Nadaraya-Watson regression with a Gaussian kernel; far from all failures it is near 1. Up to
    ``FEW_FAILURES`` failures say nothing. The logarithm counts once per failure: a run has an error budget, so that the
    more fail, the less a promise beside them is worth.

    Args:
        scored: Genomes, shape ``(n, dim)``.
        failed: Genomes, shape ``(f, dim)``.
    """
    factor = -0.5 / (FAILURE_WIDTH**2 * scored.shape[1])

    def near(genomes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return (factor * (genomes[:, None] - others).square().sum(dim=-1)).exp().sum(dim=-1)

    def log_survival(genomes: torch.Tensor) -> torch.Tensor:
        alive = 1.0 + near(genomes, scored)
        return -len(failed) * (near(genomes, failed) / alive).log1p()

    return log_survival if len(failed) > FEW_FAILURES else lambda genomes: torch.zeros(len(genomes))


def reference_point(means: NDArray[np.float64], is_front: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What bounds the hypervolume, shape ``(m,)``.

    In each objective a tenth of the front's range below the front's worst value, and not above the median of all:
    beside a front of one or two points there must be room for trade-offs.

    Args:
        means: Posterior means of the evaluated genomes, shape ``(n, m)``.
        is_front: Which of them are non-dominated, shape ``(n,)``.
    """
    front = means[is_front]
    nadir, best = front.min(axis=0), front.max(axis=0)
    return np.minimum(nadir - np.maximum(0.1 * (best - nadir), 0.01), np.median(means, axis=0))


def _cells(points: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners of disjoint boxes that fill the space above the front of each sample, each ``(n, cells, m)``."""
    if points.shape[-1] == 2:
        lower, upper = FastNondominatedPartitioning(reference, Y=points).get_hypercell_bounds()
    elif points.shape[-1] == 3:
        found = [boxes_above(sample.numpy(), reference.numpy()) for sample in points]
        lower, upper = (_padded([corners[side] for corners in found]) for side in (0, 1))
    else:
        each = [FastNondominatedPartitioning(reference, Y=sample) for sample in points]
        lower, upper = BoxDecompositionList(*each).get_hypercell_bounds()
    is_empty = (upper <= lower).any(dim=-1, keepdim=True)  # padding; moved to where nothing can reach
    lower = torch.where(is_empty, 1e6, lower)
    return lower, torch.where(is_empty, 1e6 + 1.0, upper.clamp_max(1e10))


def _padded(corners: Sequence[NDArray[np.float64]]) -> torch.Tensor:
    """Corners of each sample's boxes, shape ``(n, boxes, m)``, those that are missing all 0."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(each) for each in corners], batch_first=True)


def _log_allowed(fitness: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """Log of a smooth indicator that the bounds hold, shape ``(n, b, m)`` to ``(n, b)``."""
    is_bounded = bounds > -torch.inf
    return log_fatmoid((fitness - bounds)[..., is_bounded], tau=TAU_BOUND).sum(dim=-1)
